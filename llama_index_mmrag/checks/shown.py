"""A value as a message shows it."""

from __future__ import annotations

_MOST = 200
"""Characters."""


def shown(value: object) -> str:
    """Return a value as Python writes it; whole documents only begin."""
    text = repr(value)
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
