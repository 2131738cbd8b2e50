"""Captions of a Word file: which picture or table beside them is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from llama_index_mmrag.readers.page import PictureLink
from llama_index_mmrag.readers.writing import one_line

Kind: TypeAlias = Literal["figure", "table", "any"]


@dataclass(slots=True)
class Block:
    """A paragraph or a table."""

    text: str
    links: list[PictureLink] = field(default_factory=list)
    level: int | None = None
    """Of a heading, from 1; 0 is the title."""
    is_item: bool = False
    is_table: bool = False
    caption: Kind | None = None
    """Of what it is the caption, if it is one."""
    is_sure: bool = False
    """Whether it says so itself, and not its words alone."""
    is_captioned: bool = False

    def holds(self, kind: Kind) -> bool:
        """Return whether it is, or shows, what a caption of that kind is of."""
        return self.is_table if kind == "table" else bool(self.links)


Cell: TypeAlias = "tuple[int, int, int, list[Block]]"
"""Row, first column, column after the last one, what is in it."""

_MOST_OF_A_MARK = 12
"""Characters beside a picture that is one of several: "(a)", "vorher"."""


def caption_blocks(blocks: Sequence[Block]) -> None:
    """Give each caption to the pictures or the table beside it, above or below.

    First to what it says that it is of; what is left, to what has none.
    """
    for is_by_name in (True, False):
        for n, block in enumerate(blocks):
            if block.caption is None or block.is_captioned:
                continue
            kinds: tuple[Kind, ...] = ("figure", "table")
            if is_by_name:
                kinds = (block.caption,) if block.caption != "any" else kinds
            elif not block.is_sure:
                kinds = ("figure",)
            # A table has it above, a figure below, where both are possible.
            steps = (1, -1) if block.caption == "table" else (-1, 1)
            of = ([block] if block.links else []) or next(
                (its for step in steps if (its := _beside(blocks, n, step, kinds))), []
            )
            _give(block, of)


def caption_cells(cells: Sequence[Cell]) -> None:
    """Likewise in a table for its looks: in the cell, else above or below."""
    for *_, blocks in cells:
        caption_blocks(blocks)
    by_row: dict[int, list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(cell[0], []).append(cell)
    for y, begin, end, blocks in cells:
        for block in blocks:
            for step in (-1, 1):
                if block.caption is None or block.is_captioned:
                    break
                _give(
                    block,
                    [
                        one
                        for _, its_begin, its_end, its in by_row.get(y + step, ())
                        for one in its
                        if its_begin < end and begin < its_end
                        if one.links and not one.is_captioned
                    ],
                )


def _beside(
    blocks: Sequence[Block], n: int, step: int, kinds: Sequence[Kind]
) -> list[Block]:
    """Return the table, or the pictures in a row, that begin beside a block."""
    its: list[Block] = []
    while 0 <= (n := n + step) < len(blocks):
        one = blocks[n]
        is_next = len(one.text) <= _MOST_OF_A_MARK and not one.is_table
        if one.is_captioned or (its and not is_next):
            break
        if not any(one.holds(kind) for kind in kinds):
            break
        its.append(one)
        if one.is_table:
            break
    return its


def _give(caption: Block, to: Sequence[Block]) -> None:
    for block in to:
        text = one_line(caption.text)
        block.links = [replace(link, figcaption=text) for link in block.links]
        block.is_captioned = caption.is_captioned = True
