"""A PDF's page without tags: what stands on it, told by where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from llama_index_mmrag.readers.captions import captioned_by
from llama_index_mmrag.readers.page import PictureLink
from llama_index_mmrag.readers.pdf.figures import Figure
from llama_index_mmrag.readers.pdf.headings import Headings
from llama_index_mmrag.readers.pdf.lines import Line
from llama_index_mmrag.readers.pdf.margins import noted
from llama_index_mmrag.readers.pdf.order import Placed, goes_on, ordered, paragraphs
from llama_index_mmrag.readers.pdf.sections import Block
from llama_index_mmrag.readers.pdf.tables import Table
from llama_index_mmrag.readers.pdf.writing import Vocabulary, joined

_MOST_OF_PAGE = 0.5
_SAME = 0.01
"""Of the page's width: by so much the sides of one table differ at most."""


def link_of(
    figure: Figure, caption: Sequence[Line], page: int, known: Vocabulary, alt: str = ""
) -> PictureLink:
    """Return a figure with what is said of it."""
    about = {"page": page, "box": [*figure.box], "kind": "figure"}
    said = joined(caption, known)[0]
    return PictureLink("", alt, figcaption=said, data=figure.data, about=about)


def lettering_of(figure: Figure) -> set[int]:
    """Return the lines that are part of a figure, and no text of the page.

    What stands on a picture of most of the page is text: it may be a scan's.
    """
    x0, y0, x1, y1 = figure.box
    is_page = (x1 - x0) * (y1 - y0) > _MOST_OF_PAGE and not figure.caption
    return set() if is_page else {*figure.labels}


class Layout:
    """Tells the blocks of one page after another.

    Args:
        headings: Of the file.
        known: Words that tell what a hyphen at a line's end is.
    """

    def __init__(self, headings: Headings, known: Vocabulary) -> None:
        self._headings = headings
        self._known = known
        self._last: Placed | None = None
        self._last_block: Block | None = None

    def end(self) -> None:
        """Have no paragraph go on in the next page."""
        self._last = self._last_block = None

    def blocks(
        self,
        page: int,
        lines: Sequence[Line],
        figures: Iterable[Figure] = (),
        tables: Iterable[Table] = (),
    ) -> list[Block]:
        """Return what stands on a page, in reading order.

        Args:
            page: From 1.
            lines: Of the page, as figures and tables count them.
            figures: What has a caption is where that stands.
            tables: Their captions stand where they are.
        """
        standing, taken = self._standing(page, lines, figures, tables)
        left = [line for i, line in enumerate(lines) if i not in taken]
        stands = [line for line, _ in standing.values() if not line.words]
        placed = ordered([*left, *stands])
        said = [one.line for one in placed]
        groups: dict[int, object] = {key: id(it) for key, (_, it) in standing.items()}
        levels: dict[int, int] = {}
        for first, last, level in self._headings.listed(page, said):
            for line in said[first:last]:
                if id(line) not in groups:
                    groups[id(line)] = first
                    levels[id(line)] = level
        made = [
            (self._block(page, its, standing, levels), its)
            for its in paragraphs(placed, groups)
        ]
        where = {id(block): its for block, its in made}
        blocks = noted([block for block, _ in made], self._headings.size)
        self._go_on(blocks, where)
        return blocks

    def _standing(
        self,
        page: int,
        lines: Sequence[Line],
        figures: Iterable[Figure],
        tables: Iterable[Table],
    ) -> tuple[dict[int, tuple[Line, Block]], set[int]]:
        """Return the blocks of figures and tables by their lines, and lines in them."""
        standing: dict[int, tuple[Line, Block]] = {}
        taken: set[int] = set()

        def stand(caption: Sequence[int], block: Block) -> Block:
            its = [lines[i] for i in caption] or [
                Line("", block.box or (0, 0, 0, 0), 0, False)
            ]
            return [standing.setdefault(id(it), (it, block))[1] for it in its][0]

        for figure in figures:
            caption = [lines[i] for i in figure.caption]
            block = Block("figure", page, caption, box=figure.box)
            link = link_of(figure, caption, page, self._known)
            stand(figure.caption, block).links.append(link)
            taken |= lettering_of(figure)
        for table in tables:
            if table.caption:
                its = [lines[i] for i in table.caption]
                stand(table.caption, Block("figure", page, its))
            rows = [[*row] for row in table.cells]
            stand((), Block("table", page, rows=rows, box=table.box))
            taken |= {*table.lines}
        return standing, taken

    def _block(
        self,
        page: int,
        its: Sequence[Placed],
        standing: dict[int, tuple[Line, Block]],
        levels: dict[int, int],
    ) -> Block:
        lines = [one.line for one in its]
        key = id(lines[0])
        if key in standing:
            return standing[key][1]
        if key in levels:
            return Block("heading", page, lines, level=levels[key])
        is_heading = self._headings.is_one(lines)
        return Block("heading" if is_heading else "text", page, lines)

    def _go_on(self, blocks: Sequence[Block], where: dict[int, list[Placed]]) -> None:
        """Find the paragraphs that go on after a page's end, or what stood between."""
        before = None
        if blocks and blocks[0].kind == "text" and self._last_block is not None:
            self._caption(self._last_block, blocks[0])
        for block in blocks:
            if (
                block.kind == "table"
                and before is None
                and self._last_block is not None
            ):
                block.goes_on = _is_its_rest(self._last_block, block)
            if block.kind == "text":
                its = where[id(block)]
                # Within a page, lines that follow each other were asked already.
                if self._last is not None and (before is None or before.kind != "text"):
                    block.goes_on = goes_on(self._last, its[0])
                self._last = its[-1]
            elif block.kind == "heading":
                self._last = None
            before = block
        self._last_block = before

    def _caption(self, figure: Block, text: Block) -> None:
        """Have figures that end a page be with a caption that begins the next one."""
        if figure.lines or not figure.links:
            return
        if captioned_by(text.lines[0].text) != "figure":
            return
        said = joined(text.lines, self._known)[0]
        text.kind = "figure"
        text.links += [replace(link, figcaption=said) for link in figure.links]
        figure.links.clear()


def _is_its_rest(table: Block | None, rest: Block) -> bool:
    """Return whether a table is the rest of one at the end of the page before."""
    if table is None or table.box is None or rest.box is None or not table.rows:
        return False
    wide = [abs(one - other) for one, other in zip(table.box, rest.box, strict=True)]
    return len(table.rows[0]) == len(rest.rows[0]) and max(wide[::2]) < _SAME
