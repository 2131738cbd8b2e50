"""How files are read, in a word: what was read in another way is read again."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

from llama_index.core.ingestion.pipeline import remove_unstable_values
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.ingestion.records import ReadSettings

_PROBE = "One, two; three: 4,567 naïve cafés."
"""How it is cut tells one tokenizer from another."""


def read_as(settings: ReadSettings, *, is_alone: bool) -> str:
    """Return a name of all that a file's nodes follow from, besides the file.

    Args:
        settings: How it is read.
        is_alone: Whether nobody said where links such as "/pix/a.webp" start.
    """
    readers = sorted(settings.file_extractor.items())
    follows_from = (
        version("llama-index-mmrag"),
        is_alone,
        settings.chunk_size,
        settings.chunk_overlap,
        settings.encoding,
        settings.media_dir is None,
        settings.page_pictures,
        "titles are words",
        *(f"{s} {getattr(r, '__qualname__', type(r))}" for s, r in readers),
        *(remove_unstable_values(str(s.to_dict())) for s in settings.transformations),
        list(get_tokenizer()(_PROBE)),
    )
    return hashlib.sha256(repr(follows_from).encode()).hexdigest()[:16]
