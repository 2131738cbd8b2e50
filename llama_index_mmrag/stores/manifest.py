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
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting, StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.sealing import sealed, unsealed
from llama_index_mmrag.files.writing import put_aside, replacing, sync_tree
from llama_index_mmrag.stores.edge_layout import disk_errors
from llama_index_mmrag.stores.edge_record import RECORD
from llama_index_mmrag.stores.format import (
    FORMAT,
    Card,
    CollectionEntry,
    Manifest,
    Place,
    check_format,
    new_index_id,
)

_MANIFEST, _COPY = "mmrag.json", "mmrag.copy.json"
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


def check_composed(filled_by: str | None, given: str | None, *, where: str) -> None:
    """Do nothing if a store's composed vectors are what an index is opened for.

    Args:
        filled_by: `space_id` of the store's composition; None if it has none.
        given: The one of the index.
        where: The store's name.

    Raises:
        CollectionMismatch: They differ.
    """
    if filled_by == given:
        return
    if filled_by is None:
        msg = (
            f"The store {where!r} has no composed vectors, and early_fusion is "
            f"{given}. Open it without early_fusion, or index into a new store with it."
        )
    elif given is None:
        msg = (
            f"The store {where!r} has composed vectors of {filled_by}, and no "
            f"early_fusion was given: inserting would leave them behind. Open it with "
            f"early_fusion={_spelt(filled_by)}; queries may still be late."
        )
    else:
        msg = (
            f"The composed vectors of {where!r} are of {filled_by}; early_fusion is "
            f"{given}. Open it with early_fusion={_spelt(filled_by)}, or index into a "
            f"new store."
        )
    raise CollectionMismatch(msg)


def _spelt(space_id: str) -> str:
    try:
        return repr(composition_of(space_id))
    except InvalidSetting:
        return "the composition that filled it"


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
        raise _unreadable(root / _MANIFEST, "there is none")
    for place in places.values():
        with disk_errors(root / place.folder):
            sync_tree(root / place.folder)
    known = stored.collections
    now = {k: known[k].model_copy(update=v._asdict()) for k, v in places.items()}
    _write(root, stored.model_copy(update={"collections": {**known, **now}}))


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
    if RECORD in theirs or _COPY in theirs:
        raise _unreadable(root / _MANIFEST, "it is gone")
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
    if _readable(root / _COPY) != stored:  # killed before it was written, say
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


def restore_manifest(root: Path) -> str | None:
    """Write a manifest from its copy, or the copy anew, where one cannot be read.

    Returns:
        What the damaged file is called now; None: none is, or both are.

    Raises:
        StoreUnusable: The folder cannot be written.
    """
    manifest, copy = _readable(root / _MANIFEST), _readable(root / _COPY)
    if manifest == copy:
        return None
    damaged = root / (_COPY if manifest else _MANIFEST)
    aside = put_aside(damaged) if damaged.exists() else damaged.name
    if whole := manifest or copy:
        _write(root, whole)
    return aside


def _told(entry: CollectionEntry) -> dict[str, object]:
    return entry.model_dump(include={"vector", "dim", "distance", "oversampling"})


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
            check_format(stored.get("format"), where, anew=anew)
        return Manifest.model_validate(unsealed(stored))
    except StoreUnusable:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _unreadable(file, f"{place}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _readable(file: Path) -> Manifest | None:
    with contextlib.suppress(StoreUnusable):
        return _read(file)
    return None


def _unreadable(manifest: Path, reason: object) -> StoreUnusable:
    return StoreUnusable(
        f"Cannot read {str(manifest)!r}: {reason}. Put it back from its copy: mmrag "
        f"repair --store {manifest.parent}. Or restore both, or index into another "
        f"folder."
    )


def _write(root: Path, content: Manifest) -> None:
    manifest = root / _MANIFEST
    try:
        # Half a manifest would lock the store's owner out.
        _replace(manifest, content)
    except OSError as error:
        raise StoreUnusable(
            f"Cannot write {str(manifest)!r}: {error.strerror}. Choose another folder."
        ) from error
    _write_copy(root, content)


def _write_copy(root: Path, content: Manifest) -> None:
    # Where there is no room, say: it is made at the next opening.
    with contextlib.suppress(OSError):
        _replace(root / _COPY, content)


def _replace(file: Path, content: Manifest) -> None:
    with replacing(file, by=_UNFINISHED) as unfinished:
        unfinished.write(sealed(content.model_dump(exclude_unset=True)))
