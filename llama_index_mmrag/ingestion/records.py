"""Records: what one source contributes, what became of it, and how to read."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from llama_index.core.schema import ImageNode, TextNode, TransformComponent

from llama_index_mmrag.checks import listed, number, one_of, whole
from llama_index_mmrag.checks.arguments import checked_fields
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.limits import ReadLimits
from llama_index_mmrag.ingestion.transformation import without_encoders
from llama_index_mmrag.readers.kinds import advice_for
from llama_index_mmrag.readers.page import Page
from llama_index_mmrag.stores.catalogue import FileRow

logger = logging.getLogger(__name__)

RecordNode: TypeAlias = "TextNode | ImageNode"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was skipped, and why; the rest went on."""

    source: str
    """File path or document id."""

    reason: str
    """A sentence that a user can act on."""

    is_part: bool = False
    """Whether only a part was left out, such as a picture; the source went in."""

    code: str = "left_out"
    """For programs: the error's name, as "document_unreadable", where there is one."""

    ref_doc_id: str = ""
    """The document that the file was before; empty: there is none to be told of."""

    is_outdated: bool = False
    """Whether what was stored of that is still there."""


class Seen(NamedTuple):
    """A file at the beginning of a run."""

    size: int
    mtime_ns: int | None
    """None: it changed within two seconds before the run, or after."""
    inode: str
    sha256: str
    """Empty until it is needed; a young file's is known at once."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Everything that one document contributes.

    A file that holds nothing (empty text, or a picture that a Markdown file of the
    same folder shows) is a record without nodes: what an index still holds of it is
    stale.
    """

    ref_doc_id: str
    """A file's "ROOT/path/below/it"; a document's own or content-derived id."""

    nodes: tuple[RecordNode, ...]
    """In document order, with deterministic ids and complete metadata."""

    whole: bool
    """True: these are ALL nodes of the document, older others are stale."""

    problems: tuple[Problem, ...] = ()
    """Parts of the document that were left out, such as pictures not found."""

    rows: tuple[FileRow, ...] = ()
    """What to remember of its file, once all its nodes are there."""

    random_id: str | None = None
    """The id that the document came with, where LlamaIndex made it: what is stored of
    that id is stale, too."""

    is_copy: bool = False
    """Whether a file of the same content was known: its vectors may be there."""

    attached: tuple[str, ...] = ()
    """Documents that came in its file, or did before: all their nodes are here too."""

    broke: Literal["", "file", "process"] = ""
    """Whether its file could not be read to its end, see `Page`."""

    stays: frozenset[str] = frozenset()
    """Documents that came in its file and cannot be read now: what is stored of them,
    and of what came in them, is not stale."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document that stays as it is: its file was not opened."""

    ref_doc_id: str
    n_nodes: int
    shows: tuple[str, ...]
    """Names of the pictures that it shows, as "ROOT/path/below/it"."""
    rows: tuple[FileRow, ...] = ()
    """What to remember of its file, where that was touched."""
    attached: tuple[str, ...] = ()
    """Documents that came in its file."""
    problems: tuple[Problem, ...] = ()
    """Parts of it that were left out when it was read."""


Item: TypeAlias = SourceRecord | Kept | Problem
"""What becomes of a file or a document."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a folder holds, before anything is opened."""

    files: tuple[Path, ...]
    """Files that will be read: absolute, symlinks resolved, sorted, unique."""

    ignored: Mapping[str, int]
    """Number of files left out, by lower-case suffix ("" for none)."""

    problems: tuple[Problem, ...]
    """Folders that cannot be listed, links to nothing or out of the folder, pipes and
    devices, names that are not UTF-8."""

    start: Path
    """The folder or file, symlinks resolved."""

    root: Path | None = None
    """The folder; None for a single file."""


@dataclass(slots=True)
class UpsertReport:
    """What an insert did."""

    n_documents: int = 0
    n_added: int = 0
    """Nodes encoded and written."""
    n_unchanged: int = 0
    """Nodes that were there already; they were not encoded again."""
    n_removed: int = 0
    """Stale nodes: of documents that changed or went away."""
    n_unread: int = 0
    """Texts among the added of which the encoder does not read the script: what they
    are found by is chance. See docs/languages.md."""
    ref_doc_ids: list[str] = field(default_factory=list)
    """The documents, in the order they were read; `delete_ref_doc` takes them."""
    problems: list[Problem] = field(default_factory=list)
    """What was skipped, and why."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Files of a folder that are of other kinds: how many, by lower-case suffix."""
    moved_from: str | None = None
    """Where the root was before, if it has moved."""
    n_pages_read: int = 0
    """Pages of scans that were read in this run."""
    n_pages_unread: int = 0
    """Pages of scans that nobody has read: found by what their document is called."""
    scan_s: float = 0.0
    """Seconds that reading scans took."""
    not_removed: str = ""
    """Why documents were kept whose files seem to be gone; empty: none was."""

    def note(self, problem: Problem) -> None:
        """Keep a problem, and log it."""
        what = "Left out of" if problem.is_part else "Skipped"
        logger.warning("%s %s: %s", what, problem.source, problem.reason)
        self.problems.append(problem)

    def add(self, later: UpsertReport) -> None:
        """Count what was done of the same documents in a later part of the run."""
        self.n_added += later.n_added
        self.n_removed += later.n_removed
        self.n_unread += later.n_unread
        self.problems += [p for p in later.problems if p not in self.problems]

    def withhold(self, reason: str) -> None:
        """Keep why nothing was removed, and log it."""
        logger.warning("%s", reason)
        self.not_removed = reason

    def __str__(self) -> str:
        """Return a sentence with the counts."""
        parts = [
            f"{_counted(self.n_documents, 'document')}: "
            f"{_counted(self.n_added, 'node')} added",
            f"{self.n_unchanged} unchanged",
            f"{self.n_removed} removed",
        ]
        if self.n_unread:
            said = f"{self.n_unread} texts in a script that the encoder does not read"
            parts.append(f"{said} (see docs/languages.md)")
        n_parts = sum(problem.is_part for problem in self.problems)
        if n_skipped := len(self.problems) - n_parts:
            parts.append(f"{n_skipped} skipped")
        if n_parts:
            parts.append(f"{_counted(n_parts, 'part')} left out")
        if self.n_pages_read or self.n_pages_unread:
            parts.append(self.scans)
        if self.ignored:
            parts.append(f"{self.other_kinds} ignored")
        return ", ".join(parts)

    @property
    def scans(self) -> str:
        """How many pages of scans were read, how fast, and how many are left."""
        left = f"{_counted(self.n_pages_unread, 'page')} of scans not read"
        if not self.n_pages_read:
            return left
        minutes = max(self.scan_s, 1e-3) / 60
        rate = self.n_pages_read / minutes
        read = _counted(self.n_pages_read, "page")
        said = f"{read} of scans read ({rate:.1f} a minute)"
        more = f", about {math.ceil(self.n_pages_unread / rate)} min"
        return f"{said}, {left}{more}" if self.n_pages_unread else said

    @property
    def advice(self) -> list[str]:
        """What to do with the files that were ignored, a line for those alike."""
        return advice_for(self.ignored)

    @property
    def other_kinds(self) -> str:
        """How many files were ignored, and their kinds."""
        kinds = sorted(self.ignored.items(), key=lambda kind: (-kind[1], kind[0]))
        named = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in kinds)
        return f"{sum(self.ignored.values())} of other kinds ({named})"


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """How files and documents become nodes.

    Raises:
        InvalidSetting: A number is out of its range.
    """

    chunk_size: int = 200
    """Most tokens (LlamaIndex's global tokenizer) of a text node, heading included.

    200 leaves 99.7 % of chunks of English prose under the 256 WordPieces that
    MiniLM-L6 reads; what an encoder cuts off cannot be found.
    """

    chunk_overlap: int = 20
    """Tokens that a chunk repeats from the one before it."""

    encoding: str = "utf-8"
    """Encoding of text files without a byte order mark."""

    media_dir: Path | None = None
    """Folder for inline pictures, saved as <sha256>.<ext>; None keeps base64."""

    keep_uuid4: bool = False
    """Whether ids that are version-4 UUIDs are yours, such as database keys.

    LlamaIndex gives such an id to every document and node without one. They are new in
    each run, so by default ids are derived from the content instead.
    """

    transformations: Sequence[TransformComponent] = ()
    """LlamaIndex's steps, such as a splitter, in place of the two sizes: of documents
    that show no picture, and of the text of each section of files and of others."""

    word_keys: Sequence[str] = ("caption", "description", "alt", "alt_text", "title")
    """Metadata of a picture by which it is found: their values become texts of its
    entity, unless its text, before which metadata are embedded, has them."""

    limits: ReadLimits = field(default_factory=ReadLimits)
    """What a file may take."""

    page_pictures: Literal["first", "all", "none"] = "first"
    """Of which pages that were scanned pictures are kept, some 100 kB each: of the
    first of a document, all, or none."""

    retry: bool = False
    """Whether files, or parts of them, that could not be read are tried again, though
    they are as they were, and so are the limits."""

    scan_minutes: float | None = None
    """Longest time that a run reads scans, to the end of a page, and one at least;
    None: until all are read. The next run goes on."""

    file_extractor: Mapping[str, Callable[[Path], Page]] = field(default_factory=dict)
    """Readers of yours by suffix, in place of ours or for other files: each is given a
    path and returns a `Page`. It runs in this process; one that hangs is left behind
    after `limits.file_s`."""

    def __post_init__(self) -> None:
        """Check the ranges, the readers, and that no step is an encoder."""
        for suffix, reader in self.file_extractor.items():
            is_one = isinstance(suffix, str) and suffix[:1] == "." and len(suffix) > 1
            if not is_one or suffix != suffix.lower() or not callable(reader):
                raise InvalidSetting(
                    f"file_extractor has {suffix!r}: {reader!r}; expected a suffix in "
                    f'lower case such as ".xyz", and what takes a path and returns a '
                    f"Page. What a LlamaIndex reader loads is given to insert()."
                )
        listed(self.word_keys, "word_keys", str)
        one_of(self.page_pictures, "page_pictures", ("first", "all", "none"))
        if self.scan_minutes is not None:
            number(self.scan_minutes, "scan_minutes", more_than=0)
        without_encoders(self.transformations, "transformations")
        whole(
            self.chunk_size,
            "chunk_size",
            at_least=16,
            advice="A sentence needs as many tokens; 200 suits most encoders.",
        )
        whole(
            self.chunk_overlap,
            "chunk_overlap",
            at_least=0,
            at_most=(self.chunk_size - 1) // 2,
            advice="It must be less than half of chunk_size.",
        )
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise InvalidSetting(
                f"encoding={self.encoding!r} is no encoding Python knows. Give a name "
                f'such as "utf-8", "cp1252" or "shift_jis".'
            ) from error


def _counted(n_things: int, name: str) -> str:
    return f"{n_things} {name}{'' if n_things == 1 else 's'}"
