"""Places on a slide: in which order shapes are read, and what is a caption of what."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index_mmrag.readers.captions import captioned_by
from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.parts import MOST_HEADING
from llama_index_mmrag.readers.pptx.shapes import Shape
from llama_index_mmrag.readers.writing import one_line

_FAR = 0.15
"""Of a slide's height: what stands so far below a picture is not its caption."""
_MOST_LINES = 3
"""Of a caption; more are a list."""
_MOST_SHAPES = 300
"""Of a slide: more are a drawing, which nobody reads by columns."""
_TOUCHES = 0.01
"""Of a slide: what reaches so far into each other stands beside it all the same."""


def in_order(shapes: Sequence[Shape]) -> list[Shape]:
    """Return shapes as they are read: by columns, what is above all of them first.

    What stands in one another, or nobody knows where, is in the order it was drawn in.
    """
    placed = [(one.box, one) for one in shapes if one.box is not None]
    ordered = _in_order(placed) if len(placed) <= _MOST_SHAPES else placed
    read = [one for _, one in ordered]
    return read + [one for one in shapes if one.box is None]


_Placed = list[tuple[Box, Shape]]


def _in_order(shapes: _Placed) -> _Placed:
    columns = _cut(shapes, 0)
    if len(columns) > 1:
        return [one for column in columns for one in _in_order(column)]
    bands: list[_Placed] = []
    for row in _cut(shapes, 1):
        # Rows whose columns go on below each other are read as columns.
        both = [*bands[-1], *row] if bands else []
        if bands and all(len(_cut(it, 0)) > 1 for it in (bands[-1], row, both)):
            bands[-1] = both
        else:
            bands.append(row)
    if len(bands) < 2:
        return shapes
    return [one for band in bands for one in _in_order(band)]


def _cut(shapes: _Placed, axis: int) -> list[_Placed]:
    """Return shapes in groups that no line across an axis would cut, in their order."""
    groups: list[_Placed] = []
    end = 0.0
    for one in sorted(shapes, key=lambda it: it[0][axis]):
        box = one[0]
        if groups and box[axis] < end - _TOUCHES:
            groups[-1].append(one)
        else:
            groups.append([one])
            end = box[axis + 2]
        end = max(end, box[axis + 2])
    # In the order they were drawn in, for what cannot be cut any more.
    drawn = {id(one): n for n, (_, one) in enumerate(shapes)}
    return [sorted(group, key=lambda it: drawn[id(it[1])]) for group in groups]


def caption_of(picture: Shape, others: Sequence[Shape]) -> str:
    """Return the text that stands next below a picture, else the nearest caption.

    One that begins as captions do comes first.
    """
    if picture.box is None:
        return ""
    x0, y0, x1, y1 = picture.box
    below: list[tuple[bool, float, float, str]] = []
    named: list[tuple[float, str]] = []
    for one in others:
        text = one_line(one.text)
        if one.box is None or one.is_table or not 0 < len(text) <= MOST_HEADING:
            continue
        left, top, right, bottom = one.box
        gap = top - y1
        is_below = bottom > y1 and -_TOUCHES * 3 <= gap <= _FAR
        is_list = one.text.count("\n") >= _MOST_LINES
        is_named = captioned_by(text) is not None
        shared = min(right, x1) - max(left, x0)
        if is_below and shared > 0 and not is_list:
            below.append((not is_named, round(gap, 2), -shared, text))
        if is_named:
            apart = max(left - x1, x0 - right, 0.0) + max(top - y1, y0 - bottom, 0.0)
            named.append((apart, text))
    return min(below or named, default=("",))[-1]
