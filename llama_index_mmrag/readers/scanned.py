"""The words of a scanned page: an engine's lines, taken as those of a text layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

from llama_index_mmrag.provenance import Line
from llama_index_mmrag.readers.page import PARAGRAPH, Place
from llama_index_mmrag.readers.pdf.lines import Line as Printed
from llama_index_mmrag.readers.pdf.lines import line_of
from llama_index_mmrag.readers.pdf.order import ordered, paragraphs
from llama_index_mmrag.readers.pdf.words import Style, Word
from llama_index_mmrag.readers.pdf.writing import Vocabulary, joined

_EM_WIDE = 2.0
"""Ems, of a mean character's width, in any script with letters."""
_EM_HIGH = 0.8
"""Of a line's box, which engines draw about or beyond its letters."""
_MOST_SLOPE = 0.05
"""About two degrees, by which a page may lie askew."""


def text_of(lines: Sequence[Line], page: int) -> tuple[str, tuple[Place, ...]]:
    """Return a page's text in reading order, and where its lines stand.

    Args:
        lines: As an engine read them, in its order; blank ones are none.
        page: Its number, from 1.
    """
    read = [line for line in lines if line.text.strip()]
    printed = _printed(read)
    boxes = {id(one): line.box for one, line in zip(printed, read, strict=True)}
    known = Vocabulary()
    known.learn(printed)
    text: str = ""
    places: list[Place] = []
    for placed in paragraphs(ordered(printed)):
        paragraph = [one.line for one in placed]
        text += PARAGRAPH if text else ""
        said, starts = joined(paragraph, known)
        for start, line in zip(starts, paragraph, strict=True):
            x0, y0, x1, y1 = boxes.get(id(line), line.box)
            places.append(Place(len(text) + start, page, (x0, y0, x1, y1)))
        text += said
    return text, tuple(places)


def _printed(lines: Sequence[Line]) -> list[Printed]:
    """Return lines as of a text layer that is straight, with words where they may be.

    Where words stand in a line is told by their letters' number.
    """
    if not lines:
        return []
    wide = _EM_WIDE * median((x1 - x0) / len(t) for t, (x0, _, x1, _), _ in lines)
    high = _EM_HIGH * median(y1 - y0 for _, (_, y0, _, y1), _ in lines)
    style = Style(10.0, (wide, high), 0, False, -1, False)
    slope = _slope(lines, wide)
    fall = slope * (high / wide) ** 2
    made = []
    for text, (x0, y0, x1, y1), _ in lines:
        left, middle = x0 - slope * y0, (y0 + y1) / 2 + fall * (x0 + x1) / 2
        top, below = middle - high / 2, middle + high / 2
        each = (x1 - x0) / len(text)
        words = [
            Word(
                word[0],
                (left + each * word.start(), top, left + each * word.end(), below),
                below,
                style,
                is_apart=True,
            )
            for word in re.finditer(r"\S+", text)
        ]
        made.append(line_of(words))
    return made


def _slope(lines: Sequence[Line], em: float) -> float:
    """Return by how much lines begin farther right down the page: most begin alike."""

    def n_alike(slope: float) -> int:
        edges = (x0 - slope * y0 for _, (x0, y0, _, _), _ in lines)
        return sum(n * n for n in Counter(round(x / em * 4) for x in edges).values())

    n_steps = int(_MOST_SLOPE / em * 8)
    slopes = (step * em / 8 for step in range(-n_steps, n_steps + 1))
    return max(slopes, key=lambda slope: (n_alike(slope), -abs(slope)))
