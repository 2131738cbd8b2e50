"""A PDF's page with tags: its blocks in their order, with its figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llama_index_mmrag.readers.pdf.figures import Figure
from llama_index_mmrag.readers.pdf.headings import Headings
from llama_index_mmrag.readers.pdf.layout import lettering_of, link_of
from llama_index_mmrag.readers.pdf.lines import Line, lines_in
from llama_index_mmrag.readers.pdf.margins import noted
from llama_index_mmrag.readers.pdf.order import ordered, paragraphs
from llama_index_mmrag.readers.pdf.sections import Block
from llama_index_mmrag.readers.pdf.tags import Tags
from llama_index_mmrag.readers.pdf.writing import Vocabulary


def lines_tagged(tags: Tags) -> list[Line]:
    """Return a page's lines as its tags have them; what they leave out comes last."""
    named = [line for block in tags.blocks for line in block.lines]
    lettering = [line for shown in tags.figures for line in lines_in(shown.words)]
    return [*named, *lettering, *lines_in(tags.rest)]


def blocks_tagged(
    page: int,
    lines: Sequence[Line],
    tags: Tags,
    figures: Sequence[Figure],
    headings: Headings,
    known: Vocabulary,
) -> list[Block]:
    """Return what stands on a page that has tags, in their order.

    What the tags leave out comes last, and so does a figure that they do not name, if
    it has no caption. Where they name no headings, these are told as in other files.

    Args:
        page: From 1.
        lines: Of the page, as `lines_tagged` has them, without those that repeat.
        tags: Its tags.
        figures: As these lines are counted.
        headings: Of the file.
        known: Words that tell what a hyphen at a line's end is.
    """
    left = {id(line) for line in lines}
    blocks = [
        block
        for block in tags.blocks
        if not block.lines or any(id(line) in left for line in block.lines)
    ]
    _find_headings(page, blocks, headings)
    where = {id(line): block for block in blocks for line in block.lines}
    taken = {id(lines[i]) for figure in figures for i in lettering_of(figure)}
    rest = [line for line in lines if id(line) not in where and id(line) not in taken]
    for its in paragraphs(ordered(rest)):
        blocks.append(Block("text", page, [one.line for one in its]))
        where |= {id(one.line): blocks[-1] for one in its}
    for figure in figures:
        tag = next((it for it in tags.figures if it.mcids & figure.mcids), None)
        caption = [lines[i] for i in figure.caption]
        block = tag.block if tag is not None else None
        if block is not None and block.lines:
            caption = block.lines
        elif caption:
            block = where.get(id(caption[0]), block)
            if block is not None and block.kind == "text":
                block.kind = "figure"
        if block is None:
            block = Block("figure", page)
            blocks.append(block)
        alt = tag.alt if tag is not None else ""
        block.links.append(link_of(figure, caption, page, known, alt))
    return noted(blocks, headings.size)


def _find_headings(page: int, blocks: Iterable[Block], headings: Headings) -> None:
    texts = [block for block in blocks if block.kind == "text"]
    if any(block.kind == "heading" for block in blocks):
        headings.are_tagged = True
    starts = [n for n, block in enumerate(texts) for _ in block.lines]
    listed = headings.listed(page, [line for block in texts for line in block.lines])
    for first, last, level in listed:
        block = texts[starts[first]]
        if len(block.lines) == last - first:
            block.kind, block.level = "heading", level
    if not headings.are_tagged:
        for block in texts:
            if block.kind == "text" and headings.is_one(block.lines):
                block.kind = "heading"
