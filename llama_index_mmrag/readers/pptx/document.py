"""Slides: each one thing, with its title, text, pictures, tables, charts and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.office import (
    OFF,
    Pictures,
    first,
    main_part,
    metadata_of,
    number,
    part_of,
    relations_of,
    said,
    title_of,
)
from llama_index_mmrag.readers.page import LINE, PARAGRAPH, Page, PictureLink, Section
from llama_index_mmrag.readers.parts import MOST_HEADING
from llama_index_mmrag.readers.pptx.places import caption_of, in_order
from llama_index_mmrag.readers.pptx.shapes import OF_THE_DECK, TITLES, Shape, Slide
from llama_index_mmrag.readers.writing import one_line

_OFTEN = 3
"""A picture on more than one in so many slides belongs to the deck."""
_LEAST_SHARE = 0.01
"""Of a slide: a smaller picture is a mark."""
_NOTES = "Notes: "


def read(file: Path, how: How) -> Page:
    """Return the page of a PPTX: a section is a slide.

    Raises:
        DocumentUnreadable: It is none, has no slides, is broken, encrypted, or beyond a
            limit.
    """
    archive = Archive(file, how)
    main = main_part(archive, "presentation", "presentation")
    show, relations = archive.xml(main), relations_of(archive, main)
    names = [
        relations[id_].target
        for one in show.iter("{*}sldId")
        for key, id_ in one.attrib.items()
        if key.endswith("relationships}id") and id_ in relations
    ]
    if not names:
        archive.close()
        raise archive.unreadable("it has no slides")
    metadata, problems = metadata_of(archive), list[str]()
    language = first(show, "defaultTextStyle", "defPPr", "defRPr")
    metadata.setdefault("language", said(language, "lang"))
    if len(names) > how.pages:
        problems.append(
            f"{len(names) - how.pages} of {len(names)} slides are left out. Raise "
            f"ReadLimits.pages."
        )
    size = (number(said(first(show, "sldSz"), it)) for it in ("cx", "cy"))
    width, height = (side or 9_144_000.0 for side in size)
    pictures = Pictures(archive, how.pixels)
    deck = _Deck(archive, title_of(metadata), (width, height), pictures)
    its = deck.sections(names[: how.pages], problems)
    return Page(its, {key: it for key, it in metadata.items() if it}, problems)


class _Deck:
    """Slides as sections.

    Args:
        archive: The file, which is closed after the last one.
        title: What the file says that it is called, or "".
        size: Width and height of slides.
        pictures: What keeps them.
    """

    def __init__(
        self,
        archive: Archive,
        title: str,
        size: tuple[float, float],
        pictures: Pictures,
    ) -> None:
        self._archive, self._size, self._pictures = archive, size, pictures
        self._title = title
        self._seen: Counter[tuple[str, ...]] = Counter()

    def sections(self, names: Sequence[str], problems: list[str]) -> Iterator[Section]:
        """Yield each slide, and its notes, which are the same entity."""
        with self._archive:
            self._pictures.ornaments |= self._on_many(names)
            for n, name in enumerate(names, 1):
                try:
                    yield from self._slide(n, name)
                except DocumentUnreadable as error:
                    if len(names) == 1:
                        raise
                    problems.append(f"Slide {n} is left out: {error}")
        problems.extend(self._pictures.problems())

    def _slide(self, n: int, name: str) -> Iterator[Section]:
        slide = Slide(self._archive, name, self._size, self._pictures)
        shapes = [*slide.shapes()]
        titles = [one for one in shapes if one.role in TITLES]
        title = one_line(" ".join(one.text for one in titles))[:MOST_HEADING]
        if n == 1 and title and titles[0].role == OF_THE_DECK:
            self._title = title
        headings = tuple(dict.fromkeys(filter(None, (self._title, title))))
        name_of_it = ("slide", headings, self._seen[headings])
        self._seen[headings] += 1
        rest = in_order([one for one in shapes if one not in titles])
        rest = [one for one in rest if one.link is None or _is_shown(one)]
        links = tuple(_captioned(one, rest, n) for one in rest if one.link)
        # As in HTML and Markdown, a picture's alt text stands where it does.
        texts = (one.link.alt if one.link else one.text for one in rest)
        text = PARAGRAPH.join(filter(None, texts))
        about: dict[str, Any] = {"slide": n}
        if said(slide.root, "show") in OFF:
            about["kind"] = "hidden slide"
        if text or links or title:
            yield Section(text, links, headings, name_of_it, LINE, about=about)
        if (notes := part_of(slide.relations, "notesSlide")) in self._archive.names:
            its = Slide(self._archive, notes, self._size, self._pictures).shapes()
            if noted := PARAGRAPH.join(one.text for one in its if one.text):
                about = {"slide": n, "kind": "notes"}
                noted = f"{_NOTES}{noted}"
                yield Section(noted, (), headings, name_of_it, LINE, about=about)

    def _on_many(self, names: Sequence[str]) -> set[str]:
        """Return which pictures belong to the deck, however often the file has them."""
        same: dict[tuple[int, int], set[str]] = {}
        on: Counter[tuple[int, int]] = Counter()
        for name in names:
            its = {
                one.target
                for one in relations_of(self._archive, name).values()
                if one.kind == "image" and one.target in self._archive.names
            }
            marks = {self._archive.mark(one) for one in its}
            for one in its:
                same.setdefault(self._archive.mark(one), set()).add(one)
            on.update(marks)
        often = (mark for mark, n in on.items() if n > max(2, len(names) / _OFTEN))
        return {name for mark in often for name in same[mark]}


def _is_shown(shape: Shape) -> bool:
    if shape.box is None:
        return True
    x0, y0, x1, y1 = shape.box
    return (x1 - x0) * (y1 - y0) >= _LEAST_SHARE


def _captioned(shape: Shape, others: Sequence[Shape], n: int) -> PictureLink:
    assert shape.link is not None
    about: dict[str, Any] = {"slide": n, "kind": "figure"}
    if shape.box is not None:
        about["box"] = [min(max(side, 0.0), 1.0) for side in shape.box]
    return replace(shape.link, figcaption=caption_of(shape, others), about=about)
