"""A book of the shared data as blocks in their order: the truth of what is made of it.

Tables, footnotes and headings are made up of the book's own terms and definitions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

Place: TypeAlias = "tuple[int, tuple[float, float, float, float] | None]"
"""A page (or slide), from 1, and a box: shares of it, from its top left."""

_PER_HEADING, _PER_NOTE, _PER_TABLE = 6, 5, 9
"""Paragraphs to one heading within a chapter, footnote and table."""
_HEADS = ("Term", "Men", "Women", "Share of all")


@dataclass(frozen=True)
class Heading:
    """A heading: 1 is the book's title, 2 a chapter, 3 a section."""

    text: str
    level: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; a footnote hangs at its end, where there is one."""

    text: str
    note: str = ""
    number: int = 0
    """Of the note."""


@dataclass(frozen=True)
class Figure:
    """A picture with a caption below it; without a file, a chart drawn in lines."""

    file: Path | None
    caption: str
    alt: str
    beside: Figure | None = None
    """Another one, on its right: both have this one's caption."""


@dataclass(frozen=True)
class Table:
    """A caption, above, and rows; an empty cell belongs to that on its left."""

    caption: str
    rows: tuple[tuple[str, ...], ...]


Block: TypeAlias = "Heading | Paragraph | Figure | Table"


@dataclass
class Made:
    """A file and what is in it."""

    file: Path
    blocks: list[Block]
    places: list[Place] = field(default_factory=list)
    """Of the figures, in their order."""
    n_pages: int = 0
    has_alts: bool = True
    allowed: str = ""
    """Words that may be read or not: those in drawings."""
    logo: Path | None = None
    labels: list[str] = field(default_factory=list)
    """Of the pages, where they are not their numbers."""

    @property
    def figures(self) -> list[Figure]:
        """In their order, each picture for itself."""
        return [one for block in self.blocks for one in pictures_of(block)]

    @property
    def tables(self) -> list[Table]:
        """In their order."""
        return [block for block in self.blocks if isinstance(block, Table)]


def pictures_of(block: Block) -> list[Figure]:
    """Return what a block shows: nothing, one, or two under one caption."""
    if not isinstance(block, Figure):
        return []
    other = block.beside
    return [block, replace(other, caption=block.caption)] if other else [block]


def lines_of(file: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    # What the fonts of all producers have.
    return [row for row in rows if _is_plain(row.get("text") or row.get("caption", ""))]


def _is_plain(text: str) -> bool:
    return text.encode("cp1252", "ignore").decode("cp1252") == text


def book(folder: Path, n_figures: int, seed: int = 0) -> list[Block]:
    """Return the first chapters of a book that have so many figures.

    Args:
        folder: `openstax/NAME` of the shared data.
        n_figures: The last chapter is the one with this figure.
        seed: Of the tables' numbers.
    """
    figures, terms = (lines_of(folder / f"{of}.jsonl") for of in ("figures", "queries"))
    chapters: dict[str, list[dict[str, Any]]] = {}
    for passage in lines_of(folder / "passages.jsonl"):
        chapters.setdefault(passage["module"], []).append(passage)
    # Short ones, of this book, each used once.
    taken = (row for row in terms if 2 < len(row["query"]) < 40)
    kinds = iter(dict.fromkeys((row["query"], row.get("meaning", "")) for row in taken))
    made: list[Block] = [Heading(folder.name.capitalize(), 1)]
    rng = random.Random(seed)
    n_chapter = n = 0
    for module, passages in chapters.items():
        its = [figure for figure in figures if figure["module"] == module]
        if not its or n >= n_figures:
            continue
        n_chapter, n = n_chapter + 1, n + len(its)
        made.append(Heading(f"{n_chapter} {passages[0]['title']}", 2))
        made += _chapter(n_chapter, passages, its, kinds, rng, folder)
    return _numbered(made)


def _chapter(
    number: int,
    passages: list[dict[str, Any]],
    figures: list[dict[str, Any]],
    terms: Iterator[tuple[str, str]],
    rng: random.Random,
    folder: Path,
) -> Iterator[Block]:
    n_tables = 0
    for at, passage in enumerate(passages):
        if at and at % _PER_HEADING == 0 and (term := next(terms, None)):
            yield Heading(term[0].capitalize(), 3)
        note = ""
        if at % _PER_NOTE == 1 and (term := next(terms, None)):
            note = " ".join(f"{term[0].capitalize()}: {term[1]}".split()[:14])
        yield Paragraph(passage["text"], note)
        share = len(figures) / len(passages)
        for nth in range(round(at * share), round((at + 1) * share)):
            row = figures[nth]
            mark = "" if nth % 4 == 3 else ":"
            said = f"Figure {number}.{nth + 1}{mark} {row['caption']}"
            yield Figure(folder / row["image"], said.strip(), row["alt"])
        if at % _PER_TABLE == 4:
            n_tables += 1
            if table := _table(f"{number}.{n_tables}", terms, rng):
                yield table


def _table(number: str, terms: Iterator[tuple[str, str]], rng: random.Random) -> Any:
    names = [term[0] for term, _ in zip(terms, range(rng.randint(3, 8)), strict=False)]
    if not names:
        return None
    head = [f"Term {number}", *_HEADS[1:]]
    if rng.random() < 0.3:
        head[2] = ""
    rows = [
        (name, f"{rng.random() * 90:.1f}", f"{rng.randint(1_000, 9_999):,}")
        + (rng.choice(["none", "one in ten", "not asked", "12 %", "–", "all of them"]),)
        for name in names
    ]
    caption = f"Table {number}: {names[0].capitalize()} by sex and share"
    return Table(caption, (tuple(head), *rows))


def _numbered(blocks: list[Block]) -> list[Block]:
    made, n = [], 0
    for block in blocks:
        if isinstance(block, Paragraph) and block.note:
            n += 1
            made.append(replace(block, number=n))
        else:
            made.append(block)
    return made


def without_notes(blocks: list[Block]) -> list[Block]:
    return [
        replace(block, note="") if isinstance(block, Paragraph) else block
        for block in blocks
    ]


def without_spans(blocks: list[Block]) -> list[Block]:
    """Return the book with a word in every cell."""
    return [
        replace(
            block,
            rows=tuple(tuple(cell or "Both" for cell in row) for row in block.rows),
        )
        if isinstance(block, Table)
        else block
        for block in blocks
    ]


def with_pairs(blocks: list[Block]) -> list[Block]:
    """Return the book with two in three figures beside each other."""
    made: list[Block] = []
    n, last = 0, 0
    for block in blocks:
        if isinstance(block, Figure):
            n += 1
            if n % 3 == 2:
                made[last] = replace(made[last], beside=block)  # type: ignore[type-var]
                continue
            last = len(made)
        made.append(block)
    return made


def in_german(blocks: list[Block]) -> list[Block]:
    """Return the book with captions that begin with "Abbildung" and "Tabelle"."""
    return [
        replace(
            block,
            caption=block.caption.replace("Figure", "Abbildung", 1).replace(
                "Table", "Tabelle", 1
            ),
        )
        if isinstance(block, Figure | Table)
        else block
        for block in blocks
    ]


def with_modes(blocks: list[Block], folder: Path) -> list[Block]:
    """Return the book with pictures in grey, CMYK, a palette, with masks."""
    made, n = [], 0
    for block in blocks:
        if isinstance(block, Figure) and block.file:
            n += 1
            picture = Image.open(block.file).convert("RGB")
            mode = ("L", "RGBA", "CMYK", "P", "1")[n % 5]
            suffix = ".jpg" if mode in ("L", "CMYK") else ".png"
            file = folder / f"{block.file.stem}-{mode}{suffix}"
            changed = picture.convert(mode)
            if mode == "RGBA":
                changed.putalpha(Image.linear_gradient("L").resize(picture.size))
            changed.save(file)
            made.append(replace(block, file=file))
        else:
            made.append(block)
    return made


def with_long_table(blocks: list[Block], n_rows: int = 120) -> list[Block]:
    """Return the book with one table, of some pages, in its middle."""
    rows = tuple(
        (f"Term {n}", f"{n * 37 % 100}.5", f"{n:,}", "none") for n in range(n_rows)
    )
    table = Table("Table 9.9: All terms", (_HEADS, *rows))
    made = [block for block in blocks if not isinstance(block, Table)]
    places = [n for n, block in enumerate(made) if isinstance(block, Heading)]
    return [*made[: places[5]], table, *made[places[5] :]]


def with_charts(blocks: list[Block], each: int = 4) -> list[Block]:
    """Return the book with one in so many figures replaced by a chart."""
    made, n = [], 0
    for block in blocks:
        if isinstance(block, Figure):
            n += 1
            made.append(replace(block, file=None) if n % each == 0 else block)
        else:
            made.append(block)
    return made
