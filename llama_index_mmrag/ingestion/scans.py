"""Scans: pages of documents that are pictures, read by an engine where it is asked for.

A reader of files hands over a section without words for each. A run takes what was read
before; after everything else it reads on, page by page, and makes the documents anew.
"""

from __future__ import annotations

import re
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from tqdm.auto import tqdm

from llama_index_mmrag.errors import DocumentUnreadable, ImageUnreadable
from llama_index_mmrag.ingestion.engine import SCANS, Engine
from llama_index_mmrag.ingestion.linked import TEXT
from llama_index_mmrag.ingestion.records import (
    Item,
    Kept,
    Problem,
    ReadSettings,
    SourceRecord,
    UpsertReport,
)
from llama_index_mmrag.ingestion.roots import HOLDS_FILES, holders_of
from llama_index_mmrag.lettering import Line, PictureReader, confident
from llama_index_mmrag.nodes.node import (
    KIND_KEY,
    READ_BY_KEY,
    SCAN,
    modality_of,
)
from llama_index_mmrag.nodes.shown import source_of
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.kinds import CHILD_READERS
from llama_index_mmrag.readers.page import Caption, Page, PictureLink, Section
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.format import ReaderCard

SCANNED = frozenset({".pdf", HOLDS_FILES})
"""Suffixes, in lower case, of files that may hold scans."""

_FAILED = "unreadable scans"
"""Under what a catalogue keeps why a page was not read: it is not tried again."""

Draw = Callable[[int], bytes]
"""Returns the picture of a page, by its number from 1."""


class Scans(Engine):
    """What reads the scans of one index.

    Args:
        card: As for `Engine`, and so are the next two.
        catalogue: As there.
        reader: As there.
        is_anew: Whether what is stored is to be read anew.

    Attributes:
        texts: The channel of texts that they go to.
        n_read: Pages that were read in the run.
        seconds: That took.
    """

    reads = SCANS
    texts: Channel

    def __init__(
        self,
        card: ReaderCard,
        catalogue: Catalogue,
        reader: PictureReader | None = None,
        *,
        is_anew: bool = False,
    ) -> None:
        super().__init__(card, catalogue, reader)
        self.n_read, self.seconds, self._is_behind = 0, 0.0, False
        self._is_anew = is_anew
        self._behind: dict[str, int] = {}
        self._until: float | None = None
        self._bar: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.card, self._catalogue)

    @contextmanager
    def reading(
        self, minutes: float | None, n_pages: int, *, show_progress: bool
    ) -> Iterator[None]:
        """Read what is not known, until a page ends after so many minutes."""
        began, self.n_read = time.monotonic(), 0
        self._until = began + (float("inf") if minutes is None else minutes * 60)
        how = {"unit": "page", "disable": not show_progress}
        with tqdm(total=n_pages, desc="Reading scans", **how) as self._bar:
            try:
                yield
            finally:
                self.seconds, self._until = time.monotonic() - began, None

    def lines(
        self, key: str, page: int, draw: Draw, problems: list[str]
    ) -> list[Line] | None:
        """Return what was or is read on a page; None: nothing was, and it is not now.

        Args:
            key: Names what is on it.
            page: Its number.
            draw: Returns its picture.
            problems: What could not be read is added.
        """
        if (known := self.known(key)) is not None:
            return known
        _, _, *maker = self._row(key)
        told = self._catalogue.derived_text(key, _FAILED, *maker)
        if told is None:
            # One at least, or a run of a few seconds would get nowhere.
            is_late = self.n_read and time.monotonic() >= (self._until or 0)
            if self._until is None or is_late:
                self._is_behind = True
                return None
            self.n_read += 1
            self._bar.update()
            try:
                return self.lines_in(key, lambda: draw(page))
            except ImageUnreadable as error:
                told = str(error)
                self._catalogue.set_derived_text(key, _FAILED, *maker, told)
        problems.append(f"p. {page}: its words were not read: {told}")
        return None

    def losing_nothing(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; in place of a record that would lose pages, what stays.

        What was read is in its collection alone where the catalogue is not there any
        more, and of a changed file it is better than nothing: it stays until the file's
        pages are read, those at least that can be.
        """
        for item in items:
            yield (isinstance(item, SourceRecord) and self._instead_of(item)) or item

    def _instead_of(self, record: SourceRecord) -> Kept | Problem | None:
        document = record.ref_doc_id
        texts = [n for n in _texts(record.nodes) if READ_BY_KEY not in n.metadata]
        self._behind.pop(document, None)
        was_behind, self._is_behind = self._is_behind, False
        if not (texts and was_behind):
            return None
        collection, its = self.texts.collection, [document, *record.attached]
        stored = collection.nodes(collection.ids_of_documents(its))
        read = _pages(n for n in _texts(stored) if READ_BY_KEY in n.metadata)
        unread = _pages(texts)[document]
        if not unread & read.get(document, set()):
            return None
        self._behind[document] = n_pages = len(unread)
        if self._until is None:
            return Kept(document, len(stored), ())
        return Problem(
            source_of(texts[0]),
            f"{n_pages} of its pages are scans that were not read yet. What was read "
            f"in the file before stays: index it again, to read on.",
        )

    def pages_to_read(
        self, texts: Channel, documents: Collection[str]
    ) -> dict[str, int]:
        """Return how many pages of documents are to be read, as far as that is known.

        Args:
            texts: The channel of their texts.
            documents: Their ids.
        """
        mine = MetadataFilter(
            key=READ_BY_KEY, value=self.read_by, operator=FilterOperator.NE
        )
        all_ = [] if self._is_anew else [_UNREAD, mine]
        found = _pages_of(texts, documents, *all_)
        behind = {d: n for d, n in self._behind.items() if d in documents}
        return dict(sorted((found | behind).items()))


_UNREAD = MetadataFilter(key=READ_BY_KEY, value=None, operator=FilterOperator.IS_EMPTY)


def read_left(  # noqa: PLR0913, PLR0917 - what is read, by what, and what is told
    scans: Scans | None,
    texts: Channel,
    files: Mapping[str, Path],
    report: UpsertReport,
    write: Callable[[tuple[Path, ...]], UpsertReport],
    *,
    minutes: float | None,
    show_progress: bool,
) -> None:
    """Read scans as far as there is time, and count what is left.

    Args:
        scans: What reads them; None: nothing does.
        texts: The channel of their texts.
        files: Those that may hold some, by document.
        report: What was done of them so far; what is done is added.
        write: Makes documents of files anew, and writes them.
        minutes: As for `ReadSettings.scan_minutes`.
        show_progress: Show a progress bar.

    Raises:
        CollectionMismatch, InvalidSetting, MissingExtra: As of `Engine.reader`.
        ReaderUnusable: The engine reads no page.
    """
    if scans and (pages := scans.pages_to_read(texts, files)):
        _ = scans.reader  # one that is missing is told once, and not of each file
        n_pages = sum(pages.values())
        with scans.reading(minutes, n_pages, show_progress=show_progress):
            report.add(write(tuple(files[document] for document in pages)))
        report.n_pages_read, report.scan_s = scans.n_read, scans.seconds
    unread = _pages_of(texts, files, _UNREAD)
    report.n_pages_unread = sum(unread.values())


def _pages_of(
    texts: Channel, documents: Collection[str], *one_of: MetadataFilter
) -> dict[str, int]:
    asked: list[Any] = [MetadataFilter(key=KIND_KEY, value=SCAN)]
    if one_of:
        either = FilterCondition.OR
        asked.append(MetadataFilters(filters=[*one_of], condition=either))
    pages = _pages(texts.collection.nodes_where(MetadataFilters(filters=asked)))
    return {one: len(its) for one, its in pages.items() if one in documents}


def _texts(nodes: Iterable[BaseNode]) -> Iterator[BaseNode]:
    """Yield the texts of scans among nodes, and those that stand for them."""
    for node in nodes:
        if node.metadata.get(KIND_KEY) == SCAN and modality_of(node) == TEXT:
            yield node


def _pages(texts: Iterable[BaseNode]) -> dict[str, set[tuple[str, int]]]:
    """Return which pages texts of scans stand on, by the document of their file."""
    pages: dict[str, set[tuple[str, int]]] = {}
    for node in texts:
        document, first = node.ref_doc_id or "", node.metadata.get("page")
        last = node.metadata.get("page_end", first)
        if type(first) is type(last) is int:  # else it is a user's own of this kind
            its = {(document, page) for page in range(first, last + 1)}
            pages.setdefault((*holders_of(document), document)[0], set()).update(its)
    return pages


def forget_scans(catalogue: Catalogue) -> None:
    """Forget what was read in scans, and what could not be."""
    for kind in (SCANS.name, _FAILED):
        catalogue.forget_derived_texts(kind)


def is_scan(section: Section) -> bool:
    """Return whether a reader of files left it to an engine to read this."""
    return section.about.get(KIND_KEY) == SCAN and not section.text


def with_scans(page: Page, name: str, scans: Scans | None, draw: Draw) -> Page:
    """Return a document's page with the words of its scans, as far as they are known.

    Pages that nobody has read, one after another, are one text: what the document is
    called.

    Args:
        page: As its reader made it.
        name: The document's.
        scans: What reads; None: nothing does.
        draw: Returns the picture of a page.
    """
    from llama_index_mmrag.readers.scanned import text_of  # needs what reads PDF files

    sections: list[Section] = []
    problems = [*page.problems]
    run: Section | None = None  # of pages that nobody has read: the last section
    for section in page.sections:
        if not is_scan(section):
            sections.append(section)
            run = None
            continue
        shown = tuple(map(_unread, section.pictures))
        number, key = section.about["page"], str((section.name or ("",))[-1])
        lines = scans.lines(key, number, draw, problems) if scans else None
        if scans and lines is not None:
            text, places = text_of(confident(lines), number)
            about = {**section.about, READ_BY_KEY: scans.read_by}
            read = replace(section, text=text, places=places, about=about)
            sections += [replace(read, pictures=shown)] if text or shown else []
            run = None
            continue
        if run and run.headings == section.headings:
            about = {**run.about, "page_end": number}
            run = replace(run, about=about, pictures=(*run.pictures, *shown))
            sections[-1] = run
        else:
            text = _called(name, page.metadata, section.headings)
            run = replace(section, text=text, pictures=shown)
            sections.append(run)
    return replace(page, sections=tuple(sections), problems=tuple(problems))


def drawn(file: Path, child: Child, settings: ReadSettings, page: int) -> bytes:
    """Return the picture of a page, from 1, for an engine to read.

    Raises:
        ImageUnreadable: It cannot be drawn.
    """
    module = CHILD_READERS[file.suffix.lower()].module
    how = How(most_bytes=settings.limits.file_bytes, drawn=page)
    try:
        made = child.page(file, module, how)
    except DocumentUnreadable as error:
        raise ImageUnreadable(str(error)) from error
    pictures = (picture for section in made.sections for picture in section.pictures)
    return next(p.data for p in pictures if isinstance(p, PictureLink) and p.data)


def _unread(picture: Caption | PictureLink) -> Caption | PictureLink:
    """Return a page's picture, of which is not said what its words are."""
    return replace(picture, about={**picture.about, READ_BY_KEY: "", "page_end": ""})


def _called(name: str, said: Mapping[str, Any], headings: Sequence[str]) -> str:
    """Return what a document is called, with the folders that it is in."""
    folder, _, file = name.rpartition("/")
    title = str(said.get("title") or "")
    parts = (title, *(re.sub(r"[/_]+", " ", s) for s in (file, folder)))
    return "\n".join(dict.fromkeys(p for p in parts if p and p not in headings))
