"""Order of a page without tags: columns, lines from top to bottom, and paragraphs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.pdf.lines import Line, around, line_of
from llama_index_mmrag.readers.pdf.margins import is_marked
from llama_index_mmrag.readers.pdf.writing import HYPHENS

_GUTTER = 0.7
"""Ems between two columns at the least."""
_TOUCHING = 0.3
"""Of a line's height: so much of it may be beside what it is above or below."""
_MOST_EDGES, _MOST_CUTS = 40, 20
_FULL, _MANY_FULL, _LONG = 0.8, 0.6, 20
"""A column's line reaches so far to its right, so many do, of so many characters."""
_INDENT = 0.8
"""Ems by which a paragraph's first line, or all but its first, are set in."""
_NARROW = 10.0
"""Ems: lines of less are not filled, and each stands for itself."""
_APART = 1.3
"""Of the usual distance of two lines: more is between two paragraphs."""
_SIZES = 0.06
"""Of a line's size: what differs by more is of another paragraph."""
_LARGE = 1.4
"""Ems between two lines of a heading at the most."""
_BULLET = re.compile(r"[•◦▪▫■□●○‣⁃∙·–—*-]\s|[•◦▪■●‣➢➤✓]")
_ENDS = re.compile(r"[.!?:;。！？…]['\"’”»)\]]*\d*$")


@dataclass(frozen=True, slots=True)
class Placed:
    """A line in its column."""

    line: Line
    box: Box
    """As if the page were turned until the line is upright."""
    left: float
    right: float
    """Of its column, in the same way."""
    leading: float
    """The usual distance of two of its page's lines, likewise."""


@dataclass(frozen=True, slots=True)
class _Item:
    line: Line
    box: Box
    at: int
    """How many are drawn before it."""


def ordered(lines: Iterable[Line]) -> list[Placed]:
    """Return a page's lines in the order in which they are read.

    Columns are told from the columns of a table by the order in which their lines are
    drawn, and by how far these reach. What stands for a figure is a line without words.
    Lines that are turned come after those that are not, unless they are more.
    """
    turned: dict[int, list[_Item]] = {}
    for at, line in enumerate(lines):
        turned.setdefault(line.turn, []).append(
            _Item(line, upright(line.box, line.turn), at)
        )
    by_size = sorted(
        turned.values(), key=lambda its: -sum(len(i.line.text) for i in its)
    )
    return [one for items in by_size for one in _placed(items)]


def upright(box: Box, turn: int) -> Box:
    """Return a box as if the page were turned back by so many quarters."""
    x0, y0, x1, y1 = box
    if turn == 1:
        return y0, 1 - x1, y1, 1 - x0
    if turn == 2:
        return 1 - x1, 1 - y1, 1 - x0, 1 - y0
    return (1 - y1, x0, 1 - y0, x1) if turn == 3 else box


def paragraphs(
    placed: Iterable[Placed], groups: Mapping[int, object] = MappingProxyType({})
) -> list[list[Placed]]:
    """Return the lines of each paragraph; a line without words is one by itself.

    Args:
        placed: Lines in reading order.
        groups: Of some lines (by `id`): those of one are one paragraph.
    """
    made: list[list[Placed]] = []
    before: Placed | None = None
    for one in placed:
        group = groups.get(id(one.line))
        if before is None or (group is not None or id(before.line) in groups):
            is_new = before is None or group != groups.get(id(before.line))
        else:
            is_new = _begins(before, one, is_first=len(made[-1]) == 1)
        if is_new:
            made.append([])
        made[-1].append(one)
        before = one
    return made


def goes_on(before: Placed, after: Placed) -> bool:
    """Return whether one line's sentence seems to go on in another column or page."""
    a, b = before.line, after.line
    if abs(a.size - b.size) > _SIZES * a.size or a.is_bold != b.is_bold:
        return False
    em = a.words[0].style.em[0]
    if _is_divided(a, b):
        return True
    if _set_in(after, em) > 0 or _would_fit(before, b, em):
        return False
    is_begun = b.text[:1].islower() or a.text[-1] == ","
    return is_begun or not (_ENDS.search(a.text) or _BULLET.match(b.text))


def _placed(items: list[_Item]) -> Iterator[Placed]:
    em = _em(items)
    items = sorted(items, key=lambda item: (_middle(item), item.box[0]))
    for rows, is_table in _columns(items, em[0]):
        worded = [item for item in rows if item.line.words] or rows
        edges = Counter(round(item.box[0] / em[0] * 2) for item in worded)
        most = max(edges, key=lambda edge: (edges[edge], -edge))
        left = min(i.box[0] for i in worded if round(i.box[0] / em[0] * 2) == most)
        ends = sorted((item.box[2] for item in worded), reverse=True)
        # A long address runs over the end.
        right = left if is_table else ends[len(ends) // 10]
        steps = [
            _foot(b) - _foot(a)
            for a, b in zip(worded, worded[1:], strict=False)
            if a.line.words and b.line.words and abs(a.line.size - b.line.size) < 0.5
        ]
        steps = sorted(step for step in steps if 0.9 * em[1] < step < 2.2 * em[1])
        leading = steps[len(steps) // 4] if steps else 1.25 * em[1]
        for item in rows:
            yield Placed(item.line, item.box, left, right, leading)


def _foot(item: _Item) -> float:
    return item.line.words[0].upright_baseline


def _em(items: Sequence[_Item]) -> tuple[float, float]:
    """Return the size of most words, as shares along and across their lines."""
    styles = Counter(word.style.em for item in items for word in item.line.words[:1])
    return max(styles, key=styles.__getitem__) if styles else (0.017, 0.012)


def _columns(
    items: list[_Item], em: float, depth: int = 0
) -> Iterator[tuple[list[_Item], bool]]:
    """Yield the lines of one column after another; what crosses them cuts them.

    Beside them: whether each is a row of what may be a table.
    """
    at = _gutter(items, em) if depth < _MOST_CUTS else None
    if at is None:
        yield items, False
        return
    for band, is_across in _bands(items, at, em):
        left, right = _sides(band, at)
        if is_across or not (left and right):
            yield from _columns(band, em, depth + 1)
        elif _is_read_down(left, right):
            yield from _columns(left, em, depth + 1)
            yield from _columns(right, em, depth + 1)
        else:
            yield [_row(row) for row in _rows(band)], True


def _gutter(items: list[_Item], em: float) -> float | None:
    """Return where a gap between lines beside each other ends, the best one."""
    edges = Counter(round(item.box[0] / em * 4) for item in items)
    best, where = 0, None
    for edge, _ in edges.most_common(_MOST_EDGES):
        at = (edge - 0.5) / 4 * em
        n = sum(
            len(band)
            for band, is_across in _bands(items, at, em)
            if not is_across and all(_sides(band, at))
        )
        if n > best:
            best, where = n, at
    return where


def _sides(band: list[_Item], at: float) -> tuple[list[_Item], list[_Item]]:
    left = [item for item in band if item.box[0] < at]
    return left, [item for item in band if item.box[0] >= at]


def _bands(
    items: list[_Item], at: float, em: float
) -> Iterator[tuple[list[_Item], bool]]:
    """Yield what follows each other down the page: lines across a gap, and others.

    A long address may run over its column's end, and into a line of the next one: what
    stands beside that, or was drawn before what is above it there, is not across.
    """
    band: list[_Item] = []
    was_across = False
    foot, drawn = 0.0, -1
    heads = [item.box[1] for item in items if item.box[0] >= at][::-1]
    for item in items:
        if item.box[0] >= at:
            foot = max(foot, item.box[3])
            drawn = max(drawn, item.at if item.line.words else -1)
            heads.pop()
        is_across = item.box[0] < at < item.box[2] + _GUTTER * em
        if is_across and item.box[2] > at:
            most = _TOUCHING * (item.box[3] - item.box[1])
            is_below = foot <= item.box[1] + most and drawn < item.at
            is_across = is_below and not (heads and heads[-1] < item.box[3] - most)
        if band and is_across != was_across:
            yield band, was_across
            band = []
        band.append(item)
        was_across = is_across
    if band:
        yield band, was_across


def _middle(item: _Item) -> float:
    return (item.box[1] + item.box[3]) / 2


def _is_read_down(left: list[_Item], right: list[_Item]) -> bool:
    """Return whether two sides are columns of text, and not of a table."""
    drawn = sorted(
        [(item.at, False) for item in left if item.line.words]
        + [(item.at, True) for item in right if item.line.words]
    )
    n_changes = sum(a[1] != b[1] for a, b in zip(drawn, drawn[1:], strict=False))
    if n_changes <= max(2, 0.3 * min(len(left), len(right))):
        return True
    return all(_is_filled(side) for side in (left, right))


def _is_filled(side: list[_Item]) -> bool:
    x0, _, x1, _ = around(item.box for item in side)
    full = [item.box[2] - x0 > _FULL * (x1 - x0) for item in side]
    is_long = median(len(item.line.text) for item in side) > _LONG
    return is_long and sum(full) >= _MANY_FULL * len(side)


def _rows(items: list[_Item]) -> Iterator[list[_Item]]:
    """Yield what stands beside each other, from left to right."""
    row: list[_Item] = []
    for item in items:
        if row and _middle(item) > row[0].box[3]:
            yield sorted(row, key=lambda item: item.box[0])
            row = []
        row.append(item)
    yield sorted(row, key=lambda item: item.box[0])


def _row(row: list[_Item]) -> _Item:
    """Return the line of all lines of a row."""
    words = [word for item in row for word in item.line.words]
    if len(row) == 1 or not words:
        return row[0]
    return _Item(line_of(words), around(item.box for item in row), row[0].at)


def _begins(before: Placed, one: Placed, *, is_first: bool) -> bool:
    """Return whether a line begins a paragraph.

    Args:
        before: What is read before it.
        one: The line.
        is_first: Whether that before it begins one.
    """
    a, b = before.line, one.line
    if not (a.words and b.words) or a.turn != b.turn:
        return True
    if is_marked(b):
        return True
    if (before.left, before.right) != (one.left, one.right):
        return not goes_on(before, one)
    step = b.words[0].upright_baseline - a.words[0].upright_baseline
    high = b.words[0].style.em[1]
    # Lines in larger type than their column's others are farther apart.
    most = max(_APART * one.leading, _LARGE * high if high > one.leading else 0.0)
    if abs(a.size - b.size) > _SIZES * a.size or not 0 <= step <= most:
        return True
    if _is_divided(a, b):
        return False
    em = max(a.words[0].style.em[0], b.words[0].style.em[0])
    was, now = (_set_in(its, em) for its in (before, one))
    # After a first line that is set out, all others of its paragraph are set in.
    is_set = now < 0 <= was or (now > max(was, 0) and not (is_first and was < 0))
    is_own = one.right - one.left < _NARROW * em or _BULLET.match(b.text) is not None
    return is_set or is_own or _would_fit(before, b, em)


def _is_divided(before: Line, after: Line) -> bool:
    return before.text[-1] in HYPHENS and after.text[:1].islower()


def _set_in(placed: Placed, em: float) -> int:
    """Return whether a line begins right of its column's others, 1, or left, -1."""
    by = (placed.box[0] - placed.left) / em
    return (by > _INDENT) - (by < -_INDENT)


def _would_fit(before: Placed, after: Line, em: float) -> bool:
    """Return whether a line's first word had room at the end of that before it."""
    first = upright(after.words[0].box, after.turn)
    return before.box[2] + 0.3 * em + first[2] - first[0] < before.right - 0.1 * em
