"""Lines of a PDF's page: words from the boxes of their characters, lines from words.

Coordinates are shares of the page as it is displayed, turned and cropped, from its top
left; sizes of type are in points.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pypdfium2
import pypdfium2.raw as pdfium

from llama_index_mmrag.readers.page import Box

_object_at = ctypes.cast(
    pdfium.FPDFText_GetTextObject,
    ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
)
"""As pypdfium2 has it, but with an address that can be compared."""

_BOLD = re.compile("bold|black|heavy|demi|extrab|ultrab", re.IGNORECASE)
_FORCED_BOLD = 1 << 18  # a font's flags, PDF 32000-1, table 123

LIGATURES = {
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl",
    0xFB05: "st", 0xFB06: "st",
}  # fmt: skip
_HYPHEN_AT_END = 2
"""What PDFium makes of a hyphen between two lines."""

_SPACE, _NO_BREAK = 32, 0xA0

_WORD_GAP = 0.15
"""Ems between two words that were written apart: TeX sets them .22 apart at least."""
_LEVEL, _RAISED = 0.3, 0.6
"""Ems by which baselines of one line differ, and that of a smaller word, raised."""


@dataclass(frozen=True, slots=True)
class Style:
    """How words look: what one text object says of itself."""

    size: float
    """Points, as displayed."""
    em: tuple[float, float]
    """The size as shares of the page: along its lines, and across them."""
    turn: int
    """Quarter turns, clockwise as displayed, from upright."""
    is_bold: bool
    mcid: int
    """Its marked content; -1: none."""
    is_artifact: bool
    """Marked as no part of the document, such as a running head."""


@dataclass(frozen=True, slots=True)
class Word:
    """Characters without a space between them, in one style."""

    text: str
    box: Box
    baseline: float
    """Where it stands: y of an upright word, x of one that was turned."""
    style: Style
    is_apart: bool
    """Whether a space was written before it."""

    def follows(self, other: Word, most_gap: float = 1.6) -> bool:
        """Return whether it stands in another's line, at most so many ems after it."""
        one, its = other.style, self.style
        if one.turn != its.turn:
            return False
        em = max(one, its, key=lambda style: style.size).em
        # A smaller one may be raised or lowered.
        is_smaller = min(one.size, its.size) < 0.9 * max(one.size, its.size)
        off = abs(other.baseline - self.baseline)
        if off > em[1] * (_RAISED if is_smaller else _LEVEL):
            return False
        return -_LEVEL <= self.gap(other) / em[0] <= most_gap

    def gap(self, other: Word) -> float:
        """Return how far after another of its line it begins, a share of the page."""
        turn = self.style.turn
        if turn < 2:
            return self.box[turn] - other.box[turn + 2]
        return other.box[turn - 2] - self.box[turn]


@dataclass(frozen=True, slots=True)
class Line:
    """Words beside each other."""

    text: str
    box: Box
    """Shares of the page as displayed."""
    size: float
    """Points: that of most of its characters."""
    is_bold: bool
    """Whether most of its characters are."""
    words: tuple[Word, ...] = field(repr=False, default=())
    """In reading order."""

    @property
    def turn(self) -> int:
        """Quarter turns, clockwise, from upright."""
        return self.words[0].style.turn if self.words else 0


def lines_of(page: pypdfium2.PdfPage) -> list[Line]:
    """Return a page's lines, in the order in which the file draws them.

    One column's line is one line; what stands in the next column is another. Characters
    outside of the crop box are left out.
    """
    return [line_of(run) for run in _runs(words_of(page))]


def words_of(page: pypdfium2.PdfPage) -> list[Word]:
    """Return a page's words, in the order in which the file draws them."""
    text = page.get_textpage()
    try:
        return list(_Reader(page, text).words())
    finally:
        text.close()


def line_of(words: Iterable[Word]) -> Line:
    """Return the line of words that stand beside each other, in reading order."""
    run = tuple(words)
    said = run[0].text
    for before, word in pairwise(run):
        is_apart = word.is_apart or word.gap(before) > _WORD_GAP * word.style.em[0]
        said += f" {word.text}" if is_apart else word.text
    by_size: dict[float, int] = {}
    for word in run:
        size = round(word.style.size, 1)
        by_size[size] = by_size.get(size, 0) + len(word.text)
    n_bold = sum(len(word.text) for word in run if word.style.is_bold)
    n_all = sum(len(word.text) for word in run)
    return Line(
        said,
        around(word.box for word in run),
        max(by_size, key=lambda size: (by_size[size], size)),
        n_bold * 2 > n_all,
        run,
    )


def around(boxes: Iterable[Box]) -> Box:
    """Return the smallest box around some, of which there is one at least."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def displayed(page: pypdfium2.PdfPage) -> Callable[[float, float, float, float], Box]:
    """Return what maps a box in a page's own points to one as displayed.

    It takes left, bottom, right, top. What is outside of the page is less than 0 or
    more than 1.
    """
    left, bottom, right, top = page.get_bbox()
    wide, high = max(right - left, 1e-6), max(top - bottom, 1e-6)
    turn = page.get_rotation() // 90

    def share(x0: float, y0: float, x1: float, y1: float) -> Box:
        a, c = (x0 - left) / wide, (x1 - left) / wide
        b, d = (top - y1) / high, (top - y0) / high
        if turn == 1:
            return 1 - d, a, 1 - b, c
        if turn == 2:
            return 1 - c, 1 - d, 1 - a, 1 - b
        return (b, 1 - c, d, 1 - a) if turn == 3 else (a, b, c, d)

    return share


class _Reader:
    """Takes a page's characters apart into words."""

    def __init__(self, page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage) -> None:
        self._text = text
        self._share = displayed(page)
        self._turn = page.get_rotation() // 90
        self._fonts: dict[int, bool] = {}
        self._rect = pdfium.FS_RECTF()
        self._at = ctypes.byref(self._rect)
        self._address = 0
        self._size = page.get_size()
        self._looks_now: tuple[Style, float] | None = None

    def words(self) -> Iterator[Word]:
        raw, unicode_of = self._text.raw, pdfium.FPDFText_GetUnicode
        first, last, is_apart, is_cut = 0, 0, False, False
        chars: list[str] = []
        for i in range(self._text.count_chars()):
            address = _object_at(raw, i)
            code = unicode_of(raw, i)
            char = chr(code)
            is_blank = not address or (char.isspace() and code != _NO_BREAK)
            if chars and (is_blank or address != last):
                yield from self._word(first, i - 1, last, chars, is_apart)
                chars, is_apart = [], False
            if not address:  # made up by PDFium: a space or a line's end
                is_cut = code == _SPACE
            elif is_blank:
                is_apart = True
            elif char := _written(code, char):
                if not chars:
                    # Whether what was written anew stands apart, its place says.
                    is_apart = is_apart or (is_cut and address == last)
                    first, last, is_cut = i, address, False
                chars.append(char)
        if chars:
            yield from self._word(first, i, last, chars, is_apart)

    def _word(
        self, first: int, last: int, address: int, chars: list[str], is_apart: bool
    ) -> Iterator[Word]:
        """Yield the word between two characters, if it is on the page."""
        if address != self._address or self._looks_now is None:
            self._address, self._looks_now = address, self._looks(first, address)
        style, baseline = self._looks_now
        boxes = (
            [self._box(first), self._box(last)] if first < last else [self._box(first)]
        )
        x0, y0, x1, y1 = around(boxes)
        if x1 > 0 and x0 < 1 and y1 > 0 and y0 < 1:
            box = max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0)
            yield Word("".join(chars), box, baseline, style, is_apart)

    def _box(self, i: int) -> Box:
        pdfium.FPDFText_GetLooseCharBox(self._text.raw, i, self._at)
        rect = self._rect
        return self._share(rect.left, rect.bottom, rect.right, rect.top)

    def _looks(self, i: int, address: int) -> tuple[Style, float]:
        raw, matrix = self._text.raw, pdfium.FS_MATRIX()
        x, y = ctypes.c_double(), ctypes.c_double()
        pdfium.FPDFText_GetMatrix(raw, i, matrix)
        pdfium.FPDFText_GetCharOrigin(raw, i, x, y)
        size = pdfium.FPDFText_GetFontSize(raw, i) * math.hypot(matrix.c, matrix.d)
        own = round(-math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4
        text_object = ctypes.cast(address, pdfium.FPDF_PAGEOBJECT)
        turn = (own + self._turn) % 4
        width, height = self._size
        em = (size / width, size / height)
        style = Style(
            size,
            em[::-1] if turn % 2 else em,
            turn,
            self._is_bold(text_object),
            pdfium.FPDFPageObj_GetMarkedContentID(text_object),
            _is_artifact(text_object),
        )
        stands = self._share(x.value, y.value, x.value, y.value)
        return style, stands[1 - style.turn % 2]

    def _is_bold(self, text_object: pdfium.FPDF_PAGEOBJECT) -> bool:
        font = pdfium.FPDFTextObj_GetFont(text_object)
        key = ctypes.cast(font, ctypes.c_void_p).value or 0
        if key not in self._fonts:
            name = ctypes.create_string_buffer(128)
            pdfium.FPDFFont_GetBaseFontName(font, name, len(name))
            is_named = _BOLD.search(name.value.decode("utf-8", "replace")) is not None
            is_forced = pdfium.FPDFFont_GetFlags(font) & _FORCED_BOLD
            self._fonts[key] = is_named or bool(is_forced and is_forced > 0)
        return self._fonts[key]


def _written(code: int, char: str) -> str:
    """Return what a character says; "": nothing."""
    if code == _HYPHEN_AT_END:
        return "-"
    if code < _SPACE or 0xD800 <= code < 0xE000:
        return ""
    return LIGATURES.get(code, char)


def _is_artifact(text_object: pdfium.FPDF_PAGEOBJECT) -> bool:
    n_bytes = ctypes.c_ulong()
    for i in range(pdfium.FPDFPageObj_CountMarks(text_object)):
        name = (ctypes.c_ushort * 16)()
        mark = pdfium.FPDFPageObj_GetMark(text_object, i)
        pdfium.FPDFPageObjMark_GetName(mark, name, ctypes.sizeof(name), n_bytes)
        if bytes(name).decode("utf-16-le", "replace").startswith("Artifact\0"):
            return True
    return False


def _runs(words: Iterable[Word]) -> list[list[Word]]:
    """Return the words of each line: as they were written, then those beside them."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and word.follows(runs[-1][-1]):
            runs[-1].append(word)
        else:
            runs.append([word])
    return runs
