"""What a PDF's page draws beside its words: pictures, and paths of lines and areas.

Coordinates are points of the page as it is displayed, turned and cropped, from its top
left: distances mean the same in both directions.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import pypdfium2
import pypdfium2.raw as pdfium
from pypdfium2 import PdfMatrix

from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.pdf.boxes import displayed
from llama_index_mmrag.readers.pdf.lines import Line, around
from llama_index_mmrag.readers.pdf.words import asked

_MOST_S = 8.0
"""Processor seconds after which nothing more of a page is drawn."""
MOST_OBJECTS = 10_000
"""Of a page: a map may have a million paths. The rest is left where it is."""

_MOST_DEEP = 15
_MOST_POINTS = 400
"""Of a path that may be lines of a table, or that cuts off another."""
_THIN = 3.0
"""Points: an area that is no wider is a line."""
_SHOWN = (
    pdfium.FPDF_PAGEOBJ_IMAGE,
    pdfium.FPDF_PAGEOBJ_PATH,
    pdfium.FPDF_PAGEOBJ_SHADING,
)

_A, _N = ctypes.c_void_p, ctypes.c_int
_object_on_page = asked(pdfium.FPDFPage_GetObject, _A, _A, _N)
_object_in_form = asked(pdfium.FPDFFormObj_GetObject, _A, _A, ctypes.c_ulong)
_kind_of = asked(pdfium.FPDFPageObj_GetType, _N, _A)

Points: TypeAlias = "tuple[float, float, float, float]"
"""x0, y0, x1, y1: points as displayed."""


class Sheet:
    """A page, its lines, and where things stand on it as it is displayed.

    Args:
        page: The page.
        lines: What is written on it.
    """

    def __init__(self, page: pypdfium2.PdfPage, lines: Sequence[Line] = ()) -> None:
        self.page = page
        self.lines = lines
        self.size: tuple[float, float] = page.get_size()
        self._share = displayed(page)
        self.boxes = [self.points(line.box) for line in lines]
        self.draws_until = time.process_time() + _MOST_S
        """Processor seconds of this process."""

    def points(self, box: Box) -> Points:
        """Return a box that is shares of the page, in points."""
        wide, high = self.size
        return box[0] * wide, box[1] * high, box[2] * wide, box[3] * high

    def shares(self, box: Points) -> Box:
        """Return a box in points as shares, without what is not on the page."""
        wide, high = self.size
        x0, x1 = (min(max(x / wide, 0.0), 1.0) for x in box[::2])
        y0, y1 = (min(max(y / high, 0.0), 1.0) for y in box[1::2])
        return x0, y0, x1, y1

    def shown(self, x0: float, y0: float, x1: float, y1: float) -> Points:
        """Return where a box of the page's own coordinates is displayed."""
        return self.points(self._share(x0, y0, x1, y1))

    @property
    def area(self) -> float:
        """Square points."""
        return self.size[0] * self.size[1]

    @cached_property
    def drawn(self) -> list[Drawn]:
        """What the page draws, in its order, as far as it is seen."""
        return _Walk(self, _SHOWN).found

    @cached_property
    def pictures(self) -> list[Drawn]:
        """Its pictures alone."""
        return _Walk(self, (pdfium.FPDF_PAGEOBJ_IMAGE,)).found

    def lines_in(self, box: Points) -> list[int]:
        """Return the lines whose middle is in a box."""
        return [i for i, its in enumerate(self.boxes) if holds(box, middle(its))]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, path or shading."""

    box: Points
    """What is seen of it."""
    raw: pdfium.FPDF_PAGEOBJECT
    kind: int
    matrix: PdfMatrix
    """From its own coordinates, or a picture's unit square, to the page's."""
    form: int
    """The form that it is a part of, by its number; -1 is the page itself."""
    is_cut: bool
    """Whether it is larger than what is seen of it."""

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture, and no path."""
        return bool(self.kind == pdfium.FPDF_PAGEOBJ_IMAGE)

    @property
    def mcid(self) -> int:
        """Its marked content; -1: none."""
        return int(pdfium.FPDFPageObj_GetMarkedContentID(self.raw))


def middle(box: Points) -> tuple[float, float]:
    """Return the point in the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def holds(box: Points, point: tuple[float, float]) -> bool:
    """Return whether a point is in a box."""
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def overlap(a0: float, a1: float, b0: float, b1: float) -> float:
    """Return how far two stretches share their place; less than 0: how far apart."""
    return min(a1, b1) - max(a0, b0)


def area(box: Points) -> float:
    """Return a box's square points."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def shared_area(one: Points, other: Points) -> float:
    """Return the square points that two boxes share."""
    return area(_within(one, other))


def is_in(box: Points, other: Points) -> bool:
    """Return whether nine tenths of a box are in another one."""
    # A line has no area, but has its place.
    x0, y0, x1, y1 = box
    thick = (min(x0, x1 - 0.1), min(y0, y1 - 0.1), x1, y1)
    return shared_area(thick, other) >= 0.9 * area(thick)


def strokes(drawn: Drawn, sheet: Sheet) -> Iterator[Points]:
    """Yield the lines that a path draws, level or upright, each as a thin box."""
    x0, y0, x1, y1 = drawn.box
    if min(x1 - x0, y1 - y0) <= _THIN:
        yield drawn.box
        return
    fill, is_stroked = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(drawn.raw, fill, is_stroked)
    if not is_stroked.value or pdfium.FPDFPath_CountSegments(drawn.raw) > _MOST_POINTS:
        return
    for one, other in _segments(drawn):
        line = sheet.shown(*around([(*one, *one), (*other, *other)]))
        if min(line[2] - line[0], line[3] - line[1]) <= 1:
            yield line


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is drawn within: a page, or a form on it."""

    matrix: PdfMatrix
    clip: Box
    """Left, bottom, right, top in the page's own coordinates."""
    form: int


class _Walk:
    """Goes through a page's objects, and those of the forms on it."""

    def __init__(self, sheet: Sheet, kinds: Collection[int]) -> None:
        self.found: list[Drawn] = []
        self._sheet = sheet
        self._kinds = kinds
        self._n_left = MOST_OBJECTS * 10
        self._n_forms = 0
        whole = _Frame(PdfMatrix(), sheet.page.get_bbox(), -1)
        self.through(whole, sheet.page.raw, 0)

    def through(self, frame: _Frame, parent: Any, depth: int) -> None:
        is_form = depth > 0
        count = pdfium.FPDFFormObj_CountObjects if is_form else None
        n = (count or pdfium.FPDFPage_CountObjects)(parent)
        at = _object_in_form if is_form else _object_on_page
        place = ctypes.cast(parent, ctypes.c_void_p).value
        for i in range(n):
            self._n_left -= 1
            if self._n_left < 0 or len(self.found) >= MOST_OBJECTS:
                return
            address = at(place, i)
            kind = _kind_of(address)
            if kind == pdfium.FPDF_PAGEOBJ_TEXT:  # some files have one a character
                continue
            raw = ctypes.cast(address, pdfium.FPDF_PAGEOBJECT)
            if kind in self._kinds:
                self._see(raw, kind, frame)
            elif kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MOST_DEEP:
                self._n_forms += 1
                clip = _clip(raw, frame)
                form = frame.form if frame.form >= 0 else self._n_forms
                inner = _Frame(_matrix(raw).multiply(frame.matrix), clip, form)
                self.through(inner, raw, depth + 1)

    def _see(self, raw: pdfium.FPDF_PAGEOBJECT, kind: int, frame: _Frame) -> None:
        sides = [ctypes.c_float() for _ in range(4)]
        if not pdfium.FPDFPageObj_GetBounds(raw, *sides):
            return
        left, bottom, right, top = (side.value for side in sides)
        whole = _mapped(frame.matrix, left, bottom, right, top)
        seen = _within(whole, _clip(raw, frame))
        if seen[0] > seen[2] or seen[1] > seen[3]:
            return
        is_cut = max(abs(a - b) for a, b in zip(whole, seen, strict=True)) > 1
        matrix = _matrix(raw).multiply(frame.matrix)
        box = self._sheet.shown(*seen)
        self.found.append(Drawn(box, raw, kind, matrix, frame.form, is_cut))


def _matrix(raw: pdfium.FPDF_PAGEOBJECT) -> PdfMatrix:
    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(raw, matrix)
    return PdfMatrix.from_raw(matrix)


def _mapped(m: PdfMatrix, x0: float, y0: float, x1: float, y1: float) -> Box:
    return around((*m.on_point(x, y),) * 2 for x in (x0, x1) for y in (y0, y1))


def _within(box: Box, clip: Box) -> Box:
    return (
        max(box[0], clip[0]),
        max(box[1], clip[1]),
        min(box[2], clip[2]),
        min(box[3], clip[3]),
    )


def _clip(raw: pdfium.FPDF_PAGEOBJECT, frame: _Frame) -> Box:
    """Return what is left of its frame by the paths that cut an object off."""
    clip, path = frame.clip, pdfium.FPDFPageObj_GetClipPath(raw)
    x, y = ctypes.c_float(), ctypes.c_float()
    for i in range(pdfium.FPDFClipPath_CountPaths(path) if path else 0):
        n = pdfium.FPDFClipPath_CountPathSegments(path, i)
        points = []
        for k in range(n if n <= _MOST_POINTS else 0):
            segment = pdfium.FPDFClipPath_GetPathSegment(path, i, k)
            pdfium.FPDFPathSegment_GetPoint(segment, x, y)
            points.append((*frame.matrix.on_point(x.value, y.value),) * 2)
        if points:
            clip = _within(clip, around(points))
    return clip


def _segments(
    drawn: Drawn,
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Yield the straight segments of a path, in the page's own coordinates."""
    x, y = ctypes.c_float(), ctypes.c_float()
    start = now = (0.0, 0.0)
    for i in range(pdfium.FPDFPath_CountSegments(drawn.raw)):
        segment = pdfium.FPDFPath_GetPathSegment(drawn.raw, i)
        pdfium.FPDFPathSegment_GetPoint(segment, x, y)
        point = drawn.matrix.on_point(x.value, y.value)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind == pdfium.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == pdfium.FPDF_SEGMENT_LINETO:
            yield now, point
        now = point
        if pdfium.FPDFPathSegment_GetClose(segment):
            yield now, start
            now = start
