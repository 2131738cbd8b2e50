"""What a disk does to a store's files."""

from __future__ import annotations

from pathlib import Path


def zero_the_vectors(shard: Path) -> None:
    """Make a shard forget its first vectors; the engine says nothing of it."""
    growing, built = "vectors/chunk_0.mmap", "vector_storage-*/matrix.dat"
    for file in (*shard.rglob(growing), *shard.rglob(built)):
        with file.open("r+b") as opened:
            opened.seek(4)  # beyond what tells the kind of file
            opened.write(bytes(min(4096, file.stat().st_size) - 4))
