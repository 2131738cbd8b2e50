"""Rows."""

ROWS: list[tuple[str, str, str]] = []
