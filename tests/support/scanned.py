"""Scans: PDF files whose pages are pictures of one grey, and who reads these."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.lettering import Line

BOX = (0.1, 0.25, 0.9, 0.27)
BELOW = (0.1, 0.275, 0.6, 0.295)
UNREADABLE = 13


def scanned(file: Path, *greys: int, title: str = "") -> Path:
    """Write a PDF with a page for each grey, 0 to 255; return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.new("L", (85, 110), grey) for grey in greys]
    made = BytesIO()  # which has no name to be a title
    how = {"append_images": others, "resolution": 10, "title": title}
    first.save(made, "PDF", save_all=True, **how)
    file.write_bytes(made.getvalue())
    return file


class GreyReader:
    """Reads on a page of one grey which it is; at `UNREADABLE` it fails.

    Args:
        name: The engine's.
        version: The engine's.
        before: Called before a page is read.
    """

    def __init__(
        self,
        name: str = "greys",
        version: str = "1",
        before: Callable[[], object] = bool,
    ) -> None:
        self.name, self.version, self.language = name, version, "en"
        self.before = before
        self.read_pages: list[int] = []
        self.began: list[float] = []

    def read(
        self, picture: str | Path | bytes, *, timeout_s: float = 60.0
    ) -> list[Line]:
        assert timeout_s > 0
        assert isinstance(picture, bytes)
        self.began.append(time.monotonic())
        self.before()
        with Image.open(BytesIO(picture)) as opened:
            # 8.5 by 11 inches at 200 dots each.
            assert (opened.size, opened.mode) == ((1700, 2200), "L")
            grey = opened.getpixel((800, 800))
        self.read_pages.append(grey)
        if grey == UNREADABLE:
            raise ImageUnreadable("The engine did not end within 60 s.")
        if grey == 255:
            return []
        return [
            Line(f"Of all the greys that there are this one is {grey},", BOX, 0.9),
            Line("~ unsure ~", BOX, 0.3),
            Line(
                f"or so {self.name} {self.version} said.", (0.1, 0.275, 0.6, 0.295), 0.8
            ),
        ]

    def close(self) -> None:
        self.read_pages = []

    def taken(self) -> list[int]:
        """Return which pages were read since the last call."""
        read, self.read_pages = self.read_pages, []
        return read
