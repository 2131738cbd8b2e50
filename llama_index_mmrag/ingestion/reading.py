"""Reading: the records of a folder's files, of those alone that are not as they were.

What a catalogue says of a file is believed while its size and time of change are as
they were. What it says of a collection is not: that is asked, by ids alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from llama_index.core.schema import ImageNode

from llama_index_mmrag.ingestion.directory import problem_of
from llama_index_mmrag.ingestion.files import read_found
from llama_index_mmrag.ingestion.lettering import Lettering
from llama_index_mmrag.ingestion.records import (
    Item,
    Kept,
    ReadSettings,
    SourceRecord,
    Survey,
)
from llama_index_mmrag.ingestion.roots import HOLDS_FILES, Root, holders_of
from llama_index_mmrag.ingestion.scans import Scans
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.nodes.node import IMAGE_FILE_KEY, MODALITY_KEY
from llama_index_mmrag.nodes.places import here
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue, FileRow

_YOUNG_NS = 2_000_000_000
"""Some disks count time in steps of two seconds: a change within one does not show."""

_ASKED_AT_ONCE = 4096
"""Documents whose ids a collection is asked for in one call."""


class _Seen(NamedTuple):
    """A file at the beginning of a run."""

    size: int
    mtime_ns: int | None
    """None: it changed within two seconds before the run, or after."""
    inode: str
    sha256: str
    """Empty until it is needed; a young file's is known at once."""


class KnownFiles:
    """What is known of a root's files, and holds in this run.

    Args:
        catalogue: What is known.
        channels: By modality: what is there.
        ids: Of the files that the root, or a part of it, holds now.
        root: The root.
        read_as: Names how files are read: what was read in another way is not known.
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
        checksum: bool,
    ) -> None:
        self._root = root
        self._channels = channels
        self._read_as = read_as
        self._checksum = checksum
        self._started_ns = time.time_ns()
        self._attached: dict[str, list[str]] | None = None
        rows = catalogue.files(root.name, at=root.folder)
        self._hashes = catalogue.hashes()
        self._remembers = catalogue.keeps_files
        self._files = {self._path(ids[file]): file for file in ids}
        # Before anything is read: what changes meanwhile must not be taken for read.
        seen = self._files if self._remembers else ()
        self._seen = {path: self._look(path) for path in seen}
        self._rows = {p: row for p, row in rows.items() if row.read_as == read_as}
        # A link may mean another picture, now that there is one more.
        self._new_names = {Path(path).name for path in self._files.keys() - rows.keys()}
        known = [self._rows[path] for path in self._files if path in self._rows]
        self._as_left = self._those_as_left([row for row in known if row.document])

    def read_again(self) -> None:
        """Have all files read from now on, though they are as they were."""
        self._as_left.clear()

    def kept(self, ref_doc_id: str, *, is_shown: bool) -> Kept | None:
        """Return what stays of a file, which is not opened; None: it is to be read.

        Args:
            ref_doc_id: The file's.
            is_shown: Whether it is a picture that a page shows.
        """
        path = self._path(ref_doc_id)
        if path not in self._as_left:
            return None
        row = self._rows[path]
        is_picture = Path(path).suffix.lower() in IMAGE_SUFFIXES
        if (
            (is_picture and bool(row.ids) is is_shown)
            or any(Path(shown).name in self._new_names for shown in row.shows)
            or not all(map(self._is_as_it_was, (path, *_pictures(row))))
        ):
            return None
        now = self._seen[path]
        assert now is not None
        changed = row._replace(size=now.size, mtime_ns=now.mtime_ns, inode=now.inode)
        return Kept(
            ref_doc_id,
            n_nodes=sum(map(len, row.ids.values())),
            shows=tuple(map(self._id, _pictures(row))),
            attached=tuple(map(self._id, _attached(row))),
            rows=() if changed == row else (changed,),
        )

    def noted(self, record: SourceRecord, shows: Iterable[str]) -> SourceRecord:
        """Return a record with what to remember of its file, and of pictures beside it.

        Nothing of what changed meanwhile, or has problems that are to be told again.

        Args:
            record: What was read.
            shows: Names of the pictures that it shows.
        """
        if record.problems or not self._remembers:
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
        return replace(
            record, rows=(mine, *rows[1:]), is_copy=mine.sha256 in self._hashes
        )

    def _those_as_left(self, rows: Sequence[FileRow]) -> set[str]:
        """Return the paths of those that have the nodes that they say, and no others.

        Where they differ they are halved: a few calls find the one in thousands.
        """
        left: set[str] = set()
        starts = range(0, len(rows), _ASKED_AT_ONCE)
        parts = [rows[start : start + _ASKED_AT_ONCE] for start in starts]
        while parts:
            part = parts.pop()
            documents = [row.document for row in part if row.document]
            documents += [self._id(each) for row in part for each in _attached(row)]
            if all(
                {node_id for row in part for node_id in row.ids.get(modality, ())}
                == set(channel.collection.ids_of_documents(documents))
                for modality, channel in self._channels.items()
            ):
                left |= {row.path for row in part}
            elif len(part) > 1:
                half = len(part) // 2
                parts += [part[:half], part[half:]]
        return left

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

    def _seen_once(self, path: str) -> _Seen | None:
        if path not in self._seen:
            self._seen[path] = self._look(path)
        return self._seen[path]

    def _row(self, path: str) -> FileRow:
        """Return a file's row, without what it says of a document."""
        seen = self._seen_once(path) or _Seen(0, None, "", "")
        if not seen.sha256:
            sha256 = _sha256(self._file(path))
            self._seen[path] = seen = seen._replace(sha256=sha256)
        return FileRow(self._root.name, path, *seen, self._read_as, None, {}, [])

    def _look(self, path: str) -> _Seen | None:
        file = self._file(path)
        try:
            stat = file.stat()
        except OSError:
            return None
        is_young = stat.st_mtime_ns > self._started_ns - _YOUNG_NS
        return _Seen(
            stat.st_size,
            None if is_young else stat.st_mtime_ns,
            str(stat.st_ino),
            _sha256(file) if is_young else "",
        )

    def with_former(self, record: SourceRecord) -> SourceRecord:
        """Return a record with the attachments that are stored of it and are no more.

        Those that cannot be read now stay.
        """
        if not record.ref_doc_id.lower().endswith(HOLDS_FILES):
            return record
        if self._attached is None:
            found = (one.collection.document_ids() for one in self._channels.values())
            self._attached = {}
            for each in set().union(*found):
                for mail in holders_of(each)[:1]:
                    self._attached.setdefault(mail, []).append(each)
        left = {self._root.id_of(Path(problem.source)) for problem in record.problems}
        former = sorted({*self._attached.get(record.ref_doc_id, ())} - left)
        attached = dict.fromkeys((*record.attached, *former))
        return replace(record, attached=tuple(attached))

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
    yield from found.problems
    names, children = dict.fromkeys(shown), []  # type: ignore[var-annotated]
    try:
        # Texts first: only they tell which pictures are theirs.
        for file in sorted(
            found.files, key=lambda file: file.suffix.lower() in IMAGE_SUFFIXES
        ):
            ref_doc_id, is_shown = ids[file], ids[file] in names
            if known and (kept := known.kept(ref_doc_id, is_shown=is_shown)):
                names.update(dict.fromkeys(kept.shows))
                yield kept
                continue
            if is_shown:
                record = SourceRecord(ref_doc_id, (), whole=True)
            else:
                try:
                    record = read_found(
                        file, ref_doc_id, root, links_from, settings, children, scans
                    )
                except Exception as error:  # noqa: BLE001 - one file must not stop the others
                    yield problem_of(file, error)
                    continue
                record = lettering.added_to(record) if lettering else record
            pictures = [node for node in record.nodes if isinstance(node, ImageNode)]
            shows = dict.fromkeys(p.metadata.get(IMAGE_FILE_KEY, "") for p in pictures)
            names.update(shows)
            if known:
                shows.pop(ref_doc_id, None)
                record = known.with_former(known.noted(record, shows))
            yield record
    finally:
        for child in children:
            child.close()
    if found.start != root.folder:
        for name in names.keys() - ids.values():
            if name.startswith(f"{root.name}/"):
                yield SourceRecord(name, (), whole=True)


def _attached(row: FileRow) -> list[str]:
    """Return the paths of what came in a file."""
    return [each for each in row.shows if each.startswith(f"{row.path}#")]


def _pictures(row: FileRow) -> list[str]:
    """Return the paths of the pictures that a file shows."""
    return [each for each in row.shows if not each.startswith(f"{row.path}#")]


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
