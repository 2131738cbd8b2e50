"""Pages: what every format becomes, made nodes."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from llama_index.core.ingestion import run_transformations
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, MetadataMode, Node, TextNode
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.checks import listed
from llama_index_mmrag.ingestion.identity import derived_id, user_metadata
from llama_index_mmrag.ingestion.linked import (
    FILE_NAME_KEY,
    HEADING_SEPARATOR,
    SECTION_KEY,
    Draft,
    Origin,
    dress,
    linked,
)
from llama_index_mmrag.ingestion.pictures import place_picture
from llama_index_mmrag.ingestion.records import (
    Problem,
    ReadSettings,
    RecordNode,
    SourceRecord,
)
from llama_index_mmrag.ingestion.sentences import sentences
from llama_index_mmrag.ingestion.words import words_of_picture
from llama_index_mmrag.nodes.node import (
    FILE_PATH_KEY,
    KIND_KEY,
    READ_BY_KEY,
    TABLE,
    CaptionedImageNode,
    hide_bookkeeping,
)
from llama_index_mmrag.nodes.shown import PAGE_LABEL_KEY, SLIDE_KEY
from llama_index_mmrag.readers.page import PARAGRAPH, Caption, Page, Said, Section

_TOLD = frozenset({PAGE_LABEL_KEY, SLIDE_KEY, READ_BY_KEY})
"""What an LLM is told of where a node stands."""

_TABLE = re.compile(r"^\|.*\|[ ]*\n\|[ :|-]+\|[ ]*\n(?:\|.*(?:\n|\Z))*", re.MULTILINE)
"""A table as GitHub's Markdown has it: its head, the rule below it, and its rows."""

SMALLEST_SHARE = 0.5
"""Least part of `chunk_size` that is left to the text after headings and metadata."""


def page_record(page: Page, origin: Origin, settings: ReadSettings) -> SourceRecord:
    """Return what a page contributes: each section's chunks, then its pictures.

    Args:
        page: The page, with its links opened: what is only named is left out.
        origin: Its document; what that says in metadata wins over the page's word.
        settings: Chunk size and the folder for inline pictures.
    """
    source = origin.ref_doc_id or ""
    metadata = user_metadata(page.metadata) if page.metadata else {}
    origin = replace(
        origin,
        metadata={**metadata, **origin.metadata},
        hidden_from_embedding=(
            *origin.hidden_from_embedding,
            *metadata,
            FILE_NAME_KEY,
            FILE_PATH_KEY,
            SECTION_KEY,
        ),
        hidden_from_llm=(*origin.hidden_from_llm, *metadata, FILE_PATH_KEY),
    )
    probe = TextNode(text="", metadata=dict(origin.metadata))
    dress(probe, origin, ())
    hide_bookkeeping(probe)
    overhead = probe.get_metadata_str(mode=MetadataMode.EMBED)
    drafts: list[Draft] = []
    worded: list[tuple[RecordNode, Said, list[str]]] = []
    for section in page.sections:
        heading = HEADING_SEPARATOR.join(section.headings)
        kind, *name = section.name or (None,)
        entity_id = derived_id(kind, source, *name) if kind else None
        draft = partial(Draft, entity_id=entity_id, section=heading)
        chunks = [*_chunks(section, heading, overhead, settings)]
        for node, about in zip(chunks, _abouts(section, chunks), strict=True):
            said = about and labelled(about, page.labels)
            # A text starts with its headings already.
            chunk = draft(
                node,
                len(drafts),
                metadata={**node.metadata, **said},
                hidden_from_embedding=(*node.excluded_embed_metadata_keys, *said),
                hidden_from_llm=(
                    SECTION_KEY,
                    *node.excluded_llm_metadata_keys,
                    *(said.keys() - _TOLD),
                ),
            )
            drafts.append(chunk)
        for shown in [*_opened(section)]:
            placed = place_picture(shown.picture, settings.media_dir)
            image = CaptionedImageNode(text=shown.text, **placed)
            about = {**section.about, **shown.about}
            said = about and labelled(about, page.labels)
            hidden = tuple(said.keys() - _TOLD)
            drafts.append(
                draft(
                    image,
                    len(drafts),
                    shown.picture,
                    metadata=said,
                    hidden_from_embedding=tuple(said),
                    hidden_from_llm=hidden,
                )
            )
            if shown.words:
                held = [section.text, overhead, *(chunk.text for chunk in chunks)]
                worded.append((image, shown.words, held if chunks else []))
    nodes = linked(drafts, origin)
    for shown_as, words, held in worded:
        nodes += as_texts(shown_as, words, held, settings)
    named = origin.metadata[FILE_PATH_KEY] if origin.root else source
    problems = tuple(Problem(named, reason) for reason in page.problems)
    return SourceRecord(
        source,
        nodes,
        whole=True,
        problems=problems,
        random_id=origin.random_id,
        broke=page.broke,
    )


def _opened(section: Section) -> Iterator[Caption]:
    return (one for one in section.pictures if isinstance(one, Caption))


def _chunks(
    section: Section, heading: str, overhead: str, settings: ReadSettings
) -> Iterator[TextNode]:
    captions = [caption.text for caption in _opened(section) if caption.text]
    # A section that holds only pictures is still found by its heading and captions.
    text = section.text.strip() or "\n".join(dict.fromkeys(captions))
    if section.headings and text == section.headings[-1]:
        text = ""
    if not text:
        if heading:
            yield TextNode(text=heading)
        return
    prefix = f"{heading}\n\n" if heading else ""
    before = overhead + prefix
    for chunk in chunked(text, before, settings, separator=section.separator):
        chunk.text = prefix + chunk.text
        yield chunk


def _abouts(section: Section, chunks: Sequence[TextNode]) -> Iterator[dict[str, Any]]:
    """Yield what is said of each chunk: of its section, and where it stands itself."""
    places, at = section.places, -1
    starts = [place.start for place in places]
    prefix = HEADING_SEPARATOR.join(section.headings)
    for chunk in chunks:
        about = dict(section.about)
        text = chunk.text.removeprefix(f"{prefix}\n\n")
        if _TABLE.fullmatch(text):
            about.setdefault(KIND_KEY, TABLE)
        if places:
            start = section.text.find(text, at + 1)
            if start < 0:  # its head was repeated
                text = text.split("\n", 2)[-1]
                start = section.text.find(text, at + 1)
            at = start if start >= 0 else at
            first = max(bisect_right(starts, max(at, 0)) - 1, 0)
            its = places[first : max(bisect_left(starts, at + len(text)), first + 1)]
            about["page"] = its[0].page
            about["page_end"] = max(place.page for place in its)
            boxes = [one.box for one in its if one.box and one.page == its[0].page]
            if boxes:
                x0, y0, x1, y1 = zip(*boxes, strict=True)
                about["box"] = [min(x0), min(y0), max(x1), max(y1)]
        yield about


def labelled(about: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return what is said of a node as it is stored: with its page's label.

    Args:
        about: See `readers.page.ABOUT`; what is "" is not said.
        labels: Of the document's pages; the number stands for one that is not there.
    """
    said = {key: value for key, value in about.items() if value != ""}
    if page := said.get("page"):
        its = labels[page - 1] if 0 < page <= len(labels) else ""
        said.setdefault(PAGE_LABEL_KEY, its or str(page))
    if "box" in said:
        said["box"] = [round(share, 4) for share in said["box"]]
    return said


def as_texts(
    image: RecordNode, said: Said, held: Iterable[str], settings: ReadSettings
) -> tuple[TextNode, ...]:
    """Return a picture's words, see `words_of_picture`, cut by the settings."""
    cut = partial(chunked, overhead="", settings=settings)
    return tuple(words_of_picture(image, said, held=held, cut=cut))


def chunked(
    text: str, overhead: str, settings: ReadSettings, *, separator: str = PARAGRAPH
) -> list[TextNode]:
    """Return the nodes of a text: by the settings' steps, or as `split` cuts it.

    Args:
        text: As for `split`, and so is what follows.
        overhead: What steps know nothing of.
        settings: Steps, or sizes.
        separator: What stands between paragraphs.
    """
    if not settings.transformations:
        chunks = split(text, overhead, settings, separator=separator)
        return [TextNode(text=chunk) for chunk in chunks]
    made = run_transformations([Document(text=text)], settings.transformations)
    listed(made, "What transformations return", TextNode, Node)
    return [
        TextNode(
            text=node.get_content(),
            metadata=user_metadata(node.metadata),
            excluded_embed_metadata_keys=node.excluded_embed_metadata_keys,
            excluded_llm_metadata_keys=node.excluded_llm_metadata_keys,
        )
        for node in made
    ]


def split(
    text: str, overhead: str, settings: ReadSettings, *, separator: str = PARAGRAPH
) -> list[str]:
    """Return the chunks of `text`: cut between paragraphs, then at sentence ends.

    Args:
        text: Anything; blank text gives no chunk.
        overhead: What is embedded in front of each chunk (headings, metadata): its
            tokens are taken off the chunk size, but never more than half of it.
        settings: Chunk size and overlap in tokens.
        separator: What stands between paragraphs. A text that is not wrapped (list
            items, table rows) takes LINE, or "7." would be taken for a sentence.
    """
    if not text.strip():
        return []
    n_overhead = len(get_tokenizer()(overhead)) if overhead else 0
    room = settings.chunk_size - n_overhead
    size = max(room, int(settings.chunk_size * SMALLEST_SHARE))
    overlap = min(settings.chunk_overlap, size // 2)
    splitter = _splitter(
        chunk_size=size,
        chunk_overlap=overlap,
        paragraph_separator=separator,
        # A key, although SentenceSplitter finds it by itself: without it, a splitter
        # would outlive llama_index.core.set_global_tokenizer().
        tokenizer=get_tokenizer(),
        chunking_tokenizer_fn=sentences,
    )
    chunks = splitter.split_text(text)
    if len(chunks) == 1 or "\n|" not in f"\n{text}":
        return chunks
    return _with_tables_whole(text, splitter, separator)


def _with_tables_whole(
    text: str, splitter: SentenceSplitter, separator: str
) -> list[str]:
    """Return the chunks of a text with tables, cut between rows, under their heads.

    A table that has room beside the text before it stands there.
    """
    count, size = splitter._token_size, splitter.chunk_size
    chunks: list[str] = []

    def add(chunk: str) -> None:
        joined = f"{chunks[-1]}{separator}{chunk}" if chunks else ""
        if joined and count(joined) <= size:
            chunks[-1] = joined
        else:
            chunks.append(chunk)

    at = 0
    for table in [*_TABLE.finditer(text), None]:
        prose = text[at : table.start() if table else None].strip()
        for chunk in splitter.split_text(prose) if prose else ():
            add(chunk)
        if table is None:
            break
        at = table.end()
        for part in _packed(table[0].rstrip(), count, size):
            if count(part) <= size:
                add(part)
            else:  # a row is more than a chunk
                chunks += splitter.split_text(part)
    return chunks


def _packed(table: str, count: Callable[[str], int], size: int) -> Iterator[str]:
    """Yield a table in parts of at most so many tokens, or of one row that has more."""
    head, rule, *rows = table.split("\n")
    top = f"{head}\n{rule}"
    its, left = [top], size - count(top)
    for row in rows:
        n_row = count(f"\n{row}")
        if n_row > left and len(its) > 1:
            yield "\n".join(its)
            its, left = [top], size - count(top)
        its.append(row)
        left -= n_row
    yield "\n".join(its)


_splitter = lru_cache(maxsize=256)(SentenceSplitter)
