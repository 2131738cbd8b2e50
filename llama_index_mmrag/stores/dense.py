"""Which vector of a Qdrant collection is searched, and which cannot be."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from llama_index_mmrag.errors import CollectionMismatch
from llama_index_mmrag.stores.client import vector_params

LARGER_IS_BETTER = ("cosine", "dot")


def dense_vector(
    params: models.CollectionParams, wanted: str, name: str
) -> models.VectorParams:
    """Return the description of the vector that a collection is searched by.

    Args:
        params: The collection's.
        wanted: The vector's name; "" if it has none.
        name: The collection's.

    Raises:
        CollectionMismatch: There is none of that name, it is one of several to a point,
            or it has a distance of which smaller is better; or there are sparse vectors
            alone.
    """
    if not params.vectors and params.sparse_vectors:
        raise CollectionMismatch(
            f"Collection {name!r} has the sparse vectors "
            f"{sorted(params.sparse_vectors)} alone, and these are not searched by "
            f"themselves yet; expected a dense vector. Add one to its points."
        )
    vector = vector_params(params.vectors, wanted)
    if vector is None:
        raise CollectionMismatch(
            f"Collection {name!r} has the vectors {sorted(params.vectors or {})}; "
            f"the store asks for {wanted!r}. Make the store with "
            f"QdrantVectorStore({name!r}, dense_vector_name=...), or name it in "
            f"from_qdrant as text_vector= or image_vector=."
        )
    if vector.multivector_config is not None:
        raise CollectionMismatch(
            f"The vector {wanted!r} of collection {name!r} is a multivector, several "
            f"to a point, and these are not searched yet; expected one dense vector a "
            f"point. Name another one."
        )
    if vector.distance.lower() not in LARGER_IS_BETTER:
        raise CollectionMismatch(
            f"Collection {name!r} measures {vector.distance.value}, of which "
            f"smaller is better; expected Cosine or Dot. Make it anew with one of "
            f"these: for unit vectors the order is the same."
        )
    return vector


def only_vector(client: Any, name: str, called: str) -> str:
    """Return the name of a collection's one dense vector; "" if it has no name.

    Args:
        client: Of the collection.
        name: The collection's.
        called: The argument that would say which.

    Raises:
        CollectionMismatch: There are several.
    """
    described = client.get_collection(name).config.params.vectors
    if not isinstance(described, dict):
        return ""
    single = [key for key, v in described.items() if v.multivector_config is None]
    if len(single) > 1:
        raise CollectionMismatch(
            f"Collection {name!r} has the vectors {sorted(described)}; expected one, "
            f"or the name of one. Give {called}= one of these."
        )
    return next(iter(single or described), "")
