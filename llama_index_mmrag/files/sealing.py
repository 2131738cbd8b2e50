"""JSON files that say their own checksum, so that a bit that flipped is noticed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

_SEAL = "crc32"


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return the JSON of `content`, with its checksum as a field."""
    return (json.dumps({**content, _SEAL: _sum(content)}, indent=2) + "\n").encode()


def unsealed(stored: Any) -> Any:
    """Return the content that JSON with a seal holds; without one, all of it.

    Raises:
        ValueError: Its checksum is another.

    Example:
        >>> unsealed(json.loads(sealed({"a": 1})))
        {'a': 1}
    """
    if not isinstance(stored, dict) or _SEAL not in stored:
        return stored
    content = {key: value for key, value in stored.items() if key != _SEAL}
    if stored[_SEAL] != _sum(content):
        raise ValueError("its content is not the one that its checksum was made of")
    return content


def _sum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
