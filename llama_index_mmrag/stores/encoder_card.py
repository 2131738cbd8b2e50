"""What a server's collection says of itself: written there, and checked at opening."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.errors import CollectionMismatch
from llama_index_mmrag.stores.format import FORMAT, Record, check_format
from llama_index_mmrag.stores.server_errors import Asking

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_LOG = logging.getLogger(__name__)

_KEY = "llama_index_mmrag"
"""Ours among the collection's metadata, which are anybody's."""

_told: weakref.WeakSet[Any] = weakref.WeakSet()
"""Clients of servers that keep no metadata, of which it was said."""


def record_in(
    metadata: Mapping[str, Any] | None, collection_name: str
) -> dict[str, Any]:
    """Return what a collection says of itself; nothing where it says nothing.

    Args:
        metadata: The collection's.
        collection_name: For the message.

    Raises:
        StoreUnusable: It has another format.
    """
    ours = (metadata or {}).get(_KEY)
    if not isinstance(ours, dict):
        return {}
    where = f"The collection {collection_name!r}"
    check_format(ours.get("format", 1), where, anew="into another collection.")
    return ours


def record_metadata(
    known: Mapping[str, Any] | None = None, **learned: Any
) -> dict[str, Any]:
    """Return the metadata that a collection is given (Qdrant 1.16 or later).

    Args:
        known: What it says of itself so far, from `record_in`.
        **learned: Fields of `format.Record`, and `index_id`.
    """
    return {_KEY: {"format": FORMAT, **(known or {}), **learned}}


def remember_encoder(
    client: QdrantClient, collection_name: str, card: dict[str, str]
) -> None:
    """Write into an existing collection which encoder filled it, in place of another.

    For a collection that was filled elsewhere, by an encoder that you know: from then
    on others are refused. Other metadata stay.

    Args:
        client: Of the server.
        collection_name: The collection.
        card: From `embeddings.space.card_of`.
    """
    remember(client, collection_name, encoder=card)


def remember(client: QdrantClient, collection_name: str, **learned: Any) -> None:
    """Write into an existing collection what was learned of it; other metadata stay.

    Args:
        client: Of the server.
        collection_name: The collection.
        **learned: As for `record_metadata`.
    """
    with Asking(client, collection_name):
        known = record_in(_metadata(client, collection_name), collection_name)
        metadata = record_metadata(known, **learned)
        client.update_collection(collection_name, metadata=metadata)


def check_record(
    client: QdrantClient, collection_name: str, record: Record, index_id: str
) -> None:
    """Do nothing if a collection is what is expected; take over an empty one.

    A collection with points and no card was made elsewhere: it is opened, and a warning
    logged, since nothing says whose vectors it holds.

    Args:
        client: Of the server.
        collection_name: The collection; it exists.
        record: What it is to be. What it has learned beside that stays.
        index_id: Of its index, where it is of none yet.

    Raises:
        CollectionMismatch: Another encoder filled it.
        StoreUnusable: It has another format.
    """
    metadata = _metadata(client, collection_name)
    known = record_in(metadata, collection_name)
    if not (
        is_filled_by(record.encoder, metadata, collection_name)
        if record.encoder is not None
        else known.get("composition") == record.composition
    ):
        if client.count(collection_name, exact=True).count:
            if record.encoder is not None:
                _LOG.warning(
                    "Whether the collection %r fits the encoder %s cannot be checked: "
                    "it holds points, and does not say which encoder made their "
                    "vectors. If it does, stores.encoder_card.remember_encoder writes "
                    "it down.",
                    collection_name,
                    record.encoder,
                )
            return
        known = {k: v for k, v in known.items() if k != "encoder"}
    expected = {"index_id": index_id, **record.model_dump(exclude_none=True)}
    wanted = record_metadata(expected, **known)
    if wanted[_KEY] == known:
        return
    client.update_collection(collection_name, metadata=wanted)
    if client not in _told and not _metadata(client, collection_name):
        _told.add(client)
        _LOG.warning(
            "The server keeps no metadata of collections (Qdrant before 1.16): whether "
            "they fit their encoders cannot be checked."
        )


def is_filled_by(
    card: dict[str, str], metadata: Mapping[str, Any] | None, collection_name: str
) -> bool:
    """Return whether a collection says that this encoder filled it; False: it does not.

    Args:
        card: Of the encoder, from `embeddings.space.card_of`.
        metadata: The collection's.
        collection_name: For the message.

    Raises:
        CollectionMismatch: It says that another one did.
        StoreUnusable: It has another format.
    """
    filled_by = record_in(metadata, collection_name).get("encoder")
    if not isinstance(filled_by, dict):
        return False
    if filled_by != card:
        raise CollectionMismatch(
            f"The collection {collection_name!r} was filled by {filled_by}; the given "
            f"encoder is {card}. Vectors of different spaces cannot be compared: open "
            f"it with the encoder that filled it, or index into another collection."
        )
    return True


def _metadata(client: QdrantClient, collection_name: str) -> Mapping[str, Any] | None:
    return client.get_collection(collection_name).config.metadata


def check_size(found: int | None, dim: int, where: str) -> None:
    """Raise `CollectionMismatch` unless a collection's vectors have the size `dim`."""
    if found != dim:
        raise CollectionMismatch(
            f"The {where} has vectors of size {found}; the encoder makes {dim}. Search "
            f"it with the encoder that filled it."
        )
