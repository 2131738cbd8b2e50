"""What stands around the text of a PDF's pages: running heads, numbers, footnotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from llama_index_mmrag.readers.pdf.lines import Line, line_of
from llama_index_mmrag.readers.pdf.sections import Block
from llama_index_mmrag.readers.pdf.words import Word

LEAST_PAGES = 4
"""Fewer say nothing of what repeats."""
_PLACE = 0.01
"""Of the page's height: what stands no farther apart is in one place."""
_MARGIN, _MOST = 0.12, 0.25
"""Of the page's height: where running heads stand; and of its characters, what may
repeat elsewhere."""
_DIGITS = re.compile(r"\d+")
_ROMAN = re.compile(r"[ivxlcdm]+")
_MARK = re.compile(r"\(?(\d{1,3}|[*†‡§¶‖#]{1,3}|[a-z])\)?[.,]?")
_SMALLER, _SMALL = 0.85, 0.95
"""Of its line's size: a raised mark; of the text's: a note."""


class Running:
    """Lines that repeat in place on more than half of some pages, digits aside.

    Args:
        pages: The lines of each.
    """

    def __init__(self, pages: Sequence[Sequence[Line]]) -> None:
        places: dict[str, list[float]] = {}
        for lines in pages:
            for text, y in {(_repeated(line), _middle(line)) for line in lines}:
                places.setdefault(text, []).append(y)
        self._places: dict[str, list[float]] = {}
        if len(pages) >= LEAST_PAGES:
            for text, its in places.items():
                often = [y for y in its if _n_near(y, its) * 2 > len(pages)]
                if often:
                    self._places[text] = often

    def without(self, lines: Sequence[Line]) -> list[Line]:
        """Return a page's lines without them; all, if most of them would go.

        Where they are much of its text, as of a form that is printed for each person,
        only those in its margins are none.
        """
        ours = [line for line in lines if self._has(line)]
        if _n_chars(ours) > _MOST * _n_chars(lines):
            ours = [one for one in ours if abs(_middle(one) - 0.5) > 0.5 - _MARGIN]
        gone = set(map(id, ours))
        rest = [line for line in lines if id(line) not in gone]
        return rest if len(rest) * 2 > len(lines) else list(lines)

    def _has(self, line: Line) -> bool:
        its = self._places.get(_repeated(line))
        return its is not None and _n_near(_middle(line), its) > 0


def _n_chars(lines: Iterable[Line]) -> int:
    return sum(len(line.text) for line in lines)


def _n_near(y: float, places: Iterable[float]) -> int:
    return sum(abs(y - other) <= _PLACE for other in places)


def _middle(line: Line) -> float:
    return (line.box[1] + line.box[3]) / 2


def _repeated(line: Line) -> str:
    text = _DIGITS.sub("#", line.text.casefold())
    return "#" if _ROMAN.fullmatch(text) else text


def raised_in(line: Line) -> Iterable[str]:
    """Yield the marks of notes that are raised in a line."""
    for word in line.words:
        if _is_raised(word, line) and (mark := _MARK.fullmatch(word.text)):
            yield mark[1]


def _mark_of(block: Block, size: float) -> str:
    """Return the mark that a note begins with; "": it is none."""
    is_small = all(line.size <= _SMALL * size for line in block.lines)
    if not (block.kind == "note" or (block.kind == "text" and is_small)):
        return ""
    words = block.lines[0].words
    mark = _MARK.fullmatch(words[0].text) if len(words) > 1 else None
    if mark is None or not (_is_raised(words[0], block.lines[0]) or mark[1].isdigit()):
        return ""
    return mark[1]


def is_marked(line: Line) -> bool:
    """Return whether a line begins with a raised mark, as a note does."""
    if len(line.words) < 2:
        return False
    return _is_raised(line.words[0], line) and bool(_MARK.fullmatch(line.words[0].text))


def noted(blocks: Sequence[Block], size: float) -> list[Block]:
    """Return a page's blocks with each footnote behind the paragraph that names it.

    Args:
        blocks: In reading order.
        size: That of the text, in points.
    """
    marks = [_mark_of(block, size) for block in blocks]
    named: dict[str, int] = {}
    after: dict[int, list[Block]] = {}
    made: list[Block] = []
    for block, mark in zip(blocks, marks, strict=True):
        if mark in named:
            block.kind = "note"
            block.lines[0] = _with_space(block.lines[0])
            after.setdefault(named[mark], []).append(block)
            continue
        if block.kind in ("text", "item"):
            for one in (mark for line in block.lines for mark in raised_in(line)):
                named.setdefault(one, len(made))
        made.append(block)
    return [one for n, block in enumerate(made) for one in (block, *after.get(n, ()))]


def _with_space(line: Line) -> Line:
    """Return a line with a space behind its first word."""
    first, *rest = line.words
    return line_of([first, rest[0]._replace(is_apart=True), *rest[1:]])


def _is_raised(word: Word, line: Line) -> bool:
    style = word.style
    if style.size > _SMALLER * line.size:
        return False
    others = [w for w in line.words if w.style.size > style.size]
    level = others[0].upright_baseline if others else word.upright_baseline
    return word.upright_baseline < level - 0.1 * style.em[1]
