"""What reads the pictures of a store, as the store says it."""

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


def reader_in(root: Path) -> ReaderCard | None:
    """Return what reads the pictures of a folder's store; None: nothing does.

    Raises:
        StoreUnusable: Its manifest cannot be read.
    """
    entry = entries_in(root).get("lettering")
    return None if entry is None else entry.reader


def reader_on(
    client: QdrantClient, collection: str | Mapping[str, str]
) -> ReaderCard | None:
    """Return what reads the pictures of an index on a server; None: nothing does.

    Args:
        client: The server's.
        collection: As for `names_on_server`.

    Raises:
        StoreUnusable: The collection says something else, or has another format; or
            the server does not answer.
    """
    from llama_index_mmrag.stores.server import names_on_server

    name = names_on_server(collection)["lettering"]
    with Asking(client, name):
        if not client.collection_exists(name):
            return None
        known = record_in(client.get_collection(name).config.metadata, name)
    try:
        return ReaderCard.model_validate(known["reader"]) if "reader" in known else None
    except ValidationError as error:
        raise StoreUnusable(
            f"The collection {name!r} says that {known['reader']!r} reads its "
            f"pictures; expected an engine's name, version and language. Write its "
            f"metadata anew, or index into another collection."
        ) from error


def note_reader(root: Path | None, lettering: Collection, card: ReaderCard) -> None:
    """Write into a store what reads its pictures.

    Args:
        root: The store's folder; None: it is on a server.
        lettering: Its collection of lettering.
        card: What reads.

    Raises:
        StoreUnusable: It cannot be written.
    """
    if root is not None:
        set_reader(root, card)
        return
    store = lettering.store
    remember(store.client, store.collection_name, reader=card.model_dump())
