"""What reads the pictures of a store, and its scans, as the store says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.encoder_card import record_in, remember
from llama_index_mmrag.stores.format import ReaderCard
from llama_index_mmrag.stores.manifest import entries_in, set_reader
from llama_index_mmrag.stores.server_errors import Asking

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def reader_in(root: Path, of: str = "lettering") -> ReaderCard | None:
    """Return what reads the pictures of a folder's store; None: nothing does.

    Args:
        root: The folder.
        of: The collection that holds what was read: "text" is that of scans.

    Raises:
        StoreUnusable: Its manifest cannot be read.
    """
    entry = entries_in(root).get(of)
    return None if entry is None else entry.reader


def reader_on(
    client: QdrantClient,
    collection: str | Mapping[str, str],
    of: str = "lettering",
) -> ReaderCard | None:
    """Return what reads the pictures of an index on a server; None: nothing does.

    Args:
        client: The server's.
        collection: As for `names_on_server`.
        of: As for `reader_in`.

    Raises:
        StoreUnusable: The collection says something else, or has another format; or
            the server does not answer.
    """
    from llama_index_mmrag.stores.server import names_on_server

    name = names_on_server(collection)[of]
    with Asking(client, name):
        if not client.collection_exists(name):
            return None
        known = record_in(client.get_collection(name).config.metadata, name)
    try:
        return ReaderCard.model_validate(known["reader"]) if "reader" in known else None
    except ValidationError as error:
        raise StoreUnusable(
            f"The collection {name!r} says that {known['reader']!r} reads for "
            f"it; expected an engine's name, version and language. Write its "
            f"metadata anew, or index into another collection."
        ) from error


def note_reader(
    root: Path | None, where: Collection, card: ReaderCard, of: str = "lettering"
) -> None:
    """Write into a store what reads its pictures, or its scans.

    Args:
        root: The store's folder; None: it is on a server.
        where: Its collection of what was read.
        card: What reads.
        of: As for `reader_in`.

    Raises:
        StoreUnusable: It cannot be written.
    """
    if root is not None:
        set_reader(root, card, of=of)
        return
    store = where.store
    remember(store.client, store.collection_name, reader=card.model_dump())
