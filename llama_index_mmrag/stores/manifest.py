"""The manifest: what an embedded store is, as far as nothing else in it can tell.

It names the store, by an id that moves with it, and says of each collection which
encoder filled it, what its vectors are, and in which folder it is. One file says all of
it and is replaced in one step: a switch happened or did not. All else hangs by it, so
that there is a copy, which is read where the file is damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index_mmrag.composition import Composition, composition_of
from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.files.writing import put_aside, sync_tree
from llama_index_mmrag.stores.edge_layout import LOCK, disk_errors
from llama_index_mmrag.stores.format import (
    FORMAT,
    Card,
    CollectionEntry,
    Manifest,
    Place,
    ReaderCard,
    check_composed,
    new_index_id,
)
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.manifest_file import (
    COPY,
    MANIFEST,
    UNFINISHED,
    lost_manifest,
    read_manifest,
    whole_manifest,
    write_copy,
    write_file,
)

PICTURES = "media.txt"
"""The note of which pictures a store has; see `checking.py`."""
_COMPOSED = "composed"
_LETTERING = "lettering"
_OURS = frozenset(
    {"text", "image", _COMPOSED, _LETTERING, "media", UNFINISHED, "in-flight.json"}
)
"""What a first opening that was interrupted leaves in the store's folder."""


def index_id_of(root: Path) -> str | None:
    """Return the id of the store in a folder, 32 hexadecimal digits; None: no store.

    Raises:
        StoreUnusable: Its manifest cannot be read.
    """
    stored = read_manifest(root / MANIFEST)
    return None if stored is None else stored.index_id


def stored_composition(root: Path) -> Composition | None:
    """Return what composed a store's vectors for early fusion; None for no such ones.

    Raises:
        StoreUnusable: Its manifest cannot be read.
        InvalidSetting: It was a composition of the user's own.
    """
    space_id = _composed_by(entries_in(root))
    return None if space_id is None else composition_of(space_id)


def _composed_by(entries: Mapping[str, CollectionEntry]) -> str | None:
    return entries[_COMPOSED].composition if _COMPOSED in entries else None


def entries_in(root: Path) -> dict[str, CollectionEntry]:
    """Return what a store says of its collections, by name; nothing of a new store.

    Raises:
        StoreUnusable: Its manifest cannot be read.
    """
    stored = read_manifest(root / MANIFEST)
    return {} if stored is None else stored.collections


def check_manifest(
    root: Path, cards: Mapping[str, Card], composition: Composition | None
) -> None:
    """Do nothing if a store was filled by these encoders, or is new.

    Args:
        root: The store's folder.
        cards: The encoders' cards, by collection.
        composition: What composes vectors for early fusion.

    Raises:
        CollectionMismatch: It was filled by others.
        StoreUnusable: Its manifest cannot be read, or has another format.
    """
    if (stored := read_manifest(root / MANIFEST)) is None:
        return
    entries = stored.collections
    given = None if composition is None else composition.space_id
    check_composed(_composed_by(entries), given, where=str(root))
    _check_filled(root, entries, cards)


def _check_filled(
    root: Path, entries: Mapping[str, CollectionEntry], cards: Mapping[str, Card]
) -> None:
    for name, card in cards.items():
        if name == _LETTERING and name not in entries:
            continue  # it may be made at any opening
        filled_by = entries[name].encoder if name in entries else None
        if filled_by != card:
            raise CollectionMismatch(
                f"The {name} collection of {str(root)!r} was filled by {filled_by}; "
                f"the given encoder is {card}. Vectors of different spaces cannot be "
                f"compared: open it with the encoder that filled it, or index into "
                f"another folder."
            )


def switch_places(root: Path, places: Mapping[str, Place]) -> None:
    """Put on disk, in one step, where a store's compressed collections are.

    What lies there is on the disk before.

    Args:
        root: The store's folder, which has a manifest.
        places: By collection; those that are not named stay where they are.

    Raises:
        StoreUnusable: The manifest cannot be read or written; nothing was switched.
    """
    stored = read_manifest(root / MANIFEST)
    if stored is None:
        raise lost_manifest(root)
    for place in places.values():
        with disk_errors(root / place.folder):
            sync_tree(root / place.folder)
    _change(root, stored, {name: v._asdict() for name, v in places.items()})


def set_reader(root: Path, card: ReaderCard, *, of: str = _LETTERING) -> None:
    """Put on disk what reads a store's pictures, or its scans.

    Args:
        root: The store's folder, which has a manifest.
        card: The engine's.
        of: The collection that holds what was read.

    Raises:
        StoreUnusable: The manifest cannot be read or written.
    """
    stored = read_manifest(root / MANIFEST)
    if stored is None:
        raise lost_manifest(root)
    _change(root, stored, {of: {"reader": card}})


def _change(
    root: Path, stored: Manifest, changes: Mapping[str, Mapping[str, Any]]
) -> None:
    known = stored.collections
    now = {name: known[name].model_copy(update=to) for name, to in changes.items()}
    changed = stored.model_copy(update={"collections": {**known, **now}})
    # The copy first: what it names is there, and what it named goes.
    write_copy(root, changed)
    try:
        write_file(root, changed)
    except StoreUnusable:
        write_copy(root, stored)
        raise


def check_ours(root: Path) -> None:
    """Do nothing if a folder is a store, whole or begun, or has room for one.

    Raises:
        StoreUnusable: It holds files that are not a store's.
    """
    if (root / MANIFEST).exists() or not root.is_dir():
        return
    try:
        theirs = sorted(
            entry.name
            for entry in root.iterdir()
            if entry.name not in _OURS and not entry.name.startswith(".")
        )
    except OSError:
        return  # the stores will say what is wrong with it
    if PICTURES in theirs or COPY in theirs:
        raise lost_manifest(root)
    if theirs:
        raise StoreUnusable(
            f"The folder {str(root)!r} is no store, and holds files that are not ours: "
            f"{theirs[0]!r}{' and others' if theirs[1:] else ''}. Give a new or an "
            f"empty folder, such as {str(root / 'store')!r}."
        )


def write_manifest(root: Path, entries: Mapping[str, CollectionEntry]) -> None:
    """Write what a store's collections are, unless it says so already.

    Args:
        root: The store's folder.
        entries: Its collections as they are, open, by name.

    Raises:
        CollectionMismatch: It says something else.
        StoreUnusable: The folder cannot be written.
    """
    stored = read_manifest(root / MANIFEST)
    if stored is None:
        made = {"format": FORMAT, "index_id": new_index_id(), "collections": entries}
        stored = Manifest.model_validate(made)
        write_file(root, stored)
    if added := {k: v for k, v in entries.items() if k not in stored.collections}:
        now = {"collections": {**stored.collections, **added}}
        stored = stored.model_copy(update=now)
        write_file(root, stored)
    for name, found in entries.items():
        told, is_so = (_told(each) for each in (stored.collections[name], found))
        if told != is_so:
            raise CollectionMismatch(
                f"The {name} collection of {str(root)!r} has {is_so}; its manifest "
                f"says {told}. Restore both from one backup, or index again into "
                f"another folder."
            )
    if whole_manifest(root / COPY) != stored:  # a new store, or there was no room
        write_copy(root, stored)


def copy_damage(root: Path) -> str:
    """Return why the copy of a store's manifest cannot be read; "": nothing is wrong.

    One that is gone, or older, is written at the next opening.
    """
    try:
        read_manifest(root / COPY)
    except StoreUnusable as error:
        return str(error)
    return ""


def restore_manifest(root: Path, cards: Mapping[str, Card]) -> list[str] | None:
    """Write a manifest from its copy, or the copy anew, where one is damaged.

    Args:
        root: The store's folder.
        cards: The encoders' cards, by collection.

    Returns:
        What damaged files are called now; None: nothing was restored.

    Raises:
        StoreInUse: The store is open.
        CollectionMismatch: Other encoders filled it.
        StoreUnusable: The manifest has another format, or the folder cannot be written.
    """
    manifest, copy = whole_manifest(root / MANIFEST), whole_manifest(root / COPY)
    damaged = root / (COPY if manifest else MANIFEST)
    stored = manifest or copy
    if stored is None or (manifest and not copy_damage(root)):
        return None
    folders = [root / entry.folder for entry in stored.collections.values()]
    if stored is copy and not all(map(Path.is_dir, folders)):
        return None  # an older one
    _check_filled(root, stored.collections, cards)
    for folder in filter(Path.is_dir, folders):
        FolderLock(folder / LOCK).release()
    with disk_errors(root):
        aside = [put_aside(damaged)] if damaged.exists() else []
    write = write_file if stored is copy else write_copy
    write(root, stored)
    return aside


def _told(entry: CollectionEntry) -> dict[str, object]:
    return entry.model_dump(
        include={"vector", "dim", "distance", "oversampling", "words"}
    )
