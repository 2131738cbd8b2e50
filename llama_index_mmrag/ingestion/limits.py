"""Limits: what a file may take of time, memory and disk."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llama_index_mmrag.checks import number, whole
from llama_index_mmrag.checks.arguments import checked_fields
from llama_index_mmrag.nodes.images import MAX_PIXELS


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """What a file may take: one that would take more is a problem, the rest goes on.

    Raises:
        InvalidSetting: A number is out of its range.
    """

    file_bytes: int = 2 << 30
    """Most bytes of a file, and of the pictures that it holds itself."""

    text_bytes: int = 256 << 20
    """Most bytes of a text, Markdown or HTML file."""

    pixels: int = MAX_PIXELS
    """Most pixels of a picture; no more than Pillow's own limit."""

    pages: int = 50_000
    """Most pages of a file: the rest is left out."""

    page_s: float = 10.0
    """Seconds for a page, which is left out after them."""

    unpacked_bytes: int = 1 << 30
    """Most bytes that a zip (an Office file, a book) unpacks to."""

    unpacked_ratio: int = 200
    """Most bytes that a zip unpacks to for each of its own."""

    file_s: float = 300.0
    """Seconds for a file that is read in a child process, or by a reader of yours."""

    memory_bytes: int = 768 << 20
    """Most bytes of address space of a child process, at least 64 MiB. Where the system
    has no RLIMIT_AS (Windows; macOS does not keep to it) they are not counted."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, kind in LIMITS.items():
            if kind is float:
                number(getattr(self, name), name, more_than=0)
                continue
            least = 64 << 20 if name == "memory_bytes" else 1
            most = MAX_PIXELS if name == "pixels" else None
            whole(getattr(self, name), name, at_least=least, at_most=most)


LIMITS = {limit.name: type(limit.default) for limit in fields(ReadLimits)}
"""Their names, and what their numbers are: int or float."""
