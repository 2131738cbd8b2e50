"""Stores that a user gives to an index: checked, and their collections made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore


class Wanted(NamedTuple):
    """What a store is to hold: vectors of a length, by the encoder with this card."""

    dim: int
    card: dict[str, str]


def open_given(
    stores: Mapping[str, BasePydanticVectorStore | None], wanted: Mapping[str, Wanted]
) -> str:
    """Make stores ready to be filled; return the id of the index that they are of.

    A `QdrantVectorStore`'s collection is made, as its own settings say, if there is
    none; nothing is made where one of the stores does not do. The id is "" where the
    stores keep none.

    Args:
        stores: By modality.
        wanted: By the same.

    Raises:
        InvalidSetting: One is of a kind that an index does not fill, or two are one.
        CollectionMismatch: One has vectors of another size, or of another encoder.
        StoreClosed: One is embedded and not open.
        StoreUnusable: The server does not answer, or refuses.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    from llama_index_mmrag.stores.server import check_store, open_store

    on_server: dict[str, Any] = {}
    places = set()
    for name, store in stores.items():
        if isinstance(store, QdrantVectorStore) and store.client is not None:
            on_server[name] = store
        elif not isinstance(store, QdrantEdgeVectorStore):
            break
        places.add(collection_of(store).place)
    if len(places) < len(stores):
        given = {name: type(store).__name__ for name, store in stores.items()}
        raise InvalidSetting(
            f"An index got the stores {given}; expected one for each, over collections "
            f"of their own: a QdrantVectorStore with a client, or a "
            f"QdrantEdgeVectorStore. Give vector_store= and image_vector_store=, or to "
            f"StorageContext.from_defaults vector_store= and image_store=. Stores of "
            f"others are searched by MultiModalFusionRetriever.from_vector_stores."
        )
    for name, (dim, card) in wanted.items():
        if name in on_server:
            check_store(on_server[name], dim, card)
        else:
            collection = collection_of(stores[name])  # type: ignore[arg-type]  # there
            collection.count()  # so it is open
            collection.check(dim)
    index_id = ""
    for name, store in on_server.items():
        index_id = open_store(store, *wanted[name], index_id)
    return index_id
