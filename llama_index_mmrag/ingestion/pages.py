"""Pages: what every format becomes, made nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial

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
    CaptionedImageNode,
    hide_bookkeeping,
)
from llama_index_mmrag.readers.page import PARAGRAPH, Caption, Page, Said, Section

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
        for node in chunks:
            # A text starts with its headings already.
            chunk = draft(
                node,
                len(drafts),
                metadata=node.metadata,
                hidden_from_embedding=tuple(node.excluded_embed_metadata_keys),
                hidden_from_llm=(SECTION_KEY, *node.excluded_llm_metadata_keys),
            )
            drafts.append(chunk)
        for shown in [*_opened(section)]:
            placed = place_picture(shown.picture, settings.media_dir)
            image = CaptionedImageNode(text=shown.text, **placed)
            drafts.append(draft(image, len(drafts), shown.picture))
            if shown.words:
                held = [section.text, overhead, *(chunk.text for chunk in chunks)]
                worded.append((image, shown.words, held if chunks else []))
    nodes = linked(drafts, origin)
    for shown_as, said, held in worded:
        nodes += as_texts(shown_as, said, held, settings)
    named = origin.metadata[FILE_PATH_KEY] if origin.root else source
    problems = tuple(Problem(named, reason) for reason in page.problems)
    return SourceRecord(
        source, nodes, whole=True, problems=problems, random_id=origin.random_id
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
    return splitter.split_text(text)


_splitter = lru_cache(maxsize=256)(SentenceSplitter)
