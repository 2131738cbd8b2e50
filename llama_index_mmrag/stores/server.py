"""Collections on a Qdrant server: made ready for a plain `QdrantVectorStore`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.nodes.node import ENTITY_KEY, GIVEN_ID_KEY, MODALITY_KEY
from llama_index_mmrag.stores.client import (
    create_collection,
    index_fields,
    vector_params,
)
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.encoder_card import check_record, record_in
from llama_index_mmrag.stores.format import Record, check_composed, new_index_id

if TYPE_CHECKING:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import AsyncQdrantClient, QdrantClient

_INDEXES = dict.fromkeys(("doc_id", ENTITY_KEY, MODALITY_KEY, GIVEN_ID_KEY), "keyword")


def open_server_collection(
    client: QdrantClient,
    collection_name: str,
    *,
    dim: int,
    card: dict[str, str] | None = None,
    composition: str | None = None,
    index_id: str | None = None,
    aclient: AsyncQdrantClient | None = None,
) -> QdrantVectorStore:
    """Return LlamaIndex's store over a collection, which is created if it is missing.

    The vector is unnamed, as LlamaIndex's store makes it: for a named one it would ask
    the server for the collection's description before every write and async query.

    Args:
        client: A server's client, or a local one for tests.
        collection_name: The collection.
        dim: Length of the vectors.
        card: Of the encoder, from `embeddings.space.card_of`: kept with the collection
            and compared at each opening; None: neither.
        composition: `space_id` of what composed its vectors, kept in the same way.
        index_id: Of the index that a new collection is part of; None: of a new one.
        aclient: For queries that hold no thread.

    Raises:
        CollectionMismatch: The collection exists with vectors of another name, size or
            distance, or was filled by another encoder.
        StoreUnusable: The server does not answer, or refuses; or the collection has
            another format.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import models

    with _server_errors(collection_name):
        if not client.collection_exists(collection_name):
            create_collection(
                client,
                collection_name,
                vectors=models.VectorParams(size=dim, distance=models.Distance.COSINE),
                indexes=_INDEXES,
            )
        store = QdrantVectorStore(collection_name, client=client, aclient=aclient)
        collection_of(store).check(dim)
        if card is not None or composition is not None:
            record = _record_of(store, encoder=card, composition=composition)
            check_record(client, collection_name, record, index_id or new_index_id())
    return store


def check_store(store: QdrantVectorStore, dim: int, card: dict[str, str]) -> None:
    """Do nothing if a store's collection is missing, or fits the encoder."""
    with _server_errors(store.collection_name):
        if store.client.collection_exists(store.collection_name):
            collection_of(store).check(dim, card)


def open_store(
    store: QdrantVectorStore, dim: int, card: dict[str, str], index_id: str
) -> str:
    """Make a store's collection ready, and return the id of its index.

    Args:
        store: One that a user made, with a client.
        dim: As for `open_server_collection`, and so is `card`.
        card: Of the encoder.
        index_id: Of the index that a new collection is part of; "": of a new one.
    """
    client, name = store.client, store.collection_name
    with _server_errors(name):
        if not client.collection_exists(name):
            # By its own settings: sharding, sparse vectors, quantisation.
            store._create_collection(name, dim)  # noqa: SLF001
            store._detect_vector_format(name)  # noqa: SLF001
            index_fields(client, name, _INDEXES)
        collection_of(store).check(dim)
        record = _record_of(store, encoder=card)
        check_record(client, name, record, index_id or new_index_id())
        metadata = client.get_collection(name).config.metadata
        return str(record_in(metadata, name).get("index_id", ""))


def index_id_on(client: QdrantClient, collection: str) -> str | None:
    """Return the id of the index on a server, 32 hexadecimal digits.

    None where its collections say none: they are not there, are not ours, or are on a
    server that keeps no metadata of them.

    Args:
        client: Of the server.
        collection: What the collections' names begin with.

    Raises:
        StoreUnusable: They have another format, or the server does not answer.
    """
    for modality in ("text", "image", "composed"):
        name = f"{collection}-{modality}"
        with _server_errors(name):
            if client.collection_exists(name):
                metadata = client.get_collection(name).config.metadata
                index_id = str(record_in(metadata, name).get("index_id"))
                if re.fullmatch("[0-9a-f]{32}", index_id):
                    return index_id
    return None


def open_server_composed(
    client: QdrantClient,
    collection: str,
    *,
    space_id: str | None,
    dim: int,
    index_id: str | None = None,
    aclient: AsyncQdrantClient | None = None,
) -> QdrantVectorStore | None:
    """Return the store of composed vectors beside the collections of the parts.

    Args:
        client: As for `open_server_collection`.
        collection: What the collections' names begin with.
        space_id: Of the composition; None for an index without early fusion, which has
            no such store.
        dim: Length of the composed vectors.
        index_id: As for `open_server_collection`.
        aclient: For queries that hold no thread.

    Raises:
        CollectionMismatch: The collections were filled with another composition, with
            none, or, where `space_id` is None, with one. A server that keeps no
            metadata of collections does not remember which, only whether.
    """
    name = f"{collection}-composed"
    filled_by = None
    if client.collection_exists(name):
        known = record_in(client.get_collection(name).config.metadata, name)
        filled_by = str(known.get("composition") or space_id or "its own")
    elif not _has_points(client, [f"{collection}-text", f"{collection}-image"]):
        filled_by = space_id  # a new index
    check_composed(filled_by, space_id, where=collection)
    if space_id is None:
        return None
    return open_server_collection(
        client,
        name,
        dim=dim,
        composition=space_id,
        index_id=index_id,
        aclient=aclient,
    )


def _record_of(store: QdrantVectorStore, **about: Any) -> Record:
    """Return the record of a collection as it is."""
    name = store.dense_vector_name
    described = store.client.get_collection(store.collection_name).config.params.vectors
    params = vector_params(described, name)
    if params is None:
        raise RuntimeError("checked by the caller")
    is_named = isinstance(described, dict) and name in described
    return Record(
        vector=name if is_named else "",
        dim=params.size,
        distance=params.distance.value.lower(),
        **about,
    )


def _has_points(client: QdrantClient, collections: list[str]) -> bool:
    return any(
        client.collection_exists(name) and client.count(name).count > 0
        for name in collections
    )


@contextlib.contextmanager
def _server_errors(collection_name: str) -> Iterator[None]:
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise StoreUnusable(
            f"The Qdrant server does not open collection {collection_name!r}: {error}. "
            f"Check that it runs, and its address and key."
        ) from error
