"""Paths: the one name under which a file is known, whichever way it was reached."""

from __future__ import annotations

import os
from pathlib import Path

from llama_index_mmrag.ingestion.records import READABLE_SUFFIXES, DocumentUnreadable


def real_path(path: str | Path) -> Path:
    """Return the absolute path with symlinks resolved.

    A link "a.jpg" to a file without a readable suffix (content-addressed caches have
    such files) keeps its own name: the suffix says how to read it.

    Raises:
        DocumentUnreadable: It does not exist, is a loop of links, or is not UTF-8.
    """
    try:
        real = Path(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a loop of links, before Python 3.13; ValueError: a NUL
        msg = (
            f"There is no file or folder {printable(path)!r}, or it is a link to "
            f"nothing. Check the path."
        )
        raise DocumentUnreadable(msg) from error
    if real.is_file() and real.suffix.lower() not in READABLE_SUFFIXES:
        real = Path(os.path.abspath(path))
    try:
        real.as_posix().encode("utf-8")
    except UnicodeEncodeError as error:
        msg = f"The name {printable(real)!r} is not UTF-8. Rename it."
        raise DocumentUnreadable(msg) from error
    return real


def is_of_file(ref_doc_id: str) -> bool:
    """Return whether a document id is one that a file got, by what it looks like.

    Readers of other packages name parts of files too, as in "/docs/a.pdf_part_0"; those
    are theirs.
    """
    path = Path(ref_doc_id)
    return path.is_absolute() and path.suffix.lower() in READABLE_SUFFIXES


def is_there(ref_doc_id: str) -> bool:
    """Return whether the file still exists, under this very name."""
    try:
        real = real_path(ref_doc_id)
    except DocumentUnreadable:
        return False
    return real.is_file() and real.as_posix() == ref_doc_id


def printable(path: str | Path) -> str:
    """Return the path fit to be stored: undecodable bytes become escapes."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
