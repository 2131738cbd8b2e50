"""Boxes of a PDF's page: as it is displayed, and how far apart they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llama_index_mmrag.readers.page import Box

if TYPE_CHECKING:
    import pypdfium2


def is_rtl(text: str) -> bool:
    """Return whether a text begins with a letter of Hebrew or Arabic, or their like."""
    return "\u0590" <= text[0] <= "\u08ff" or "\ufb1d" <= text[0] <= "\ufefc"


def gap_between(box: Box, after: Box, turn: int, text: str) -> float:
    """Return how far after a box another one begins, along the line."""
    if (turn > 1) != is_rtl(text):
        return box[turn % 2] - after[turn % 2 + 2]
    return after[turn % 2] - box[turn % 2 + 2]


def displayed(page: pypdfium2.PdfPage) -> Callable[[float, float, float, float], Box]:
    """Return what maps a box in a page's own points to one as displayed.

    It takes left, bottom, right, top. What is outside of the page is less than 0 or
    more than 1.
    """
    left, bottom, right, top = page.get_bbox()
    wide, high = max(right - left, 1e-6), max(top - bottom, 1e-6)
    turn = page.get_rotation() // 90

    def share(x0: float, y0: float, x1: float, y1: float) -> Box:
        a, c = (x0 - left) / wide, (x1 - left) / wide
        b, d = (top - y1) / high, (top - y0) / high
        if turn == 1:
            return 1 - d, a, 1 - b, c
        if turn == 2:
            return 1 - c, 1 - d, 1 - a, 1 - b
        return (b, 1 - c, d, 1 - a) if turn == 3 else (a, b, c, d)

    return share
