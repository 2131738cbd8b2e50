"""Which documents a store holds, without reading its nodes."""

from __future__ import annotations

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.locks import search_lock

_DOC_ID_KEY = "doc_id"
_POINTS_PER_PAGE = 1024


def document_ids(vector_store: BasePydanticVectorStore) -> set[str]:
    """Return the ref_doc_ids of all nodes.

    Args:
        vector_store: Qdrant Edge, LlamaIndex's Qdrant store with a synchronous client,
            or any other, whose nodes are then read.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    if isinstance(vector_store, QdrantEdgeVectorStore):
        ids = vector_store.ids_where()
        return {str(d) for d in vector_store.payload_values(ids, _DOC_ID_KEY).values()}
    with search_lock(vector_store):
        if isinstance(vector_store, QdrantVectorStore):
            return _scrolled(vector_store)
        nodes = vector_store.get_nodes()
    return {node.ref_doc_id for node in nodes if node.ref_doc_id}


def _scrolled(vector_store: BasePydanticVectorStore) -> set[str]:
    # get_nodes() of LlamaIndex's store ends silently at 9,999 nodes.
    found: set[str] = set()
    offset = None
    while True:
        points, offset = vector_store.client.scroll(
            vector_store.collection_name,  # type: ignore[attr-defined]  # Qdrant's
            limit=_POINTS_PER_PAGE,
            offset=offset,
            with_payload=[_DOC_ID_KEY],
        )
        found |= {str(p.payload[_DOC_ID_KEY]) for p in points if p.payload}
        if offset is None:
            return found
