"""A collection of Qdrant Edge: in this process, ids first, payloads only when asked."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index_mmrag.nodes.node import ENTITY_KEY
from llama_index_mmrag.nodes.places import place
from llama_index_mmrag.stores.collection import Collection, Found
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_filters import filter_of
from llama_index_mmrag.stores.encoder_card import check_size
from llama_index_mmrag.stores.native import EXACT, having
from llama_index_mmrag.vectors import Vectors


class EdgeCollection(Collection):
    """The collection of a `QdrantEdgeVectorStore`, which has its own lock."""

    is_light = True
    is_qdrant = True
    scoring = EXACT

    def __init__(self, store: QdrantEdgeVectorStore) -> None:
        super().__init__(store)
        self.store: QdrantEdgeVectorStore = store
        self.way = "here"
        self.words = store.words
        self._ids_where = store.ids_where  # type: ignore[method-assign]  # as it is

    def check_filters(self, filters: MetadataFilters | None) -> None:
        """Do nothing if the engine can apply the filters."""
        filter_of(filters, indexes={})

    def search(
        self,
        query: VectorStoreQuery,
        payload_keys: Sequence[str] = (ENTITY_KEY,),
        **how: Any,
    ) -> list[Found]:
        """Return what the store finds, best first, without nodes."""
        if query.mode != VectorStoreQueryMode.DEFAULT:
            hits = self.store._nearest(query, list(payload_keys) or False, **how)  # noqa: SLF001
            name = self.store.vector_name
            # A point makes its vector anew at each look.
            return [
                Found(
                    str(hit.id), hit.payload or {}, hit.score, None, row and row[name]
                )
                for hit, row in ((hit, hit.vector) for hit in hits)
            ]
        rows = self.store.query_ids(query, payload_keys, **how)
        return [Found(node_id, payload, score) for node_id, score, payload in rows]

    def nodes(
        self, node_ids: Ids[str], *, with_vectors: bool = False
    ) -> list[BaseNode]:
        """Return the nodes that exist, in the order asked for."""
        found = self.store.get_nodes(list(node_ids), with_embeddings=with_vectors)
        return place(found, self.places)

    def nodes_where(
        self,
        filters: MetadataFilters | None,
        *,
        node_ids: Ids[str] | None = None,
        with_vectors: bool = False,
    ) -> list[BaseNode]:
        """Return all nodes that pass `filters`, or those of them with these ids."""
        ids = None if node_ids is None else list(node_ids)
        found = self.store.get_nodes(ids, filters, with_embeddings=with_vectors)
        return place(found, self.places)

    def existing(self, node_ids: Ids[str]) -> set[str]:
        """Return which of the nodes are stored, by ids alone."""
        return self.store.existing(node_ids)

    def document_ids(self) -> set[str]:
        """Return the ref_doc_ids of all nodes that have one."""
        return self.store.document_ids()

    def may_have(self, key: str, *, ask_server: bool = True) -> bool:  # noqa: ARG002 - there is none
        """Return whether a node has the metadata key, or there is none yet."""
        return self.store.count(having(key)) > 0 or self.store.count() == 0

    def count(self) -> int:
        """Return how many nodes there are, by the engine's count."""
        return self.store.count()

    def sample(self, most: int) -> tuple[Vectors, bool]:
        """Return vectors of the lowest ids, and whether they are compared by cosine."""
        return self.store.sample_vectors(most), self.store.distance == "cosine"

    def check(
        self,
        dim: int,
        card: dict[str, str] | None = None,  # noqa: ARG002 - in the index's manifest
    ) -> None:
        """Do nothing if the store has vectors of size `dim`."""
        check_size(self.store.dim, dim, f"store {self.store.path!r}")
