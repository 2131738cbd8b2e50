"""Qdrant collections that LlamaIndex did not write: searched as they are, read by keys.

A point that LlamaIndex did write is read as ever, so that both may lie in one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import models

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import ENTITY_KEY
from llama_index_mmrag.nodes.payloads import (
    WRITTEN_KEY,
    PayloadKeys,
    Unread,
    check_found,
    node_of,
    with_picture,
)
from llama_index_mmrag.stores.collection import Found
from llama_index_mmrag.stores.dense import only_vector
from llama_index_mmrag.stores.qdrant_collection import QdrantCollection
from llama_index_mmrag.stores.server_errors import Asking


class ForeignVectorStore(QdrantVectorStore):
    """A `QdrantVectorStore` that makes nodes of payloads by their keys."""

    _keys: PayloadKeys = PrivateAttr()
    _read: PayloadKeys = PrivateAttr()  # with the store's own, where none is given
    _pictures: bool = PrivateAttr()

    @classmethod
    def over(
        cls, store: QdrantVectorStore, keys: PayloadKeys, *, pictures: bool
    ) -> ForeignVectorStore:
        """Return one over the same collection, clients and settings."""
        state = BaseModel.__getstate__(store)
        state["__dict__"] = dict(state["__dict__"])
        made = cls.__new__(cls)
        BaseModel.__setstate__(made, state)
        made._keys, made._pictures = keys, pictures
        made._read = replace(keys, text_key=keys.text_key or store.text_key)
        return made

    def parse_to_query_result(self, response: list[Any]) -> VectorStoreQueryResult:
        """Return points as nodes; of what cannot be shown an `Unread`."""
        return VectorStoreQueryResult(
            nodes=[self._node_of(point) for point in response],
            similarities=[getattr(point, "score", 1.0) for point in response],
            ids=[str(point.id) for point in response],
        )

    def _node_of(self, point: Any) -> BaseNode:
        payload = point.payload or {}
        if WRITTEN_KEY in payload:
            (node,) = super().parse_to_query_result([point]).nodes or ()
            return with_picture(self._keys, node, payload) if self._pictures else node
        node = node_of(self._read, str(point.id), payload, pictures=self._pictures)
        vector = point.vector
        if isinstance(vector, dict):
            vector = vector.get(self.dense_vector_name)
        node.embedding = vector
        return node


class ForeignCollection(QdrantCollection):
    """The collection of a `ForeignVectorStore`."""

    store: ForeignVectorStore
    _plain = ForeignVectorStore

    @property
    def view(self) -> str:  # type: ignore[override]  # it is only read
        """Name of the vector that is searched."""
        return self.store.dense_vector_name

    def check_payloads(self, *, ask_server: bool = True) -> None:
        """Do nothing if of ten points one has each key."""
        payloads = self.strangers(ask_server=ask_server)
        if payloads:
            # A server need not look through all of its points for what none has.
            self.names_entities = any(ENTITY_KEY in payload for payload in payloads)
        check_found(
            self.store._keys,  # noqa: SLF001
            payloads,
            pictures=self.store._pictures,  # noqa: SLF001
            of=f"Collection {self.store.collection_name!r}",
        )

    def _found(self, result: VectorStoreQueryResult, most: int) -> list[Found]:
        return [
            hit._replace(node=None) if isinstance(hit.node, Unread) else hit
            for hit in super()._found(result, most)
        ]

    def _parsed(self, points: list[models.Record]) -> list[BaseNode]:
        # What was not found but comes along is shown, or it is not.
        return [n for n in super()._parsed(points) if not isinstance(n, Unread)]


def read_by(
    store: BasePydanticVectorStore, keys: PayloadKeys, of: str, *, pictures: bool
) -> ForeignVectorStore:
    """Return a store over the same collection that is read by these keys.

    Args:
        store: Whose collection it is.
        keys: Without a text's, the store's own holds.
        of: What the channel is called.
        pictures: Whether its points are pictures.

    Raises:
        InvalidSetting: The store is of another kind.
    """
    if type(store) not in (QdrantVectorStore, ForeignVectorStore):
        raise InvalidSetting(
            f"{of} got {next(iter(keys.given()))}= and a {type(store).__name__}; keys "
            f"read the payloads of a plain QdrantVectorStore. A subclass of it reads "
            f"its own in parse_to_query_result; other stores hold LlamaIndex's nodes. "
            f"Leave the keys out."
        )
    return ForeignVectorStore.over(store, keys, pictures=pictures)  # type: ignore[arg-type]


def store_over(  # noqa: PLR0913 - where it is, and what it has
    collection: str,
    vector: str | None,
    *,
    client: Any,
    aclient: Any,
    called: str,
    text_key: str | None,
) -> QdrantVectorStore:
    """Return LlamaIndex's store over a collection that is there.

    Args:
        collection: Its name.
        vector: The name of its vector; None: it has only one.
        client: A `QdrantClient`, or None.
        aclient: An `AsyncQdrantClient`, or None.
        called: The argument that says which vector.
        text_key: Field of its texts, or of captions.

    Raises:
        CollectionMismatch: It has several vectors, and nothing says which.
    """
    with Asking(aclient if client is None else client, collection):
        is_there = client is not None and client.collection_exists(collection)
        if vector is None and is_there:
            vector = only_vector(client, collection, called)
        return QdrantVectorStore(
            collection,
            client=client,
            aclient=aclient,
            dense_vector_name=vector,
            text_key=text_key,
        )
