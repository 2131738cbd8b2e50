"""Writing: what the readers of every format write in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Cell = TypeVar("Cell")

_NO_ALT = re.compile(
    r"\A.+\.(jpe?g|jfif|png|gif|webp|svg|bmp|tiff?|avif|hei[cf]|emf|wmf)\Z",
    re.IGNORECASE,
)
_MOST_CELLS = 1_000_000
_NO_WIDTH = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))


def shown(text: str) -> str:
    """Return a text without what has no width: soft hyphens, marks of bytes."""
    return text.translate(_NO_WIDTH)


def one_line(text: str) -> str:
    """Return a text in one line, without what has no width."""
    return " ".join(shown(text).split())


def alt_of(said: str) -> str:
    """Return a picture's alt text in one line: of a file's name nothing.

    Programs write that where nobody has said anything.

    >>> alt_of("IMG 2034.jpg"), alt_of("A pear tree")
    ('', 'A pear tree')
    """
    return _NO_ALT.sub("", one_line(said))


def placed(
    rows: Sequence[Sequence[Cell]], span: Callable[[Cell], tuple[int, int]]
) -> list[dict[int, Cell]]:
    """Return each row's cells by their column, past those that reach into it.

    Args:
        rows: Their cells.
        span: Returns over how many columns and rows a cell goes.
    """
    taken: set[tuple[int, int]] = set()
    grid = []
    for y, cells in enumerate(rows):
        its, x = {}, 0
        for cell in cells:
            while (y, x) in taken:
                x += 1
            its[x] = cell
            wide, high = span(cell)
            high = min(high, len(rows) - y)
            if wide * high + len(taken) <= _MOST_CELLS:
                taken |= {(y + j, x + i) for j in range(high) for i in range(wide)}
            x += wide
        grid.append(its)
    return grid


def table_text(rows: Iterable[Sequence[str]]) -> str:
    r"""Return rows of cells as GitHub's Markdown, the first one as the head.

    What spans several cells is to be given in the first of them, and "" in the others.

    Args:
        rows: Their cells' texts; a row that is too short ends with empty ones.

    Example:
        >>> print(table_text([["a", "b|c"], ["1\n2"]]))
        | a | b\|c |
        | --- | --- |
        | 1 2 |  |
    """
    grid = [[one_line(cell).replace("|", r"\|") for cell in row] for row in rows]
    width = max(map(len, grid), default=0)
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in grid]
    return "\n".join([*lines[:1], *[f"|{' --- |' * width}"][: len(lines)], *lines[1:]])
