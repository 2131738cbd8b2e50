"""Tags of a PDF's page: its structure tree as blocks in their order.

The tree says what a paragraph, heading, list, table or figure is, and has the numbers
of the marked contents that it is drawn by. The whole document's may hang at every page:
what is on another page has no number there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pypdfium2
import pypdfium2.raw as pdfium

from llama_index_mmrag.readers.pdf.lines import lines_in
from llama_index_mmrag.readers.pdf.sections import Block, Kind
from llama_index_mmrag.readers.pdf.words import Word, asked
from llama_index_mmrag.readers.pdf.writing import Vocabulary, joined
from llama_index_mmrag.readers.writing import one_line, placed

_MOST_DEEP, _MOST_ELEMENTS = 60, 1_000_000
_MOST_SPANNED = 1_000
_MANY, _FEW = 500, 200
"""Children of one element; and those of other pages after which none of this comes."""

_HEADINGS = {"Title": 1, "H": 0, **{f"H{n}": n for n in range(1, 7)}}
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(_HEADINGS, "heading"),
    **dict.fromkeys(("P", "TOCI", "BlockQuote", "Code", "Formula", "Index"), "text"),
    "LI": "item",
    "Caption": "figure",
    **dict.fromkeys(("Note", "FENote"), "note"),
}
"""What is a block of its own; every other element is what is in it."""

_MOST_NAMED = 0.98
"""Of the characters: where fewer are, more of the tree is gone through."""
_HOLD_P = frozenset({"figure", "note"})

_Cell: TypeAlias = "tuple[str, int, int]"
"""A text, and over how many columns and rows it goes."""

_A, _N = ctypes.c_void_p, ctypes.c_int
_n_children = asked(pdfium.FPDF_StructElement_CountChildren, _N, _A)
_child_of = asked(pdfium.FPDF_StructElement_GetChildAtIndex, _A, _A, _N)
_mcid_in = asked(pdfium.FPDF_StructElement_GetChildMarkedContentID, _N, _A, _N)
_type_of = asked(
    pdfium.FPDF_StructElement_GetType, ctypes.c_ulong, _A, _A, ctypes.c_ulong
)
_alt_of = asked(
    pdfium.FPDF_StructElement_GetAltText, ctypes.c_ulong, _A, _A, ctypes.c_ulong
)


@dataclass(slots=True)
class Shown:
    """A figure of the tags."""

    block: Block
    """Where it stands: its caption, if it has one."""
    alt: str
    mcids: set[int] = field(default_factory=set)
    words: list[Word] = field(default_factory=list)
    """Its lettering."""


@dataclass(frozen=True, slots=True)
class Tags:
    """What a page's tags say."""

    blocks: list[Block]
    """In reading order; a figure has its caption's lines, and no link yet."""
    figures: list[Shown]
    rest: list[Word]
    """Words that no tag names, and that are no artifacts."""
    share: float
    """Of the characters that are no artifacts, those that tags name."""
    last: int
    """Which child of an element with many is the last one on this page."""


def tags_of(
    page: pypdfium2.PdfPage,
    number: int,
    words: Sequence[Word],
    known: Vocabulary,
    since: int = 0,
) -> Tags:
    """Return what a page's structure tree says of its words.

    Args:
        page: The page.
        number: Its own, from 1.
        words: What is written on it.
        known: Words that tell what a hyphen at a line's end is.
        since: `last` of the page before: a book has thousands of paragraphs, and those
            of a page follow each other. If they do not, all are gone through.
    """
    tags = _walked(page, number, words, known, since)
    if since and tags.share < _MOST_NAMED:
        return _walked(page, number, words, known, 0)
    return tags


def _walked(
    page: pypdfium2.PdfPage,
    number: int,
    words: Sequence[Word],
    known: Vocabulary,
    since: int,
) -> Tags:
    walk = _Walk(number, words, known, since)
    tree = pdfium.FPDF_StructTree_GetForPage(page.raw)
    if tree:
        try:
            for i in range(pdfium.FPDF_StructTree_CountChildren(tree)):
                child = pdfium.FPDF_StructTree_GetChildAtIndex(tree, i)
                if child:
                    walk.element(ctypes.cast(child, _A).value or 0, 0)
        finally:
            pdfium.FPDF_StructTree_Close(tree)
    own = [word for word in words if not word.style.is_artifact]
    rest = [word for word in own if word.style.mcid not in walk.named]
    n_all, n_rest = (sum(len(word.text) for word in some) for some in (own, rest))
    share = 1 - n_rest / n_all if n_all else 0.0
    return Tags(walk.finished(), walk.figures, rest, share, walk.last)


class _Walk:
    """Goes through the tree of one page."""

    def __init__(
        self, page: int, words: Sequence[Word], known: Vocabulary, since: int
    ) -> None:
        self.last = self._since = since
        self.named: set[int] = set()
        self.figures: list[Shown] = []
        self._page = page
        self._known = known
        self._words: dict[int, list[Word]] = {}
        for word in words:
            self._words.setdefault(word.style.mcid, []).append(word)
        self._blocks: list[tuple[Block, list[Word]]] = []
        self._block: tuple[Block, list[Word]] | None = None
        self._figure: Shown | None = None
        self._is_cell = False
        self._n_lists = 0
        self._n_elements = 0

    def finished(self) -> list[Block]:
        """Return the blocks that have something on this page."""
        made = []
        for block, words in self._blocks:
            block.lines = lines_in(words)
            if block.lines or block.kind in ("figure", "table"):
                made.append(block)
        return made

    def element(self, element: int, depth: int) -> None:
        """Go through an element and all in it."""
        self._n_elements += 1
        if depth > _MOST_DEEP or self._n_elements > _MOST_ELEMENTS:
            return
        name = _text(_type_of, element)
        if name == "Table" and not self._is_cell:
            self._table(element, depth)
        elif name == "Figure":
            self._show(element, depth)
        elif name == "Lbl" and self._is_of("item"):
            self._mark(element, depth)
        elif name in _KINDS and not (self._is_cell or self._is_inner(name)):
            block = Block(_KINDS[name], self._page, level=_HEADINGS.get(name, 0))
            with self._within(block, self._figure if name != "Caption" else None):
                self._through(element, depth)
        else:
            self._n_lists += name == "L"
            with self._within(None, self._figure):
                self._through(element, depth)
            self._n_lists -= name == "L"

    def _through(self, element: int, depth: int) -> None:
        n = _n_children(element)
        is_large = n > _MANY
        first = min(self._since, n) if is_large else 0
        last = n
        for i in range(first, n):
            if child := _child_of(element, i):
                last = i
                self.element(child, depth + 1)
            elif (mcid := _mcid_in(element, i)) >= 0:
                self._say(mcid)
            elif self._block is not None and not self._block[1]:
                self._block[0].goes_on = True
            elif first and i > last + _FEW:
                break
        if is_large and last < n:
            self.last = last

    @contextmanager
    def _within(self, block: Block | None, figure: Shown | None) -> Iterator[None]:
        """Have what comes be of a block; None: of that which is there, if any."""
        before = self._block, self._figure
        if block is not None:
            self._block = block, []
            self._blocks.append(self._block)
        self._figure = figure
        yield
        self._block, self._figure = before

    def _is_of(self, kind: Kind) -> bool:
        """Return whether what comes begins a block of a kind."""
        block, words = self._block or (None, [])
        return block is not None and block.kind == kind and not words

    def _is_inner(self, name: str) -> bool:
        """Return whether an element is no block of its own: P in an item, or note."""
        is_within = self._block is not None and self._block[0].kind in _HOLD_P
        return name == "P" and (is_within or self._is_of("item"))

    def _name(self, mcid: int) -> None:
        if mcid >= 0:
            self.named.add(mcid)

    def _say(self, mcid: int) -> None:
        self._name(mcid)
        words = self._words.get(mcid, [])
        if self._figure is not None:
            self._figure.mcids.add(mcid)
            self._figure.words += words
            return
        if self._block is None and words:
            self._block = Block("text", self._page), []
            self._blocks.append(self._block)
        if self._block is not None:
            self._block[1].extend(words)

    def _mark(self, element: int, depth: int) -> None:
        """Take what stands before a list's item."""
        block, _ = self._block or (Block("item", self._page), [])
        words: list[Word] = []
        self._block = block, words
        self._through(element, depth)
        said = one_line(joined(lines_in(words), self._known)[0])
        is_number = any(map(str.isalnum, said))
        block.mark = "  " * (self._n_lists - 1) + (f"{said} " if is_number else "- ")
        self._block = next(one for one in self._blocks if one[0] is block)

    def _show(self, element: int, depth: int) -> None:
        """Take a figure, or some in one with a caption."""
        n_figures, n_blocks = len(self.figures), len(self._blocks)
        alt = one_line(_text(_alt_of, element))
        shown = Shown(Block("figure", self._page), alt)
        with self._within(shown.block, shown):
            self._through(element, depth)
        if shown.mcids:
            self.figures.append(shown)
        its = self._blocks[n_blocks:]
        captions = [block for block, words in its if words and block.kind == "figure"]
        for one in self.figures[n_figures:]:
            one.alt = one.alt or alt
            one.block = captions[0] if captions else one.block

    def _table(self, element: int, depth: int) -> None:
        table = Block("table", self._page)
        rows: list[list[_Cell]] = []
        with self._within(None, None):
            self._block, self._is_cell = None, True
            self._rows(element, depth, table, rows)
            self._is_cell = False
        table.rows = [
            [row[x][0] if x in row else "" for x in range(max(row, default=-1) + 1)]
            for row in placed(rows, lambda cell: cell[1:])
        ]
        if rows:
            self._blocks.append((table, []))

    def _rows(
        self, element: int, depth: int, table: Block, rows: list[list[_Cell]]
    ) -> None:
        """Add the rows of a table that are on this page."""
        for i in range(_n_children(element)):
            child, mcid = _child_of(element, i), _mcid_in(element, i)
            self._name(mcid)  # of what is drawn around it
            name = _text(_type_of, child) if child else ""
            if not (child or rows) and mcid < 0:
                table.goes_on = True
            if name == "TR" and child:
                n_named = len(self.named)
                cells = list(self._cells(child, depth))
                if len(self.named) > n_named:
                    rows.append(cells)
                elif not rows:
                    table.goes_on = True
            elif name == "Caption" and child:
                self._is_cell = False
                self.element(child, depth + 1)
                self._is_cell = True
            elif child and depth < _MOST_DEEP:
                self._rows(child, depth + 1, table, rows)

    def _cells(self, row: int, depth: int) -> Iterator[_Cell]:
        for i in range(_n_children(row)):
            self._name(_mcid_in(row, i))
            if cell := _child_of(row, i):
                words: list[Word] = []
                self._block = Block("text", self._page), words
                self._through(cell, depth + 1)
                said = one_line(joined(lines_in(words), self._known)[0])
                yield said, _span(cell, b"ColSpan"), _span(cell, b"RowSpan")


def _span(cell: int, name: bytes) -> int:
    element, number = ctypes.cast(cell, pdfium.FPDF_STRUCTELEMENT), ctypes.c_float(1)
    for i in range(pdfium.FPDF_StructElement_GetAttributeCount(element)):
        its = pdfium.FPDF_StructElement_GetAttributeAtIndex(element, i)
        value = pdfium.FPDF_StructElement_Attr_GetValue(its, name)
        if value and pdfium.FPDF_StructElement_Attr_GetNumberValue(value, number):
            return int(min(max(number.value, 1), _MOST_SPANNED))
    return 1


def _text(said_of: Callable[..., Any], element: int) -> str:
    """Return a text that an element has."""
    n_bytes = said_of(element, None, 0)
    if n_bytes <= 2:
        return ""
    said = ctypes.create_string_buffer(n_bytes)
    said_of(element, ctypes.addressof(said), n_bytes)
    return said.raw[:-2].decode("utf-16-le", "replace")
