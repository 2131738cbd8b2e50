"""Files that are replaced in one step, and are on the disk when it is done."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from llama_index_mmrag.errors import StoreFull


@contextlib.contextmanager
def replacing(path: Path, *, by: str) -> Iterator[BinaryIO]:
    """Yield a file to write, which then takes the place of `path`, or does not.

    Killed or cut off at any moment, `path` is the old file or the new one, whole.

    Args:
        path: The file to be replaced, or made.
        by: Name of the unfinished file, in the same folder.

    Raises:
        OSError: It cannot be written; `path` is as it was.
    """
    unfinished = path.with_name(by)
    try:
        # What is there is left over, or a link or pipe that is not to be written to.
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def check_room(folder: Path, n_bytes: int, *, for_: str) -> None:
    """Do nothing if a folder's disk has room for so many bytes.

    Raises:
        StoreFull: It has not.
    """
    disk = shutil.disk_usage(folder)
    # Without a limit, as a memory disk may be, all is 0.
    if disk.total and disk.free < n_bytes:
        raise _full(folder, f"about {_size(n_bytes)} of", disk.free, for_)


def raise_if_full(
    error: OSError, folder: Path, n_bytes: int | None, *, for_: str
) -> None:
    """Raise `StoreFull` if the system's error says that a disk has no room.

    Args:
        error: It.
        folder: What was to be written to; it may be missing, and its parent not.
        n_bytes: How many bytes; None: nobody knows.
        for_: What they were for, as the beginning of a sentence.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
        needed = "more" if n_bytes is None else f"about {_size(n_bytes)} of"
        raise _full(folder, needed, free, for_) from error


def _full(folder: Path, needed: str, free: int, for_: str) -> StoreFull:
    return StoreFull(
        f"{for_} in {str(folder)!r} needs {needed} free space, and its disk has "
        f"{_size(free)}. Nothing was written: make room, or choose another disk."
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 100_000 else f"{n_bytes} bytes"


def reserve(files: Iterable[Path], folder: Path, *, for_: str) -> None:
    """Give files of a disk in memory the room of their holes; on others do nothing.

    There a hole takes room as soon as a map of it is read, and where there is none the
    system ends the process. On other disks only what is written takes room.

    Args:
        files: Of one disk.
        folder: Their store's.
        for_: What is about to be done, as the beginning of a sentence.

    Raises:
        StoreFull: There is no room for all of them; none is changed.
    """
    if not _is_in_memory(folder):
        return
    known = [(file, file.stat()) for file in files]
    sparse = [(file, st) for file, st in known if st.st_size > st.st_blocks * 512]
    holes = sum(st.st_size - st.st_blocks * 512 for _, st in sparse)
    check_room(folder, holes, for_=for_)
    for file, st in sparse:
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, st.st_size)


def _is_in_memory(folder: Path) -> bool:
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    device = folder.stat().st_dev
    number = f" {os.major(device)}:{os.minor(device)} "
    return any(number in m and " - tmpfs " in m for m in mounts.splitlines())


def put_aside(path: Path) -> str:
    """Rename a damaged file or folder, so that it is kept; return its new name."""
    aside = path.with_name(f"{path.name}.damaged")
    if aside.exists():
        aside = aside.with_name(f"{aside.name}-{uuid.uuid4().hex[:6]}")
    path.rename(aside)
    return aside.name


def sync_folder(folder: Path) -> None:
    """Put on the disk which files a folder holds, where the system can."""
    # Windows and some file systems cannot sync a folder. An error after a file was
    # replaced would tell the caller that it was not.
    with contextlib.suppress(OSError):
        _sync(folder, os.O_RDONLY)


def sync_tree(folder: Path) -> None:
    """Put on the disk all that a folder holds, and that its parent holds it.

    Raises:
        OSError: A file cannot be synced.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            _sync(Path(place, name), os.O_RDWR)
        sync_folder(Path(place))
    sync_folder(folder.parent)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
