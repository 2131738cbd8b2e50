"""A reader of pictures that reads their colours, and counts."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageColor

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.lettering import Line

from .indexes import COLOURS

BOX = (0.1, 0.25, 0.9, 0.5)


class ColourReader:
    """Reads in a picture of one colour the colour's name, and its size.

    In a black one it reads what are no three letters, in others nothing; at one of a
    width of 13 pixels it fails.
    """

    def __init__(self, version: str = "1", name: str = "colours") -> None:
        self.name, self.version, self.language = name, version, "en"
        self.read_pictures: list[bytes] = []
        self.n_closed = 0

    def read(
        self, picture: str | Path | bytes, *, timeout_s: float = 60.0
    ) -> list[Line]:
        assert timeout_s > 0
        data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        self.read_pictures.append(data)
        with Image.open(BytesIO(data)) as opened:
            image = opened.convert("RGB")
        if image.width == 13:
            raise ImageUnreadable("The engine did not end within 60 s.")
        pixel = image.getpixel((0, 0))
        named = {ImageColor.getrgb(name): name for name in COLOURS}
        if pixel == (0, 0, 0):
            return [Line("a 1", BOX, 0.9), Line("not sure", BOX, 0.5)]
        if pixel not in named:
            return []
        said = f"{named[pixel]} v{self.version}"
        return [Line(said, BOX, 0.9), Line(f"{image.width} px", BOX, 0.75)]

    def close(self) -> None:
        self.n_closed += 1

    def taken(self) -> int:
        """Return how many pictures were read since the last call."""
        n_read = len(self.read_pictures)
        self.read_pictures = []
        return n_read
