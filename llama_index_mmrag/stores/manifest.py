"""The manifest: which encoders filled an embedded store; no others may search it.

A store that was compressed has, for each collection that was, the folder in use, the
space that its vectors are in since, and the file with the transform that led there.
One file says all of it and is replaced in one step: a switch happened or did not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    StrictInt,
    ValidationError,
)

from llama_index_mmrag.composition import Composition, composition_of
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting, StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.writing import replacing, sync_tree
from llama_index_mmrag.stores.edge_layout import disk_errors

_MANIFEST = "mmrag.json"
_PLAIN, _COMPRESSED = 1, 2
"""Formats."""
_COMPOSED = "composed"
_UNFINISHED = "mmrag.part"
_OURS = frozenset({"text", "image", _COMPOSED, "media", _UNFINISHED, "in-flight.json"})
"""What a first opening that was interrupted leaves in the store's folder."""


Card: TypeAlias = "dict[str, str]"


def _name_of_a_file(name: str) -> str:
    # A name from a file must not lead out of the store: it may be deleted.
    if name in {"", ".."} or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return name


FileName: TypeAlias = Annotated[str, AfterValidator(_name_of_a_file)]


class _Kept(BaseModel):
    """What a later version writes beside our own stays in the file."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Place(_Kept):
    """Where a compressed collection is, and what its vectors went through.

    Attributes:
        folder: Name of its folder in the store's.
        alignment: Name of the file with its transform, in that folder; None: its
            vectors are the encoder's own.
        space: Name of its vectors' space, see `space_of`.
    """

    folder: FileName
    alignment: FileName | None
    space: str


class Manifest(_Kept):
    """What the file says.

    Attributes:
        format: 2 for a store with a compressed collection: what knows none must not
            open it.
        encoders: Which encoder filled each collection.
        compressed: Where the collections are that were compressed.
    """

    format: StrictInt
    encoders: dict[str, Card]
    compressed: dict[str, Place] = {}


def card_of_composition(composition: Composition) -> Card:
    """Return what tells one composition's vectors from another's."""
    return {"class": type(composition).__name__, "space": composition.space_id}


def stored_composition(root: Path) -> Composition | None:
    """Return what composed a store's vectors for early fusion; None for no such ones.

    Raises:
        StoreUnusable: Its manifest cannot be read.
        InvalidSetting: It was a composition of the user's own.
    """
    card = _filled_by(root).get(_COMPOSED)
    if not card:
        return None
    if "space" not in card:
        raise _unreadable(root / _MANIFEST, f"{_COMPOSED!r} has no space")
    return composition_of(card["space"])


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


def _filled_by(root: Path) -> dict[str, Card]:
    """Return the cards of a store's collections; none of a new store."""
    stored = _read(root)
    return {} if stored is None else stored.encoders


def check_manifest(root: Path, cards: dict[str, Card]) -> None:
    """Do nothing if a store was filled by these encoders, or is new.

    Args:
        root: The store's folder.
        cards: The encoders' cards, by collection.

    Raises:
        CollectionMismatch: It was filled by others, or has another format.
        StoreUnusable: Its manifest cannot be read.
    """
    filled_by = _filled_by(root)
    if not filled_by:
        return
    spaces = [(each.get(_COMPOSED) or {}).get("space") for each in (filled_by, cards)]
    check_composed(*spaces, where=str(root))
    for name, card in cards.items():
        if filled_by.get(name) != card:
            raise CollectionMismatch(
                f"The {name} collection of {str(root)!r} was filled by "
                f"{filled_by.get(name)}; the given encoder is {card}. Vectors of "
                f"different spaces cannot be compared: open it with the encoder that "
                f"filled it, or index into another folder."
            )


def places_in(root: Path) -> dict[str, Place]:
    """Return where a store's compressed collections are, by name.

    Raises:
        StoreUnusable: Its manifest cannot be read.
    """
    stored = _read(root)
    return {} if stored is None else stored.compressed


def switch_places(root: Path, places: Mapping[str, Place]) -> None:
    """Put on disk, in one step, where a store's compressed collections are.

    What lies there is on the disk before.

    Args:
        root: The store's folder, which has a manifest.
        places: By collection; those that are not named stay where they are.

    Raises:
        StoreUnusable: The manifest cannot be read or written; nothing was switched.
    """
    stored = _read(root)
    if stored is None:
        raise _unreadable(root / _MANIFEST, "there is none")
    for place in places.values():
        with disk_errors(root / place.folder):
            sync_tree(root / place.folder)
    now = {"format": _COMPRESSED, "compressed": {**stored.compressed, **places}}
    _write(root / _MANIFEST, stored.model_copy(update=now))


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
    if theirs:
        raise StoreUnusable(
            f"The folder {str(root)!r} is no store, and holds files that are not ours: "
            f"{theirs[0]!r}{' and others' if theirs[1:] else ''}. Give a new or an "
            f"empty folder, such as {str(root / 'store')!r}."
        )


def write_manifest(root: Path, cards: dict[str, Card]) -> None:
    """Write which encoders fill a store, unless it says so already.

    Raises:
        StoreUnusable: The folder cannot be written.
    """
    manifest = root / _MANIFEST
    if manifest.exists():
        return
    _write(manifest, Manifest(format=_PLAIN, encoders=cards))


def _read(root: Path) -> Manifest | None:
    """Return a store's manifest; None of a new store.

    None too of a path whose store will say what is wrong with it.
    """
    file = root / _MANIFEST
    try:
        stored = read_json(file)
        # Asked first: a later version's file may be of another shape altogether.
        given = stored.get("format", _PLAIN) if isinstance(stored, dict) else _PLAIN
        is_known = given in (_PLAIN, _COMPRESSED)
        manifest = Manifest.model_validate(stored) if is_known else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _unreadable(file, f"{place}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    if manifest is None:
        raise CollectionMismatch(
            f"The store {str(root)!r} has format {given!r}; this version reads "
            f"{_PLAIN} and {_COMPRESSED}. Index again into another folder."
        )
    return manifest


def _unreadable(manifest: Path, reason: object) -> StoreUnusable:
    return StoreUnusable(
        f"Cannot read {str(manifest)!r}: {reason}. Restore the file, or index into "
        f"another folder."
    )


def _write(manifest: Path, content: Manifest) -> None:
    as_json = json.dumps(content.model_dump(exclude_unset=True), indent=2) + "\n"
    try:
        # Half a manifest would lock the store's owner out.
        with replacing(manifest, by=_UNFINISHED) as file:
            file.write(as_json.encode())
    except OSError as error:
        raise StoreUnusable(
            f"Cannot write {str(manifest)!r}: {error.strerror}. Choose another folder."
        ) from error
