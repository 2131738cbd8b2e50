"""What reading a damaged `.npz` file can raise."""

from __future__ import annotations

import zipfile
import zlib

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
