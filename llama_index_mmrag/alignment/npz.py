"""`.npz` files without pickle: arrays by name, written whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.files.writing import replacing
from llama_index_mmrag.vectors import Vectors

Arrays: TypeAlias = "dict[str, Vectors]"

DAMAGED: tuple[type[Exception], ...] = (
    AttributeError,  # a single array, under Python 3.10
    EOFError,
    KeyError,
    RuntimeError,  # zipfile: a flipped bit says encrypted, or compressed otherwise
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Not OSError, which is of the system and not of the file's content."""


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return a file's arrays by name; see `DAMAGED`."""
    # Opened here: numpy leaves the file open if it is no zip archive.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name; a kill at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, by=path.name + ".partial") as file:
        np.savez(file, **arrays)
