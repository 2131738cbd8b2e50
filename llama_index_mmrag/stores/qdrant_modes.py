"""Modes that LlamaIndex's Qdrant store lacks, over its client: MMR, and `combined`."""

from __future__ import annotations

from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import models

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.modes import Asked, Hit, found_in_mode, is_combined
from llama_index_mmrag.stores.rescoring import RescoringVectorStore


def has_ours(store: QdrantVectorStore) -> bool:
    """Return whether a store's vectors of words are made by our functions."""
    made_by = getattr(getattr(store, "_sparse_query_fn", None), "__self__", None)
    return store.enable_hybrid and isinstance(made_by, Bm25Encoder)


def is_ours(query: VectorStoreQuery, has_words: bool) -> bool:
    """Return whether `found_on_server` answers a query, and not the store."""
    return query.mode == VectorStoreQueryMode.MMR or is_combined(query, has_words)


def found_on_server(
    store: QdrantVectorStore,
    query: VectorStoreQuery,
    *,
    qdrant_filters: models.Filter | None = None,
    search_params: models.SearchParams | None = None,
) -> list[Hit]:
    """Return points, best first, as Edge finds them here, with the mode's scores.

    Args:
        store: Its client is asked.
        query: What `is_ours`.
        qdrant_filters: In place of the query's own.
        search_params: How the server searches; None: as the store says.

    Raises:
        UnsupportedQuery: The store has an asynchronous client alone.
    """
    if store.client is None:
        raise UnsupportedQuery(
            f"Query mode {query.mode.value!r} needs a client beside aclient. Give the "
            f"QdrantVectorStore both."
        )
    if isinstance(store, RescoringVectorStore):
        search_params = search_params or store.rescoring
    name, dense = store.collection_name, store.dense_vector_name
    condition = qdrant_filters or store._build_query_filter(query)  # noqa: SLF001

    def request(one: Asked) -> models.QueryRequest:
        passing = condition
        if one.within is not None:
            ids = models.HasIdCondition(has_id=[*one.within])
            passing = models.Filter(must=[ids])
        return models.QueryRequest(
            params=search_params,
            filter=passing,
            limit=one.limit,
            with_payload=one.within is None,
            with_vector=[dense] if dense and one.with_vectors else one.with_vectors,
            **one.by,
        )

    def find(*asked: Asked) -> list[list[models.ScoredPoint]]:
        answers = store.client.query_batch_points(name, [*map(request, asked)])
        return [
            sorted(one.points, key=lambda hit: (-hit.score, str(hit.id)))
            for one in answers
        ]

    near = {"query": query.query_embedding, "using": dense}
    how: dict[str, Any] = {"near": near, "terms": None, "vector_name": dense}
    if query.mode == VectorStoreQueryMode.HYBRID:
        (indices,), (values,) = store._sparse_query_fn([query.query_str or ""])  # type: ignore[misc]  # noqa: SLF001
        if indices:
            words = models.SparseVector(indices=indices, values=values)
            how["terms"] = {"query": words, "using": store.sparse_vector_name}
    return found_in_mode(query, find, in_one=True, **how)
