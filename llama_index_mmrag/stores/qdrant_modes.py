"""Modes over a Qdrant client: MMR, and where words are ours all that Edge has here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import models

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.edge_search import best
from llama_index_mmrag.stores.modes import Asked, Hit, found_in_mode
from llama_index_mmrag.stores.rescoring import RescoringVectorStore


def words_of(store: QdrantVectorStore) -> Bm25Encoder | None:
    """Return what makes a store's vectors of words, if that is of our making."""
    made_by = getattr(getattr(store, "_sparse_query_fn", None), "__self__", None)
    is_ours = store.enable_hybrid and isinstance(made_by, Bm25Encoder)
    return made_by if is_ours else None


def is_ours(query: VectorStoreQuery, words: Bm25Encoder | None) -> bool:
    """Return whether `found_on_server` answers a query, and not the store."""
    # LlamaIndex leaves it to the order of insertion which of equal hits are cut.
    return words is not None or query.mode == VectorStoreQueryMode.MMR


def found_on_server(
    store: QdrantVectorStore,
    query: VectorStoreQuery,
    *,
    qdrant_filters: models.Filter | None = None,
    search_params: models.SearchParams | None = None,
    with_vectors: bool = False,
) -> list[Hit]:
    """Return points, best first, as Edge finds them here, with the mode's scores.

    Args:
        store: Its client is asked.
        query: In mode MMR or SPARSE.
        qdrant_filters: In place of the query's own.
        search_params: How the server searches; None: as the store says.
        with_vectors: Whether a search by words brings the vectors of what it finds.

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

    def request(
        one: Asked, limit: int, within: Sequence[Any] | None, light: bool
    ) -> models.QueryRequest:
        passing = condition
        if within is not None:
            ids = models.HasIdCondition(has_id=[*within])
            passing = models.Filter(must=[ids])
        vectors = one.with_vectors and not light
        return models.QueryRequest(
            params=search_params,
            filter=passing,
            limit=limit,
            with_payload=not light,
            with_vector=[dense] if dense and vectors else vectors,
            **one.by,
        )

    def ask(*requests: models.QueryRequest) -> list[list[Any]]:
        if not requests:
            return []
        answers = store.client.query_batch_points(name, requests)
        return [one.points for one in answers]

    def find(*asked: Asked) -> list[list[models.ScoredPoint]]:
        first = ask(*(request(one, one.limit + 1, None, False) for one in asked))
        return [
            best(lambda *how, one=one: ask(request(one, *how))[0], one.limit, hits)
            for one, hits in zip(asked, first, strict=True)
        ]

    near = {"query": query.query_embedding, "using": dense}
    how: dict[str, Any] = {"near": near, "terms": None, "vector_name": dense}
    if query.mode == VectorStoreQueryMode.DEFAULT:
        return [*find(Asked(near, query.similarity_top_k))[0]]
    if query.mode != VectorStoreQueryMode.MMR:
        how["terms"] = _terms(store, query)
    return found_in_mode(query, find, with_vectors=with_vectors, **how)


def _terms(store: QdrantVectorStore, query: VectorStoreQuery) -> dict[str, Any] | None:
    (indices,), (values,) = store._sparse_query_fn([query.query_str or ""])  # type: ignore[misc]  # noqa: SLF001
    if not indices:
        return None
    words = models.SparseVector(indices=indices, values=values)
    return {"query": words, "using": store.sparse_vector_name}
