"""`.npz` files without pickle: arrays by name, written whole."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.files.reading import check_regular
from llama_index_mmrag.files.writing import replacing
from llama_index_mmrag.vectors import Vectors

Arrays: TypeAlias = "dict[str, Vectors]"

_MOST_HEADER = 4096
"""Numpy's own are of 128 bytes."""

DAMAGED: tuple[type[Exception], ...] = (
    AttributeError,  # a single array, under Python 3.10
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,  # zipfile: a flipped bit says encrypted, or compressed otherwise
    TypeError,
    ValueError,
    struct.error,  # a file that ends within a header
    zipfile.BadZipFile,
    zlib.error,
)
"""Not OSError, which is of the system and not of the file's content."""


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return a file's arrays by name; see `DAMAGED`.

    Takes no more memory than the file has bytes, whatever it says.
    """
    check_regular(path)
    # Opened here: numpy leaves the file open if it is no zip archive.
    with path.open("rb") as file:
        _check_sizes(file)
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored)


def _check_sizes(file: BinaryIO) -> None:
    """Do nothing if a file holds as many bytes as its arrays are said to have."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        n_there, n_said = file.seek(0, os.SEEK_END), sum(m.file_size for m in members)
        if n_said > n_there:
            raise ValueError(
                f"its arrays would take {n_said:,} bytes, and the file has {n_there:,}"
            )
        for member in members:
            with archive.open(member) as packed:
                start = BytesIO(packed.read(_MOST_HEADER))
            shape, dtype = _header(start)
            size = start.tell() + math.prod(shape) * dtype.itemsize
            # Of objects the size says nothing; numpy refuses them.
            if size != member.file_size and not dtype.hasobject:
                raise ValueError(
                    f"{member.filename!r} is said to have {size:,} bytes; "
                    f"there are {member.file_size:,}"
                )


def _header(start: BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(start)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(start)
    except Exception as error:  # of Python's parser, which has many
        raise ValueError(f"an array's header cannot be read ({error})") from error
    return shape, dtype


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name; a kill at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, by=path.name + ".partial") as file:
        np.savez(file, **arrays)
