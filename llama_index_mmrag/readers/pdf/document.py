"""PDF: sections of text and pictures, page by page.

A tagged file says its order, headings, tables and captions itself; of others, and where
the tags leave out more than a tenth of a page, the places of its characters tell.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pypdfium2
import pypdfium2.raw as pdfium

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.files.reading import check_regular
from llama_index_mmrag.readers.cpu import at_most
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Page, Section
from llama_index_mmrag.readers.pdf.boxes import displayed
from llama_index_mmrag.readers.pdf.drawn import drawn, scan_of
from llama_index_mmrag.readers.pdf.figures import (
    Figure,
    figures_of,
    marks_on,
    repeated_in,
)
from llama_index_mmrag.readers.pdf.headings import Headings
from llama_index_mmrag.readers.pdf.layout import Layout
from llama_index_mmrag.readers.pdf.lines import lines_in
from llama_index_mmrag.readers.pdf.margins import Running
from llama_index_mmrag.readers.pdf.objects import Sheet
from llama_index_mmrag.readers.pdf.sections import MOST_HEADING, Block, Sections
from llama_index_mmrag.readers.pdf.tables import tables_of
from llama_index_mmrag.readers.pdf.tagged import blocks_tagged, lines_tagged
from llama_index_mmrag.readers.pdf.tags import tags_of
from llama_index_mmrag.readers.pdf.words import Text, text_of
from llama_index_mmrag.readers.pdf.writing import Vocabulary
from llama_index_mmrag.readers.writing import one_line

Made = TypeVar("Made")

_SAMPLED = 24
"""Pages that are read first: they tell the size of the text, and what repeats."""
_MOST_JUNK = 1 << 20
"""Bytes before the file's header that are passed over."""
_MOST_COPIED = 256 << 20
_OBJECT = re.compile(rb"\b(\d{1,7}) 0 obj\b")
_PAGE = re.compile(
    rb"\b(\d{1,7}) 0 obj\b(?:(?!endobj|stream).){0,4000}?/Type\s*/Page\b", re.DOTALL
)
_TAGGED = 0.9
"""Of the characters that tags must name, to be gone by."""
_MOST_NAMED = 20
"""Pages that a problem names: one is said once of a file, with how many it has."""
_LEAST_CHARACTERS, _MOST_UNMAPPED, _HALF = 10, 0.2, 0.5
_DATE = re.compile(
    r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?)?"
)
_NO_TITLE = re.compile(
    r"untitled.*|\(.*\)|microsoft word.*|"
    r".*\.(?:docx?|pptx?|xlsx?|indd|qxd|tex|dvi|pdf|html?)",
    re.IGNORECASE,
)
_NO_NAME = re.compile(r"\((?:anonymous|unspecified)\)|unknown", re.IGNORECASE)


def read(file: Path, how: How) -> Page:
    """Return the page in a PDF; its sections are made as they are asked for.

    Raises:
        DocumentUnreadable: It cannot be opened: missing, too large, locked, damaged, no
            PDF, or without pages.
    """
    problems: list[str] = []
    document = _opened(file, how, problems)
    if how.drawn:
        return Page((drawn(document, how.drawn),))
    n_pages = min(len(document), how.pages)
    if len(document) > n_pages:
        problems.append(
            f"it has {len(document):,} pages, of which the first {n_pages:,} are read. "
            f"Split it, or raise ReadLimits.pages."
        )
    for n in range(document.count_attachments()):
        name = document.get_attachment(n).get_name()
        problems.append(
            f"{name[:200]!r} is attached to it and left out. Save it beside the file."
        )
    metadata = _metadata(document)
    has_labels = any(map(document.get_page_label, range(min(n_pages, _SAMPLED))))
    labels = map(document.get_page_label, range(n_pages)) if has_labels else ()
    return Page(
        _Pages(document, n_pages, how, problems).sections(metadata.get("title", "")),
        metadata,
        problems,
        tuple(labels),
    )


def is_scan(page: pypdfium2.PdfPage, text: Text) -> bool:
    """Return whether a page is a picture of text, or its text cannot be known.

    That is fewer than 10 characters, and pictures over half of it; or more than a fifth
    of the characters do not say what they mean. An invisible layer that does is text.
    """
    if text.unmapped > _MOST_UNMAPPED:
        return True
    if text.n_chars >= _LEAST_CHARACTERS:
        return False
    share = displayed(page)
    covered = 0.0
    for picture in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]):
        x0, y0, x1, y1 = (min(max(at, 0), 1) for at in share(*picture.get_bounds()))
        covered += (x1 - x0) * (y1 - y0)
    return covered >= _HALF


def _sampled(page: pypdfium2.PdfPage) -> tuple[Text, frozenset[bytes]]:
    return text_of(page), marks_on(page)


class _Pages:
    """Reads one page after another."""

    def __init__(
        self,
        document: pypdfium2.PdfDocument,
        n_pages: int,
        how: How,
        problems: list[str],
    ) -> None:
        self._document = document
        self._n_pages = n_pages
        self._how = how
        self._problems = problems
        self._left_out: dict[str, dict[int, None]] = {}
        self._known = Vocabulary()
        self._is_tagged = document.is_tagged()
        self._last_tag = 0
        self._has_no_scan = True

    def sections(self, title: str) -> Iterator[Section]:
        """Yield the sections of all pages."""
        step = max(1, -(-self._n_pages // _SAMPLED))
        sampled = range(1, self._n_pages + 1, step)
        texts = {n: self._within(n, _sampled) for n in sampled}
        found = [its for its in texts.values() if its is not None]
        self._repeated = repeated_in([marks for _, marks in found])
        samples = [lines_in(text.words) for text, _ in found]
        every = [line for lines in samples for line in lines]
        self._running = Running(samples)
        self._known.learn(every)
        self._headings = Headings(self._document, every)
        self._layout = Layout(self._headings, self._known)
        del samples, every, found
        made = Sections(self._known, title)
        for n in range(1, self._n_pages + 1):
            its = texts.pop(n, (None, None))
            if its is not None:  # or else it was told that it is left out
                read = partial(self._blocks, n, its[0])
                for block in self._within(n, read) or ():
                    yield from made.add(block)
        yield from made.end()
        for why, pages in self._left_out.items():
            named = ", ".join(map(str, sorted(pages)[:_MOST_NAMED]))
            more = len(pages) - _MOST_NAMED
            also = f" and {more:,} more" if more > 0 else ""
            self._problems.append(f"p. {named}{also}: {why}")

    def _within(self, n: int, made: Callable[[pypdfium2.PdfPage], Made]) -> Made | None:
        """Return what is made of a page; None: it cannot be read, which is told."""
        began = time.monotonic()
        try:
            # What never comes back from C ends the process: no exception reaches there.
            with at_most(2 * self._how.page_s):
                page = self._document[n - 1]
                try:
                    it = made(page)
                finally:
                    page.close()
        except pypdfium2.PdfiumError as error:
            self._leave_out(n, f"damaged and left out ({error}). Replace the file.")
            return None
        if time.monotonic() - began > self._how.page_s:
            self._leave_out(
                n,
                f"it took longer than {self._how.page_s:g} s and is left out. Raise "
                f"ReadLimits.page_s.",
            )
            return None
        return it

    def _leave_out(self, n: int, why: str) -> None:
        self._left_out.setdefault(why, {})[n] = None

    def _blocks(
        self, n: int, text: Text | None, page: pypdfium2.PdfPage
    ) -> list[Block]:
        """Return what stands on a page, in reading order."""
        if not pdfium.FPDFPage_CountObjects(page.raw):
            return []
        text = text or text_of(page)
        if is_scan(page, text):
            self._layout.end()
            scan = scan_of(page, n, self._how, is_first=self._has_no_scan)
            self._has_no_scan = False
            return [Block("scan", n, scan=scan)]
        tags = None
        if self._is_tagged:
            tags = tags_of(page, n, text.words, self._known, self._last_tag)
            self._last_tag = tags.last
        if tags is None or tags.share < _TAGGED:
            lines = self._running.without(lines_in(text.words))
            self._known.learn(lines)
            sheet = Sheet(page, lines)
            tables = tables_of(sheet, self._known)
            figures = self._figures(n, sheet, tables=tables)
            return self._layout.blocks(n, lines, figures, tables)
        self._layout.end()
        lines = self._running.without(lines_tagged(tags))
        self._known.learn(lines)
        tagged = [frozenset(shown.mcids) for shown in tags.figures]
        figures = self._figures(n, Sheet(page, lines), tagged=tagged)
        return blocks_tagged(n, lines, tags, figures, self._headings, self._known)

    def _figures(self, n: int, sheet: Sheet, **told: Any) -> list[Figure]:
        return figures_of(
            sheet,
            self._how,
            repeated=self._repeated,
            left_out=partial(self._leave_out, n),
            **told,
        )


def _opened(file: Path, how: How, problems: list[str]) -> pypdfium2.PdfDocument:
    try:
        check_regular(file)
        n_bytes = file.stat().st_size
        with file.open("rb") as opened:
            start = opened.read(_MOST_JUNK)
    except (OSError, ValueError) as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {error}. Check the file."
        ) from error
    junk = start.find(b"%PDF-")
    if n_bytes > how.most_bytes or junk > 0 and n_bytes > _MOST_COPIED:
        most = _MOST_COPIED if junk > 0 else how.most_bytes
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: it has more than {most:,} bytes. Split it, or "
            f"raise ReadLimits.file_bytes."
        )
    if junk < 0:
        said = "it is empty" if not start.strip() else "it is no PDF"
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {said}, its header is missing. Replace it."
        )
    try:
        document = _repaired(file, junk, problems)
        n_pages = len(document)
    except (pypdfium2.PdfiumError, OSError) as error:
        if "password" in str(error).lower():
            why = "it is locked with a password. Save it without one"
        else:
            why = f"it is damaged ({error}). Open it in a viewer and save it anew"
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {why}, or leave it out."
        ) from error
    if not n_pages:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: it has no pages, or they are damaged. Open it "
            f"in a viewer and save it anew, or leave it out."
        )
    return document


def _repaired(file: Path, junk: int, problems: list[str]) -> pypdfium2.PdfDocument:
    """Return a document; of the pages that are left, if it does not say its pages."""
    data = file.read_bytes()[junk:] if junk else None
    try:
        document = pypdfium2.PdfDocument(file if data is None else data)
        if len(document) or file.stat().st_size > _MOST_COPIED:
            return document
    except pypdfium2.PdfiumError as error:
        if "format" not in str(error) or file.stat().st_size > _MOST_COPIED:
            raise
    data = file.read_bytes()[junk:] if data is None else data
    pages = [b"%b 0 R" % found[1] for found in _PAGE.finditer(data)]
    first = 1 + max((int(n) for n in _OBJECT.findall(data)), default=0)
    added = (
        b"<</Type/Catalog/Pages %d 0 R>>" % (first + 1),
        b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(pages), b" ".join(pages)),
    )
    data += b"\nendstream\nendobj\n"
    for n, said in enumerate(added, first):
        data += b"%d 0 obj%bendobj\n" % (n, said)
    data += b"trailer<</Root %d 0 R/Size %d>>\n%%%%EOF" % (first, first + 2)
    problems.append(
        f"it is damaged and does not say its pages: {len(pages)} were found, in the "
        f"order in which they are written. Open it in a viewer and save it anew."
    )
    return pypdfium2.PdfDocument(data)


def _metadata(document: pypdfium2.PdfDocument) -> dict[str, str]:
    said = {key: one_line(it) for key, it in document.get_metadata_dict().items()}
    title, author = said.get("Title", ""), said.get("Author", "")
    n_bytes = pdfium.FPDFCatalog_GetLanguage(document.raw, None, 0)
    its = (ctypes.c_ushort * (n_bytes // 2 + 1))()
    pdfium.FPDFCatalog_GetLanguage(document.raw, its, n_bytes)
    language = bytes(its).decode("utf-16-le", "replace").rstrip("\0")
    found = {
        "title": "" if _NO_TITLE.fullmatch(title) else title,
        "author": "" if _NO_NAME.fullmatch(author) else author,
        "created_at": _moment(said.get("CreationDate", "")),
        "language": one_line(language),
    }
    return {key: it for key, it in found.items() if 0 < len(it) <= MOST_HEADING}


def _moment(said: str) -> str:
    """Return a date of PDF's as ISO 8601; "": it is none."""
    found = _DATE.match(said)
    if found is None:
        return ""
    year, month, day, hour, minute, second, sign, hours, minutes = found.groups()
    zone = f"{sign}{hours}:{minutes or '00'}" if sign else ""
    try:
        return datetime.fromisoformat(
            f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:"
            f"{second or '00'}{zone}"
        ).isoformat()
    except ValueError:
        return ""
