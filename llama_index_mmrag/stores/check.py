"""An existing collection checked before it is used: vector name, size, distance."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import CollectionMismatch
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.encoder_card import is_filled_by
from llama_index_mmrag.stores.locks import search_lock

_LARGER_IS_BETTER = ("cosine", "dot")


def check_fits(vector_store: BasePydanticVectorStore, model: BaseEmbedding) -> None:
    """Do nothing if an encoder's vectors can be searched for in a Qdrant collection.

    Args:
        vector_store: The store as it will be searched.
        model: The encoder; one that does not know its length encodes a word.

    Raises:
        CollectionMismatch: As for `check_collection`.
    """
    check_collection(vector_store, dim=dimension_of(model), card=card_of(model))


def check_collection(
    vector_store: BasePydanticVectorStore,
    *,
    dim: int,
    card: dict[str, str] | None = None,
) -> None:
    """Do nothing if vectors of size `dim` can be searched for in a Qdrant collection.

    LlamaIndex finds a wrong vector name or size only at the first query. Stores other
    than Qdrant's, and those with an asynchronous client alone, are not checked.

    Args:
        vector_store: The store as it will be searched.
        dim: Length of the encoder's vectors.
        card: The encoder's, from `embeddings.space.card_of`: compared with the one that
            a collection on a server has, if it has one; None: not compared.

    Raises:
        CollectionMismatch: The collection does not exist, has no vector of the name
            that the store asks for, has vectors of another size, or a distance of which
            smaller is better; or it says that another encoder filled it.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    if isinstance(vector_store, QdrantEdgeVectorStore):
        _check_size("store", vector_store.path, vector_store.dim, dim)
        return
    client = getattr(vector_store, "_client", None)
    if not isinstance(vector_store, QdrantVectorStore) or client is None:
        return
    name = vector_store.collection_name
    with search_lock(vector_store):
        if not client.collection_exists(name):
            existing = sorted(c.name for c in client.get_collections().collections)
            msg = (
                f"There is no collection {name!r}; the client has {existing}. Name one "
                f"of these, or fill the collection first."
            )
            raise CollectionMismatch(msg)
        config = client.get_collection(name).config
    vector = _vector(config.params.vectors, vector_store.dense_vector_name, name)
    _check_size("collection", name, vector.size, dim)
    distance = str(getattr(vector.distance, "value", vector.distance))
    if distance.lower() not in _LARGER_IS_BETTER:
        msg = (
            f"Collection {name!r} measures {distance}, of which smaller is better; "
            f"expected Cosine or Dot. Make it anew with one of these: for unit vectors "
            f"the order is the same."
        )
        raise CollectionMismatch(msg)
    if card is not None:
        is_filled_by(card, config.metadata, name)


def _vector(described: Any, wanted: str, collection_name: str) -> Any:
    """Return the description of the vector that the store searches."""
    if not isinstance(described, dict):
        return described
    # LlamaIndex asks an unnamed collection by "", and servers describe some that way.
    found = described.get(wanted) or described.get("")
    if found is None:
        msg = (
            f"Collection {collection_name!r} has the vectors {sorted(described)}; the "
            f"store asks for {wanted!r}. Make the store with "
            f"QdrantVectorStore({collection_name!r}, dense_vector_name=...)."
        )
        raise CollectionMismatch(msg)
    return found


def _check_size(kind: str, name: str, found: int | None, dim: int) -> None:
    if found != dim:
        msg = (
            f"The {kind} {name!r} has vectors of size {found}; the encoder makes "
            f"{dim}. Search it with the encoder that filled it."
        )
        raise CollectionMismatch(msg)
