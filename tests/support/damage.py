"""What a disk does to a store's files."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def zero_the_vectors(shard: Path) -> None:
    """Make a shard forget its first vectors; the engine says nothing of it."""
    growing, built = "vectors/chunk_0.mmap", "vector_storage-*/matrix.dat"
    for file in (*shard.rglob(growing), *shard.rglob(built)):
        with file.open("r+b") as opened:
            opened.seek(4)  # beyond what tells the kind of file
            opened.write(bytes(min(4096, file.stat().st_size) - 4))


def truncate_a_status(shard: Path) -> None:
    """Make the engine panic when it loads the shard."""
    status = next(shard.rglob("vector_storage-*/deleted/status.dat"))
    with status.open("r+b") as file:
        file.truncate(8)


MANY = 1_000_000


def make_empty(file: Path) -> None:
    file.write_bytes(b"")


def make_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_a_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def nest_deeply(file: Path) -> None:
    file.write_bytes(b"[" * MANY)


def make_huge(file: Path) -> None:
    file.write_bytes(b"[" * MANY)
    with file.open("r+b") as opened:
        opened.truncate(1 << 30)


def make_a_number(file: Path) -> None:
    file.write_bytes(b"7")


DAMAGES = [
    *(make_empty, make_a_folder, make_a_pipe, make_a_device),
    *(nest_deeply, make_huge, make_a_number),
]
"""What may lie where a JSON file of ours is expected."""


@contextmanager
def little_memory(n_bytes: int = 100_000_000) -> Iterator[None]:
    """Fail where the block takes more memory than this at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()
