"""Collections on a Qdrant server: made ready for a plain `QdrantVectorStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.nodes.node import ENTITY_KEY, MODALITY_KEY
from llama_index_mmrag.stores.client import create_collection
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.encoder_card import card_metadata, check_encoder
from llama_index_mmrag.stores.manifest import check_composed

if TYPE_CHECKING:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import AsyncQdrantClient, QdrantClient

_COMPOSITION_KEY = "mmrag_composition"
"""Key of a collection's metadata: `space_id` of what composed its vectors."""

_INDEXED_FIELDS = ("doc_id", ENTITY_KEY, MODALITY_KEY)


def open_server_collection(
    client: QdrantClient,
    collection_name: str,
    *,
    dim: int,
    card: dict[str, str] | None = None,
    aclient: AsyncQdrantClient | None = None,
    metadata: dict[str, str] | None = None,
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
        aclient: For queries that hold no thread.
        metadata: What a new collection remembers of itself, if the server keeps that.

    Raises:
        CollectionMismatch: The collection exists with vectors of another name, size or
            distance, or was filled by another encoder.
        StoreUnusable: The server does not answer, or refuses.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import models
    from qdrant_client.http.exceptions import ApiException

    try:
        if not client.collection_exists(collection_name):
            about = {} if card is None else card_metadata(card)
            create_collection(
                client,
                collection_name,
                vectors=models.VectorParams(size=dim, distance=models.Distance.COSINE),
                indexes=dict.fromkeys(
                    _INDEXED_FIELDS, models.PayloadSchemaType.KEYWORD
                ),
                metadata=about | (metadata or {}),
            )
        store = QdrantVectorStore(collection_name, client=client, aclient=aclient)
        collection_of(store).check(dim)
        if card is not None:
            check_encoder(client, collection_name, card)
    except ApiException as error:
        raise StoreUnusable(
            f"The Qdrant server does not open collection {collection_name!r}: {error}. "
            f"Check that it runs, and its address and key."
        ) from error
    return store


def open_server_composed(
    client: QdrantClient,
    collection: str,
    *,
    space_id: str | None,
    dim: int,
    aclient: AsyncQdrantClient | None = None,
) -> QdrantVectorStore | None:
    """Return the store of composed vectors beside the collections of the parts.

    Args:
        client: As for `open_server_collection`.
        collection: What the collections' names begin with.
        space_id: Of the composition; None for an index without early fusion, which has
            no such store.
        dim: Length of the composed vectors.
        aclient: For queries that hold no thread.

    Raises:
        CollectionMismatch: The collections were filled with another composition, with
            none, or, where `space_id` is None, with one. A server that keeps no
            metadata of collections does not remember which, only whether.
    """
    name = f"{collection}-composed"
    filled_by = None
    if client.collection_exists(name):
        known = client.get_collection(name).config.metadata or {}
        filled_by = str(known.get(_COMPOSITION_KEY) or space_id or "its own")
    elif not _has_points(client, [f"{collection}-text", f"{collection}-image"]):
        filled_by = space_id  # a new index
    check_composed(filled_by, space_id, where=collection)
    if space_id is None:
        return None
    return open_server_collection(
        client, name, dim=dim, aclient=aclient, metadata={_COMPOSITION_KEY: space_id}
    )


def _has_points(client: QdrantClient, collections: list[str]) -> bool:
    return any(
        client.collection_exists(name) and client.count(name).count > 0
        for name in collections
    )
