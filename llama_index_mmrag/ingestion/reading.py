"""Reading: the records of a folder's files, of those alone that are not as they were.

What a catalogue says of a file is believed while its size and time of change are as
they were. What it says of a collection is not: that is asked, by ids alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.core.schema import ImageNode

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion.attachments import Former
from llama_index_mmrag.ingestion.directory import problem_of
from llama_index_mmrag.ingestion.files import read_found
from llama_index_mmrag.ingestion.known_files import (
    as_left,
    attached_in,
    pictures_in,
)
from llama_index_mmrag.ingestion.lettering import Lettering
from llama_index_mmrag.ingestion.records import (
    Item,
    Kept,
    Problem,
    ReadSettings,
    Seen,
    SourceRecord,
    Survey,
)
from llama_index_mmrag.ingestion.roots import HOLDS_FILES, Root
from llama_index_mmrag.ingestion.scans import Scans
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.nodes.node import IMAGE_FILE_KEY, MODALITY_KEY
from llama_index_mmrag.nodes.places import here
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.kinds import ALONE
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue, FileRow

_HERE = "\0"
"""Stands for a file's place in what is remembered of it: the file may move."""

_YOUNG_NS = 2_000_000_000
"""Some disks count time in steps of two seconds: a change within one does not show."""


class KnownFiles:
    """What is known of a root's files, and holds in this run.

    Args:
        catalogue: What is known.
        channels: By modality: what is there.
        ids: Of the files that the root, or a part of it, holds now.
        root: The root.
        read_as: Names how files are read: what was read in another way is not known.
        settings: Their limits, and whether what could not be read is tried again.
        checksum: Whether the content of every file is compared.
    """

    def __init__(  # noqa: PLR0913 - what was, what is, and how it is read
        self,
        catalogue: Catalogue,
        channels: Mapping[str, Channel],
        ids: Mapping[Path, str],
        root: Root,
        *,
        read_as: str,
        settings: ReadSettings,
        checksum: bool,
    ) -> None:
        self._root = root
        self.channels = channels
        self._read_as = read_as
        self._checksum = checksum
        self._started_ns = time.time_ns()
        rows = catalogue.files(root.name, at=root.folder)
        self._catalogue = catalogue
        self._hashes = catalogue.hashes()
        self._remembers = catalogue.keeps_files
        self._files = {self._path(ids[file]): file for file in ids}
        # Before anything is read: what changes meanwhile must not be taken for read.
        seen = self._files if self._remembers else ()
        self._seen = {path: self._look(path) for path in seen}
        # What could not be read, other limits may let pass.
        self._fails_as = f"{read_as} {settings.limits}"
        tried = () if settings.retry else (self._fails_as,)
        self._rows = {p: r for p, r in rows.items() if r.read_as in (read_as, *tried)}
        # A link may mean another picture, now that there is one more.
        self._new_names = {Path(path).name for path in self._files.keys() - rows.keys()}
        known = [self._rows[path] for path in self._files if path in self._rows]
        self._as_left = as_left([row for row in known if row.document], channels)

    def read_again(self) -> None:
        """Have all files read from now on, though they are as they were."""
        self._as_left.clear()

    def kept(self, ref_doc_id: str, *, is_shown: bool) -> Kept | Problem | None:
        """Return what stays of a file, which is not opened; None: it is to be read.

        Or why it was not read, and is not tried again.

        Args:
            ref_doc_id: The file's.
            is_shown: Whether it is a picture that a page shows.
        """
        path = self._path(ref_doc_id)
        row = self._rows.get(path)
        if row and row.problems and not row.document and self._is_as_it_was(path):
            return replace(self._told(row)[0], is_part=False, ref_doc_id=ref_doc_id)
        if row is None or path not in self._as_left:
            return None
        is_picture = Path(path).suffix.lower() in IMAGE_SUFFIXES
        if (
            (is_picture and bool(row.ids) is is_shown)
            or any(Path(shown).name in self._new_names for shown in row.shows)
            or not all(map(self._is_as_it_was, (path, *pictures_in(row))))
        ):
            return None
        now = self._seen[path]
        assert now is not None
        changed = row._replace(size=now.size, mtime_ns=now.mtime_ns, inode=now.inode)
        return Kept(
            ref_doc_id,
            n_nodes=sum(map(len, row.ids.values())),
            shows=tuple(map(self._id, pictures_in(row))),
            attached=tuple(map(self._id, attached_in(row))),
            rows=() if changed == row else (changed,),
            problems=self._told(row),
        )

    def failed(self, why: Problem, ref_doc_id: str, error: Exception) -> Problem:
        """Return what is told of a file that was not read; remember it as its fault."""
        path, is_its = self._path(ref_doc_id), isinstance(error, DocumentUnreadable)
        is_its = is_its and not isinstance(error.__cause__, OSError)
        if is_its and self._remembers and self._is_still(path):
            row = self._failing(self._row(path), [why])
            self._catalogue.remember([row] if row.sha256 else [])
        return replace(why, ref_doc_id=ref_doc_id)

    def noted(self, record: SourceRecord, shows: Iterable[str]) -> SourceRecord:
        """Return a record with what to remember of its file, and of pictures beside it.

        Nothing of what changed meanwhile, or has problems that other files may mend.

        Args:
            record: What was read.
            shows: Names of the pictures that it shows.
        """
        problems = record.problems
        is_alone = Path(record.ref_doc_id).suffix.lower() in ALONE
        is_unsure = record.broke == "process" or (problems and not is_alone)
        if is_unsure or not self._remembers:
            return record
        path, ours = self._path(record.ref_doc_id), f"{self._root.name}/"
        shown = [self._path(name) for name in shows if name.startswith(ours)]
        beside = [other for other in shown if other not in self._files]
        for other in beside:
            seen = self._seen.setdefault(other, self._look(other))
            # Nobody looked at a young one before it was read.
            if seen is None or seen.mtime_ns is None:
                return record
        # Hashed first: what is still the same after that was the same all the time.
        rows = [self._row(each) for each in (path, *beside)]
        if not all(map(self._is_still, (path, *shown))) or not all(
            row.sha256 for row in rows
        ):
            return record
        ids: dict[str, list[str]] = {}
        for node in record.nodes:
            ids.setdefault(node.metadata[MODALITY_KEY], []).append(node.node_id)
        shown += map(self._path, record.attached)
        mine = rows[0]._replace(document=record.ref_doc_id, ids=ids, shows=shown)
        if problems:
            mine = self._failing(mine, problems)
        return replace(
            record, rows=(mine, *rows[1:]), is_copy=mine.sha256 in self._hashes
        )

    def _failing(self, row: FileRow, problems: Iterable[Problem]) -> FileRow:
        """Return a row that says what of its file could not be read, wherever it is."""
        at = self._file(row.path).as_posix()
        told = [
            (one.source.removeprefix(at), one.reason.replace(at, _HERE), one.code)
            for one in problems
        ]
        return row._replace(read_as=self._fails_as, problems=told)

    def _told(self, row: FileRow) -> tuple[Problem, ...]:
        at = self._file(row.path).as_posix()
        return tuple(
            Problem(f"{at}{source}", reason.replace(_HERE, at), True, code)
            for source, reason, code in row.problems
        )

    def _is_as_it_was(self, path: str) -> bool:
        row, now = self._rows.get(path), self._seen_once(path)
        if row is None or now is None or now.size != row.size:
            return False
        is_same_time = now.mtime_ns is not None and now.mtime_ns == row.mtime_ns
        if is_same_time and not self._checksum:
            return True
        return self._row(path).sha256 == row.sha256

    def _is_still(self, path: str) -> bool:
        before, now = self._seen[path], self._look(path)
        if before is None or now is None:
            return False
        return now._replace(sha256=now.sha256 or before.sha256) == before

    def _seen_once(self, path: str) -> Seen | None:
        if path not in self._seen:
            self._seen[path] = self._look(path)
        return self._seen[path]

    def _row(self, path: str) -> FileRow:
        """Return a file's row, without what it says of a document."""
        seen = self._seen_once(path) or Seen(0, None, "", "")
        if not seen.sha256:
            sha256 = _sha256(self._file(path))
            self._seen[path] = seen = seen._replace(sha256=sha256)
        return FileRow(self._root.name, path, *seen, self._read_as, None, {}, [])

    def _look(self, path: str) -> Seen | None:
        file = self._file(path)
        try:
            stat = file.stat()
        except OSError:
            return None
        is_young = stat.st_mtime_ns > self._started_ns - _YOUNG_NS
        return Seen(
            stat.st_size,
            None if is_young else stat.st_mtime_ns,
            str(stat.st_ino),
            _sha256(file) if is_young else "",
        )

    def _id(self, path: str) -> str:
        return f"{self._root.name}/{path}"

    def _path(self, ref_doc_id: str) -> str:
        return ref_doc_id.removeprefix(f"{self._root.name}/")

    def _file(self, path: str) -> Path:
        return self._files.get(path) or Path(here(self._root.folder.as_posix(), path))


def read_surveyed(  # noqa: PLR0913 - what to read, and what need not be
    found: Survey,
    ids: Mapping[Path, str],
    root: Root,
    *,
    links_from: Path | None,
    settings: ReadSettings,
    shown: Iterable[str] = (),
    known: KnownFiles | None = None,
    lettering: Lettering | None = None,
    scans: Scans | None = None,
) -> Iterator[Item]:
    """Yield what `read_directory` does of a folder that was surveyed already.

    Of a part of a root, pictures elsewhere in it that this part shows get a record
    without nodes too.

    Args:
        found: What the folder holds.
        ids: Of its files.
        root: The root that it is, or is a part of.
        links_from: Where links such as "/pix/a.webp" start; None: nobody said.
        settings: Chunk size, encoding.
        shown: Ids of pictures that pages show which are not read now.
        known: Which files are as they were, and not read; None: all are read.
        lettering: What reads their pictures; None: nothing does.
        scans: What reads their scans; None: nothing does.
    """
    children: list[Child] = []

    how = (root, links_from, settings, children, scans)
    yield from found.problems
    former, names = Former(known.channels if known else {}), dict.fromkeys(shown)
    try:
        # Texts first: only they tell which pictures are theirs.
        for file in sorted(
            found.files, key=lambda file: file.suffix.lower() in IMAGE_SUFFIXES
        ):
            ref_doc_id, is_shown = ids[file], ids[file] in names
            if known and (kept := known.kept(ref_doc_id, is_shown=is_shown)):
                names.update(dict.fromkeys(getattr(kept, "shows", ())))
                yield kept
                continue
            record = (
                SourceRecord(ref_doc_id, (), whole=True)
                if is_shown
                else _read(file, ref_doc_id, how, known, lettering)
            )
            if isinstance(record, Problem):
                yield record
                continue
            pictures = [node for node in record.nodes if isinstance(node, ImageNode)]
            shows = dict.fromkeys(p.metadata.get(IMAGE_FILE_KEY, "") for p in pictures)
            names.update(shows)
            if known:
                shows.pop(ref_doc_id, None)
                record = known.noted(record, shows)
            holds_files = ref_doc_id.lower().endswith(HOLDS_FILES)
            yield former.added_to(record) if holds_files else record
    finally:
        for child in children:
            child.close()
    if found.start != root.folder:
        for name in names.keys() - ids.values():
            if name.startswith(f"{root.name}/"):
                yield SourceRecord(name, (), whole=True)


def _read(
    file: Path,
    ref_doc_id: str,
    how: tuple[Any, ...],
    known: KnownFiles | None,
    lettering: Lettering | None,
) -> SourceRecord | Problem:
    try:
        record = read_found(file, ref_doc_id, *how)
    except Exception as error:  # noqa: BLE001 - one file must not stop the others
        why = problem_of(file, error)
        return known.failed(why, ref_doc_id, error) if known else why
    return lettering.added_to(record) if lettering else record


def _sha256(file: Path) -> str:
    """Return the SHA-256 of a file; nothing of one that cannot be read."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
