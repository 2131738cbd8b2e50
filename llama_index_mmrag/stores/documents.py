"""Which documents a store holds and which nodes they have, without reading nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.locks import search_lock

if TYPE_CHECKING:
    from llama_index.vector_stores.qdrant import QdrantVectorStore

_DOC_ID_KEY = "doc_id"
_NO_DOCUMENT = "None"
"""What LlamaIndex stores for a node without a source document."""
_POINTS_PER_PAGE = 1024


def document_ids(vector_store: BasePydanticVectorStore) -> set[str]:
    """Return the ref_doc_ids of all nodes.

    Args:
        vector_store: Qdrant Edge, LlamaIndex's Qdrant store with a synchronous client,
            or any other, whose nodes are then read.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    found: set[str | None]
    if isinstance(vector_store, QdrantEdgeVectorStore):
        ids = vector_store.ids_where()
        found = set(vector_store.payload_values(ids, _DOC_ID_KEY).values())
    else:
        with search_lock(vector_store):
            if isinstance(vector_store, QdrantVectorStore):
                points = _scrolled(vector_store, with_payload=[_DOC_ID_KEY])
                found = {(point.payload or {}).get(_DOC_ID_KEY) for point in points}
            else:
                found = {node.ref_doc_id for node in vector_store.get_nodes()}
    return {str(ref_doc_id) for ref_doc_id in found - {None, _NO_DOCUMENT}}


def node_ids_of(
    vector_store: BasePydanticVectorStore, ref_doc_ids: Sequence[str]
) -> list[str]:
    """Return the ids of all nodes that come from the documents.

    Args:
        vector_store: As for `document_ids`.
        ref_doc_ids: The documents; unknown ones have no nodes.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    if not ref_doc_ids:
        return []
    is_theirs = MetadataFilters(
        filters=[
            MetadataFilter(
                key=_DOC_ID_KEY, value=list(ref_doc_ids), operator=FilterOperator.IN
            )
        ]
    )
    if isinstance(vector_store, QdrantEdgeVectorStore):
        return vector_store.ids_where(is_theirs)
    with search_lock(vector_store):
        if not isinstance(vector_store, QdrantVectorStore):
            return [n.node_id for n in vector_store.get_nodes(filters=is_theirs)]
        from qdrant_client import models

        match = models.MatchAny(any=list(ref_doc_ids))
        condition = models.FieldCondition(key=_DOC_ID_KEY, match=match)
        points = _scrolled(
            vector_store,
            scroll_filter=models.Filter(must=[condition]),
            with_payload=False,
        )
        return [str(point.id) for point in points]


def _scrolled(vector_store: QdrantVectorStore, **wanted: Any) -> Iterator[Any]:
    # get_nodes() of LlamaIndex's store (0.10) ends silently at 9,999 nodes.
    offset = None
    while True:
        points, offset = vector_store.client.scroll(
            vector_store.collection_name,
            limit=_POINTS_PER_PAGE,
            offset=offset,
            **wanted,
        )
        yield from points
        if offset is None:
            return
