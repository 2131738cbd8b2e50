"""The manifest: what an embedded store is, as far as nothing else in it can tell.

It names the store, by an id that moves with it, and says of each collection which
encoder filled it, what its vectors are, and in which folder it is. One file says all of
it and is replaced in one step: a switch happened or did not. All else hangs by it, so
that there is a copy, which is read where the file is damaged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from llama_index_mmrag.composition import Composition, composition_of
from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.sealing import sealed, unsealed
from llama_index_mmrag.files.writing import (
    put_aside,
    raise_if_full,
    replacing,
    sync_tree,
)
from llama_index_mmrag.stores.edge_layout import LOCK, disk_errors
from llama_index_mmrag.stores.format import (
    FORMAT,
    Card,
    CollectionEntry,
    Manifest,
    Place,
    check_composed,
    check_format,
    new_index_id,
)
from llama_index_mmrag.stores.locks import FolderLock

STORE_FILES = _MANIFEST, _COPY = "mmrag.json", "mmrag.copy.json"
PICTURES = "media.txt"
"""The note of which pictures a store has; see `checking.py`."""
_COMPOSED = "composed"
_UNFINISHED = "mmrag.part"
_OURS = frozenset({"text", "image", _COMPOSED, "media", _UNFINISHED, "in-flight.json"})
"""What a first opening that was interrupted leaves in the store's folder."""


def index_id_of(root: Path) -> str | None:
    """Return the id of the store in a folder, 32 hexadecimal digits; None: no store.

    Raises:
        StoreUnusable: Its manifest cannot be read.
    """
    stored = _read(root / _MANIFEST)
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
    stored = _read(root / _MANIFEST)
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
    if (stored := _read(root / _MANIFEST)) is None:
        return
    entries = stored.collections
    given = None if composition is None else composition.space_id
    check_composed(_composed_by(entries), given, where=str(root))
    _check_filled(root, entries, cards)


def _check_filled(
    root: Path, entries: Mapping[str, CollectionEntry], cards: Mapping[str, Card]
) -> None:
    for name, card in cards.items():
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
    stored = _read(root / _MANIFEST)
    if stored is None:
        raise lost_manifest(root)
    for place in places.values():
        with disk_errors(root / place.folder):
            sync_tree(root / place.folder)
    known = stored.collections
    now = {k: known[k].model_copy(update=v._asdict()) for k, v in places.items()}
    switched = stored.model_copy(update={"collections": {**known, **now}})
    # The copy first: what it names is there, and what it named goes.
    _write_copy(root, switched)
    try:
        _write(root, switched)
    except StoreUnusable:
        _write_copy(root, stored)
        raise


def check_ours(root: Path) -> None:
    """Do nothing if a folder is a store, whole or begun, or has room for one.

    Raises:
        StoreUnusable: It holds files that are not a store's.
    """
    if (root / _MANIFEST).exists() or not root.is_dir():
        return
    try:
        theirs = sorted(
            entry.name
            for entry in root.iterdir()
            if entry.name not in _OURS and not entry.name.startswith(".")
        )
    except OSError:
        return  # the stores will say what is wrong with it
    if PICTURES in theirs or _COPY in theirs:
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
    stored = _read(root / _MANIFEST)
    if stored is None:
        made = {"format": FORMAT, "index_id": new_index_id(), "collections": entries}
        stored = Manifest.model_validate(made)
        _write(root, stored)
    for name, found in entries.items():
        told, is_so = (_told(each) for each in (stored.collections[name], found))
        if told != is_so:
            raise CollectionMismatch(
                f"The {name} collection of {str(root)!r} has {is_so}; its manifest "
                f"says {told}. Restore both from one backup, or index again into "
                f"another folder."
            )
    if _whole(root / _COPY) != stored:  # a new store, or there was no room
        _write_copy(root, stored)


def copy_damage(root: Path) -> str:
    """Return why the copy of a store's manifest cannot be read; "": nothing is wrong.

    One that is gone, or older, is written at the next opening.
    """
    try:
        _read(root / _COPY)
    except StoreUnusable as error:
        return str(error)
    return ""


def lost_manifest(root: Path) -> StoreUnusable:
    """Return the error of a store without its manifest."""
    return _damaged(root / _MANIFEST, "it is gone")


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
    manifest, copy = _whole(root / _MANIFEST), _whole(root / _COPY)
    damaged = root / (_COPY if manifest else _MANIFEST)
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
    write = _write if stored is copy else _write_copy
    write(root, stored)
    return aside


def _told(entry: CollectionEntry) -> dict[str, object]:
    return entry.model_dump(
        include={"vector", "dim", "distance", "oversampling", "words"}
    )


def _read(file: Path) -> Manifest | None:
    """Return a store's manifest, or its copy; None of a new store.

    None too of a path whose store will say what is wrong with it.
    """
    try:
        stored = read_json(file)
        if isinstance(stored, dict):
            # Asked first: another version's file may be of another shape altogether.
            anew = "into a new store: mmrag index DIR --store NEW"
            where = f"The store {str(file.parent)!r}"
            try:
                check_format(stored.get("format"), where, anew=anew)
            except StoreUnusable:
                unsealed(stored)  # else a bit of the number may have flipped
                raise
        return Manifest.model_validate(unsealed(stored))
    except StoreUnusable:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(file, f"{place}: {first['msg']}") from error
    except ValueError as error:
        raise _damaged(file, error) from error
    except OSError as error:
        raise StoreUnusable(
            f"Cannot read {str(file)!r}: {error.strerror}. Make it readable, or "
            f"restore it."
        ) from error


class _Damaged(StoreUnusable):
    """What is written is not what was."""


def _whole(file: Path) -> Manifest | None:
    """Return what a manifest or a copy says, if it is there and not damaged."""
    with contextlib.suppress(_Damaged):
        return _read(file)
    return None


def _damaged(file: Path, reason: object) -> _Damaged:
    root, has_copy = file.parent, False
    with contextlib.suppress(StoreUnusable):
        has_copy = file.name == _COPY or _read(root / _COPY) is not None
    restored = f"from the other one: mmrag repair --store {root}"
    return _Damaged(
        f"Cannot read {str(file)!r}: {reason}. Restore the file "
        f"{restored if has_copy else 'from a backup'}, or index into another folder."
    )


def _write(root: Path, content: Manifest) -> None:
    manifest = root / _MANIFEST
    try:
        # Half a manifest would lock the store's owner out.
        _replace(manifest, content)
    except OSError as error:
        raise_if_full(error, root, len(_json(content)), for_="The manifest")
        raise StoreUnusable(
            f"Cannot write {str(manifest)!r}: {error.strerror}. Choose another folder."
        ) from error


def _write_copy(root: Path, content: Manifest) -> None:
    copy = root / _COPY
    try:
        _replace(copy, content)
    except OSError:
        # No room, say. None is safer than an older one; it is made at an opening.
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)


def _replace(file: Path, content: Manifest) -> None:
    with replacing(file, by=_UNFINISHED) as unfinished:
        unfinished.write(_json(content))


def _json(content: Manifest) -> bytes:
    return sealed(content.model_dump(exclude_unset=True))
