"""Where a store's collections are, each with the encoder that its vectors need now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.alignment.transformed import (
    TransformedEmbedding,
    TransformedTextEmbedding,
)
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_layout import LOCK, POINTER
from llama_index_mmrag.stores.format import CollectionEntry
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.manifest import entries_in

ALIGNMENT = "alignment.npz"


def opened_places(
    root: Path, encoders: Mapping[str, BaseEmbedding]
) -> dict[str, tuple[Path, BaseEmbedding]]:
    """Return each collection's folder and the encoder to open it with.

    For a compressed collection that is the given encoder followed by the transform
    that the store keeps.

    Args:
        root: The store's folder; it need not exist.
        encoders: Those that filled the store, by collection.

    Raises:
        CollectionMismatch: A kept transform is not the one that the vectors went
            through, or was fitted on another encoder.
        StoreUnusable: The manifest cannot be read, or a folder that it names is gone.
    """
    entries = entries_in(root)
    opened = {}
    for name, encoder in encoders.items():
        opened[name] = (root / name, encoder)
        if (entry := entries.get(name)) is not None:
            folder = folder_of(root, name, entry)
            opened[name] = (folder, encoder_of(root, name, entry, encoder))
    return opened


def folder_of(root: Path, name: str, entry: CollectionEntry) -> Path:
    """Return the folder that a store's collection is in.

    Raises:
        StoreUnusable: It is gone, or nothing of a store is in it.
    """
    folder = root / entry.folder
    if not (folder / POINTER).exists():
        raise StoreUnusable(
            f"The {name} collection of {str(root)!r} is in the folder "
            f"{folder.name!r}, which {'is empty' if folder.is_dir() else 'is gone'}. "
            f"Restore it from a backup, or index again into another folder."
        )
    return folder


def check_places(root: Path, opened: Mapping[str, Path]) -> None:
    """Do nothing if collections are where they were looked for.

    Call it when they are open: then nobody else can switch to others.

    Args:
        root: The store's folder.
        opened: The collections' folders, by name.

    Raises:
        StoreInUse: Somebody compressed the store in the meantime.
    """
    entries = entries_in(root)
    for name, folder in opened.items():
        if name in entries and entries[name].folder != folder.name:
            raise StoreInUse(
                f"The {name} collection of {str(root)!r} was compressed while it was "
                f"opened: {folder.name!r} was replaced by {entries[name].folder!r}. "
                f"Open it again."
            )


def encoder_through(alignment: Alignment, encoder: BaseEmbedding) -> BaseEmbedding:
    """Return an encoder followed by an alignment's transforms.

    Raises:
        InvalidSetting: It was fitted on another encoder.
    """
    if isinstance(encoder, MultiModalEmbedding):
        return TransformedEmbedding.from_alignment(alignment, text_encoder=encoder)
    alignment.check_encoders(
        text_space=space_of(encoder), image_space=space_of(encoder)
    )
    return TransformedTextEmbedding(encoder, alignment.text)


def encoder_of(
    root: Path, name: str, entry: CollectionEntry, encoder: BaseEmbedding
) -> BaseEmbedding:
    """Return the encoder that a collection's vectors need now.

    Raises:
        CollectionMismatch: A kept transform is not the one that the vectors went
            through, or was fitted on another encoder.
    """
    if entry.space is None:
        return encoder
    if entry.alignment is not None:
        file = root / entry.folder / entry.alignment
        try:
            encoder = encoder_through(Alignment.load(file), encoder)
        except (InvalidSetting, FileNotFoundError) as error:
            raise CollectionMismatch(
                f"The {name} collection of {str(root)!r} was compressed, and its "
                f"transform cannot be used: {error}"
            ) from error
    if space_of(encoder) != entry.space:
        raise CollectionMismatch(
            f"The vectors of the {name} collection of {str(root)!r} went through a "
            f"transform into the space {entry.space!r}; the one in "
            f"{entry.folder!r} leads to {space_of(encoder)!r}. Restore the folder from "
            f"a backup: vectors of different spaces cannot be compared."
        )
    return encoder


def remove_leftovers(root: Path, channels: Iterable[Channel]) -> None:
    """Remove what an interrupted or a finished switch left behind.

    What somebody still has open stays, for the next opening.

    Args:
        root: The store's folder.
        channels: Its collections, open.

    Raises:
        StoreUnusable: Not all of the collection in use can be read; what it took the
            place of is kept.
    """
    stores: dict[str, QdrantEdgeVectorStore] = {
        channel.name: channel.collection.store for channel in channels
    }
    for entry in root.iterdir():
        name = is_place(entry.name, stores)
        if name is None or entry.name in _in_use(root, stores):
            continue
        if not (entry / LOCK).exists():
            continue  # no store, or one that somebody is making at this moment
        try:
            lock = FolderLock(entry / LOCK)
        except StoreInUse:
            continue  # its reader goes on with it; the next opening removes it
        try:
            # Looked up again: its builder may have switched to it and let it go since.
            if entry.name not in _in_use(root, stores):
                stores[name].client.remove([entry])
        finally:
            lock.release()


def is_place(folder: str, names: Iterable[str]) -> str | None:
    """Return the collection that a folder of this name is of, or was."""
    ours = re.compile(rf"({'|'.join(map(re.escape, names))})(-[0-9a-f]{{12}})?")
    known = ours.fullmatch(folder)
    return known and known[1]


def _in_use(root: Path, names: Iterable[str]) -> set[str]:
    entries = entries_in(root)
    return {entries[name].folder for name in names}
