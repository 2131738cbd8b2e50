"""Lines of lettering: what an engine read in a picture, and where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llama_index_mmrag.provenance import Line

CONFIDENT = 0.6
"""Least confidence of a line that is searched. Below it rapidocr reads letters into the
textures of photographs; what was measured of lettering was measured with it."""

FEWEST_LETTERS = 3
"""Fewer are an axis or a panel's mark, which says nothing of the picture."""


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


def line_of(
    text: str,
    corners: Iterable[Sequence[float]],
    size: tuple[int, int],
    confidence: float,
) -> Line | None:
    """Return the line of a text whose corners are given in pixels; None without text.

    Args:
        text: What was read.
        corners: Points (x, y) from the picture's top left, at least one.
        size: The picture's width and height.
        confidence: In [0, 1].

    Example:
        >>> line_of(" root ", [(10, 20), (30, 20), (30, 41), (10, 40)], (40, 40), 0.9)
        Line(text='root', box=(0.25, 0.5, 0.75, 1.0), confidence=0.9)
    """
    if not (said := text.strip()):
        return None
    x, y = (
        [min(max(place / whole, 0.0), 1.0) for place in places]
        for places, whole in zip(zip(*corners, strict=True), size, strict=True)
    )
    # Four digits are a tenth of a pixel of the largest that is read.
    x0, y0, x1, y1 = (round(v, 4) for v in (min(x), min(y), max(x), max(y)))
    return Line(said, (x0, y0, x1, y1), round(confidence, 4))
