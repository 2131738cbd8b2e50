"""Styles and numbers of a Word file: which paragraphs are headings, captions, items."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.office import first, said, whole

_HEADING = re.compile(r"heading ([1-9])")
# The names of Word's own styles are these in every language.
_LISTS = re.compile(r"toc( \d| heading)|table of (figures|authorities)|index \d")
_NO_NUMBERS = {"bullet": "-", "none": ""}
_ROMAN = {
    "m": 1000, "cm": 900, "d": 500, "cd": 400, "c": 100, "xc": 90, "l": 50, "xl": 40,
    "x": 10, "ix": 9, "v": 5, "iv": 4, "i": 1,
}  # fmt: skip
_MOST_LEVELS = 9


@dataclass(frozen=True, slots=True)
class Style:
    """What a paragraph's style makes of it."""

    level: int | None = None
    """Of a heading, from 1; 0 is the title."""
    is_caption: bool = False
    is_list_of_contents: bool = False
    number: tuple[str, int] | None = None
    """Which numbering, and its level from 0."""


class Styles:
    """Styles of a file, by their ids.

    Args:
        archive: The file.
        name: Of the part; None: it has none.
    """

    def __init__(self, archive: Archive, name: str | None) -> None:
        root = archive.xml(name) if name in archive.names else ()
        self._defined = {said(one, "styleId"): one for one in root}
        self._known: dict[str, Style] = {}
        language = first(root, "docDefaults", "rPrDefault", "rPr", "lang")
        self.language = said(language, "val")

    def of(self, properties: Any) -> Style:
        """Return the style of a paragraph's properties; None: it has none."""
        if properties is None:
            return Style()
        id_ = said(first(properties, "pStyle"), "val")
        if id_ not in self._known:
            self._known[id_] = self._inherited(id_)
        style = self._known[id_]
        own = _outline(properties), _number(properties)
        if own == (None, None):
            return style
        level, number = own
        level = style.level if level is None else level if level < 10 else None
        number = number or style.number
        return Style(level, style.is_caption, style.is_list_of_contents, number)

    def _inherited(self, id_: str) -> Style:
        level = number = None
        names = []
        for style in self._chain(id_):
            name = said(first(style, "name"), "val").lower()
            names.append(name)
            properties = first(style, "pPr")
            if level is None:
                level = _outline(properties)
            if level is None and (heading := _HEADING.fullmatch(name)):
                level = int(heading[1])
            if level is None and name == "title":
                level = 0
            number = number or _number(properties)
        return Style(
            None if level == 10 else level,
            "caption" in names,
            any(_LISTS.fullmatch(name) for name in names),
            number,
        )

    def _chain(self, id_: str) -> Iterator[Any]:
        """Yield a style and those that it is based on."""
        seen = set()
        while id_ in self._defined and id_ not in seen:
            seen.add(id_)
            yield self._defined[id_]
            id_ = said(first(self._defined[id_], "basedOn"), "val")


def _outline(properties: Any) -> int | None:
    """Return a heading's level, from 1; 10: it is none, whatever its style is."""
    if properties is None or (level := first(properties, "outlineLvl")) is None:
        return None
    return min(whole(said(level, "val")), 9) + 1


def _number(properties: Any) -> tuple[str, int] | None:
    if properties is None or (number := first(properties, "numPr")) is None:
        return None
    return said(first(number, "numId"), "val"), whole(
        said(first(number, "ilvl"), "val")
    )


class Numbers:
    """Numbers of a file's lists, which are counted as its paragraphs come.

    Args:
        archive: The file.
        name: Of the part; None: it has none.
    """

    def __init__(self, archive: Archive, name: str | None) -> None:
        root = archive.xml(name) if name in archive.names else ()
        self._levels: dict[tuple[str, int], tuple[str, str, int]] = {}
        self._lists: dict[str, tuple[str, str]] = {}
        self._counted: dict[str, dict[int, int]] = {}
        for one in root:
            for level in one.iterchildren("{*}lvl"):
                at = said(one, "abstractNumId"), whole(said(level, "ilvl"))
                start = whole(said(first(level, "start"), "val", "1"))
                texts = (said(first(level, it), "val") for it in ("numFmt", "lvlText"))
                self._levels[at] = (*texts, start)  # type: ignore[assignment]
            if (of := first(one, "abstractNumId")) is not None:
                is_anew = next(one.iter("{*}startOverride"), None) is not None
                its, id_ = said(of, "val"), said(one, "numId")
                # One that begins anew is counted by itself.
                self._lists[id_] = its, f"{its} {id_}" if is_anew else its

    def mark(self, number: tuple[str, int]) -> str:
        """Return what stands before the next paragraph of a list; "": it is in none."""
        id_, level = number
        if id_ == "0":
            return ""
        its, counted = self._lists.get(id_, (id_, id_))
        kind, text, start = self._levels.get((its, level), ("bullet", "", 1))
        if kind in _NO_NUMBERS:
            return _NO_NUMBERS[kind]
        counts = self._counted.setdefault(counted, {})
        counts[level] = counts.get(level, start - 1) + 1
        for deeper in range(level + 1, _MOST_LEVELS):
            counts.pop(deeper, None)

        def of_level(found: re.Match[str]) -> str:
            at = int(found[1]) - 1
            kind, _, start = self._levels.get((its, at), ("", "", 1))
            return _counted(counts.get(at, start), kind)

        return re.sub("%([1-9])", of_level, text)


def _counted(n: int, kind: str) -> str:
    """Return a number as a list shows it."""
    letters = ""
    if kind.endswith("Letter") and n > 0:
        letters = chr(ord("a") + (n - 1) % 26) * min((n - 1) // 26 + 1, 9)
    elif kind.endswith("Roman") and n < 4000:
        for letter, value in _ROMAN.items():
            letters += letter * (n // value)
            n %= value
    if letters:
        return letters.upper() if kind.startswith("upper") else letters
    return str(n)
