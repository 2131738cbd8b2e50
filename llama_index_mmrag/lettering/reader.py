"""Who reads lettering in pictures: what an engine must offer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from llama_index_mmrag import checks
from llama_index_mmrag.provenance import Line

Engine: TypeAlias = Literal["rapidocr", "tesseract"]

TIMEOUT_S = 300.0
"""Longest time for one picture. A page full of words takes ten seconds of a processor
that it has alone: it is met by an engine that hangs, and not on a busy machine."""

MOST_S = 86_400.0
"""A day. More than `threading.TIMEOUT_MAX` would be refused by Python itself."""


class PictureReader(Protocol):
    """An engine that reads lettering; made by `reader_of`.

    It is begun by the first picture, and given back by `close`, after which the next
    picture begins it anew. Threads may share a reader: pictures wait for each other.
    """

    @property
    def name(self) -> Engine:
        """The engine's name."""
        ...

    @property
    def version(self) -> str:
        """The engine's and its models' version; another one may read other lines."""
        ...

    @property
    def language(self) -> str:
        """Which languages it reads, in the engine's own words."""
        ...

    def read(
        self, picture: str | Path | bytes, *, timeout_s: float = TIMEOUT_S
    ) -> list[Line]:
        """Return the lines of a picture in the engine's order, of any confidence.

        Args:
            picture: A path, or the file's bytes; turned upright (EXIF) before reading.
            timeout_s: Longest time that it may take, more than 0; the engine is ended
                after that, and begun anew by the next picture.

        Raises:
            ImageUnreadable: It is no whole picture within the limits of
                `nodes.images.load_image`, or the engine fails or hangs at it. The next
                picture may be read.
            ReaderUnusable: The engine cannot be begun; no picture can be read.
        """
        ...

    def close(self) -> None:
        """Give back the engine's process, memory and threads; again is no error."""
        ...


def timeout(timeout_s: float) -> float:
    """Return a picture's timeout, checked."""
    return checks.number(
        timeout_s, "timeout_s", more_than=0, at_most=MOST_S, advice="Give seconds."
    )
