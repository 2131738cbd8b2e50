"""Tables whose cells have lines around them, and what those of every kind are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llama_index_mmrag.readers.pdf.lines import Word, around, line_of
from llama_index_mmrag.readers.pdf.objects import Points, holds, middle, overlap
from llama_index_mmrag.readers.pdf.writing import Vocabulary, joined

SNAP = 3.0
"""Points by which lines that meet may miss each other."""
_MOST_CELLS = 20_000
_CUT = 0.6
"""Ems at the end of a line that are too few for one more character."""
_FEW_LINES = 3
"""Level ones, around a head and all rows below it."""
_LEAST_FILLED = 0.4
"""Of the cells of a table: a chart's grid has nothing in most of its."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A word and where it stands."""

    word: Word
    box: Points
    line: int
    """Of the page."""

    @property
    def at(self) -> tuple[float, float]:
        """Its middle."""
        return middle(self.box)


@dataclass(frozen=True, slots=True)
class Grid:
    """What may be a table."""

    box: Points
    rows: list[list[str]]
    """Their cells' texts."""
    is_sure: bool
    """Whether it is a table without a caption that says so."""


def ruled_all_around(
    level: list[Points],
    upright: list[Points],
    words: Sequence[Placed],
    known: Vocabulary,
) -> Iterator[Grid]:
    """Yield the tables whose cells have lines around them.

    Args:
        level: The page's level lines.
        upright: Its upright ones.
        words: What stands on it.
        known: Words that tell what a hyphen at a line's end is.
    """
    for drawn, columns in _crossing(level, upright):
        if len(drawn) < 2:
            continue
        x0, y0, x1, y1 = box = around([*drawn, *columns])
        # The outermost lines may not be drawn.
        xs = _places([*(line[0] for line in columns), x0, x1])
        inner = [it for it in words if holds(box, it.at)]
        ys = [*(line[1] for line in drawn), y0, y1]
        rows = [*drawn, *_undrawn(xs, ys, inner)]
        ys = _places([*(line[1] for line in rows), y0, y1])
        n_fields = (len(xs) - 1) * (len(ys) - 1)
        if len(xs) < 3 or len(ys) < 2 or n_fields > _MOST_CELLS:
            continue
        cells = _grid(xs, ys, rows, columns)
        texts = _texts(xs, ys, cells, inner, known)
        heads = {*cells.values()}
        is_filled = len(texts) >= max(2, _LEAST_FILLED * len(heads))
        if is_filled and len({x for x, _ in heads}) > 1:
            grid = [
                [texts.get((x, y), "") for x in range(len(xs) - 1)]
                for y in range(len(ys) - 1)
            ]
            yield Grid(box, grid, is_sure=len(heads) > 2)


def _undrawn(
    xs: list[float], ys: Iterable[float], words: Sequence[Placed]
) -> list[Points]:
    """Return the lines that are not drawn between rows which have all their cells."""
    made: list[Points] = []
    drawn = _places(ys)
    for top, bottom in pairwise(drawn) if len(drawn) <= _FEW_LINES else ():
        rows = baselines(it for it in words if top <= it.at[1] <= bottom)
        n_filled = [len({_nth(it.at[0], xs) for it in row}) for row in rows]
        if len(rows) > 2 and min(n_filled) == len(xs) - 1:
            for row, after in pairwise(rows):
                y = (max(it.box[3] for it in row) + min(it.box[1] for it in after)) / 2
                made.append((xs[0], y, xs[-1], y))
    return made


def _nth(at: float, places: list[float]) -> int:
    """Return between which places something is, the first two being 0."""
    return min(max(sum(at > place for place in places) - 1, 0), len(places) - 2)


def _crossing(
    level: list[Points], upright: list[Points]
) -> Iterator[tuple[list[Points], list[Points]]]:
    """Yield lines that cross each other, those of one table together."""
    left = [*upright]
    free = [*level]
    while left:
        columns, rows, todo = list[Points](), list[Points](), [left.pop()]
        while todo:
            line = todo.pop()
            is_column = line[0] == line[2] and line[1] != line[3]
            (columns if is_column else rows).append(line)
            others = free if is_column else left
            met = [other for other in others if is_met(line, other)]
            todo += met
            others[:] = [other for other in others if other not in met]
        yield rows, columns


def is_met(one: Points, other: Points) -> bool:
    """Return whether two lines or boxes meet, or almost do."""
    return all(
        overlap(one[n], one[n + 2], other[n], other[n + 2]) >= -SNAP for n in (0, 1)
    )


def _places(values: Iterable[float]) -> list[float]:
    """Return where lines are, those almost in one place once."""
    places: list[float] = []
    for value in sorted(values):
        if not places or value - places[-1] > 2 * SNAP:
            places.append(value)
    return places


def _grid(
    xs: list[float], ys: list[float], rows: list[Points], columns: list[Points]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the cell that each field of a grid is in, by that cell's first field."""

    def is_drawn(lines: list[Points], along: int, at: float, beside: float) -> bool:
        return any(
            abs(line[1 - along] - at) <= 2 * SNAP
            and line[along] - SNAP <= beside <= line[along + 2] + SNAP
            for line in lines
        )

    cells: dict[tuple[int, int], tuple[int, int]] = {}
    for y, (top, bottom) in enumerate(pairwise(ys)):
        for x, (left, right) in enumerate(pairwise(xs)):
            own = (x, y)
            if x and not is_drawn(columns, 1, left, (top + bottom) / 2):
                own = cells[x - 1, y]
            if y and not is_drawn(rows, 0, top, (left + right) / 2):
                above = cells[x, y - 1]
                old, own = own, min(own, above, key=lambda it: it[::-1])
                for field in [it for it, cell in cells.items() if cell in (old, above)]:
                    cells[field] = own
            cells[x, y] = own
    return cells


def _texts(
    xs: list[float],
    ys: list[float],
    cells: dict[tuple[int, int], tuple[int, int]],
    words: Sequence[Placed],
    known: Vocabulary,
) -> dict[tuple[int, int], str]:
    """Return what stands in each cell."""
    inside: dict[tuple[int, int], list[Placed]] = {}
    for it in words:
        field = _nth(it.at[0], xs), _nth(it.at[1], ys)
        inside.setdefault(cells[field], []).append(it)
    ends = {cell: xs[x + 1] for (x, _), cell in sorted(cells.items())}
    return {
        cell: text_of(its, known, xs[cell[0]], ends[cell])
        for cell, its in inside.items()
    }


def text_of(
    words: Iterable[Placed], known: Vocabulary, left: float = 0.0, right: float = 0.0
) -> str:
    """Return words of one cell, line by line.

    Args:
        words: Of the cell.
        known: Words that tell what a hyphen at a line's end is.
        left: Where the cell begins, in points, if that is drawn.
        right: Where it ends: a word that is wider goes on in the next line.
    """
    lines: dict[int, list[Placed]] = {}
    for it in words:
        lines.setdefault(it.line, []).append(it)
    runs: list[list[Placed]] = []
    for line in lines.values():
        if runs and _is_cut(runs[-1], line[0], left, right):
            runs[-1] += line
        else:
            runs.append(line)
    return joined([line_of(it.word for it in run) for run in runs], known)[0]


def _is_cut(before: list[Placed], after: Placed, left: float, right: float) -> bool:
    """Return whether a line's only word had no room in its cell, and goes on."""
    one = before[0]
    room = right - one.box[2] - (one.box[0] - left)
    return (
        len(before) == 1
        and room < _CUT * one.word.style.size
        and (left < right and not after.word.is_apart and after.word.text[0].islower())
    )


def baselines(words: Iterable[Placed]) -> list[list[Placed]]:
    """Return words in rows by their height; a raised one is in that of its line."""
    lines: dict[int, list[Placed]] = {}
    for it in words:
        lines.setdefault(it.line, []).append(it)

    def largest(line: list[Placed]) -> Placed:
        return max(line, key=lambda it: it.word.style.size)

    rows: list[list[Placed]] = []
    above = 0.0
    for its in sorted(lines.values(), key=lambda line: largest(line).at[1]):
        one = largest(its)
        if rows and one.at[1] - above <= 0.5 * one.word.style.size:
            rows[-1] += its
        else:
            rows.append([*its])
            above = one.at[1]
    return rows
