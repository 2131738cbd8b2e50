"""Word files: sections under their headings, with what python-docx leaves out.

Tracked insertions, content controls, text boxes, notes, formulas, charts. The body is
read element by element, so that its memory is that of a section.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.docx.body import Story
from llama_index_mmrag.readers.docx.captions import Block, caption_blocks
from llama_index_mmrag.readers.docx.styles import Numbers, Styles
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.office import (
    Pictures,
    local,
    main_part,
    metadata_of,
    part_of,
    relations_of,
    title_of,
)
from llama_index_mmrag.readers.page import Page, PictureLink
from llama_index_mmrag.readers.parts import Outline, Part, sections_of


def read(file: Path, how: How) -> Page:
    """Return the page of a DOCX: a section is what stands under a heading.

    Raises:
        DocumentUnreadable: It is none, broken, encrypted, or beyond a limit.
    """
    archive = Archive(file, how)
    main = main_part(archive, "document", "Word document")
    relations = relations_of(archive, main)
    styles = Styles(archive, part_of(relations, "styles"))
    numbers = Numbers(archive, part_of(relations, "numbering"))
    pictures = Pictures(archive, how.pixels)
    metadata = metadata_of(archive)
    metadata.setdefault("language", styles.language)
    problems: list[str] = []

    def blocks() -> Iterator[Block]:
        story, is_begun = Story(archive, main, styles, numbers, pictures), False
        with archive:
            try:
                for element in archive.elements(main, *_OF_A_BODY):
                    body = element.getparent()
                    if body is None or local(body) != "body":
                        continue
                    for block in story.blocks(element):
                        yield block
                        is_begun = True
                    element.clear()
                    while element.getprevious() is not None:
                        del body[0]
            except DocumentUnreadable as error:
                if not is_begun:
                    raise
                problems.append(f"{error} What comes before it in the file went in.")
        problems.extend(pictures.problems())

    said = {key: it for key, it in metadata.items() if it}
    return Page(sections_of(_parts(blocks(), title_of(metadata))), said, problems)


_OF_A_BODY = ("{*}p", "{*}tbl", "{*}sdt", "{*}customXml", "{*}altChunk", "{*}ins")


def _parts(blocks: Iterator[Block], title: str) -> Iterator[Part]:
    """Yield what stands under each heading, its captions given to its pictures.

    Args:
        blocks: Of the body.
        title: What the file says; it stands above what has no heading of the first
            level above it.
    """
    outline, held = Outline(), list[Block]()
    headings = above = tuple(filter(None, [title]))
    for block in blocks:
        if block.level is None:
            held.append(block)
            continue
        if held or headings != above:  # a title has nothing of its own to say
            yield _part(headings, held)
        held = [Block("", block.links)] if block.links else []
        outline.add(block.level, block.text)
        is_titled = not title or outline.level <= 1
        headings = outline.headings(() if is_titled else above)
    yield _part(headings, held)


def _part(headings: tuple[str, ...], held: list[Block]) -> Part:
    caption_blocks(held)
    texts, links = list[tuple[str, bool]](), list[PictureLink]()
    for block in held:
        # As in HTML and Markdown, a picture's alt text stands where it does.
        alts = [(link.alt, False) for link in block.links if link.alt]
        texts += [(block.text, block.is_item)] if block.text else []
        texts += alts
        links += block.links
    return Part(headings, blocks=texts, links=links)
