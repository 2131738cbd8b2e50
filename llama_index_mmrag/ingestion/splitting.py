"""Splitting: text into chunks that an encoder reads whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.ingestion.records import ReadSettings

PARAGRAPH = "\n\n"
LINE = "\n"

SMALLEST_SHARE = 0.5
"""Least part of `chunk_size` that is left to the text after headings and metadata."""


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
