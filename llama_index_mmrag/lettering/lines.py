"""Lines of lettering: what an engine read in a picture, and where. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CONFIDENT = 0.6
"""Least confidence of a line that is searched. Below it rapidocr reads letters into the
textures of photographs; what was measured of lettering was measured with it."""

FEWEST_LETTERS = 3
"""Fewer are an axis or a panel's mark, which says nothing of the picture."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of lettering in a picture.

    Attributes:
        text: What it says, without spaces at its ends; never empty.
        box: Where it stands: [x0, y0, x1, y1] as shares, in [0, 1], of the upright
            picture from its top left; the smallest that holds a line written aslant.
        confidence: How sure the engine is, in [0, 1].
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float


def confident(lines: Iterable[Line]) -> list[Line]:
    """Return the lines of confidence `CONFIDENT` or more, in their order."""
    return [line for line in lines if line.confidence >= CONFIDENT]


def words_in(lines: Iterable[Line]) -> str | None:
    """Return what a picture's lines say, a line each, or None where that is nothing.

    Lines of less confidence than `CONFIDENT` are left out. What holds fewer than
    `FEWEST_LETTERS` letters is nothing: digits and marks are no letters, and a letter
    of any script is one.

    Example:
        >>> somewhere = (0.1, 0.2, 0.3, 0.4)
        >>> words_in([Line("stigma", somewhere, 0.9), Line("~", somewhere, 0.3)])
        'stigma'
        >>> words_in([Line("(a) 17", somewhere, 0.9)]) is None
        True
    """
    text = "\n".join(line.text for line in confident(lines))
    return text if sum(map(str.isalpha, text)) >= FEWEST_LETTERS else None
