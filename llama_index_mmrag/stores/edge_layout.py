"""What a store's folder looks like on disk.

`store.json` names the shard folder in use and is replaced in one step, so a swap either
happened or did not. `.lock` belongs to the owner. Any other `shard-*` folder is what an
interrupted index build left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import qdrant_edge as qe

from llama_index_mmrag.errors import MmragError, StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.writing import (
    check_room,
    raise_if_full,
    replacing,
    reserve,
)
from llama_index_mmrag.stores.quantisation import QUANTISATION

POINTER = "store.json"
LOCK = ".lock"
WORDS = "words.json"
"""What makes the vectors of words, if there are any."""
SHARD_PREFIX = "shard-"
_STATES = frozenset({"creating", "ready"})


_ROOM = 8 << 20
"""Bytes that a write may touch whatever it writes: a page in each of its files."""
_ROOM_PER_BYTE = 4
"""The log, the storage and the payload indexes each take what is written."""
_ROOM_OF_NEW = 24 << 20
"""An empty store takes 9 MB on a disk in memory."""


def new_name() -> str:
    """Return a name that no shard folder had before."""
    return SHARD_PREFIX + uuid.uuid4().hex[:12]


def write_pointer(
    folder: Path, shard: str, *, state: Literal["creating", "ready"]
) -> None:
    """Put on disk, in one step, which shard is in use; errors mean it was not."""
    content = {"format": 1, "shard": shard, "state": state}
    with replacing(folder / POINTER, by=POINTER + ".new") as file:
        file.write(json.dumps(content).encode())


def read_pointer(pointer: Path) -> tuple[str, str]:
    """Return the shard in use and its state.

    Raises:
        StoreUnusable: unreadable, of another format, or naming a missing shard.
    """
    try:
        content: dict[str, Any] = read_json(pointer)
        name, state = str(content["shard"]), str(content["state"])
        # A name from a file must not lead out of the folder: it may be deleted.
        known = type(content["format"]) is int and content["format"] == 1
        readable = known and state in _STATES and Path(name).name == name
    except (ValueError, KeyError, TypeError):
        name, state, readable = "", "", False
    if not (readable and name.startswith(SHARD_PREFIX)):
        raise StoreUnusable(
            f"The file {str(pointer)!r} cannot be read as this version's store "
            "description (format 1, state 'creating' or 'ready'). Nothing was changed: "
            "open it with the version that wrote it, restore the file from a backup, "
            "or give another path."
        )
    if state == "ready" and not (pointer.parent / name).is_dir():
        raise StoreUnusable(
            f"The store in {str(pointer.parent)!r} lacks its folder {name!r}. "
            "Restore it from a backup, or give another path and insert again."
        )
    return name, state


def ready_shard(folder: Path) -> str | None:
    """Return the shard in use; None if there is none yet.

    One that was being created goes: nothing was acknowledged yet.

    Raises:
        StoreUnusable: The folder holds other files and no store, or `read_pointer`
            cannot read the description.
    """
    pointer = folder / POINTER
    if pointer.exists():
        name, state = read_pointer(pointer)
        if state == "creating":
            shutil.rmtree(folder / name, ignore_errors=True)
            return None
        return name
    ours = {LOCK, POINTER + ".new", QUANTISATION, WORDS}
    if foreign := sorted(e.name for e in folder.iterdir() if e.name not in ours):
        raise StoreUnusable(
            f"The folder {str(folder)!r} holds {foreign[:3]!r} but no {POINTER!r}, so "
            "it is not a store. Expected an empty or new folder, or one that a store "
            "was created in; give another path."
        )
    return None


def leftovers(folder: Path, ready: str) -> list[Path]:
    """Return what interrupted index builds left beside the shard in use."""
    return [e for e in folder.glob(SHARD_PREFIX + "*") if e.name != ready]


def remove_tree(folder: Path) -> None:
    """Remove a folder as far as can be, its lock last: it is known by that again."""
    for part in folder.glob("*"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        elif part.name != LOCK:
            with contextlib.suppress(OSError):
                part.unlink()
    if {part.name for part in folder.glob("*")} <= {LOCK}:
        shutil.rmtree(folder, ignore_errors=True)


def vectors_in(shard: Path) -> tuple[dict[str, tuple[int, str]], set[str]]:
    """Return size and distance of a shard's vectors, and the sparse ones, by name.

    Raises:
        StoreUnusable: The engine's description of it says something else.
    """
    file = shard / "edge_config.json"
    try:
        said = read_json(file)
        dense = {
            name: (int(one["size"]), str(one["distance"]).lower())
            for name, one in said["vectors"].items()
        }
        return dense, {*(said.get("sparse_vectors") or ())}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreUnusable(
            f"The file {str(file)!r} cannot be read ({type(error).__name__}: {error}). "
            "Expected what qdrant-edge-py 0.9 writes: restore it from a backup."
        ) from error


def room_for_new(folder: Path) -> None:
    """Do nothing if there is room for an empty store, else raise `StoreFull`."""
    check_room(folder, _ROOM_OF_NEW, for_="A new store")


def room_to_open(shard: Path) -> None:
    """Do nothing if there is room for what loading a shard writes, else `StoreFull`."""
    # The engine reads maps of all of these from end to end, holes too; the log and the
    # payloads only as far as they are written.
    mapped = (
        file
        for file in shard.glob("segments/**/*")
        if file.is_file() and file.parent.name != "payload_storage"
    )
    reserve(mapped, shard.parent, for_="Opening the store")


def room_for_write(folder: Path, n_bytes: int) -> None:
    """Do nothing if there is room for vectors and payloads, else raise `StoreFull`."""
    # The engine writes to maps of files with holes, which a full disk cannot fill: the
    # system then ends the process.
    check_room(folder, _ROOM + _ROOM_PER_BYTE * n_bytes, for_="Writing to the store")


def room_for_build(shard: Path) -> None:
    """Do nothing if there is room to build an index, else raise `StoreFull`."""
    # The copy, and its vectors and payloads once more while the graph is built.
    room = _ROOM + 3 * _allocated(shard)
    check_room(shard.parent, room, for_="Building the index")


def room_for_repair(folder: Path) -> None:
    """Do nothing if there is room for a new store and two copies, else `StoreFull`."""
    room = _ROOM_OF_NEW + 4 * _allocated(folder)
    check_room(folder.parent, room, for_="Repairing the store")


def _allocated(folder: Path) -> int:
    """Return the bytes that a folder's files take on the disk, holes left out."""
    files = (file.stat() for file in folder.rglob("*") if file.is_file())
    # Windows counts no blocks.
    return sum(getattr(f, "st_blocks", -(-f.st_size // 512)) * 512 for f in files)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a shard's folder, or nothing; holes in its files stay holes."""

    # The engine preallocates about 100 MB of holes; a plain copy would fill them.
    def copy(from_path: str, to_path: str) -> str:
        with open(from_path, "rb") as reader, open(to_path, "wb") as writer:  # noqa: PTH123 - called by shutil with strings
            while block := reader.read(1 << 16):
                if block.count(0) == len(block):
                    writer.seek(len(block), os.SEEK_CUR)
                else:
                    writer.write(block)
            writer.truncate()
        return to_path

    try:
        shutil.copytree(source, target, copy_function=copy)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise the system's errors as `StoreUnusable`, a full disk's as `StoreFull`."""
    try:
        yield
    except MmragError:
        raise
    except OSError as error:
        raise_if_full(error, path, None, for_="What is written")
        raise StoreUnusable(
            f"The store folder {str(path)!r} cannot be used: {error}. Expected a "
            "folder that this process may create, read and write, with space on the "
            "disk."
        ) from error


def closed_message(path: Path) -> str:
    """Return what to say of a store that was closed."""
    return (
        f"The store in {str(path)!r} is closed. Open an index again by "
        "MultiModalQdrantIndex.open(), a store of yours by connect(), or use it inside "
        "its `with` block."
    )


def check_counts(path: Path, *, old: qe.EdgeShard, new: qe.EdgeShard) -> None:
    """Do nothing if two shards hold as many points.

    Raises:
        StoreUnusable: They do not.
    """
    everything = qe.CountRequest(exact=True)
    expected, found = old.count(everything), new.count(everything)
    if expected != found:
        raise StoreUnusable(
            f"The indexed copy of {str(path)!r} holds {found} points; expected "
            f"{expected}. The store keeps its old shard; please report this with the "
            "qdrant-edge-py version."
        )
