"""Modes that LlamaIndex's Qdrant store lacks, over its client: MMR, and `combined`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import models

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.modes import MMR_CANDIDATES, combined, diverse
from llama_index_mmrag.vectors import Vectors, unit_rows


def has_ours(store: QdrantVectorStore) -> bool:
    """Return whether a store's vectors of words are made by our functions."""
    made_by = getattr(getattr(store, "_sparse_query_fn", None), "__self__", None)
    return store.enable_hybrid and isinstance(made_by, Bm25Encoder)


def is_ours(query: VectorStoreQuery, has_words: bool) -> bool:
    """Return whether `found_in_mode` answers a query, and not the store."""
    in_one = query.mode == VectorStoreQueryMode.HYBRID and query.alpha is None
    return query.mode == VectorStoreQueryMode.MMR or (in_one and has_words)


def found_in_mode(
    store: QdrantVectorStore,
    query: VectorStoreQuery,
    *,
    qdrant_filters: models.Filter | None = None,
    search_params: models.SearchParams | None = None,
) -> list[models.ScoredPoint]:
    """Return points, best first, as Edge finds them here, with the mode's scores.

    Args:
        store: Its client is asked. Its vectors are compared by cosine.
        query: What `is_ours`.
        qdrant_filters: In place of the query's own.
        search_params: How the server searches.

    Raises:
        UnsupportedQuery: The store has an asynchronous client alone.
    """
    if store.client is None:
        raise UnsupportedQuery(
            f"Query mode {query.mode.value!r} needs a client beside aclient. Give the "
            f"QdrantVectorStore both."
        )
    name, dense = store.collection_name, store.dense_vector_name
    condition = qdrant_filters or store._build_query_filter(query)  # noqa: SLF001
    ask = partial(models.QueryRequest, params=search_params, with_payload=True)

    def asked(*requests: models.QueryRequest) -> list[dict[str, models.ScoredPoint]]:
        answers = store.client.query_batch_points(name, list(requests))
        found = [
            sorted(one.points, key=lambda hit: (-hit.score, str(hit.id)))
            for one in answers
        ]
        return [{str(hit.id): hit for hit in hits} for hits in found]

    top_k = query.similarity_top_k
    near = partial(ask, query=query.query_embedding, using=dense, filter=condition)
    if query.mode == VectorStoreQueryMode.MMR:
        (found,) = asked(near(limit=MMR_CANDIDATES * top_k, with_vector=True))
        hits = list(found.values())
        share = 0.5 if query.mmr_threshold is None else query.mmr_threshold
        rows, scores = _rows(hits, dense, query), [hit.score for hit in hits]
        chosen = diverse(scores, rows, threshold=share, top_k=top_k)
        return [_scored(hits[i], score) for i, score in chosen]
    (indices,), (values,) = store._sparse_query_fn([query.query_str or ""])  # type: ignore[misc]  # noqa: SLF001
    if not indices:
        (found,) = asked(near(limit=top_k))
        return list(found.values())[: query.hybrid_top_k or top_k]
    terms = partial(
        ask,
        query=models.SparseVector(indices=indices, values=values),
        using=store.sparse_vector_name,
    )
    depth = query.sparse_top_k or top_k
    by_vector, by_words = asked(
        near(limit=top_k),
        terms(filter=condition, limit=depth, with_vector=[dense]),
    )
    words = {key: hit.score for key, hit in by_words.items()}
    if rest := [hit.id for key, hit in by_vector.items() if key not in words]:
        within = models.Filter(must=[models.HasIdCondition(has_id=rest)])
        (more,) = asked(terms(filter=within, limit=len(rest)))
        words |= {key: hit.score for key, hit in more.items()}
    others = {key: hit for key, hit in by_words.items() if key not in by_vector}
    vector = np.asarray([query.query_embedding], dtype=np.float32)
    products = _rows(list(others.values()), dense, query) @ unit_rows(vector)[0]
    order = combined(
        {key: hit.score for key, hit in by_vector.items()},
        dict(zip(others, products.tolist(), strict=True)),
        words,
        top_k=query.hybrid_top_k or top_k,
    )
    hit_of = {**by_words, **by_vector}
    return [_scored(hit_of[key], score) for key, score in order.items()]


def _scored(hit: models.ScoredPoint, score: float) -> models.ScoredPoint:
    return hit.model_copy(update={"score": score})


def _rows(
    hits: list[models.ScoredPoint], name: str, query: VectorStoreQuery
) -> Vectors:
    """Return the vectors of points, as they are compared, shape (n, dim)."""
    found: list[Any] = [
        hit.vector[name] if isinstance(hit.vector, dict) else hit.vector for hit in hits
    ]
    rows = np.array(found, dtype=np.float32)
    return rows.reshape(len(hits), len(query.query_embedding or ()))
