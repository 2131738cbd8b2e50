"""Which kind of collection a vector store is: the one place that asks."""

from __future__ import annotations

import copyreg
import threading
from typing import Any
from weakref import WeakValueDictionary

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.nodes.payloads import PayloadKeys, checked_keys
from llama_index_mmrag.nodes.places import Places
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_collection import EdgeCollection
from llama_index_mmrag.stores.pickling import store_reduced

_guard = threading.Lock()
# By the store's address, which is not given to another one while its collection lives.
_known: WeakValueDictionary[int, Collection] = WeakValueDictionary()


def collection_of(store: BasePydanticVectorStore) -> Collection:
    """Return the collection behind a store: of one store always the same object.

    So its sample is read once, however many channels share it. It is forgotten when
    nobody holds it any more.
    """
    with _guard:
        if (found := _known.get(id(store))) is None:
            found = _known[id(store)] = _made(store)
            copyreg.pickle(type(found), _reduced)
        return found


def _made(store: BasePydanticVectorStore) -> Collection:
    if isinstance(store, QdrantEdgeVectorStore):
        return EdgeCollection(store)
    # An embedded store does without Qdrant's client.
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    from llama_index_mmrag.stores.foreign import ForeignCollection, ForeignVectorStore
    from llama_index_mmrag.stores.qdrant_collection import QdrantCollection

    if isinstance(store, ForeignVectorStore):
        return ForeignCollection(store)
    if isinstance(store, QdrantVectorStore):
        return QdrantCollection(store)
    return Collection(store)


def store_read_by(
    store: BasePydanticVectorStore, given: PayloadKeys, of: str, modality: str
) -> BasePydanticVectorStore:
    """Return the store as a channel reads it: itself, unless the channel has keys.

    Args:
        store: The one that the channel was given.
        given: The channel, or what else has keys.
        of: What the channel is called.
        modality: Of the channel.

    Raises:
        InvalidSetting: A key is wrong, or the store is not read by keys.
    """
    if (keys := checked_keys(given, of, modality)) is None:
        return store
    from llama_index_mmrag.stores.foreign import read_by

    pictures = modality == "image" or bool(keys.of_pictures())
    return read_by(store, keys, of, pictures=pictures)


def _reduced(collection: Collection) -> tuple[Any, ...]:
    """Return a collection as a pickle has it: a store that opens where it arrives."""
    return _again, (*store_reduced(collection.store), collection.places)


def _again(made: Any, of: tuple[Any, ...], places: Places) -> Collection:
    collection = collection_of(made(*of))
    collection.places = places
    return collection
