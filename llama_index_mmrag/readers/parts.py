"""Parts: what stands between one heading and the next, and the sections of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby, pairwise

from llama_index_mmrag.readers.page import LINE, PictureLink, Section

MOST_HEADING = 1_000
"""Most characters of a heading: a longer one is a paragraph. Each stands before every
chunk below it, so that 20 MB in one would be many times as much."""


@dataclass(slots=True)
class Part:
    """What stands between one heading and the next."""

    headings: tuple[str, ...]
    level: int = 0
    """Of the innermost heading."""
    above: tuple[str, ...] = ()
    """Titles that stand above all headings."""
    blocks: list[tuple[str, bool]] = field(default_factory=list)
    """Texts; whether each belongs into one list with that before it."""
    links: list[PictureLink] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    """How many texts stand before each of them, where that is known."""

    def show(self, *links: PictureLink) -> None:
        """Add pictures where it ends now."""
        self.links += links
        self.at += [len(self.blocks)] * len(links)

    def text(self) -> str:
        """Return its text, a blank line between paragraphs."""
        said, was_item = [""], True
        for block, is_item in self.blocks:
            said += ("\n" if is_item and was_item else "\n\n", block)
            was_item = is_item
        return "".join(said[2:])


class Outline:
    """The headings that stand above a place, outermost first."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []

    @property
    def level(self) -> int:
        """Of the outermost heading; deeper than any, where there is none."""
        return self._stack[0][0] if self._stack else MOST_HEADING

    def add(self, level: int, title: str) -> None:
        """Add a heading, which ends those of its level, from 0, and deeper ones."""
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._stack.append((level, title))

    def headings(self, above: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the headings, below some titles; what repeats is said once."""
        titles = (title for _, title in self._stack if title not in above)
        return (*above, *(title for title, _ in groupby(titles)))


def sections_of(
    parts: Iterable[Part], seen: Counter[tuple[str, ...]] | None = None
) -> Iterator[Section]:
    """Yield the parts that say something, by the rules of a Markdown page.

    Each is yielded when the next one has come.

    Args:
        parts: In their order.
        seen: How many sections there were under each heading; counted on.
    """
    seen = Counter() if seen is None else seen
    for part, following in pairwise(chain(parts, [Part(())])):
        headings, text = part.headings, part.text()
        # A heading with nothing below it is said nowhere else.
        after = following.headings[: len(headings)]
        if text or part.links or (headings and after != headings):
            name = ("section", headings, seen[headings])
            yield Section(text, tuple(part.links), headings, name, LINE)
            seen[headings] += 1
