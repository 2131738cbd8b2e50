"""Headings of a PDF without tags: its outline's entries, and lines in larger type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import pypdfium2

from llama_index_mmrag.readers.pdf.lines import Line

MOST_ENTRIES = 100_000
_MOST_LINES, _MOST_CHARACTERS = 4, 250
"""Of a heading."""
_MOST_DIGITS = 6
"""Of its number."""
_LARGER = 1.08
"""Than the text, at the least."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an outline says that a page has."""

    title: str
    """Letters and digits only, in lower case."""
    level: int
    """1 is the outermost."""


class Headings:
    """Finds a page's headings.

    Args:
        document: Its outline is read.
        sample: Lines of some of its pages: most of them are text.
    """

    def __init__(self, document: pypdfium2.PdfDocument, sample: Iterable[Line]) -> None:
        sizes: Counter[float] = Counter()
        for line in sample:
            sizes[line.size] += len(line.text)
        self.size = max(sizes, key=sizes.__getitem__) if sizes else 10.0
        """Points: that of most of the text."""
        self.are_tagged = False
        """Whether the file's tags name some."""
        self._entries: dict[int, list[Entry]] = {}
        for n, mark in enumerate(document.get_toc(max_depth=15)):
            where = mark.get_dest()
            page = where.get_index() if where is not None else None
            if n >= MOST_ENTRIES:
                break
            if page is not None and (title := _letters(mark.get_title())):
                self._entries.setdefault(page + 1, []).append(
                    Entry(title, mark.level + 1)
                )

    def listed(self, page: int, lines: Sequence[Line]) -> list[tuple[int, int, int]]:
        """Return which lines are entries of the outline: from, to, and level.

        Args:
            page: From 1.
            lines: Of the page, in reading order.
        """
        found: list[tuple[int, int, int]] = []
        said = [_letters(line.text) for line in lines]
        taken = 0
        for entry in self._entries.get(page, ()):
            # In their order, and where that fails, anywhere; with or without a number.
            tried = product((str.__eq__, _is_numbered), (taken, 0))
            found_at = (
                _found(entry.title, said, start, is_it) for is_it, start in tried
            )
            at = next(filter(None, found_at), None)
            if at is not None and not any(a < at[1] and at[0] < b for a, b, _ in found):
                found.append((*at, entry.level))
                taken = at[1]
        return sorted(found)

    def is_one(self, lines: Sequence[Line]) -> bool:
        """Return whether a paragraph is a heading by its size and weight."""
        text = " ".join(line.text for line in lines)
        if len(lines) > _MOST_LINES or len(text) > _MOST_CHARACTERS:
            return False
        is_large = all(line.size > _LARGER * self.size for line in lines)
        is_bold = all(
            word.style.is_bold for line in lines for word in line.words
        ) and all(line.size > 0.95 * self.size for line in lines)
        is_sentence = text[-1:] in ".,;" and not text[:1].isdigit()
        return (
            (is_large or is_bold)
            and not is_sentence
            and any(char.isalpha() for char in text)
        )


def _found(
    title: str, said: Sequence[str], start: int, is_it: Callable[[str, str], bool]
) -> tuple[int, int] | None:
    """Return from and to which line a title stands."""
    for first in range(start, len(said)):
        text = ""
        for last in range(first, min(first + _MOST_LINES, len(said))):
            text += said[last]
            if said[first] and is_it(text, title):
                return first, last + 1
            if len(text) > len(title) + _MOST_DIGITS:
                break
    return None


def _is_numbered(text: str, title: str) -> bool:
    """Return whether one of two is the other one behind a number."""
    long, short = max(text, title, key=len), min(text, title, key=len)
    number = long.removesuffix(short)
    return number.isdigit() and len(number) <= _MOST_DIGITS


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
