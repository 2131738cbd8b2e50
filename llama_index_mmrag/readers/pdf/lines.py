"""Lines of a PDF's page: words that stand beside each other.

Coordinates are shares of the page as it is displayed, turned and cropped, from its top
left; sizes of type are in points.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pypdfium2

from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.pdf.words import WORD_GAP, Word, text_of

__all__ = ["Line", "Word", "around", "line_of", "lines_in", "lines_of"]


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
    return lines_in(text_of(page).words)


def lines_in(words: Iterable[Word]) -> list[Line]:
    """Return the lines of words: a new one where one does not follow that before it."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and word.follows(runs[-1][-1]):
            runs[-1].append(word)
        else:
            runs.append([word])
    return [line_of(run) for run in runs]


def line_of(words: Iterable[Word]) -> Line:
    """Return the line of words that stand beside each other, in reading order."""
    run = tuple(words)
    said = run[0].text
    for before, word in pairwise(run):
        is_apart = word.is_apart or word.gap(before) > WORD_GAP * word.style.em[0]
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
