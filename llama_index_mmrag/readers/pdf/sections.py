"""Sections of a PDF: what its pages hold, one block after another, under headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from llama_index_mmrag.readers.page import PARAGRAPH, Box, PictureLink, Place, Section
from llama_index_mmrag.readers.pdf.lines import Line
from llama_index_mmrag.readers.pdf.writing import Vocabulary, joined
from llama_index_mmrag.readers.writing import one_line, table_text

MOST_HEADING = 300
"""Characters: what is longer is a paragraph, whatever it looks like."""
_MOST_PAGES = 2
"""Of a part of a section."""
_MOST_HELD = 100
_NUMBER = re.compile(r"\d+(?:\.\d+)*(?=\.?\s)")

Kind: TypeAlias = Literal["heading", "text", "item", "note", "table", "figure", "scan"]


@dataclass(slots=True)
class Block:
    """A paragraph, a heading, a table or a picture of a page."""

    kind: Kind
    page: int
    """From 1."""
    lines: list[Line] = field(default_factory=list)
    """Of a figure: those of its caption."""
    level: int = 0
    """Of a heading, 1 is the outermost; 0: its size tells."""
    rows: list[list[str]] = field(default_factory=list)
    """Of a table: its cells."""
    box: Box | None = None
    """Of a table."""
    links: list[PictureLink] = field(default_factory=list)
    scan: Section | None = None
    """Of a scanned page, without headings."""
    mark: str = ""
    """What stands before a list's item."""
    goes_on: bool = False
    """Whether it is the rest of a paragraph or table that began before it."""
    more: list[Block] = field(default_factory=list)
    """Its rest, on later pages."""


class Sections:
    """Makes sections of blocks, each as soon as it is known to be whole.

    A paragraph that goes on after a page's end, a note or a figure is one; what stood
    between comes after it. A section of more than two pages is cut into parts where a
    page ends, behind the paragraph that runs over that end.

    Args:
        known: Words that tell what a hyphen at a line's end is.
        title: Of the document: it stands above all headings, unless that begins with
            one.
    """

    def __init__(self, known: Vocabulary, title: str = "") -> None:
        self._known = known
        self._title = title
        self._above: list[tuple[Block, str]] = []
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._held: list[Block] = []
        self._is_begun = False
        self._is_said = False  # by a scan
        self._begin()

    def add(self, block: Block) -> Iterator[Section]:
        """Take the next block; yield the sections that end before it."""
        if block.kind == "heading":
            yield from self._put_above(block)
        elif block.kind == "scan":
            yield from self._end()
            assert block.scan
            yield replace(block.scan, headings=self._headings())
            self._is_said = True
        else:
            yield from self._hold(block)
        self._is_begun = True

    def end(self) -> Iterator[Section]:
        """Yield what is left, when there are no more blocks."""
        yield from self._end(after=())

    def _hold(self, block: Block) -> Iterator[Section]:
        alike = [one for one in self._held if one.kind == block.kind]
        if block.goes_on and alike:
            alike[-1].more.append(block)
            return
        is_next = block.kind in ("text", "item") or len(self._held) >= _MOST_HELD
        if is_next:
            yield from self._write()
        self._held.append(block)

    def _put_above(self, block: Block) -> Iterator[Section]:
        text = one_line(joined(block.lines, self._known)[0])
        if not self._is_begun:
            self._title = ""
        above = list(self._above)
        while above and not _is_below(block, text, *above[-1]):
            above.pop()
        after = _titles(self._title, [*above, (block, text)])
        yield from self._end(after=after)
        self._above = [*above, (block, text)]
        self._is_said = False

    def _headings(self) -> tuple[str, ...]:
        return _titles(self._title, self._above)

    def _begin(self, part: int = 0) -> None:
        self._part = part
        self._first_page = 0
        self._text: list[str] = []
        self._n_chars = 0
        self._was_item = False
        self._links: list[PictureLink] = []
        self._places: list[Place] = []

    def _end(self, after: tuple[str, ...] | None = None) -> Iterator[Section]:
        yield from self._write()
        headings = self._headings()
        # A heading with nothing below it is said nowhere else.
        is_last_word = after is not None and after[: len(headings)] != headings
        is_last_word = is_last_word and not self._is_said
        if self._text or self._links or (is_last_word and not self._part):
            if self._above and not self._places:  # a heading alone
                block = self._above[-1][0]
                self._places.append(Place(0, block.page, block.lines[0].box))
            yield self._section(headings)
        self._begin()

    def _section(self, headings: tuple[str, ...]) -> Section:
        if not self._part:
            self._seen[headings] += 1
        name = ("section", headings, self._seen[headings] - 1)
        return Section(
            "".join(self._text),
            tuple(self._links),
            headings,
            (*name, self._part) if self._part else name,
            PARAGRAPH,
            tuple(self._places),
        )

    def _write(self) -> Iterator[Section]:
        """Write what was held; yield the part that ended before."""
        held, self._held = self._held, []
        for block in held:
            is_long = self._first_page and block.page >= self._first_page + _MOST_PAGES
            if is_long and block.kind != "note":
                yield self._section(self._headings())
                self._begin(self._part + 1)
            self._first_page = self._first_page or block.page
            parts = [block, *block.more]
            for link in block.links:
                if link.alt:  # where its picture stands, as in a web page
                    self._say(link.alt)
                    at = self._n_chars - len(link.alt)
                    self._places.append(Place(at, block.page, link.about.get("box")))
            if block.kind == "table":
                self._write_table(parts)
            else:
                lines = [line for part in parts for line in part.lines]
                text, starts = joined(lines, self._known)
                pages = [part.page for part in parts for _ in part.lines]
                shift = [0, *[len(block.mark)] * len(lines)]
                self._say(block.mark + text, block.kind == "item")
                at = self._n_chars - len(block.mark) - len(text)
                self._places += [
                    Place(at + start + by, page, line.box)
                    for start, by, page, line in zip(
                        starts, shift, pages, lines, strict=False
                    )
                ]
            self._links += [link for part in parts for link in part.links]

    def _write_table(self, parts: list[Block]) -> None:
        for part in parts[1:]:
            if part.rows[:1] == parts[0].rows[:1]:  # its head, on the next page again
                part.rows = part.rows[1:]
        text = table_text([row for part in parts for row in part.rows])
        self._say(text)
        at, n = self._n_chars - len(text), 0
        rows = text.split("\n")
        for part in parts:
            skipped = rows[: n + 1 if n else 0]  # the line below the head is none
            start = at + sum(len(row) + 1 for row in skipped)
            self._places.append(Place(start, part.page, part.box))
            n += len(part.rows)

    def _say(self, text: str, is_item: bool = False) -> None:
        if not text:
            return
        if self._text:
            between = "\n" if is_item and self._was_item else PARAGRAPH
            self._text.append(between)
            self._n_chars += len(between)
        self._text.append(text)
        self._n_chars += len(text)
        self._was_item = is_item


def _titles(title: str, above: list[tuple[Block, str]]) -> tuple[str, ...]:
    titles = [title] if title else []
    for _, text in above:
        if text and titles[-1:] != [text]:
            titles.append(text)
    return tuple(titles)


def _is_below(block: Block, text: str, other: Block, its: str) -> bool:
    """Return whether a heading stands below another: by level, type, or number."""
    if block.level and other.level:
        return block.level > other.level
    one, two = block.lines[0], other.lines[0]
    if abs(one.size - two.size) > 0.03 * two.size or one.is_bold != two.is_bold:
        return (round(one.size, 1), one.is_bold) < (round(two.size, 1), two.is_bold)
    first, second = _NUMBER.match(text), _NUMBER.match(its)
    if first is None or second is None:
        return False
    return first[0].count(".") > second[0].count(".")
