"""Paths: the one name under which a file is known, whichever way it was reached."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

from llama_index_mmrag.errors import DocumentUnreadable


def real_path(path: str | Path, suffixes: Container[str] | None = None) -> Path:
    """Return the absolute path with symlinks resolved, as `known_as` names it.

    Raises:
        DocumentUnreadable: It does not exist, is a loop of links, or is not UTF-8.
    """
    return known_as(path, _resolved(path), suffixes)


def real_file(path: Path, root: Path | None, suffixes: Container[str]) -> Path:
    """Return what `real_path` does, of a file that may be read.

    Raises:
        DocumentUnreadable: As `real_path`; or it is no regular file, or leads out of
            the folder `root`.
    """
    target = _resolved(path)
    real = known_as(path, target, suffixes)
    if not target.is_file():
        raise DocumentUnreadable(
            "It is no regular file but a pipe, a socket or a device. Remove it."
        )
    if root is not None:
        check_inside(target, root)
    return real


def check_inside(target: Path, root: Path) -> None:
    """Raise DocumentUnreadable if a real path leads out of a real folder."""
    if not target.is_relative_to(root):
        raise DocumentUnreadable(
            f"It points outside of {printable(root)!r}, to {printable(target)!r}. "
            f"Index that folder too, or put a copy here."
        )


def known_as(
    path: str | Path, target: Path, suffixes: Container[str] | None = None
) -> Path:
    """Return the name of a file: what the path leads to, or the path itself.

    A link "a.jpg" to a file without a readable suffix (content-addressed caches have
    such files) keeps its own name: the suffix says how to read it.

    Args:
        path: Where it was found.
        target: What that leads to, with symlinks resolved.
        suffixes: Those that can be read, in lower case; None takes any.

    Raises:
        DocumentUnreadable: The name is not UTF-8.
    """
    is_readable = suffixes is None or target.suffix.lower() in suffixes
    if not is_readable and target.is_file():
        target = Path(path).parent.resolve() / Path(path).name
    try:
        target.as_posix().encode("utf-8")
    except UnicodeEncodeError as error:
        raise DocumentUnreadable(
            f"The name {printable(target)!r} is not UTF-8. Rename it."
        ) from error
    return target


def _resolved(path: str | Path) -> Path:
    try:
        return Path(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a loop of links, before Python 3.13; ValueError: a NUL
        raise DocumentUnreadable(
            f"There is no file or folder {printable(path)!r}, or it is a link to "
            f"nothing. Check the path."
        ) from error


def printable(path: str | Path) -> str:
    """Return the path fit to be stored: undecodable bytes become escapes."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
