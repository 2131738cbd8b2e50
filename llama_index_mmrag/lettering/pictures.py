"""Pictures as engines are given them: upright, not too large, not too thin."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.images import describe_source, load_image

MAX_SIDE = 2_000
"""RapidOCR shrinks what is larger itself, after decoding it whole. A page of A4 has
170 dots an inch then, at which both engines still read it."""

MAX_ASPECT = 8
"""RapidOCR brings the shorter side to 736 pixels, so that a picture of 1 x 10,000 would
have billions; its own padding is for wide pictures alone, and black."""


PAGE_SIDE = 4_000
"""Of a page, for Tesseract: 200 dots an inch of all up to A2."""


def prepared(
    picture: str | Path | bytes, *, of_page: bool = False
) -> tuple[Image.Image, tuple[int, int]]:
    """Return a picture as engines get it, and the size that boxes are shares of.

    It is in RGB; what is longer than `MAX_ASPECT` times the other side is laid on
    white, at the top left, until it is not.

    Raises:
        ImageUnreadable: As `load_image`.
    """
    upright = load_image(picture, max_side=PAGE_SIDE if of_page else MAX_SIDE)
    width, height = upright.size
    least = -(-max(width, height) // MAX_ASPECT)
    if min(width, height) >= least:
        return upright, upright.size
    laid = Image.new("RGB", (max(width, least), max(height, least)), "white")
    laid.paste(upright)
    return laid, upright.size


def not_read(picture: str | Path | bytes, engine: str, what: str) -> ImageUnreadable:
    """Return the error of a picture that an engine fails at; `what` it does."""
    return ImageUnreadable(
        f"Cannot read the lettering of the picture {describe_source(picture)}: "
        f"{engine} {what}. Expected its lines. Leave the picture out, or give it more "
        "time."
    )
