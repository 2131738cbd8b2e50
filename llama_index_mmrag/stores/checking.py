"""Damage: looked for in all that a store holds, and told."""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index_mmrag.errors import CollectionMismatch, StoreFull, StoreUnusable
from llama_index_mmrag.files.reading import check_regular
from llama_index_mmrag.files.writing import replacing
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_folder import EdgeFolder
from llama_index_mmrag.stores.edge_layout import LOCK, POINTER
from llama_index_mmrag.stores.edge_record import RECORD, damage_in, read_record
from llama_index_mmrag.stores.format import CollectionEntry
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.manifest import (
    PICTURES,
    copy_damage,
    entries_in,
    index_id_of,
)
from llama_index_mmrag.stores.manifest_file import STORE_FILES, lost_manifest

_LOG = logging.getLogger(__name__)

MEDIA = "media"
"""Folder of a store's own pictures, and what a check calls them."""
_DIGITS_OF_SHA256 = 64
_NOTED = 12
"""Characters of a picture's name that tell it from the others."""
_MOST_BYTES = 32 << 20
"""Of the note: two million pictures, and no more memory than to read it takes."""


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What was found in a store.

    Attributes:
        n_points: Of each collection that could be read.
        damaged: What is damaged, by collection: files and what is wrong with them, or
            why it cannot be opened; under "media", pictures; under "manifest", its
            copy.
        unrecorded: Collections that were not closed since they were written to: there
            are no checksums to compare, and all points were read instead.
    """

    n_points: Mapping[str, int]
    damaged: Mapping[str, tuple[str, ...]]
    unrecorded: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether no damage was found."""
        return not self.damaged


def check_is_store(root: Path) -> None:
    """Do nothing if a folder holds a store, or one that lost its manifest.

    Raises:
        StoreUnusable: It does not.
    """
    if not any((root / name).exists() for name in (*STORE_FILES, PICTURES)):
        raise StoreUnusable(
            f"There is no store in {str(root)!r}. Make one with: mmrag index DIR "
            f"--store {root}"
        )


def check_store(
    root: Path, opened: Mapping[str, EdgeFolder] | None = None
) -> StoreCheck:
    """Read all files of a store and compare them with what they were.

    Args:
        root: The store's folder.
        opened: Its collections, where they are open here.

    Raises:
        StoreInUse: It is open elsewhere.
        StoreFull: One that was killed has to be opened, and there is no room for it.
        StoreUnusable: There is none, or its manifest cannot be read.
    """
    check_is_store(root)
    if index_id_of(root) is None:
        raise lost_manifest(root)
    n_points: dict[str, int] = {}
    damaged: dict[str, tuple[str, ...]] = {}
    unrecorded: list[str] = []
    for name, entry in entries_in(root).items():
        try:
            if opened is not None and name in opened:
                found = _of_open(opened[name])
            else:
                found = _of_closed(root / entry.folder, entry)
        except StoreFull:
            raise  # says nothing of what is stored
        except (CollectionMismatch, StoreUnusable) as error:
            damaged[name] = (str(error),)
            continue
        n_points[name] = found.n_points
        if found.damaged:
            damaged[name] = tuple(found.damaged)
        if not found.is_recorded:
            unrecorded.append(name)
    if wrong := copy_damage(root):
        damaged["manifest"] = (wrong,)
    if pictures := tuple(_media_damage(root)):
        damaged[MEDIA] = pictures
    return StoreCheck(n_points, damaged, tuple(unrecorded))


@dataclass(frozen=True, slots=True)
class _Found:
    n_points: int
    damaged: list[str]
    is_recorded: bool


def _of_closed(folder: Path, entry: CollectionEntry) -> _Found:
    if not any((folder / name).exists() for name in (POINTER, RECORD)):
        raise StoreUnusable(f"the folder {folder.name!r} is gone, or is empty")
    lock = FolderLock(folder / LOCK)
    try:
        if (closed := read_record(folder)) is not None:
            return _Found(closed.count, damage_in(folder, closed), is_recorded=True)
    finally:
        lock.release()
    how: dict[str, Any] = {"vector_name": entry.vector, "distance": entry.distance}
    # Fields that are not indexed are none of a check's business.
    with QdrantEdgeVectorStore.open(folder, payload_indexes=(), **how) as store:
        return _of_open(store.client)


def _of_open(folder: EdgeFolder) -> _Found:
    n_points = folder.count()
    if (closed := folder.closed) is not None:
        return _Found(n_points, damage_in(folder.path, closed), is_recorded=True)
    damaged = []
    if (n_whole := folder.n_whole()) != n_points:
        damaged = [f"{n_whole} of {n_points} points can be read whole"]
    return _Found(n_points, damaged, is_recorded=False)


def note_media(root: Path) -> None:
    """Put on disk which pictures a store has, if it has others than were noted.

    Their names are their checksums. Where it cannot be written, or would be too large
    to read, there is none: then pictures that are gone are not noticed.
    """
    try:
        noted = _media_noted(root)
        # Nothing removes a picture: one that was there and is not, is lost.
        media = sorted(_beginnings(root).union(noted or ()))
        names = "\n".join(media).encode()
        if media != (noted or []) and len(names) < _MOST_BYTES:
            with replacing(root / PICTURES, by=PICTURES + ".new") as file:
                file.write(b"%08x\n%b" % (zlib.crc32(names), names))
    except OSError as error:
        _LOG.warning("Which pictures %r has cannot be noted: %s", str(root), error)


def _media_noted(root: Path) -> list[str] | None:
    """Return how the names of a store's pictures begin; None: nothing was noted."""
    try:
        check_regular(root / PICTURES)
        with (root / PICTURES).open("rb") as file:
            # JSON may take 25 times its size in memory: little could be noted.
            seal, _, names = file.read(_MOST_BYTES + 10).partition(b"\n")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreUnusable(f"{PICTURES}: {error}") from error
    if seal != b"%08x" % zlib.crc32(names):
        raise StoreUnusable(f"{PICTURES}: it is not what its checksum was made of")
    return names.decode().split()


def _media_damage(root: Path) -> Iterator[str]:
    there = _beginnings(root)
    for file in damaged_pictures(root):
        yield f"{file.name}: other content than its name says"
    try:
        noted = _media_noted(root)
    except StoreUnusable as error:
        yield str(error)
        return
    for beginning in noted or ():
        if beginning not in there:
            yield f"{beginning}...: it is gone"


def damaged_pictures(root: Path) -> Iterator[Path]:
    """Yield the pictures of a store that are not what their names say."""
    for file in _pictures(root):
        if hashlib.sha256(file.read_bytes()).hexdigest() != file.stem:
            yield file


def _beginnings(root: Path) -> set[str]:
    return {file.name[:_NOTED] for file in _pictures(root)}


def _pictures(root: Path) -> list[Path]:
    """Return the pictures of a store, whose names are their checksums."""
    media = root / MEDIA
    files = media.iterdir() if media.is_dir() else ()
    return [f for f in files if len(f.stem) == _DIGITS_OF_SHA256 and f.is_file()]
