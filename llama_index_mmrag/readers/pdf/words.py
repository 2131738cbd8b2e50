"""Words of a PDF's page, from the boxes of its characters.

Coordinates are shares of the page as it is displayed, turned and cropped, from its top
left; sizes of type are in points.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import pypdfium2
import pypdfium2.raw as pdfium

from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.pdf.boxes import displayed, gap_between, is_rtl


def asked(function: Any, answer: Any, *given: Any) -> Callable[..., Any]:
    """Return one of PDFium's functions for addresses, which can be compared.

    It keeps Python's lock: it is called for every character.
    """
    called: Callable[..., Any] = ctypes.cast(
        function, ctypes.PYFUNCTYPE(answer, *given)
    )
    return called


_ADDRESS, _WHOLE = ctypes.c_void_p, ctypes.c_int
_object_at = asked(pdfium.FPDFText_GetTextObject, _ADDRESS, _ADDRESS, _WHOLE)
_unicode_of = asked(pdfium.FPDFText_GetUnicode, ctypes.c_uint, _ADDRESS, _WHOLE)
_box_of = asked(pdfium.FPDFText_GetLooseCharBox, _WHOLE, _ADDRESS, _WHOLE, _ADDRESS)
_font_of = asked(pdfium.FPDFTextObj_GetFont, _ADDRESS, _ADDRESS)
_is_unmapped = asked(pdfium.FPDFText_HasUnicodeMapError, _WHOLE, _ADDRESS, _WHOLE)
_mcid_of = asked(pdfium.FPDFPageObj_GetMarkedContentID, _WHOLE, _ADDRESS)

_BOLD = re.compile("bold|black|heavy|demi|extrab|ultrab", re.IGNORECASE)
_FORCED_BOLD = 1 << 18  # a font's flags, PDF 32000-1, table 123

LIGATURES = {
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl",
    0xFB05: "st", 0xFB06: "st",
}  # fmt: skip
_HYPHENS_AT_END = (2, 0xFFFE)
"""What PDFium makes of a hyphen between two lines: of each by itself, and in a text."""

_SPACE, _NO_BREAK = 32, 0xA0
_BLANKS = frozenset(n for n in range(0x3001) if chr(n).isspace()) - {_NO_BREAK}

_SAMPLED = 8
"""One in so many characters is asked whether the file says what it means."""
_SPACE_GAP = 0.22
WORD_GAP = 0.15
"""Ems between two words that were written apart: TeX sets them .22 apart at least."""
_FEW_WIDE = 400
"""One in so many sampled characters may stand apart from that before it, or spaces are
left out within what is drawn at once, as groff does: then each is asked."""
_SIZES = 0.1, 1e4
"""Points: whatever else a file says of its type."""
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


class Word(NamedTuple):
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

    @property
    def upright_baseline(self) -> float:
        """Where it stands, from the top, if the page is turned to have it upright."""
        return self.baseline if self.style.turn in (0, 3) else 1 - self.baseline

    def gap(self, other: Word) -> float:
        """Return how far after another of its line it begins, a share of the page."""
        return gap_between(other.box, self.box, self.style.turn, self.text)


@dataclass(frozen=True, slots=True)
class Text:
    """What a page's text layer holds."""

    words: list[Word]
    """In the order in which the file draws them; not those outside of the crop box."""
    n_chars: int
    """Characters, spaces aside, wherever they are."""
    unmapped: float
    """Share of them whose meaning the file does not say."""


def text_of(page: pypdfium2.PdfPage) -> Text:
    """Return the text layer of a page; an invisible one is one too."""
    text = page.get_textpage()
    try:
        reader = _Reader(page, text)
        words = list(reader.words())
        if reader.n_wide * _FEW_WIDE > reader.n_sampled:
            reader = _Reader(page, text, asks_gaps=True)
            words = list(reader.words())
        unmapped = reader.n_unmapped / max(1, reader.n_sampled)
        return Text(words, reader.n_chars, unmapped)
    finally:
        text.close()


class _Reader:
    """Takes a page's characters apart into words."""

    def __init__(
        self,
        page: pypdfium2.PdfPage,
        text: pypdfium2.PdfTextPage,
        *,
        asks_gaps: bool = False,
    ) -> None:
        self._asks_gaps = asks_gaps
        self.n_wide = 0
        self._text = text
        self._raw = ctypes.cast(text.raw, _ADDRESS).value
        self._share = displayed(page)
        self._turn = page.get_rotation() // 90
        self._size = page.get_size()
        self._fonts: dict[int, bool] = {}
        self._rect = pdfium.FS_RECTF()
        self._at = ctypes.addressof(self._rect)
        self._boxed = -1, (0.0, 0.0, 0.0, 0.0)
        self._seen: tuple[object, ...] = ()
        self._style = Style(0.0, (0.0, 0.0), 0, False, -1, False)
        self._baseline = 0.0
        self._across = 1
        self.n_chars = self.n_sampled = self.n_unmapped = 0

    def words(self) -> Iterator[Word]:
        raw = self._raw
        last, address, is_apart, is_cut = -1, 0, True, False
        box = self._boxed[1]
        chars: list[str] = []
        for i, code in enumerate(self._codes()):
            drawn = _object_at(raw, i)
            if not drawn or code in _BLANKS:
                if chars:
                    yield from self._word(box, last, chars, is_apart)
                    chars, is_apart = [], False
                # What PDFium made up is a space, or a line's end.
                is_cut = not drawn and code == _SPACE
                is_apart = is_apart or bool(drawn)
                continue
            self.n_chars += 1
            if self.n_chars % _SAMPLED == 1:
                self.n_sampled += 1
                self.n_unmapped += _is_unmapped(raw, i) == 1
                self.n_wide += bool(chars) and self._is_wide(last, i)
            char = chr(code) if _SPACE < code < 0xD800 else _odd(code)
            if not char:
                continue
            if drawn != address and chars and self._is_other(last, i, char):
                yield from self._word(box, last, chars, is_apart)
                chars, is_apart = [], False
            elif self._asks_gaps and chars and self._is_wide(last, i):
                yield from self._word(box, last, chars, is_apart)
                chars, is_apart = [], True
            if not chars:
                self._look(drawn, i)
                # Whether what was drawn anew stands apart, its place says.
                is_apart = is_apart or (is_cut and drawn == address)
                box = self._box(i)
            chars.append(char)
            last, address, is_cut = i, drawn, False
        if chars:
            yield from self._word(box, last, chars, is_apart)

    def _codes(self) -> Iterable[int]:
        """Return what each character is, as Unicode has it."""
        n = self._text.count_chars()
        text = (ctypes.c_ushort * (n + 1))()
        # It leaves out what has no meaning, and writes two for what UTF-16 does.
        is_whole = pdfium.FPDFText_GetText(self._text.raw, 0, n, text) == n + 1
        codes = cast("list[int]", text[:n])
        if is_whole and 0 not in codes:
            return codes
        return [_unicode_of(self._raw, i) for i in range(n)]

    def _is_wide(self, last: int, i: int) -> bool:
        """Return whether an upright character stands a space's width after another."""
        before, after = self._box(last), self._box(i)
        return after[0] - before[2] > _SPACE_GAP * self._style.size > 0

    def _is_other(self, last: int, i: int, char: str) -> bool:
        """Return whether what was drawn anew is of another word, or line, or size.

        Some files draw every character by itself. That its weight is another in the
        middle of a word is not asked: it would cost as much as all the rest.
        """
        before, box, style = self._box(last), self._box(i), self._style
        is_level = before[1] == box[1] and before[3] == box[3]
        if is_level and abs(box[0] - before[2]) <= style.size * WORD_GAP:
            return False
        if not is_level and abs(self._stands(i) - self._baseline) > style.em[1] / 4:
            return True
        one, other, turn = self._share(*before), self._share(*box), style.turn
        gap = abs(gap_between(one, other, turn, char))
        if is_rtl(char):  # drawn as it is read, or as it is seen
            gap = min(gap, abs(gap_between(other, one, turn, char)))
        return gap > style.em[0] * WORD_GAP

    def _word(
        self, box: Box, last: int, chars: list[str], is_apart: bool
    ) -> Iterator[Word]:
        """Yield a word that begins with a character's box, if it is on the page."""
        end = self._box(last)
        x0, y0, x1, y1 = self._share(
            min(box[0], end[0]),
            min(box[1], end[1]),
            max(box[2], end[2]),
            max(box[3], end[3]),
        )
        if is_rtl(chars[0]) and end[0] > box[0]:
            chars.reverse()  # as they are seen, and not as they are read
        if x1 > 0 and x0 < 1 and y1 > 0 and y0 < 1:
            shown = max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0)
            yield Word("".join(chars), shown, self._baseline, self._style, is_apart)

    def _box(self, i: int) -> Box:
        """Return a character's box in the page's own points, from its left bottom."""
        if self._boxed[0] != i:
            _box_of(self._raw, i, self._at)
            its = self._rect
            self._boxed = i, (its.left, its.bottom, its.right, its.top)
        return self._boxed[1]

    def _looks(self, drawn: int, i: int) -> tuple[object, ...]:
        """Return what is other where the style or the line is."""
        box = self._box(i)
        return _font_of(drawn), _mcid_of(drawn), box[self._across :: 2]

    def _look(self, drawn: int, i: int) -> None:
        """See how a text object looks, and where its characters stand."""
        if (seen := self._looks(drawn, i)) == self._seen:
            return
        raw, matrix = self._text.raw, pdfium.FS_MATRIX()
        pdfium.FPDFText_GetMatrix(raw, i, matrix)
        size = pdfium.FPDFText_GetFontSize(raw, i) * math.hypot(matrix.c, matrix.d)
        size = (
            min(max(size, _SIZES[0]), _SIZES[1]) if math.isfinite(size) else _SIZES[0]
        )
        own = round(-math.atan2(matrix.b, matrix.a) / (math.pi / 2))
        turn = (own + self._turn) % 4
        em = (size / self._size[0], size / self._size[1])
        mcid = cast("int", seen[1])
        style = Style(
            size,
            em[::-1] if turn % 2 else em,
            turn,
            self._is_bold(drawn),
            mcid,
            mcid < 0 and _is_artifact(drawn),
        )
        self._style = style
        self._baseline = self._stands(i)
        self._across = 1 - own % 2
        self._seen = self._looks(drawn, i)

    def _stands(self, i: int) -> float:
        """Return where a character stands, see `Word.baseline`."""
        x, y = ctypes.c_double(), ctypes.c_double()
        pdfium.FPDFText_GetCharOrigin(self._text.raw, i, x, y)
        at = self._share(x.value, y.value, x.value, y.value)
        return at[1 - self._style.turn % 2]

    def _is_bold(self, drawn: int) -> bool:
        key = _font_of(drawn) or 0
        if key not in self._fonts:
            font = ctypes.cast(key, pdfium.FPDF_FONT)
            name = ctypes.create_string_buffer(128)
            pdfium.FPDFFont_GetBaseFontName(font, name, len(name))
            is_named = _BOLD.search(name.value.decode("utf-8", "replace")) is not None
            is_forced = pdfium.FPDFFont_GetFlags(font) & _FORCED_BOLD
            self._fonts[key] = is_named or bool(is_forced and is_forced > 0)
        return self._fonts[key]


def _odd(code: int) -> str:
    """Return what a ligature, sign or half a character says; "": nothing."""
    if code in _HYPHENS_AT_END:
        return "-"
    if code < _SPACE or 0xD800 <= code < 0xE000:
        return ""
    return LIGATURES.get(code) or chr(code)


def _is_artifact(drawn: int) -> bool:
    text_object = ctypes.cast(drawn, pdfium.FPDF_PAGEOBJECT)
    n_bytes = ctypes.c_ulong()
    for i in range(pdfium.FPDFPageObj_CountMarks(text_object)):
        name = (ctypes.c_ushort * 16)()
        mark = pdfium.FPDFPageObj_GetMark(text_object, i)
        pdfium.FPDFPageObjMark_GetName(mark, name, ctypes.sizeof(name), n_bytes)
        if bytes(name).decode("utf-16-le", "replace").startswith("Artifact\0"):
            return True
    return False
