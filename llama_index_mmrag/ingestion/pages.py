"""Pages: what every format becomes, sections of words and pictures in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.ingestion.identity import derived_id, user_metadata
from llama_index_mmrag.ingestion.linked import (
    FILE_NAME_KEY,
    FILE_PATH_KEY,
    HEADING_SEPARATOR,
    SECTION_KEY,
    Draft,
    Origin,
    dress,
    linked,
)
from llama_index_mmrag.ingestion.pictures import Caption, place_picture
from llama_index_mmrag.ingestion.records import Problem, ReadSettings, SourceRecord
from llama_index_mmrag.nodes.node import CaptionedImageNode

PARAGRAPH = "\n\n"
LINE = "\n"

SMALLEST_SHARE = 0.5
"""Least part of `chunk_size` that is left to the text after headings and metadata."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page whose words and pictures show one thing."""

    text: str = ""
    pictures: tuple[Caption, ...] = ()
    headings: tuple[str, ...] = ()
    """The page's title and the headings above, outermost first."""
    name: tuple[object, ...] | None = None
    """Its kind, and what tells it from the page's other sections: its nodes are one
    entity, which is named by this and the document. None makes each node an entity of
    its own: chunks of a plain text, which nothing but their file holds together."""
    separator: str = PARAGRAPH
    """What stands between the text's paragraphs, see `split`."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader makes of a file or a document."""

    sections: tuple[Section, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the page says of itself: neither embedded nor shown to an LLM, since its
    title stands before every text already."""
    problems: tuple[str, ...] = ()
    """What was left out, and why."""


def page_record(page: Page, origin: Origin, settings: ReadSettings) -> SourceRecord:
    """Return what a page contributes: each section's chunks, then its pictures.

    Args:
        page: The page.
        origin: Its document; what that says in metadata wins over the page's word.
        settings: Chunk size and the folder for inline pictures.
    """
    source = origin.ref_doc_id or ""
    metadata = user_metadata(page.metadata)
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
    overhead = _embedded_metadata(origin)
    drafts: list[Draft] = []
    for section in page.sections:
        heading = HEADING_SEPARATOR.join(section.headings)
        kind, *name = section.name or (None,)
        entity_id = derived_id(kind, source, *name) if kind else None
        for text in _chunks(section, heading, overhead, settings):
            node = TextNode(text=text)
            # A text starts with its headings already.
            hidden = (SECTION_KEY,)
            drafts.append(
                Draft(
                    node,
                    len(drafts),
                    entity_id=entity_id,
                    section=heading,
                    hidden_from_llm=hidden,
                )
            )
        for shown in section.pictures:
            placed = place_picture(shown.picture, settings.media_dir)
            image = CaptionedImageNode(text=shown.text, **placed)
            drafts.append(
                Draft(
                    image,
                    len(drafts),
                    shown.picture,
                    entity_id=entity_id,
                    section=heading,
                )
            )
    problems = tuple(Problem(source, reason) for reason in page.problems)
    return SourceRecord(source, linked(drafts, origin), whole=True, problems=problems)


def _embedded_metadata(origin: Origin) -> str:
    probe = TextNode(text="", metadata=dict(origin.metadata))
    dress(probe, origin, ())
    return probe.get_metadata_str(mode=MetadataMode.EMBED)


def _chunks(
    section: Section, heading: str, overhead: str, settings: ReadSettings
) -> Iterator[str]:
    captions = [caption.text for caption in section.pictures if caption.text]
    # A section that holds only pictures is still found by its heading and captions.
    text = section.text.strip() or "\n".join(dict.fromkeys(captions))
    if section.headings and text == section.headings[-1]:
        text = ""
    if not text:
        if section.pictures and heading:
            yield heading
        return
    prefix = f"{heading}\n\n" if heading else ""
    for chunk in split(text, overhead + prefix, settings, separator=section.separator):
        yield prefix + chunk


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
    # The tokenizer is a key, although SentenceSplitter finds it by itself: without it,
    # a splitter would outlive llama_index.core.set_global_tokenizer().
    return _splitter(size, overlap, separator, get_tokenizer()).split_text(text)


@lru_cache(maxsize=256)
def _splitter(
    chunk_size: int,
    chunk_overlap: int,
    separator: str,
    tokenizer: Callable[[str], Sequence[object]],
) -> SentenceSplitter:
    return SentenceSplitter(
        chunk_size=chunk_size,
        chunk_overlap=chunk_overlap,
        paragraph_separator=separator,
        tokenizer=tokenizer,
    )
