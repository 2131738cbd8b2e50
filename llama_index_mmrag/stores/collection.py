"""A collection behind any LlamaIndex vector store: searched, read, sampled, written.

What differs from one kind of store to another is known here and in the kinds that can
do more, such as `qdrant_collection`; `collection_of` picks one.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index_mmrag.concurrency.turns import SEARCHING, in_turn
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import Background
from llama_index_mmrag.nodes.node import ENTITY_KEY, GIVEN_ID_KEY, one_spelling
from llama_index_mmrag.nodes.places import Places, placed, stored
from llama_index_mmrag.stores.found import Found as Found  # noqa: PLC0414 - its home once
from llama_index_mmrag.stores.locks import has_async_client
from llama_index_mmrag.stores.native import DOC_ID_KEY, refuse_natives
from llama_index_mmrag.stores.payloads import Payloads
from llama_index_mmrag.vectors import Vectors, unit_rows

N_SAMPLED = 256
"""The mean of 256 scores is known to 1/16, their deviation to 1/23 of a deviation."""

_SMALL_KEPT_S = 1.0
_KEPT_S = 60.0


class Collection(Payloads):
    """A collection behind any vector store, through LlamaIndex's own interface.

    Safe from any thread. Errors are the store's.

    Args:
        store: The store; `collection_of` makes one collection for each.

    Attributes:
        way: Where searches and lookups are best done. "here": they take less time than
            a thread costs, and hold the interpreter's lock anyway. "thread": in one of
            ours. "await": by the asynchronous methods, which hold no thread.
        is_light: Whether searches bring ids and entities only, and nodes are read for
            what is left after the fusion: the rest is nine tenths of a wide query.
        is_qdrant: Whether it is searched with Qdrant's own search parameters.
        words: What makes its vectors of words, where they are of our making.
        scoring: How a search scores given nodes, all of them; None: it cannot.
        places: Where the roots lie that stored paths are relative to: what is written
            names no other place, and what is read has absolute paths.
    """

    is_light: ClassVar[bool] = False
    is_qdrant: ClassVar[bool] = False
    words: Bm25Encoder | None = None
    scoring: Mapping[str, Any] | None = None

    def __init__(self, store: BasePydanticVectorStore) -> None:
        self.store: Any = store
        self.way: Literal["here", "thread", "await"] = (
            "await" if has_async_client(store) else "thread"
        )
        self.places: Places = {}
        self._lock: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        self._sampling = threading.Lock()
        self._sample: tuple[Vectors, bool] | None = None
        self._sampled_at = 0.0

    @property
    def _lane(self) -> str | None:
        return SEARCHING if self.way == "here" else None

    # Searching

    @property
    def place(self) -> object:
        """Where the nodes are: the same for stores over one and the same collection."""
        return id(self.store)

    def search(
        self,
        query: VectorStoreQuery,
        payload_keys: Sequence[str] = (ENTITY_KEY,),  # noqa: ARG002 - other kinds'
        **how: Any,
    ) -> list[Found]:
        """Return what the store finds, best first.

        Args:
            query: What is asked.
            payload_keys: Fields that a light search brings of each node.
            **how: `search_params` of `search_params_of`, for a collection of Qdrant's;
                `with_vectors` of what is found by `words`.

        Raises:
            InvalidSetting: The store returns no nodes, or no similarities.
        """
        with self._lock:
            return self._found(self.store.query(query, **how), query.similarity_top_k)

    async def asearch(
        self,
        query: VectorStoreQuery,
        payload_keys: Sequence[str] = (ENTITY_KEY,),
        **how: Any,
    ) -> list[Found]:
        """Return what `search` does, without blocking the event loop."""
        if self.way != "await":
            find = partial(self.search, query, payload_keys, **how)
            return await in_turn(find, self, lane=self._lane)
        most = query.similarity_top_k
        return self._found(await self.store.aquery(query, **how), most)

    def _found(self, result: VectorStoreQueryResult, most: int) -> list[Found]:
        nodes = placed(result.nodes or (), self.places)
        scores = result.similarities or ()
        if len(nodes) != len(scores):
            raise InvalidSetting(
                f"{type(self.store).__name__} returned {len(nodes)} nodes and "
                f"{len(scores)} similarities; expected as many of each. The store must "
                f"keep node texts (stores_text=True) and return similarities."
            )
        return [
            Found(node.node_id, node.metadata, score, node)
            for node, score in zip(nodes[:most], scores[:most], strict=True)
        ]

    # Reading

    def nodes(
        self, node_ids: Ids[str], *, with_vectors: bool = False
    ) -> list[BaseNode]:
        """Return the nodes that exist, in the order asked for.

        Args:
            node_ids: Their ids; none is none.
            with_vectors: Whether their embeddings are needed; otherwise they are left
                out where the store can.
        """
        if not node_ids:
            return []
        read = placed(self._read_nodes(node_ids, with_vectors), self.places)
        found = {one_spelling(node.node_id): node for node in read}
        wanted = dict.fromkeys(map(one_spelling, node_ids))
        return [found[i] for i in wanted if i in found]

    def _read_nodes(self, node_ids: Ids[str], with_vectors: bool) -> list[BaseNode]:  # noqa: ARG002 - other kinds'
        with self._lock:
            return list(self.store.get_nodes(node_ids=list(node_ids)))

    def nodes_where(
        self,
        filters: MetadataFilters | None,
        *,
        node_ids: Ids[str] | None = None,
        with_vectors: bool = False,  # noqa: ARG002 - other kinds'
    ) -> list[BaseNode]:
        """Return all nodes that pass `filters`, or those of these ids; as `nodes`."""
        if (asked := self._both(filters, node_ids)) is None:
            return []
        with self._lock:
            return placed(self.store.get_nodes(**asked), self.places)

    async def anodes_where(
        self, filters: MetadataFilters | None, *, node_ids: Ids[str] | None = None
    ) -> list[BaseNode]:
        """Return what `nodes_where` does, without blocking the event loop."""
        is_default = type(self.store).aget_nodes is BasePydanticVectorStore.aget_nodes
        if self.way != "await" or is_default:  # LlamaIndex's blocks it
            read = partial(self.nodes_where, filters, node_ids=node_ids)
            return await in_turn(read, self, lane=self._lane)
        if (asked := self._both(filters, node_ids)) is None:
            return []
        return placed(await self.store.aget_nodes(**asked), self.places)

    def _both(
        self, filters: MetadataFilters | None, node_ids: Ids[str] | None
    ) -> dict[str, Any] | None:
        """Return what a store's `get_nodes` is asked; None: no node can pass."""
        if node_ids is None:
            return {"filters": filters}
        if not (ids := self._asked(node_ids)):
            return None
        if filters is not None and filters.condition != FilterCondition.AND:
            # LlamaIndex's (0.10.4) Qdrant store puts ids among the alternatives.
            filters = MetadataFilters(filters=[filters])
        return {"node_ids": ids, "filters": filters}

    def existing(self, node_ids: Ids[str]) -> set[str]:
        """Return which of the nodes are stored."""
        there = {one_spelling(node.node_id) for node in self.nodes(node_ids)}
        return {i for i in node_ids if one_spelling(i) in there}

    def document_ids(self) -> set[str]:
        """Return the ref_doc_ids of all nodes that have one."""
        with self._lock:
            found = {node.ref_doc_id for node in self.store.get_nodes()}
        return {ref_doc_id for ref_doc_id in found if ref_doc_id}

    def ids_of_documents(
        self, ref_doc_ids: Sequence[str], given_ids: Sequence[str] = ()
    ) -> list[str]:
        """Return the ids of all nodes that come from the documents.

        Unknown ones have none; `given_ids` are random ones that documents came with.
        """
        if not ref_doc_ids:
            return []
        named = {DOC_ID_KEY: ref_doc_ids, GIVEN_ID_KEY: given_ids}
        given = [
            {"key": key, "value": [*ids], "operator": "in"}
            for key, ids in named.items()
            if ids
        ]
        return self._ids_where(MetadataFilters.from_dicts(given, FilterCondition.OR))

    def _ids_where(self, filters: MetadataFilters) -> list[str]:
        return [node.node_id for node in self.nodes_where(filters)]

    # The background that scores are calibrated by

    def background(self, query: Sequence[float]) -> Background | None:
        """Return what `query`, shape (dim,), scores against a sample of the vectors.

        The sample is the points with the lowest ids: ids are hashes, so that is a
        random choice, and the same one however the collection was filled. It is read at
        first use and kept for a while. None where the store cannot be sampled: one that
        is not Qdrant, one without a synchronous client, or a distance of which smaller
        is better; and for an empty collection.
        """
        with self._sampling:
            if self._sample is None or not self._is_fresh(len(self._sample[0])):
                vectors, is_cosine = self.sample(N_SAMPLED)
                self._sample = unit_rows(vectors) if is_cosine else vectors, is_cosine
                self._sampled_at = time.monotonic()
            vectors, is_cosine = self._sample
            if not len(vectors):
                # Not kept: others may be about to fill a server's collection.
                self._sample = None
                return None
        wide = np.asarray(query, dtype=np.float64)
        scores = vectors @ wide.astype(np.float32)
        if is_cosine:
            scores /= np.sqrt(wide @ wide) or 1.0
        return background_of(scores)

    @cached_property
    def is_cosine(self) -> bool:
        """Whether vectors are compared by cosine; asked of the store once."""
        return self.sample(1)[1]

    async def abackground(self, query: Sequence[float]) -> Background | None:
        """Return what `background` does, without blocking the event loop."""
        return await in_turn(partial(self.background, query), self, lane=self._lane)

    def _is_fresh(self, n_sampled: int) -> bool:
        # Other processes write too. A collection that is sampled whole is young or
        # small: it may have changed much, and is read again at little cost.
        kept_s = _SMALL_KEPT_S if n_sampled < N_SAMPLED else _KEPT_S
        return time.monotonic() - self._sampled_at < kept_s

    def sample(self, most: int) -> tuple[Vectors, bool]:  # noqa: ARG002 - other kinds'
        """Return vectors of the lowest ids, `(n, dim)`, and whether by cosine."""
        return np.empty((0, 0), dtype=np.float32), True

    def forget(self) -> None:
        """Sample anew at the next use: the collection has changed."""
        with self._sampling:
            self._sample = None

    # Before use

    def check_filters(self, filters: MetadataFilters | None) -> None:
        """Do nothing if the collection can apply the filters.

        Raises:
            InvalidSetting: A filter of Qdrant's, and the store is none of Qdrant's.
            InvalidQuery, UnsupportedQuery: What Qdrant, or Edge, cannot compare.
        """
        refuse_natives(filters, self.store)

    def check(self, dim: int, card: dict[str, str] | None = None) -> None:
        """Do nothing if vectors of size `dim` can be searched for in the collection.

        LlamaIndex finds a wrong vector name or size only at the first query. Stores
        other than Qdrant's, and those with an asynchronous client alone, are not
        checked.

        Args:
            dim: Length of the encoder's vectors.
            card: The encoder's, from `embeddings.space.card_of`: compared with the one
                that a collection on a server has, if it has one; None: not compared.

        Raises:
            CollectionMismatch: The collection does not exist, has no vector of the name
                that the store asks for, has vectors of another size, or a distance of
                which smaller is better; or it says that another encoder filled it.
        """

    def count(self) -> int:
        """Return how many nodes there are."""
        with self._lock:
            return len(self.store.get_nodes())

    # Writing

    def add(self, nodes: Sequence[BaseNode]) -> list[str]:
        """Write nodes that have their vectors, replacing those of the same id."""
        if not nodes:
            return []
        written = stored(nodes, self.places)
        with self._lock:
            ids: list[str] = self.store.add(written)
        self.forget()
        return ids

    def remove(self, node_ids: Ids[str]) -> None:
        """Delete nodes by id; none is none."""
        if node_ids:
            with self._lock:
                self.store.delete_nodes(node_ids=self._asked(node_ids))
            self.forget()

    def _asked(self, node_ids: Ids[str]) -> list[Any]:
        """Return ids as the store is asked for them."""
        return list(node_ids)


def background_of(scores: Vectors) -> Background:
    """Return the background that a query's scores with a sample make, shape (n,)."""
    # Only of a collection that is sampled whole is a hit certainly a part.
    n_items = len(scores) if len(scores) < N_SAMPLED else None
    around = scores - (mean := scores.mean())
    return Background(float(mean), math.sqrt(around @ around / len(scores)), n_items)
