"""Drawings on a PDF's page: paths that are near each other, and the words on them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llama_index_mmrag.readers.pdf.captions import Caption
from llama_index_mmrag.readers.pdf.lines import around
from llama_index_mmrag.readers.pdf.objects import (
    Drawn,
    Points,
    Sheet,
    area,
    is_in,
    overlap,
    shared_area,
)

LEAST_AREA = 0.01
"""Of the page: what is smaller is a mark, a bullet or a line."""
_LEAST_SIDE = 24.0
"""Points of a drawing."""
_WHOLE_PAGE = 0.85
"""Of the page: a path of more is its ground."""
_MOST_TEXT = 0.5
"""Of a drawing: with more it is a frame around words, or underlines them."""
_PART_GAP, _LABEL_GAP = 12.0, 8.0
"""Points between two parts of a drawing, and to its words."""
_MOST_LABEL = 8
"""Words of a line of them, but for the numbers of an axis."""
_WORD = re.compile(r"[^\W\d_]+")
_MARGIN = 3.0
"""Points around a drawing, so that its outermost lines are whole."""


@dataclass(slots=True)
class Found:
    """What may be a figure."""

    box: Points
    parts: list[Drawn]
    """Its pictures; where tags say what it is, its paths too."""
    labels: tuple[int, ...] = ()
    """Lines that are part of it, by their place among the page's."""
    is_sure: bool = False
    """Whether it is one without a caption too: tags say so."""

    @property
    def pictures(self) -> list[Drawn]:
        """Those of its parts that are pictures."""
        return [part for part in self.parts if part.is_picture]


def with_drawings(
    found: list[Found],
    paths: Iterable[Drawn],
    captions: Iterable[Caption],
    sheet: Sheet,
) -> list[Found]:
    """Return figures and what drawings of lines there may be.

    Arrows on a picture are a part of it; frames around words are none.
    """
    named = {i for caption in captions for i in caption.lines}
    ground = _WHOLE_PAGE * sheet.area
    pictures = [one.box for one in found]
    free = [
        one
        for one in paths
        if area(one.box) < ground
        and not any(is_in(one.box, box) or is_in(box, one.box) for box in pictures)
    ]
    blocks = _blocks(sheet, named)
    drawings = []
    for box in _clusters(free):
        if any(is_in(sheet.boxes[i], box) for i in named):
            continue  # a frame
        if min(box[2] - box[0], box[3] - box[1]) < _LEAST_SIDE:
            continue
        if text_area(box, sheet) > _MOST_TEXT * area(box):
            continue
        whole, labels = _with_labels(box, blocks, sheet)
        if area(whole) < LEAST_AREA * sheet.area:
            continue
        touched = [one for one in found if shared_area(one.box, whole) > 0]
        for one in touched:
            whole = around([whole, one.box])
        found = [one for one in found if one not in touched]
        parts = [part for one in touched for part in one.parts]
        labels |= {i for it in touched for i in it.labels}
        drawings.append(Found(whole, parts, tuple(sorted(labels))))
    return found + drawings


def text_area(box: Points, sheet: Sheet) -> float:
    """Return the square points of the lines in a box."""
    return sum(area(sheet.boxes[i]) for i in sheet.lines_in(box))


def _clusters(paths: Iterable[Drawn]) -> list[Points]:
    """Return the boxes of paths that are near each other, or in one form."""
    together: dict[object, list[Points]] = {}
    for path in paths:
        # Thousands of points of a plot are few places.
        place = tuple(side // _MARGIN for side in path.box)
        key = path.form if path.form >= 0 else place
        together.setdefault(key, []).append(path.box)
    clusters: list[Points] = []
    for box in sorted(map(around, together.values())):
        whole, is_more = box, True
        while is_more:
            near = [one for one in clusters if _is_near(one, whole, _PART_GAP)]
            clusters = [one for one in clusters if one not in near]
            is_more = bool(near)
            whole = around([whole, *near])
        clusters.append(whole)
    return clusters


def _is_near(one: Points, other: Points, gap: float) -> bool:
    return (
        overlap(one[0], one[2], other[0], other[2]) >= -gap
        and overlap(one[1], one[3], other[1], other[3]) >= -gap
    )


def _blocks(sheet: Sheet, named: set[int]) -> list[tuple[Points, list[int]]]:
    """Return the lines that no caption has, those that go on with each other in one."""
    blocks: list[tuple[Points, list[int]]] = []
    last = -1
    for i, (line, box) in enumerate(zip(sheet.lines, sheet.boxes, strict=True)):
        if i in named:
            continue
        if (
            last >= 0
            and abs(sheet.lines[last].size - line.size) < 0.5
            and 0 < box[1] - sheet.boxes[last][1] < 1.6 * line.size
            and overlap(box[0], box[2], blocks[-1][0][0], blocks[-1][0][2]) > 0
        ):
            blocks[-1] = around([blocks[-1][0], box]), [*blocks[-1][1], i]
        else:
            blocks.append((box, [i]))
        last = i
    return blocks


def _with_labels(
    box: Points,
    blocks: Iterable[tuple[Points, list[int]]],
    sheet: Sheet,
) -> tuple[Points, set[int]]:
    """Return a drawing's box with its words, and which they are."""
    left = [*blocks]
    labels: set[int] = set()
    is_more = True
    while is_more:
        near = [
            block
            for block in left
            if _is_near(block[0], box, _LABEL_GAP)
            and (is_in(block[0], box) or _is_label(block, box, sheet))
        ]
        is_more = bool(near)
        left = [block for block in left if block not in near]
        labels |= {i for _, its in near for i in its}
        box = around([box, *(its for its, _ in near)])
    return with_margin(box, sheet), labels


def with_margin(box: Points, sheet: Sheet) -> Points:
    """Return a drawing's box with what its outermost lines are wide."""
    (x0, y0, x1, y1), (wide, high), much = box, sheet.size, _MARGIN
    return (
        max(x0 - much, 0.0),
        max(y0 - much, 0.0),
        min(x1 + much, wide),
        min(y1 + much, high),
    )


def _is_label(block: tuple[Points, list[int]], box: Points, sheet: Sheet) -> bool:
    """Return whether words beside a drawing are on it, and no paragraph or heading."""
    words = max(len(_WORD.findall(sheet.lines[i].text)) for i in block[1])
    (x0, y0, x1, y1), high = block[0], box[3] - box[1]
    return words <= _MOST_LABEL and y1 - y0 <= high and x1 - x0 <= box[2] - box[0]
