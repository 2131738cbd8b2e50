"""Sources: documents and folders, read, written, and followed as they change and go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import cast
from unicodedata import normalize

from llama_index.core.schema import BaseNode
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.directory import is_file_id, is_gone, survey
from llama_index_mmrag.ingestion.documents import read_documents
from llama_index_mmrag.ingestion.known_files import gone_of, shown_elsewhere
from llama_index_mmrag.ingestion.reading import KnownFiles, read_surveyed
from llama_index_mmrag.ingestion.records import (
    DocumentUnreadable,
    Problem,
    ReadSettings,
    SourceRecord,
    UpsertReport,
)
from llama_index_mmrag.ingestion.roots import MEDIA, Root, Roots, known_as
from llama_index_mmrag.ingestion.writer import Writer
from llama_index_mmrag.nodes.places import places_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue, device_of

_PROBE = "One, two; three: 4,567 naïve cafés."
"""How it is cut tells one tokenizer from another."""

_FEW = 20
"""So many files may be gone at once, however few there were."""


@checked
def read_directory(
    path: str | Path, *, recursive: bool = True, settings: ReadSettings | None = None
) -> Iterator[SourceRecord | Problem]:
    """Yield one record or problem for each file, texts first, each kind sorted.

    A picture that a Markdown file of the folder shows is not indexed a second time:
    its own record has no nodes. Nothing depends on time, on the order in which the
    system lists files, or on what was read before.

    Args:
        path: A folder, or one file.
        recursive: Whether folders in the folder are read too.
        settings: Chunk size, encoding; None for the defaults.

    Yields:
        As many items as `discover` lists, and before them a problem for each folder
        or name that could not even be listed.

    Raises:
        DocumentUnreadable: As `survey`; by the call, not while iterating.
    """
    found = survey(path, recursive=recursive)
    root = Root.of(found.root or found.start.parent)
    items = read_surveyed(
        found,
        root.ids_of(found.files),
        root,
        links_from=found.root,
        settings=settings or ReadSettings(),
    )
    return cast("Iterator[SourceRecord | Problem]", items)  # where nothing is known


class Sources:
    """The documents and folders of one index.

    Args:
        writer: Writes what is read.
        channels: By modality.
        settings: How files become nodes.
        roots: Which folder is what.
        catalogue: What is known of files.
    """

    def __init__(
        self,
        writer: Writer,
        channels: Mapping[str, Channel],
        *,
        settings: ReadSettings,
        roots: Roots,
        catalogue: Catalogue,
    ) -> None:
        self._writer = writer
        self._channels = dict(channels)
        self._settings = settings
        self._roots = roots
        self._catalogue = catalogue
        # A random id lives as long as its object; the stored id comes from content.
        self._stored_ids: dict[str, str] = {}
        self._names: set[str] | None = None
        """Of roots that were stored before."""

    def insert(
        self, items: BaseNode | Iterable[BaseNode], *, show_progress: bool = False
    ) -> UpsertReport:
        """Insert documents or nodes; return what was done.

        Raises:
            InvalidSetting: `items` is a text or a path.
        """
        if isinstance(items, (str, Path)) or not isinstance(items, Iterable | BaseNode):
            raise InvalidSetting(
                f"insert() got {items!r}; expected LlamaIndex documents or nodes, such "
                f"as Document(text=...). For files use insert_directory()."
            )
        listed = [items] if isinstance(items, BaseNode) else list(items)
        return self._writer.write(
            self._read(listed), len(listed), show_progress=show_progress
        )

    def insert_directory(  # noqa: PLR0913 - each has a default, and is documented by the index
        self,
        path: str | Path,
        *,
        recursive: bool = True,
        root: str | None = None,
        moved: bool = False,
        checksum: bool = False,
        show_progress: bool = False,
    ) -> UpsertReport:
        """Insert a folder, or one file; return what was done.

        Raises:
            DocumentUnreadable: `path` does not exist, or is a file of another kind.
            InvalidSetting: As `Roots.root_of`.
        """
        found = survey(path, recursive=recursive, media=self._roots.media)
        with self._writer.lock:
            places = self._roots.places.values()
            if not any(map(found.start.is_relative_to, places)):
                if self._names is None or self._roots.store is None:
                    self._learn()  # another index on the server may know more
                lost = self._roots.lost(self._names or ())
                if lost and not moved:
                    self._recognise(found.root or found.start.parent, root, lost)
            its_root = self._roots.root_of(found, root, moved=moved)
        ids = its_root.ids_of(found.files)
        is_part = found.start != its_root.folder
        # A single file was named on purpose, and links to what is around it.
        is_alone = found.root is None and found.start.parent == its_root.folder
        links_from = None if is_alone else its_root.folder
        known = KnownFiles(
            self._catalogue,
            self._channels,
            ids,
            its_root,
            read_as=_read_as(links_from, self._settings),
            checksum=checksum,
        )
        records = read_surveyed(
            found,
            ids,
            its_root,
            links_from=links_from,
            settings=self._settings,
            shown=shown_elsewhere(self._channels, ids) if is_part else (),
            known=known,
        )
        n_items = len(found.files) + len(found.problems)
        report = self._writer.write(records, n_items, show_progress=show_progress)
        report.ignored, report.moved_from = found.ignored, its_root.moved_from
        return report

    def refresh(  # noqa: PLR0913 - each has a default, and is documented by the index
        self,
        source: str | Path | BaseNode | Iterable[BaseNode],
        *,
        root: str | None = None,
        moved: bool = False,
        checksum: bool = False,
        allow_gone: bool = False,
        show_progress: bool = False,
    ) -> UpsertReport:
        """Insert a folder or documents; remove what is gone of a folder.

        Raises:
            DocumentUnreadable: The folder does not exist, and is no known root.
            InvalidSetting: As `Roots.root_of`; or documents have a root.
        """
        if not isinstance(source, (str, Path)):
            if root is not None or moved:
                raise InvalidSetting(
                    f"refresh() got documents with root={root!r} and moved={moved!r}, "
                    f"which belong to a folder. Leave them out."
                )
            return self.insert(source, show_progress=show_progress)
        before = self._writer.ref_doc_ids()
        try:
            report = self.insert_directory(
                source,
                root=root,
                moved=moved,
                checksum=checksum,
                show_progress=show_progress,
            )
        except DocumentUnreadable:
            report = UpsertReport()
            if os.path.lexists(source) or not self.gone(source, report):
                raise
        self._remove_gone(Path(source).resolve(), report, before, allow_gone)
        return report

    def gone(self, path: str | Path, report: UpsertReport) -> list[str]:
        """Return the documents of a folder whose files are gone since.

        Args:
            path: The folder.
            report: What inserting it returned.
        """
        start = Path(path).resolve()
        root = self._roots.holding(start)
        return [] if root is None else gone_of(self._channels, root, start, report)

    def delete(self, ref_doc_id: str) -> int:
        """Remove all nodes of a document; return how many there were.

        Args:
            ref_doc_id: Its id; of a file, any path of it will do.
        """
        stored = self._stored_ids.get(ref_doc_id, ref_doc_id)
        file = known_as(os.path.abspath(ref_doc_id), self._roots.places)
        return self._writer.delete_all([stored]) or self._writer.delete_all([file])

    def _read(self, items: Sequence[BaseNode]) -> Iterator[SourceRecord | Problem]:
        roots = self._roots.places
        records = read_documents(items, settings=self._settings, roots=roots)
        for item, record in zip(items, records, strict=True):
            if isinstance(record, SourceRecord):
                # A node's own id must not name its whole document.
                given = item.ref_doc_id or item.node_id
                self._stored_ids[given] = record.ref_doc_id
            yield record

    def _learn(self) -> None:
        known = self._catalogue.roots(anew=True)
        known.pop(MEDIA, None)
        self._roots.places.update(places_of(known))
        ids = self._writer.ref_doc_ids()
        self._names = {each.partition("/")[0] for each in ids}

    def _recognise(self, folder: Path, name: str | None, lost: set[str]) -> None:
        """Find the root whose place is forgotten or gone, and is this folder or around.

        Its files say so: those of a root of which most are there.
        """
        if self._roots.holding(folder) is not None:
            return
        stored = self._writer.ref_doc_ids()
        around = [] if name else [Root.of(each) for each in folder.parents]
        for root in [Root(normalize("NFC", name or folder.name), folder), *around]:
            if root.name not in lost:
                continue
            within = f"{root.name}/"
            files = [i for i in stored if i.startswith(within) and is_file_id(i)]
            n_lacking = sum(is_gone(each, root) for each in files)
            is_it = n_lacking * 2 <= len(files)
            if root.folder == folder and not is_it:
                raise InvalidSetting(
                    f"The index holds {len(files)} documents of a root {root.name!r}, "
                    f"and {str(folder)!r} lacks {n_lacking} of their files. Give this "
                    f"folder another name with root=NAME (--root NAME); or, if it is "
                    f"the same one, insert it with moved=True (--moved)."
                )
            if root.folder != folder and is_it and files:
                self._roots.places.update(places_of({root.name: root.folder}))
                return

    def _remove_gone(
        self, start: Path, report: UpsertReport, before: list[str], allow_gone: bool
    ) -> None:
        """Remove documents whose files are gone, or say in the report why not.

        A share that is not mounted looks like a folder whose files were all deleted.
        """
        root = self._roots.holding(start)
        if root is None:
            return
        gone = gone_of(self._channels, root, start, report)
        doubt = "" if allow_gone else self._doubt(root, start, gone, report, before)
        if doubt:
            report.withhold(
                f"{doubt}. None of the {len(gone)} documents whose files are gone was "
                f"removed. Mount the folder, or remove them with allow_gone=True "
                f"(--allow-gone)."
            )
            return
        report.n_removed += self._writer.delete_all(gone)
        if start == root.folder and (device := device_of(root.folder)) is not None:
            self._catalogue.set_device(root.name, device)

    def _doubt(
        self,
        root: Root,
        start: Path,
        gone: list[str],
        report: UpsertReport,
        before: list[str],
    ) -> str:
        """Return what speaks against documents being gone, or nothing."""
        present = set(report.ref_doc_ids)
        rows = self._catalogue.files(root.name).values() if gone else ()
        hashes = {row.document: row.sha256 for row in rows}
        there = {hashes[each] for each in present if each in hashes}
        # What goes by another name now is not gone.
        lost = [each for each in gone if hashes.get(each) not in there]
        n_known = len((present | set(gone)) & set(before))
        device, was_on = device_of(root.folder), self._catalogue.device(root.name)
        name = repr(str(start))
        if not lost:
            return ""
        if device is None or not start.exists():
            return f"The folder {name} is gone"
        if not present and not report.problems:
            return f"The folder {name} is empty"
        if was_on is not None and device != was_on:
            return f"The folder {name} is on another device than before"
        if len(lost) >= _FEW and len(lost) * 2 > n_known:
            return f"The folder {name} lacks {len(lost)} of the {n_known} files known"
        return ""


def _read_as(links_from: Path | None, settings: ReadSettings) -> str:
    """Return a name of all that a file's nodes follow from, besides the file."""
    follows_from = (
        version("llama-index-mmrag"),
        links_from is None,
        settings.chunk_size,
        settings.chunk_overlap,
        settings.encoding,
        settings.media_dir is None,
        list(get_tokenizer()(_PROBE)),
    )
    return hashlib.sha256(repr(follows_from).encode()).hexdigest()[:16]
