"""Identity: ids that depend on content alone, never on time, order or hash seed."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any

from llama_index_mmrag.errors import InvalidSetting

NAMESPACE = uuid.UUID("5ed28d3c-657e-5d73-b130-46028ab00f64")
"""Root of every id made here; changing it makes every stored node a stranger."""

VOLATILE_KEYS = frozenset({"creation_date", "last_modified_date", "last_accessed_date"})
"""Metadata that SimpleDirectoryReader takes from the clock: not part of any id."""


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
        msg = f"The value {value!r} is not finite and has no JSON form. Remove it."
        raise InvalidSetting(msg)
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
    msg = (
        f"The value {value!r} of type {type(value).__name__} has no JSON form. Give "
        f"text, a number, a date, or lists and dicts of them."
    )
    raise InvalidSetting(msg)


def checked_text(text: str) -> str:
    """Return `text` if it can be stored.

    Raises:
        InvalidSetting: It has lone surrogates: halves of characters, which no UTF-8
            text can hold.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        msg = (
            f"The text has half a character (U+{ord(text[error.start]):04X}) at "
            f"position {error.start}, which UTF-8 cannot hold. Decode it anew with "
            f'the right encoding, or with errors="replace".'
        )
        raise InvalidSetting(msg) from error
    return text


def derived_id(*parts: object) -> str:
    """Return the uuid5 of `parts`.

    Example:
        >>> derived_id("a", 1) == derived_id("a", 1) != derived_id("a", "1")
        True
    """
    return str(uuid.uuid5(NAMESPACE, canonical_json(parts)))


def content_hash(text: str, picture: bytes = b"") -> str:
    """Return the SHA-256 over text or caption and the picture's encoded bytes."""
    digest = hashlib.sha256(text.encode("utf-8"))
    digest.update(b"\0")  # so that text cannot imitate the start of a picture
    digest.update(picture)
    return digest.hexdigest()


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
