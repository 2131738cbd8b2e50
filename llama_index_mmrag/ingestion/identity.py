"""Identity: ids and metadata from content alone, never from time or hash seed."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    GIVEN_ID_KEY,
    IMAGE_FILE_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    PROVENANCE_KEY,
    ROOT_KEY,
)

NAMESPACE = uuid.UUID("5ed28d3c-657e-5d73-b130-46028ab00f64")
"""Root of every id made here; changing it makes every stored node a stranger."""

VOLATILE_KEYS = frozenset(
    {
        "creation_date",
        "last_modified_date",
        "last_accessed_date",
        GIVEN_ID_KEY,
    }
)
"""Metadata that may differ in each run, such as what SimpleDirectoryReader takes from
the clock: not part of any id."""


OVERWRITTEN_KEYS = frozenset(
    {"doc_id", "document_id", "ref_doc_id", "_node_content", "_node_type"}
)
"""Payload keys that LlamaIndex's Qdrant store writes itself (0.10): a user's value
under one of them would be gone, and a filter on it would find nothing."""

ORIGINAL = "original_"
"""Put before a key that would be overwritten, so that its value stays findable."""

_OURS = frozenset(
    {
        MODALITY_KEY,
        POSITION_KEY,
        CONTENT_HASH_KEY,
        PROVENANCE_KEY,
        ROOT_KEY,
        IMAGE_FILE_KEY,
        GIVEN_ID_KEY,
    }
)
_LASTING = (ROOT_KEY, IMAGE_FILE_KEY, GIVEN_ID_KEY)
"""Those that a node which was stored keeps."""


def canonical_json(value: object) -> str:
    """Return one text for equal values: keys sorted, sets sorted, no spaces.

    Raises:
        InvalidSetting: A value cannot be written as JSON.
    """
    return json.dumps(
        plain(value),
        sort_keys=True,
        ensure_ascii=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def plain(value: object) -> Any:
    """Return `value` as JSON data; dates become ISO text, sets sorted lists.

    Raises:
        InvalidSetting: A value has no JSON form, or is NaN or infinite.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidSetting(
            f"The value {value!r} is not finite and has no JSON form. Remove it."
        )
    if value is None or isinstance(value, (str, bool, int, float)):
        return checked_text(value) if isinstance(value, str) else value
    if isinstance(value, (date, time, uuid.UUID, PurePath)):
        # a datetime is a date, and has one form, ISO's
        return value.isoformat() if isinstance(value, (date, time)) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=canonical_json)
    raise InvalidSetting(
        f"The value {value!r} of type {type(value).__name__} has no JSON form. Give "
        f"text, a number, a date, or lists and dicts of them."
    )


def checked_text(text: str) -> str:
    """Return `text` if it can be stored.

    Raises:
        InvalidSetting: It has lone surrogates: halves of characters, which no UTF-8
            text can hold.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidSetting(
            f"The text has half a character (U+{ord(text[error.start]):04X}) at "
            f"position {error.start}, which UTF-8 cannot hold. Decode it anew with "
            f'the right encoding, or with errors="replace".'
        ) from error
    return text


def derived_id(*parts: object) -> str:
    """Return the uuid5 of `parts`.

    Example:
        >>> derived_id("a", 1) == derived_id("a", 1) != derived_id("a", "1")
        True
    """
    return str(uuid.uuid5(NAMESPACE, canonical_json(parts)))


def user_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's metadata as JSON data, under keys that survive storing.

    `doc_id`, `document_id`, `ref_doc_id`, `_node_content` and `_node_type` become
    `original_doc_id` and so on, and likewise `modality`, `position`, `content_hash`,
    `mmrag_provenance`, `root`, `image_file` and `given_id`, which we write ourselves.
    Metadata with a `content_hash` comes from a retrieved node: there, those seven are
    taken out instead, but for the last three, which hold for as long as it is stored.
    `entity_id` stays: it is how a user says that things belong together.

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
            if key in _LASTING:
                kept[key] = value
            continue
        name = stored_key(key)
        if name != key and name in metadata:
            raise InvalidSetting(
                f"Metadata has both {key!r}, which is overwritten in the store, and "
                f"{name!r}, under which it would be kept. Rename one of them."
            )
        try:
            kept[name] = plain(value)
        except InvalidSetting as error:
            raise InvalidSetting(f"Metadata key {key!r}: {error}") from error
        except RecursionError as error:
            raise InvalidSetting(
                f"Metadata key {key!r}: The value is in itself, or too deep in lists "
                f"and dicts to be stored. Give what they hold."
            ) from error
    named = kept.pop(ENTITY_KEY, None)
    if named is not None and named != "":
        # Compared as text everywhere: a filter on 7 does not find "7".
        kept[ENTITY_KEY] = str(named)
    return kept


def stored_key(key: str) -> str:
    """Return the name under which a user's metadata key is stored."""
    return ORIGINAL + key if key in OVERWRITTEN_KEYS | _OURS else key


def without_volatile(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that may enter an id."""
    return {key: metadata[key] for key in metadata if key not in VOLATILE_KEYS}


def is_random(id_: str) -> bool:
    """Return whether `id_` is a version-4 UUID, which LlamaIndex makes by itself."""
    parsed = _parse(id_)
    return parsed is not None and parsed.version == 4


def is_uuid(id_: str) -> bool:
    """Return whether a vector store takes `id_` as it is."""
    return _parse(id_) is not None


def _parse(id_: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(id_)
    except ValueError:
        return None
