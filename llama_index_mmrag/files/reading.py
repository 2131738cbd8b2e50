"""Files that were written by anyone, read within limits."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 2 << 20
"""A byte of JSON may take 25 in memory (a list of empty ones)."""


def check_regular(path: Path) -> None:
    """Do nothing if a path is a file, and no folder, pipe, device or socket.

    Raises:
        OSError: There is none, or it cannot be looked at.
        ValueError: It is something else.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path.name!r} is no regular file")


def read_json(path: Path) -> Any:
    """Return what a small JSON file holds.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no file, no JSON, nested too deep, or larger than 2 MiB.
    """
    check_regular(path)
    with path.open("rb") as file:
        return parsed_json(file.read(MOST_BYTES + 1))


def parsed_json(text: str | bytes) -> Any:
    """Return what a short JSON text says.

    Raises:
        ValueError: It is none, nested too deep, or longer than 2 MiB.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
