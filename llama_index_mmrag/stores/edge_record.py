"""The record of a clean close: a store's count, and each file's size and checksum.

It is written when a store that was written to is closed, and taken away before the next
session writes: where there is one, the files are as it says, or were damaged. Where
there is none the store was killed, and the engine's own log counts.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import mmap
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import qdrant_edge as qe

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.sealing import sealed, unsealed
from llama_index_mmrag.files.writing import replacing, sync_folder
from llama_index_mmrag.stores.edge_engine import engine_errors
from llama_index_mmrag.stores.edge_layout import (
    POINTER,
    read_pointer,
    room_to_open,
)

RECORD = "closed.json"
_UNFINISHED = RECORD + ".new"
_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)


class File(NamedTuple):
    """What a file was."""

    size: int
    crc32: int
    """Of its blocks that are not all zeros, and their places; see `crc32_of`."""
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Closed:
    """What a store was when it was closed."""

    count: int
    """How many points it holds."""
    files: dict[str, File]
    """By path below its folder."""


def read_record(folder: Path) -> Closed | None:
    """Return what a store was when it was closed; None: it was killed, or is new.

    Raises:
        StoreUnusable: The record cannot be read.
    """
    file = folder / RECORD
    try:
        return _closed(unsealed(read_json(file)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise damaged(folder, [f"{RECORD}: {error}"]) from error


def _closed(stored: Any) -> Closed:
    """Return what a record says.

    By hand: pydantic notes every entry that is wrong, in more memory than there may be.

    Raises:
        ValueError: It is none.
    """
    try:
        files = {name: File(*file) for name, file in stored["files"].items()}
        closed = Closed(stored["count"], files)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is no record of a close") from error
    numbers = itertools.chain([closed.count], *files.values())
    if not all(type(number) is int for number in numbers):
        raise ValueError("it is no record of a close: a number is expected")
    return closed


def write_record(folder: Path, *, count: int, before: Closed | None) -> None:
    """Put on disk what a store's files are, now that it is closed.

    Only files whose size or mtime changed are read, where the disk says so of files
    that are written through memory. Where the record cannot be written there is none.

    Args:
        folder: The store's.
        count: How many points it holds.
        before: What its last record said.
    """
    try:
        shard, _ = read_pointer(folder / POINTER)
        _settle(folder / shard)
        known = before.files if before is not None and _tells_mtimes(folder) else {}
        files = {
            name: _seen(path, known.get(name))
            for name, path in _files_in(folder, shard)
        }
        closed = Closed(count=count, files=files)
        with replacing(folder / RECORD, by=_UNFINISHED) as file:
            file.write(sealed(asdict(closed)))
    except (OSError, StoreUnusable) as error:  # a full disk, for example
        logging.getLogger(__name__).warning(
            "What the store in %r was when it was closed cannot be noted (%s): damage "
            "to it will not be noticed until it is written to and closed again.",
            str(folder),
            error,
        )


def forget_record(folder: Path) -> None:
    """Take the record away: the store is about to be written to.

    Raises:
        OSError: It cannot be; then nothing must be written.
    """
    (folder / RECORD).unlink(missing_ok=True)
    sync_folder(folder)


def check_sizes(folder: Path, closed: Closed) -> None:
    """Do nothing if a store's files are there, with the sizes that they had.

    Raises:
        StoreUnusable: They are not.
    """
    if found := list(_other_sizes(folder, closed)):
        raise damaged(folder, found)


def check_count(folder: Path, closed: Closed, count: int) -> None:
    """Do nothing if a store holds as many points as it did.

    Raises:
        StoreUnusable: It does not.
    """
    if count != closed.count:
        raise damaged(folder, [f"{count} points; {closed.count} when it was closed"])


def damage_in(folder: Path, closed: Closed) -> list[str]:
    """Return what of a store's files is not as it was: all of them are read."""
    found = list(_other_sizes(folder, closed))
    if found:
        return found
    return [
        f"{name}: other content than when it was closed"
        for name, file in closed.files.items()
        if crc32_of(folder / name) != file.crc32
    ]


def damaged(folder: Path, found: list[str]) -> StoreUnusable:
    """Return the error that says what is damaged, and what to do."""
    more = f", and {len(found) - 3} others" if len(found) > 3 else ""
    return StoreUnusable(
        f"The store in {str(folder)!r} is damaged: {', '.join(found[:3])}{more}. "
        f"Nothing was changed: restore it from a backup, or save what can be read: "
        f"mmrag repair --store DIR (its index's folder)"
    )


def _other_sizes(folder: Path, closed: Closed) -> Iterator[str]:
    for name, file in closed.files.items():
        try:
            now = (folder / name).stat()
        except OSError as error:
            yield f"{name}: {error.strerror}"
            continue
        if now.st_size != file.size or not stat.S_ISREG(now.st_mode):
            yield f"{name}: {now.st_size} bytes; {file.size} when it was closed"


def crc32_of(path: Path) -> int:
    """Return a checksum of a file's content.

    Blocks of zeros are left out, and holes not read: a copy may store them or not, and
    the engine's files are mostly holes.
    """
    crc = position = 0
    with path.open("rb", buffering=0) as file:
        while True:
            position = file.seek(_next_data(file.fileno(), position))
            block = file.read(_BLOCK)
            if not block:
                return crc
            if block != _ZEROS[: len(block)]:
                crc = zlib.crc32(block, zlib.crc32(position.to_bytes(8, "little"), crc))
            position += len(block)


def _next_data(handle: int, position: int) -> int:
    """Return where a file's next block is that may not be a hole."""
    try:
        found = os.lseek(handle, position, os.SEEK_DATA)
    except AttributeError:  # a system without holes
        return position
    except OSError as error:
        is_end = error.errno == errno.ENXIO
        return os.lseek(handle, 0, os.SEEK_END) if is_end else position
    return found - found % _BLOCK


def _settle(shard: Path) -> None:
    """Let the engine repeat the end of its log, as it would at the next opening.

    It (0.9) removes its journals then, and changes the versions of deleted points:
    once, whether anybody writes or not. To leave these files out would be quicker, and
    damage to them silent: the engine ignores writes to a point of a later version.
    """
    room_to_open(shard)
    with engine_errors(shard.parent):
        loaded = qe.EdgeShard.load(str(shard))
        loaded.flush()
        loaded.close()


def _seen(path: Path, before: File | None) -> File:
    now = path.stat()
    if before is not None and before[::2] == (now.st_size, now.st_mtime_ns):
        return before
    return File(now.st_size, crc32_of(path), now.st_mtime_ns)


def _files_in(folder: Path, shard: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a store and of its shard in use, by their names below it."""
    ours = {RECORD, _UNFINISHED}
    beside = [path for path in folder.iterdir() if path.name not in ours]
    for path in sorted([*beside, *(folder / shard).rglob("*")]):
        # Hidden ones are a desktop's or a share's, which come and go.
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path


def _tells_mtimes(folder: Path) -> bool:
    """Return whether a file gets a new mtime when it is written through memory.

    A disk in memory gives none, and Windows gives it late.
    """
    if os.utime not in os.supports_fd:
        return False
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        os.utime(file.fileno(), ns=(0, 0))
        with contextlib.closing(mmap.mmap(file.fileno(), 0)) as mapped:
            mapped[0] = mapped[0] + 1
            mapped.flush()
        return os.stat(file.fileno()).st_mtime_ns != 0
