"""Which encoder filled a server's collection: written there, and checked at opening."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.errors import CollectionMismatch

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_LOG = logging.getLogger(__name__)

_KEY = "llama_index_mmrag"
"""Ours among the collection's metadata, which are anybody's."""


def card_metadata(card: dict[str, str]) -> dict[str, Any]:
    """Return the metadata that a collection is created with (Qdrant 1.16 or later).

    Args:
        card: From `embeddings.space.card_of`.
    """
    return {_KEY: {"encoder": card}}


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
    client.update_collection(collection_name, metadata=card_metadata(card))


def check_encoder(
    client: QdrantClient, collection_name: str, card: dict[str, str]
) -> None:
    """Do nothing if a collection was filled by this encoder; take over an empty one.

    A collection with points and no card was made elsewhere, or before cards were kept:
    it is opened, and a warning logged, since nothing says whose vectors it holds.

    Args:
        client: Of the server.
        collection_name: The collection; it exists.
        card: Of the encoder that will search it, from `embeddings.space.card_of`.

    Raises:
        CollectionMismatch: Another encoder filled it.
    """
    if is_filled_by(card, _metadata(client, collection_name), collection_name):
        return
    if not client.count(collection_name, exact=True).count:
        remember_encoder(client, collection_name, card)
        if is_filled_by(card, _metadata(client, collection_name), collection_name):
            return
        reason = "the server keeps no metadata (Qdrant before 1.16)"
    else:
        reason = "it holds points, and does not say which encoder made their vectors"
    _LOG.warning(
        "Whether the collection %r fits the encoder %s cannot be checked: %s. If it "
        "does, stores.encoder_card.remember_encoder writes it down.",
        collection_name,
        card,
        reason,
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
    """
    ours = (metadata or {}).get(_KEY)
    filled_by = ours.get("encoder") if isinstance(ours, dict) else None
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
