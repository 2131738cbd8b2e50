"""Shapes of a slide: where they stand, what they say and show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.docx.math import linear
from llama_index_mmrag.readers.office import (
    Pictures,
    chart_of,
    first,
    is_on,
    local,
    number,
    part_of,
    relations_of,
    said,
    whole,
    words_of_art,
)
from llama_index_mmrag.readers.page import Box, PictureLink
from llama_index_mmrag.readers.writing import alt_of, one_line, table_text

Scale: TypeAlias = "tuple[float, float, float, float]"
"""x and y of a group's children: factors, then what is added."""

OF_THE_DECK = "ctrTitle"
TITLES = ("title", OF_THE_DECK)
_RUNNING = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
"""Placeholders of what is on every slide or page."""
_ON_MASTER = {"ctrTitle": "title", "subTitle": "body", "obj": "body", "": "body"}
_MOST_CELLS = 1_000_000


@dataclass(slots=True)
class Shape:
    """What stands somewhere on a slide."""

    box: Box | None
    """Shares of the slide, which it may reach out of; None: nobody says where."""
    text: str = ""
    link: PictureLink | None = None
    role: str = ""
    """Of a placeholder, such as "title"."""
    is_table: bool = False


class Slide:
    """A slide's shapes, or those of its notes.

    Args:
        archive: The file.
        name: The part.
        size: Width and height of slides.
        pictures: What keeps them.
    """

    def __init__(
        self, archive: Archive, name: str, size: tuple[float, float], pictures: Pictures
    ) -> None:
        self._archive, self._size, self._pictures = archive, size, pictures
        self.relations = relations_of(archive, name)
        self.root = archive.xml(name)
        self._inherited: list[dict[str, Any]] | None = None

    def shapes(self) -> Iterator[Shape]:
        """Yield what says or shows something, in the order that it was drawn in."""
        width, height = self._size
        tree = first(self.root, "cSld", "spTree")
        yield from self._within(tree, (1 / width, 1 / height, 0, 0))

    def _within(self, tree: Any, scale: Scale) -> Iterator[Shape]:
        for child in tree if tree is not None else ():
            kind = local(child)
            if kind == "grpSp":
                yield from self._within(child, _scaled(child, scale))
            elif kind == "AlternateContent":
                # The last version may be a picture of what few programs can draw.
                versions = ([*self._within(version, scale)] for version in child)
                yield from next((shapes for shapes in versions if shapes), ())
            elif kind in ("sp", "pic", "graphicFrame"):
                yield from self._shape(child, kind, scale)

    def _shape(self, shape: Any, kind: str, scale: Scale) -> Iterator[Shape]:
        holder = next((one for one in shape if local(one).startswith("nv")), None)
        its = first(holder, "nvPr", "ph")
        role = said(its, "type")
        if role in _RUNNING:
            return
        box = self._box(shape, its, scale)
        if kind == "graphicFrame":
            yield from self._drawn(shape, box)
        if text := _text_of(first(shape, "txBody")):
            yield Shape(box, text, role=role)
        for blip in shape.iter("{*}blip"):
            if link := self._picture(blip, first(holder, "cNvPr"), shape):
                yield Shape(box, link=link)
        if first(holder, "nvPr", "videoFile") is not None:
            self._pictures.leave_out("played", said(first(holder, "cNvPr"), "name"))

    def _drawn(self, frame: Any, box: Box | None) -> Iterator[Shape]:
        """Yield a table, chart or diagram; objects of other programs are told."""
        for drawn in frame.iter("{*}tbl", "{*}chart", "{*}relIds", "{*}oleObj"):
            kind = local(drawn)
            if kind == "tbl":
                yield Shape(box, _table_of(drawn), is_table=True)
                return
            id_ = said(drawn, "dm" if kind == "relIds" else "id")
            relation = self.relations.get(id_)
            if relation is None or not self._pictures.takes(relation):
                continue
            if kind == "oleObj":
                self._pictures.leave_out("embedded", relation.target)
            elif kind == "chart":
                title, rows = chart_of(self._archive, relation.target)
                if title:
                    yield Shape(box, title)
                yield Shape(box, table_text(rows), is_table=True)
            else:
                said_by_it = words_of_art(self._archive, relation.target)
                yield Shape(box, "\n".join(f"- {text}" for text in said_by_it))
            return  # another version says the same

    def _picture(self, blip: Any, named: Any, shape: Any) -> PictureLink | None:
        relation = self.relations.get(said(blip, "embed") or said(blip, "link"))
        if relation is None or not self._pictures.takes(relation):
            return None
        if (data := self._pictures.data_of(relation)) is None:
            return None
        crop = first(blip.getparent(), "srcRect")
        turned = said(first(shape, "spPr", "xfrm"), "rot")
        shown = self._pictures.shown(data, crop, turned)
        alt, title = alt_of(said(named, "descr")), one_line(said(named, "title"))
        return PictureLink("", alt, title, data=shown)

    def _box(self, shape: Any, role: Any, scale: Scale) -> Box | None:
        """Return where a shape is; a placeholder may be where its layout has it."""
        place = first(shape, "spPr", "xfrm")
        if place is None:
            place = first(shape, "xfrm")
        if place is None and role is not None:
            place = self._place_of(said(role, "idx"), said(role, "type"))
        if place is None:
            return None
        x, y, width, height = _sides(place, "off", "ext")
        by_x, by_y, more_x, more_y = scale
        x, y = x * by_x + more_x, y * by_y + more_y
        return x, y, x + width * by_x, y + height * by_y

    def _place_of(self, index: str, kind: str) -> Any:
        """Return where the layout, or else its master, has a placeholder."""
        if self._inherited is None:
            self._inherited, relations = [], self.relations
            for above in ("slideLayout", "slideMaster"):
                name = part_of(relations, above)
                if name not in self._archive.names:
                    break
                self._inherited.append(_places(self._archive.xml(name)))
                relations = relations_of(self._archive, name)
        for places in self._inherited:
            for key in (f"#{index}", kind, _ON_MASTER.get(kind, kind)):
                if key in places:
                    return places[key]
        return None


def _places(root: Any) -> dict[str, Any]:
    """Return the places of placeholders by their kinds, and by "#" and their index."""
    found: dict[str, Any] = {}
    for shape in root.iter("{*}sp", "{*}pic"):
        role = next(shape.iter("{*}ph"), None)
        place = first(shape, "spPr", "xfrm")
        if role is not None and place is not None:
            if index := said(role, "idx"):
                found.setdefault(f"#{index}", place)
            found.setdefault(said(role, "type"), place)
    return found


def _scaled(group: Any, scale: Scale) -> Scale:
    """Return the scale within a group."""
    place = first(group, "grpSpPr", "xfrm")
    if place is None:
        return scale
    x, y, width, height = _sides(place, "off", "ext")
    from_x, from_y, of_x, of_y = _sides(place, "chOff", "chExt")
    by_x, by_y, more_x, more_y = scale
    in_x = width / of_x if of_x else 1.0
    in_y = height / of_y if of_y else 1.0
    more_x += (x - from_x * in_x) * by_x
    more_y += (y - from_y * in_y) * by_y
    return by_x * in_x, by_y * in_y, more_x, more_y


def _sides(place: Any, corner: str, size: str) -> tuple[float, float, float, float]:
    """Return x, y, width and height."""
    at, its = first(place, corner), first(place, size)
    x, y = number(said(at, "x")), number(said(at, "y"))
    return x, y, number(said(its, "cx")), number(said(its, "cy"))


def _text_of(body: Any) -> str:
    """Return the paragraphs of a text, a line each; those further in are items."""
    lines = []
    for paragraph in body.iterchildren("{*}p") if body is not None else ():
        text = "".join(_runs(paragraph)).replace("\v", "\n")
        level = whole(said(first(paragraph, "pPr"), "lvl"))
        mark = f"{'  ' * (level - 1)}- " if level else ""
        said_in_it = filter(None, map(one_line, text.split("\n")))
        lines += [f"{mark}{line}" for line in said_in_it]
    return "\n".join(lines)


def _runs(element: Any) -> Iterator[str]:
    for child in element:
        kind = local(child)
        if kind == "t":
            yield child.text or ""
        elif kind == "br":
            yield "\n"
        elif kind in ("oMath", "oMathPara"):
            yield f" {linear(child)} "
        elif kind == "AlternateContent":
            yield from _runs(child[0] if len(child) else child)
        elif kind != "fld" or said(child, "type") != "slidenum":
            yield from _runs(child)


def _table_of(table: Any) -> str:
    """Return a table as GitHub's Markdown; what spans cells is in the first of them."""
    rows = [
        [
            ""
            if is_on(cell, "hMerge") or is_on(cell, "vMerge")
            else _text_of(first(cell, "txBody"))
            for cell in row.iterchildren("{*}tc")
        ]
        for row in table.iterchildren("{*}tr")
    ]
    if len(rows) * max(map(len, rows), default=0) > _MOST_CELLS:
        return "\n".join(filter(None, (" ".join(row) for row in rows)))
    return table_text(rows)
