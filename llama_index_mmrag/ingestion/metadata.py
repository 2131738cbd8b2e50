"""Metadata: what a user's keys become, so that none is overwritten or lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.identity import plain
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    PROVENANCE_KEY,
)

OVERWRITTEN_KEYS = frozenset(
    {"doc_id", "document_id", "ref_doc_id", "_node_content", "_node_type"}
)
"""Payload keys that LlamaIndex's Qdrant store writes itself (0.10): a user's value
under one of them would be gone, and a filter on it would find nothing."""

ORIGINAL = "original_"
"""Put before a key that would be overwritten, so that its value stays findable."""

_OURS = frozenset({MODALITY_KEY, POSITION_KEY, CONTENT_HASH_KEY, PROVENANCE_KEY})


def user_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's metadata as JSON data, under keys that survive storing.

    `doc_id`, `document_id`, `ref_doc_id`, `_node_content` and `_node_type` become
    `original_doc_id` and so on, and likewise `modality`, `position`, `content_hash`
    and `mmrag_provenance`, which we write ourselves. Metadata with a `content_hash`
    comes from a retrieved node: there, those four are taken out instead. `entity_id`
    stays: it is how a user says that things belong together.

    Raises:
        InvalidSetting: A value has no JSON form, or both `doc_id` and
            `original_doc_id` are given.

    Example:
        >>> user_metadata({"doc_id": 7, "tags": {"b", "a"}, "position": 3})
        {'original_doc_id': 7, 'tags': ['a', 'b'], 'original_position': 3}
    """
    kept: dict[str, Any] = {}
    was_stored = CONTENT_HASH_KEY in metadata
    for key, value in metadata.items():
        if was_stored and key in _OURS:
            continue
        name = stored_key(key)
        if name != key and name in metadata:
            msg = (
                f"Metadata has both {key!r}, which is overwritten in the store, and "
                f"{name!r}, under which it would be kept. Rename one of them."
            )
            raise InvalidSetting(msg)
        try:
            kept[name] = plain(value)
        except InvalidSetting as error:
            msg = f"Metadata key {key!r}: {error}"
            raise InvalidSetting(msg) from error
    named = kept.pop(ENTITY_KEY, None)
    if named is not None and named != "":
        # Compared as text everywhere: a filter on 7 does not find "7".
        kept[ENTITY_KEY] = str(named)
    return kept


def stored_key(key: str) -> str:
    """Return the name under which a user's metadata key is stored."""
    return ORIGINAL + key if key in OVERWRITTEN_KEYS | _OURS else key
