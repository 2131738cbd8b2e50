"""Sources: documents and folders, read, written, and followed as they change and go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode

from llama_index_mmrag.checks import truth
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.errors import DocumentUnreadable, InvalidSetting
from llama_index_mmrag.ingestion.directory import survey
from llama_index_mmrag.ingestion.documents import read_documents
from llama_index_mmrag.ingestion.files import kinds_of
from llama_index_mmrag.ingestion.known_files import (
    doubt_of,
    gone_of,
    recognise,
    shown_elsewhere,
    tell_of_twins,
)
from llama_index_mmrag.ingestion.linked import TEXT
from llama_index_mmrag.ingestion.read_as import read_as
from llama_index_mmrag.ingestion.reading import KnownFiles, read_surveyed
from llama_index_mmrag.ingestion.records import (
    Item,
    Problem,
    ReadSettings,
    SourceRecord,
    Survey,
    UpsertReport,
)
from llama_index_mmrag.ingestion.roots import MEDIA, Roots, known_as
from llama_index_mmrag.ingestion.scans import SCANNED, Scans, read_left
from llama_index_mmrag.ingestion.writer import Writer
from llama_index_mmrag.nodes.places import places_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue, device_of


class Sources:
    """The documents and folders of one index.

    Args:
        writer: Writes what is read.
        channels: By modality.
        settings: How files become nodes.
        roots: Which folder is what.
        catalogue: What is known of files.
        scans: What reads pages that are pictures; None: nothing does.
    """

    def __init__(  # noqa: PLR0913 - what is read, by what, and where it goes
        self,
        writer: Writer,
        channels: Mapping[str, Channel],
        *,
        settings: ReadSettings,
        roots: Roots,
        catalogue: Catalogue,
        scans: Scans | None = None,
    ) -> None:
        self._writer = writer
        self._channels = dict(channels)
        self._settings = settings
        self._kinds = kinds_of(settings)
        self._read_as = [read_as(settings, is_alone=alone) for alone in (False, True)]
        self._roots = roots
        self._catalogue = catalogue
        self._scans = scans
        if scans is not None:
            scans.texts = self._channels[TEXT]
        # A random id lives as long as its object; the stored id comes from content.
        self._stored_ids: dict[str, str] = {}
        self._names: set[str] | None = None  # of roots that were stored before

    def insert(
        self,
        items: BaseNode | Iterable[BaseNode] = (),
        *,
        show_progress: bool = False,
        **unknown: Any,
    ) -> UpsertReport:
        """Insert documents or nodes; return what was done.

        A document replaces what was stored of it before. Documents without an id of
        their own are known by their content, so that running a script twice adds
        nothing.

        Args:
            items: LlamaIndex documents (split into nodes here) or nodes (kept whole).
            show_progress: Show a progress bar.
            **unknown: Refused.

        Raises:
            InvalidSetting: `items` is a text or a path, or a keyword is not known.
        """
        refuse_unknown(unknown, "insert", ("items", "show_progress"))
        show = truth(show_progress, "show_progress")
        if isinstance(items, (str, Path)) or not isinstance(items, Iterable | BaseNode):
            raise InvalidSetting(
                f"insert() got {items!r}; expected LlamaIndex documents or nodes, such "
                f"as Document(text=...). For files use insert_directory()."
            )
        listed = [items] if isinstance(items, BaseNode) else list(items)
        return self._writer.write(self._read(listed), len(listed), show_progress=show)

    @checked
    def insert_directory(  # noqa: PLR0913 - each has a default
        self,
        path: str | Path,
        *,
        recursive: bool = True,
        root: str | None = None,
        moved: bool = False,
        checksum: bool = False,
        show_progress: bool = False,
    ) -> UpsertReport:
        """Insert all texts, Markdown files and pictures of a folder, or one file.

        Unreadable files are reported and those of other kinds counted; the rest goes
        in. Links out of the folder are not followed. Files that were deleted stay in
        the index; `refresh` removes them too. Pages that were scanned are read after
        all else, where the index was opened with `read_scans`.

        The folder is a root: a file's document is "NAME/path/below/it", wherever the
        folder lies. A folder in a known root, or a file, is a part of that root.

        Args:
            path: The folder or file.
            recursive: Whether folders in the folder are read too.
            root: The root's name; the folder's own, or a file's folder's, if None.
            moved: Whether a root of this name that is known, and still there, is this
                folder from now on. One that is gone from its place is without a word.
            checksum: Whether to compare the content of every file with what is known;
                otherwise those are not opened whose size and time are as they were.
            show_progress: Show a progress bar.

        Raises:
            DocumentUnreadable: `path` does not exist, or is a file of another kind.
            InvalidSetting: `root` is no name, or that of another folder; or the folder
                holds a known root, or is a store.
        """
        report, read_scans = self._inserted(
            *(path, recursive, root, moved, checksum), show_progress=show_progress
        )
        read_scans()
        return report

    def _inserted(  # noqa: PLR0913, PLR0917 - as of `insert_directory`
        self,
        path: str | Path,
        recursive: bool,
        root: str | None,
        moved: bool,
        checksum: bool,
        *,
        show_progress: bool,
    ) -> tuple[UpsertReport, Callable[[], None]]:
        """Return what became of all but the scans, and what reads these."""
        media = self._roots.media
        found = survey(path, recursive=recursive, media=media, kinds=self._kinds)
        with self._writer.lock:
            if not any(map(found.start.is_relative_to, self._roots.places.values())):
                if self._names is None or self._roots.store is None:
                    self._learn()  # another index on the server may know more
                lost = self._roots.lost(self._names or ())
                if lost and not moved:
                    folder = found.root or found.start.parent
                    stored = self._writer.ref_doc_ids()
                    recognise(self._roots, folder, root, lost, stored)
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
            read_as=self._read_as[links_from is None],
            settings=self._settings,
            checksum=checksum,
        )

        def read(some: Survey, shown: Iterable[str] = ()) -> Iterator[Item]:
            items = read_surveyed(
                *(some, ids, its_root),
                links_from=links_from,
                settings=self._settings,
                shown=shown,
                known=known,
                lettering=self._writer.lettering,
                scans=self._scans,
            )
            return self._scans.losing_nothing(items) if self._scans else items

        shown = shown_elsewhere(self._channels, ids) if is_part else ()
        n_items = len(found.files) + len(found.problems)
        show, write = show_progress, self._writer.write
        report = write(read(found, shown), n_items, show_progress=show)
        report.ignored, report.moved_from = found.ignored, its_root.moved_from

        def write_again(some: tuple[Path, ...]) -> UpsertReport:
            known.read_again()
            return write(read(replace(found, files=some, problems=())))

        def read_scans() -> None:
            files = {ids[f]: f for f in ids if f.suffix.lower() in SCANNED}
            if files:
                texts, minutes = self._channels[TEXT], self._settings.scan_minutes
                left = partial(read_left, self._scans, texts, files, report)
                left(write_again, minutes=minutes, show_progress=show)

        return report, read_scans

    @checked
    def refresh(  # noqa: PLR0913 - each has a default
        self,
        source: str | Path | BaseNode | Iterable[BaseNode],
        *,
        root: str | None = None,
        moved: bool = False,
        checksum: bool = False,
        allow_gone: bool = False,
        show_progress: bool = False,
    ) -> UpsertReport:
        """Bring the index up to date with a folder, or with documents.

        Of a folder, files that are gone are removed from the index. Documents that
        other readers made of its files stay: whoever inserted them knows when they go.
        A folder that is gone, empty or on another device than before, or that lacks
        more than half of its known files, and 20 or more, may not be mounted: nothing
        is removed, and the report's `not_removed` says so.

        Args:
            source: A folder that was inserted before, or documents.
            root: As for `insert_directory`, and so is `moved`.
            moved: Whether the root's folder may be another one from now on.
            checksum: As for `insert_directory`.
            allow_gone: Whether to remove what is gone however much it is.
            show_progress: Show a progress bar.

        Raises:
            DocumentUnreadable: The folder does not exist, and nothing is known of it.
            InvalidSetting: As for `insert_directory`.
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
            report, read_scans = self._inserted(
                *(source, True, root, moved, checksum), show_progress=show_progress
            )
        except DocumentUnreadable:
            report, read_scans = UpsertReport(), _nothing
            if os.path.lexists(source) or not self.gone(source, report):
                raise
        self._remove_gone(Path(source).resolve(), report, before, allow_gone)
        read_scans()
        return report

    @checked
    def gone(self, path: str | Path, report: UpsertReport) -> list[str]:
        """Return the documents of a folder whose files are gone since.

        Args:
            path: The folder.
            report: What inserting it returned.
        """
        start = Path(path).resolve()
        root = self._roots.holding(start)
        return gone_of(self._channels, root, start, report, self._kinds)

    @checked
    def delete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,  # noqa: ARG002 - LlamaIndex's
    ) -> int:
        """Remove all nodes of a document; return how many there were.

        Args:
            ref_doc_id: A document's id, or the one that it came with: a file's is
                "ROOT/path/below/it", and any path of the file does as well.
            delete_from_docstore: No matter which: there is none beside the collections.
        """
        stored = self._stored_ids.get(ref_doc_id, ref_doc_id)
        file = known_as(os.path.abspath(ref_doc_id), self._roots.places)
        n_removed = self._writer.delete_all(list({stored, ref_doc_id}))
        return n_removed or self._writer.delete_all([file])

    def _read(
        self, items: Sequence[BaseNode], settings: ReadSettings | None = None
    ) -> Iterator[SourceRecord | Problem]:
        roots = self._roots.places
        tell_of_twins(self._channels, items, roots)
        how, lettering = settings or self._settings, self._writer.lettering
        records = read_documents(items, settings=how, roots=roots)
        for item, record in zip(items, records, strict=True):
            if isinstance(record, SourceRecord):
                given = item.ref_doc_id or item.node_id  # not its whole document's
                self._stored_ids[given] = record.ref_doc_id
            yield record if lettering is None else lettering.added_to(record)

    def _learn(self) -> None:
        known = self._catalogue.roots(anew=True)
        known.pop(MEDIA, None)
        self._roots.places.update(places_of(known))
        ids = self._writer.ref_doc_ids()
        self._names = {each.partition("/")[0] for each in ids}

    def _remove_gone(
        self, start: Path, report: UpsertReport, before: list[str], allow_gone: bool
    ) -> None:
        """Remove documents whose files are gone, or say in the report why not."""
        root = self._roots.holding(start)
        if root is None:
            return
        gone = gone_of(self._channels, root, start, report, self._kinds)
        doubt = ""
        if gone and not allow_gone:
            doubt = doubt_of(self._catalogue, root, start, gone, report, before)
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


def _nothing() -> None:
    """Read no scans: a folder that is gone has none."""
