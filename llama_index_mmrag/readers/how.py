"""How a file is read: what a child process is told beside the file's name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class How:
    """What a reader of this folder is to keep to; see `ReadLimits`."""

    encoding: str = "utf-8"
    """Of a text that does not say its own."""
    most_bytes: int = 256 << 20
    """Of the file."""
    pixels: int = 89_478_485
    """Of a picture. One of more is drawn from its page, where there is one."""
    pages: int = 50_000
    """Of a file: the rest is left out, and told."""
    file_s: float = 300.0
    """Seconds for the file."""
    page_s: float = 10.0
    """Seconds for a page, which is left out after them, and told."""
    page_pictures: str = "first"
    """Of which scanned pages pictures are kept: "first" of a file, "all" or "none"."""
    drawn: int = 0
    """The page that is drawn, from 1, where nothing else is to be read."""
    unpacked_bytes: int = 1 << 30
    """Of all that a zip holds."""
    unpacked_ratio: int = 200
    """Most bytes that a zip may hold for each of its own."""
