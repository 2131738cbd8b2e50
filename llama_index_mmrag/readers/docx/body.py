"""The body of a Word file: its paragraphs and tables as blocks, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.captions import captioned_by
from llama_index_mmrag.readers.docx.captions import Block, Cell, caption_cells
from llama_index_mmrag.readers.docx.math import linear
from llama_index_mmrag.readers.docx.styles import Numbers, Styles
from llama_index_mmrag.readers.office import (
    OFF,
    Pictures,
    chart_of,
    first,
    local,
    part_of,
    relations_of,
    said,
    whole,
    words_of_art,
)
from llama_index_mmrag.readers.page import PictureLink
from llama_index_mmrag.readers.parts import MOST_HEADING
from llama_index_mmrag.readers.writing import alt_of, one_line, table_text

_DROPPED = frozenset({
    "pPr", "rPr", "sdtPr", "sdtEndPr", "tblPr", "tblGrid", "tblPrEx", "trPr", "tcPr",
    "del", "moveFrom", "delText", "delInstrText", "rt", "rubyPr", "sectPr",
})  # fmt: skip
"""What is no text, or was deleted."""
_WRITTEN = {"tab": " ", "ptab": " ", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHOWN = {
    "blip": "embed",
    "imagedata": "id",
    "OLEObject": "id",
    "chart": "id",
    "relIds": "dm",
}
"""What is shown, by the attribute that names its part."""
_SEQUENCE = re.compile(r"\bSEQ\s")
_MOST_SPANNED = 63  # columns that Word has
_HELD = {
    "footnoteReference": "_note",
    "endnoteReference": "_note",
    "AlternateContent": "_alternatives",
    "txbxContent": "_box",
}
_MOST_CELLS = 1_000_000


@dataclass(slots=True)
class _Paragraph:
    """What was found in a paragraph so far."""

    texts: list[str] = field(default_factory=list)
    links: list[PictureLink] = field(default_factory=list)
    notes: list[Block] = field(default_factory=list)
    before: list[Block] = field(default_factory=list)
    """Of text boxes that hang at its start; others stand behind it."""
    after: list[Block] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    def behind(self) -> list[Block]:
        """Return where a text box belongs that hangs at what comes next."""
        return self.after if any(map(str.strip, self.texts)) else self.before

    def text(self) -> str:
        """Return its lines, without those that are empty."""
        lines = map(one_line, "".join(self.texts).split("\n"))
        return "\n".join(line for line in lines if line)


class Story:
    """Text of one part: the body, or the notes.

    Args:
        archive: The file.
        name: The part.
        styles: Of the file.
        numbers: Of its lists.
        pictures: What keeps them.
    """

    def __init__(
        self,
        archive: Archive,
        name: str,
        styles: Styles,
        numbers: Numbers,
        pictures: Pictures,
    ) -> None:
        self._archive = archive
        self._its = styles, numbers, pictures
        self._relations = relations_of(archive, name)
        self._n_notes = self._n_tables = 0
        self._waiting: list[Block] = []
        self._initial = ""
        self._notes: dict[str, tuple[Story, dict[str, Any]]] = {}

    def blocks(self, element: Any) -> Iterator[Block]:
        """Yield what an element of the body holds."""
        kind = local(element)
        if kind == "p":
            yield from self._paragraph(element)
        elif kind == "tbl":
            self._n_tables += 1
            yield from self._table(element)
            self._n_tables -= 1
        elif kind == "altChunk":
            its = self._relations.get(said(element, "id"))
            self._its[2].leave_out("chunk", its.target if its else "")
        elif kind not in _DROPPED:
            yield from self._within(element)
        if not self._n_tables:  # of the notes of a table's cells
            waiting, self._waiting = self._waiting, []
            yield from waiting

    def _within(self, element: Any) -> Iterator[Block]:
        for child in element:
            yield from self.blocks(child)

    def _paragraph(self, element: Any) -> Iterator[Block]:
        styles, numbers, _ = self._its
        style = styles.of(first(element, "pPr"))
        if style.is_list_of_contents:
            return
        found = _Paragraph([self._initial])
        self._initial = ""
        self._inline(element, found)
        if said(first(element, "pPr", "framePr"), "dropCap") not in ("", "none"):
            self._initial = found.text()  # of the paragraph that follows
            return
        yield from found.before
        text, level = found.text(), style.level
        is_sure = style.is_caption or bool(_SEQUENCE.search("".join(found.fields)))
        if not 0 < len(text) <= MOST_HEADING:
            level = None
        block = Block(text, found.links, level)
        if level is not None:
            block.text = one_line(text)
        elif text:
            block.caption = captioned_by(one_line(text)) or ("any" if is_sure else None)
            block.is_sure = is_sure
            mark = numbers.mark(style.number) if style.number and not is_sure else ""
            if mark:
                inner = "  " * style.number[1]  # type: ignore[index]
                block.text = f"{inner}{mark} " + text.replace("\n", f"\n{inner}  ")
                block.is_item = True
        if text or found.links:
            yield block
        yield from found.after
        self._waiting += found.notes

    def _inline(self, element: Any, found: _Paragraph) -> None:
        """Add what stands within an element of a paragraph."""
        for child in element:
            kind = local(child)
            if kind == "t":
                found.texts.append(child.text or "")
            elif kind in _WRITTEN:
                found.texts.append(_WRITTEN[kind])
            elif kind in ("oMath", "oMathPara"):
                found.texts.append(f" {linear(child)} ")
            elif kind in _SHOWN:
                self._show(child, _SHOWN[kind], found)
            elif kind not in _DROPPED:
                getattr(self, _HELD.get(kind, "_others"))(child, found)

    def _others(self, element: Any, found: _Paragraph) -> None:
        kind = local(element)
        if kind == "instrText":
            found.fields.append(element.text or "")
        elif kind != "r" or not _is_hidden(element):
            found.fields.append(said(element, "instr") if kind == "fldSimple" else "")
            self._inline(element, found)

    def _box(self, element: Any, found: _Paragraph) -> None:
        boxed = [replace(block, level=None) for block in self._within(element)]
        found.behind().extend(boxed)

    def _alternatives(self, element: Any, found: _Paragraph) -> None:
        """Add the words of the first version that has any, and likewise its pictures.

        The last version may be a picture of what only some programs can draw.
        """
        pictures = self._its[2]
        told, n_notes = pictures.told(), self._n_notes
        words = shows = None
        for version in element:
            its = _Paragraph()
            self._inline(version, its)
            if words is None and (its.text() or its.before or its.after):
                words, n_notes = its, self._n_notes
            if shows is None and its.links:
                shows = its
            if words and shows:
                break
        self._n_notes = n_notes
        if words:
            found.behind().extend((*words.before, *words.after))
            found.texts += words.texts
            found.notes += words.notes
        if shows:
            found.links += shows.links
            pictures.tell_no_more_than(told)

    def _show(self, element: Any, name: str, found: _Paragraph) -> None:
        """Add a picture, or what is drawn from data; an attribute names its part."""
        pictures, kind = self._its[2], local(element)
        id_ = said(element, name) or said(element, "link")
        relation = self._relations.get(id_)
        if relation is None or not pictures.takes(relation):
            return
        if kind == "OLEObject":
            pictures.leave_out("embedded", relation.target)
        elif kind == "chart":
            title, rows = chart_of(self._archive, relation.target)
            found.after += [Block(title)] if title else []
            found.after.append(Block(table_text(rows), is_table=True))
        elif kind == "relIds":
            said_by_it = words_of_art(self._archive, relation.target)
            found.after += [Block(f"- {text}", is_item=True) for text in said_by_it]
        elif (data := pictures.data_of(relation)) is not None:
            crop = first(element.getparent(), "srcRect")
            alt, title, turned = _said_of(element)
            shown = pictures.shown(data, crop, turned)
            found.links.append(
                PictureLink("", alt, title, data=shown, about={"kind": "figure"})
            )

    def _note(self, reference: Any, found: _Paragraph) -> None:
        """Add a note's mark, and the note itself to what waits."""
        kind, id_ = local(reference).replace("Reference", "s"), said(reference, "id")
        if kind not in self._notes:
            name = part_of(self._relations, kind)
            if name not in self._archive.names:
                return
            story = Story(self._archive, name, *self._its)
            notes = {said(one, "id"): one for one in self._archive.xml(name)}
            self._notes[kind] = story, notes
        story, notes = self._notes[kind]
        mark = ""
        if said(reference, "customMarkFollows") in ("", *OFF):
            self._n_notes += 1
            mark = str(self._n_notes).translate(_RAISED)
            # A word that is looked for has no number at its end.
            is_word = "".join(found.texts[-2:])[-1:].isalnum()
            found.texts.append(f" {mark}" if is_word else mark)
        note = notes.pop(id_, None)
        blocks = [] if note is None else [*story.blocks(note)]
        text = " ".join(block.text for block in blocks)
        if text:
            links = [link for block in blocks for link in block.links]
            found.notes.append(Block(f"{mark} {one_line(text)}".strip(), links))

    def _table(self, element: Any) -> Iterator[Block]:
        """Yield a table, or the blocks of one that is there for its looks."""
        cells = [*self._cells(element)]
        held = [block for *_, blocks in cells for block in blocks]
        n_rows = max((y + 1 for y, *_ in cells), default=0)
        width = max((end for _, _, end, _ in cells), default=0)
        shows = any(block.links for block in held)
        is_shown_only = all(block.links or block.caption for block in held)
        is_for_looks = (
            width < 2
            or n_rows * width > _MOST_CELLS
            or any(block.is_table for block in held)
            or (shows and (is_shown_only or any(block.caption for block in held)))
        )
        if is_for_looks:
            caption_cells(cells)
            yield from held
        elif held:
            grid = [[""] * width for _ in range(n_rows)]
            for y, x, _, blocks in cells:
                grid[y][x] = " ".join(block.text for block in blocks)
            links = [link for block in held for link in block.links]
            yield Block(table_text(grid), links, is_table=True)

    def _cells(self, table: Any) -> Iterator[Cell]:
        rows = [row for row in _inner(table, "tr") if first(row, "trPr", "del") is None]
        for y, row in enumerate(rows):
            x = min(whole(said(first(row, "trPr", "gridBefore"), "val")), _MOST_SPANNED)
            for cell in _inner(row, "tc"):
                its = first(cell, "tcPr")
                span = whole(said(first(its, "gridSpan"), "val", "1"))
                end = x + min(max(span, 1), _MOST_SPANNED)
                # The cells that one reaches into are there, too, and empty.
                is_more = any(
                    (merged := first(its, name)) is not None
                    and said(merged, "val", "continue") == "continue"
                    for name in ("vMerge", "hMerge")
                )
                if first(its, "cellDel") is None:
                    yield y, x, end, [] if is_more else [*self._within(cell)]
                x = end


def _inner(element: Any, name: str) -> Iterator[Any]:
    """Yield the rows of a table or the cells of a row, whatever is around them."""
    for child in element:
        kind = local(child)
        if kind == name:
            yield child
        elif kind not in _DROPPED:
            yield from _inner(child, name)


def _is_hidden(run: Any) -> bool:
    hides = first(run, "rPr", "vanish")
    return hides is not None and said(hides, "val") not in OFF


def _said_of(picture: Any) -> tuple[str, str, str]:
    """Return a picture's alt text and title, and how it is turned."""
    alt = title = turned = ""
    for above in picture.iterancestors():
        kind = local(above)
        if kind == "pic":
            its = first(above, "nvPicPr", "cNvPr")
            turned = said(first(above, "spPr", "xfrm"), "rot")
        elif kind in ("inline", "anchor"):
            its = first(above, "docPr")
        else:
            its = above if kind in ("shape", "rect") else None
        alt = alt or said(its, "descr") or said(its, "alt")
        title = title or said(its, "title")
        if kind in ("p", "txbxContent"):
            break
    return alt_of(alt), one_line(title), turned
