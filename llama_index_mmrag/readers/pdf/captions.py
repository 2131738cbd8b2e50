"""Captions of a PDF's page: which lines they are, and what stands above or below."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from llama_index_mmrag.readers.captions import Captioned, captioned_by
from llama_index_mmrag.readers.pdf.lines import Line, around
from llama_index_mmrag.readers.pdf.objects import Points, Sheet, overlap

Side: TypeAlias = Literal["below", "above", "beside"]
"""Where a caption stands."""

_REACH = 60.0
"""Points from a caption to its figure."""
_OVER = 6.0
"""By which their boxes may overlap."""
_LEADING = 1.5
"""Of the size of type, where nothing on the page shows it."""
_ROW_GAP = 30.0
"""Points between two figures under one caption."""
_PANEL = re.compile(r"\(?[a-zA-Z0-9]\)")
_FEW_WORDS = 6


@dataclass(frozen=True, slots=True)
class Caption:
    """Lines that name a figure or a table."""

    kind: Captioned
    lines: tuple[int, ...]
    """By their place among the page's lines."""
    box: Points
    size: float


def captions_on(sheet: Sheet, left_out: Container[int] = ()) -> list[Caption]:
    """Return a page's captions, each with all its lines.

    Args:
        sheet: The page.
        left_out: Lines that are of none, such as a table's.
    """
    lines, boxes = sheet.lines, sheet.boxes
    free = [(i, line) for i, line in enumerate(lines) if i not in left_out]
    kinds = {i: kind for i, line in free if (kind := _kind(line))}
    if not kinds:
        return []
    leadings = _leadings(sheet)
    found = []
    for first, kind in kinds.items():
        if _is_within_a_paragraph(first, sheet, leadings):
            continue
        its = [first]
        while (after := _next(its[-1], sheet, leadings)) is not None:
            if after in kinds or after in left_out:
                break
            if lines[after].is_bold and not lines[first].is_bold:
                break
            its.append(after)
        box = around(boxes[i] for i in its)
        found.append(Caption(kind, tuple(its), box, lines[first].size))
    return found


def linked(
    captions: Sequence[Caption],
    boxes: Sequence[Points],
    sides: Sequence[Side],
    is_apart: Callable[[Caption, Points], bool],
) -> dict[int, int]:
    """Return the caption of each box that has one, both by their places.

    On one page captions stand on one side of most of their figures: on that where the
    most of them have one.

    Args:
        captions: Of these.
        boxes: Figures, or tables.
        sides: Where captions may stand; the first is it if two have as many.
        is_apart: Whether something stands between a caption and a box.
    """
    free, links = set(range(len(captions))), dict[int, int]()
    reached = {
        side: {
            (b, c): gap
            for c, caption in enumerate(captions)
            for b, box in enumerate(boxes)
            if (gap := _gap(caption.box, box, side)) is not None
            and not is_apart(caption, box)
        }
        for side in sides
    }
    order = sorted(sides, key=lambda side: -len(_nearest(reached[side])))
    for side in order:
        its = {
            pair: gap
            for pair, gap in reached[side].items()
            if pair[0] not in links and pair[1] in free
        }
        links |= _nearest(its)
        free -= {*links.values()}
    for b, box in enumerate(boxes):
        if b not in links:
            shared = _shared(box, boxes, captions, links)
            if shared is not None and not is_apart(captions[shared], box):
                links[b] = shared
    return links


def between(sheet: Sheet, left_out: Iterable[int]) -> Callable[[Caption, Points], bool]:
    """Return what tells whether text stands between a caption and a box.

    Not what names a part of the figure, or whose picture it is: a few small words.

    Args:
        sheet: The page.
        left_out: Lines that are part of a figure.
    """
    out = {*left_out}
    boxes = [(i, box) for i, box in enumerate(sheet.boxes) if i not in out]

    def is_apart(caption: Caption, box: Points) -> bool:
        top, bottom = min(box[3], caption.box[3]), max(box[1], caption.box[1])
        for i, (x0, y0, x1, y1) in boxes:
            if i in caption.lines or not top <= (y0 + y1) / 2 <= bottom:
                continue
            text, is_small = (
                sheet.lines[i].text,
                sheet.lines[i].size < caption.size + 0.5,
            )
            if is_small and (_PANEL.match(text) or len(text.split()) <= _FEW_WORDS):
                continue
            if overlap(x0, x1, box[0], box[2]) > 0:
                return True
        return False

    return is_apart


def _kind(line: Line) -> Captioned | None:
    return captioned_by(line.text) if line.turn == 0 else None


def _gap(caption: Points, box: Points, side: Side) -> float | None:
    """Return how far a caption stands from a box on that side; None: not there."""
    if side == "beside":
        gap = -overlap(caption[0], caption[2], box[0], box[2])
        shared = overlap(caption[1], caption[3], box[1], box[3])
        least = min(caption[3] - caption[1], box[3] - box[1])
    else:
        is_below = side == "below"
        gap = caption[1] - box[3] if is_below else box[1] - caption[3]
        shared = overlap(caption[0], caption[2], box[0], box[2])
        least = min(caption[2] - caption[0], box[2] - box[0])
    return gap if -_OVER <= gap <= _REACH and shared >= 0.3 * least else None


def _nearest(gaps: Mapping[tuple[int, int], float]) -> dict[int, int]:
    """Return pairs of which each is the other's nearest."""
    links: dict[int, int] = {}
    for (b, c), _ in sorted(gaps.items(), key=lambda pair: (pair[1], pair[0])):
        if b not in links and c not in links.values():
            links[b] = c
    return links


def _shared(
    box: Points,
    boxes: Sequence[Points],
    captions: Sequence[Caption],
    links: Mapping[int, int],
) -> int | None:
    """Return the caption of the figure beside or above that is this one's too."""
    for b, c in links.items():
        other, caption = boxes[b], captions[c].box
        wide = overlap(box[0], box[2], other[0], other[2])
        high = overlap(box[1], box[3], other[1], other[3])
        is_row = high >= 0.5 * min(box[3] - box[1], other[3] - other[1])
        is_stack = wide >= 0.5 * min(box[2] - box[0], other[2] - other[0])
        is_under = overlap(box[0], box[2], caption[0], caption[2]) > 0
        if is_row and -wide <= _ROW_GAP * (3 if is_under else 1):
            return c
        if is_stack and -high <= _ROW_GAP:
            return c
    return None


def _leadings(sheet: Sheet) -> dict[float, float]:
    """Return what is usual from a line to the next one, by the size of type."""
    seen: dict[float, Counter[float]] = {}
    placed = [*zip(sheet.lines, sheet.boxes, strict=True)]
    for (one, box), (other, its) in pairwise(placed):
        pitch = its[1] - box[1]
        is_next = abs(one.size - other.size) < 0.5 and 0 < pitch < 2 * one.size
        if is_next and overlap(box[0], box[2], its[0], its[2]) > 0:
            seen.setdefault(round(one.size), Counter())[round(pitch * 2) / 2] += 1
    return {size: max(its, key=lambda it: (its[it], -it)) for size, its in seen.items()}


def _next(
    at: int,
    sheet: Sheet,
    leadings: Mapping[float, float],
    *,
    step: int = 1,
) -> int | None:
    """Return the line below another (above: `step` -1) that goes on with it."""
    lines, boxes = sheet.lines, sheet.boxes
    size = lines[at].size
    most = leadings.get(round(size), _LEADING * size) * 1.12 + 0.5
    x0, y0, x1, _ = boxes[at]
    found = [
        (pitch, i)
        for i, box in enumerate(boxes)
        if 0.3 * size < (pitch := step * (box[1] - y0)) <= most
        and abs(lines[i].size - size) < 0.6
        and lines[i].turn == lines[at].turn
        and overlap(x0, x1, box[0], box[2]) > 0
    ]
    return min(found)[1] if found else None


def _is_within_a_paragraph(
    at: int,
    sheet: Sheet,
    leadings: Mapping[float, float],
) -> bool:
    """Return whether a line that begins as a caption goes on with that above it."""
    lines, boxes = sheet.lines, sheet.boxes
    above = _next(at, sheet, leadings, step=-1)
    if above is None or _kind(lines[above]):
        return False
    if lines[above].is_bold != lines[at].is_bold:
        return False
    return abs(boxes[above][0] - boxes[at][0]) < 2 * lines[at].size
