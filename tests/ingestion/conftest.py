"""Small real files that the ingestion tests read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image


def encoded(colour: str = "red", *, format: str = "PNG", side: int = 24) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, format=format)
    return buffer.getvalue()


@pytest.fixture
def picture():
    """Encoded bytes of a plain picture, by colour and format."""
    return encoded


@pytest.fixture
def write(tmp_path):
    """Write a file below tmp_path, folders included; text is UTF-8."""

    def write_file(name: str, content: str | bytes = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file
