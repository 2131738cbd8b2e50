"""Tables of a PDF's page: by the lines drawn around their cells, or by three rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.pdf.captions import between, captions_on, linked
from llama_index_mmrag.readers.pdf.grids import (
    SNAP,
    Grid,
    Placed,
    baselines,
    is_met,
    ruled_all_around,
    text_of,
)
from llama_index_mmrag.readers.pdf.lines import around
from llama_index_mmrag.readers.pdf.objects import (
    Points,
    Sheet,
    holds,
    strokes,
)
from llama_index_mmrag.readers.pdf.writing import Vocabulary

_MOST_STROKES, _MOST_LINES = 8_000, 1_000
"""Of a page, and when those that go on as one are: a drawing has more."""
_LEAST_RULE = 60.0
"""Points of a rule above or below a table."""
_GAP, _GAP_OF_FEW = 0.6, 1.0
"""Ems between two columns, and where it has fewer than four rows."""
_SPANS = 0.25
"""Of its words, what of a cell that spans columns is in the first of them."""
_MOST_WORDS = 8.0
"""Of a cell, on average, where no caption says that it is a table."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the lines that it takes the place of."""

    box: Box
    """Shares of the page as displayed."""
    cells: tuple[tuple[str, ...], ...]
    """By rows; a cell that spans others is in the first of them, and these are ""."""
    lines: tuple[int, ...]
    """By their place among the page's."""
    caption: tuple[int, ...] = ()
    """Lines that name it, likewise."""


def tables_of(sheet: Sheet, known: Vocabulary) -> list[Table]:
    """Return a page's tables, from top to bottom.

    Those whose cells have lines around them, and those with a rule above, one below
    the head and one at the end: their columns are where no word stands in any row.

    Args:
        sheet: The page.
        known: Words that tell what a hyphen at a line's end is.
    """
    level, upright = _edges(sheet)
    if len(level) < 2 or max(len(level), len(upright)) > _MOST_LINES:
        return []
    words = [
        Placed(word, sheet.points(word.box), i)
        for i, line in enumerate(sheet.lines)
        for word in line.words
        if line.turn == 0
    ]
    found = [*ruled_all_around(level, upright, words, known)]
    rest = [one for one in level if not any(is_met(one, it.box) for it in found)]
    found += _with_rules(rest, words, known)
    taken = {it.line for one in found for it in words if holds(one.box, it.at)}
    captions = [one for one in captions_on(sheet, taken) if one.kind == "table"]
    is_apart = between(sheet, taken)
    links = linked(captions, [one.box for one in found], ("above", "below"), is_apart)
    tables = []
    for n, one in enumerate(found):
        if n in links or one.is_sure:
            caption = captions[links[n]].lines if n in links else ()
            its = {it.line for it in words if holds(one.box, it.at)} - {*caption}
            cells, at = tuple(map(tuple, one.rows)), tuple(sorted(its))
            tables.append(Table(sheet.shares(one.box), cells, at, caption))
    return sorted(tables, key=lambda table: table.box[1])


def _edges(sheet: Sheet) -> tuple[list[Points], list[Points]]:
    """Return the level and the upright lines of a page, those that go on as one."""
    level: list[Points] = []
    upright: list[Points] = []
    for one in sheet.drawn:
        if one.is_picture or len(level) + len(upright) >= _MOST_STROKES:
            continue
        for x0, y0, x1, y1 in strokes(one, sheet):
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            if x1 - x0 >= y1 - y0:
                level.append((x0, y, x1, y))
            else:
                upright.append((x, y0, x, y1))
    return _joined(level, 0), _joined(upright, 1)


def _joined(lines: list[Points], along: int) -> list[Points]:
    """Return lines in one where they go on with, or lie on, each other."""
    across = 1 - along
    rows: list[list[Points]] = []
    for line in sorted(lines, key=lambda it: it[across]):
        if rows and line[across] - rows[-1][-1][across] <= SNAP / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    made = []
    for row in rows:
        its: list[Points] = []
        for line in sorted(row, key=lambda it: it[along]):
            if its and line[along] <= its[-1][along + 2] + SNAP:
                its[-1] = around([its[-1], line])
            else:
                its.append(line)
        made += its
    return made


def _with_rules(
    level: list[Points], words: Sequence[Placed], known: Vocabulary
) -> Iterator[Grid]:
    """Yield what stands between rules of one length, above each other."""
    left = sorted(
        (line for line in level if line[2] - line[0] >= _LEAST_RULE),
        key=lambda line: line[1],
    )
    while left:
        first = left.pop(0)
        apart = (
            (line, abs(line[0] - first[0]), abs(line[2] - first[2])) for line in left
        )
        rules = [first, *(line for line, *its in apart if max(its) <= 2 * SNAP)]
        left = [line for line in left if line not in rules]
        if len(rules) > 1 and (table := _between(rules, words, known)):
            yield table


def _between(
    rules: list[Points], words: Sequence[Placed], known: Vocabulary
) -> Grid | None:
    """Return the table that rules make; None: they make none."""
    box = around(rules)
    inner = [it for it in words if holds(box, it.at)]
    bands = [
        [it for it in inner if top[1] <= it.at[1] <= bottom[1]]
        for top, bottom in pairwise(rules)
    ]
    bands = [band for band in bands if band]
    if not bands:
        return None
    head, body = (bands[:1], bands[1:]) if len(bands) > 1 else ([], bands)
    columns = _columns([row for band in body for row in baselines(band)])
    if len(columns) < 2:
        return None
    rows = [_row(band, columns) for band in head]
    is_by_rules = len(body) > 2
    for band in body:
        if is_by_rules:
            rows.append(_row(band, columns))
        else:
            rows += [_row(part, columns) for part in _rows(band, columns)]
    if len(rows) < 2:
        return None
    texts = [[text_of(cell, known) for cell in row] for row in rows]
    n_words = sum(len(text.split()) for row in texts for text in row)
    n_cells = sum(1 for row in texts for text in row if text)
    is_sure = len(rules) > 2 and n_words <= _MOST_WORDS * n_cells
    return Grid(box, texts, is_sure)


def _columns(rows: list[list[Placed]]) -> list[tuple[float, float]]:
    """Return the stretches in which words of any row stand."""
    least = _GAP if len(rows) > 3 else _GAP_OF_FEW
    spans: list[tuple[float, float]] = []
    for it in sorted((it for row in rows for it in row), key=lambda it: it.box[0]):
        x0, x1 = it.box[0], it.box[2]
        if spans and x0 - spans[-1][1] < least * it.word.style.size:
            spans[-1] = spans[-1][0], max(spans[-1][1], x1)
        else:
            spans.append((x0, x1))
    return spans


def _row(
    words: Iterable[Placed], columns: Sequence[tuple[float, float]]
) -> list[list[Placed]]:
    """Return the cells of one row; what spans columns is in the first of them."""
    ends = [(left[1] + right[0]) / 2 for left, right in pairwise(columns)]
    cells: list[list[Placed]] = [[] for _ in columns]
    for run in _runs(words):
        x0, x1 = run[0].box[0], max(it.box[2] for it in run)
        # A head may be wider than what stands below it.
        least = x0 + _SPANS * (x1 - x0)
        cells[sum(least > end for end in ends)] += run
    return cells


def _runs(words: Iterable[Placed]) -> Iterator[list[Placed]]:
    """Yield words that stand together, line by line."""
    for line in baselines(words):
        run: list[Placed] = []
        for it in sorted(line, key=lambda it: it.box[0]):
            if run and it.box[0] - run[-1].box[2] > _GAP * it.word.style.size:
                yield run
                run = []
            run.append(it)
        if run:
            yield run


def _rows(
    band: list[Placed], columns: Sequence[tuple[float, float]]
) -> list[list[Placed]]:
    """Return rows, lines that go on with the one above in one with it."""
    lines = baselines(band)
    tops = [min(it.box[1] for it in line) for line in lines]
    pitches = [after - before for before, after in pairwise(tops)]
    # Rows stand farther apart than the lines of one cell.
    least, most = min(pitches, default=0.0), max(pitches, default=0.0)
    is_apart = most > 1.25 * least
    rows = lines[:1]
    for line, pitch in zip(lines[1:], pitches, strict=True):
        filled = [n for n, cell in enumerate(_row(line, columns)) if cell]
        goes_on = (
            pitch < (least + most) / 2
            if is_apart
            else filled[:1] != [0] and len(filled) < 2
        )
        if goes_on:
            rows[-1] = [*rows[-1], *line]
        else:
            rows.append(line)
    return rows
