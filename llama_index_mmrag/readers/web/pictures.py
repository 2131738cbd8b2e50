"""Pictures of a web page: which of several, and those that it holds itself."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

_CANDIDATE = re.compile(r"(\S*[^\s,])(?:\s+([\d.]+)[wx])?\s*(?:,|$)")
_DATA = re.compile(
    r"data:image/([a-z0-9.+-]+)(?:;[\w=.-]+)*?(;base64)?,", re.IGNORECASE
)


def by_size(srcset: str) -> list[str]:
    """Return the pictures of a set, the largest first."""
    found = _CANDIDATE.findall(srcset[:100_000])
    return [src for src, size in sorted(found, key=lambda one: -_number(one[1]))]


def _number(said: str) -> float:
    try:
        return float(said or 1)
    except ValueError:
        return 1.0


def is_ours(src: str) -> bool:
    """Return whether a link with a scheme is for whoever opens it to take or refuse."""
    return src.lower().startswith(("data:", "file:")) or src[1:2] == ":"


def data_of(src: str) -> bytes | None:
    """Return the bytes that a link holds itself; None of SVG, and of what is none."""
    head = _DATA.match(src)
    if head is None or head[1].lower().startswith("svg"):
        return None
    said = unquote_to_bytes(src[head.end() :])
    if not head[2]:
        return said
    try:
        return base64.b64decode(said + b"=" * (-len(said) % 4))
    except binascii.Error:
        return None
