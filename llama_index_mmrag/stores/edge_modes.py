"""LlamaIndex's query modes beside DEFAULT, over Qdrant Edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import qdrant_edge as qe
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_mmrag.checks import instance, number, whole
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import InvalidQuery
from llama_index_mmrag.stores.edge_engine import MAKE_ANEW, SPARSE_NAME
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.edge_points import HasPayload, vectors_of
from llama_index_mmrag.stores.modes import (
    MMR_CANDIDATES,
    combined,
    diverse,
    relative_scores,
)

BY_WORDS = {VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH}
_BY_BOTH, _MMR = VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.MMR


class Hit(HasPayload, Protocol):
    """A point that was found."""

    @property
    def score(self) -> float:
        """Larger is better."""
        ...


Find: TypeAlias = "Callable[..., list[qe.ScoredPoint]]"
"""Of a vector and a number of hits: the nearest points, best first, ties by id."""


class _Scored(NamedTuple):
    id: Any
    score: float
    payload: dict[str, Any] | None


def check_mode(query: VectorStoreQuery, words: Bm25Encoder | None) -> None:
    """Do nothing if a store can search in the query's mode, which is not DEFAULT.

    Args:
        query: What is asked.
        words: What makes vectors of words; None where the store keeps none.

    Raises:
        UnsupportedQuery: It cannot.
        InvalidQuery: The query lacks what the mode needs, or a number is out of range.
    """
    mode = query.mode
    if mode not in BY_WORDS | {_BY_BOTH, _MMR}:
        raise UnsupportedQuery(
            f"Query mode {mode.value!r} is not supported by this store; expected "
            f"'default', 'mmr', and with enable_hybrid=True 'sparse', 'text_search' or "
            f"'hybrid'."
        )
    if mode != _MMR and words is None:
        raise UnsupportedQuery(
            f"Query mode {mode.value!r} searches for words, and this store keeps no "
            f"vectors of words. {MAKE_ANEW}"
        )
    if mode != _MMR:
        of, asked = f"query_str of mode {mode.value!r}", query.query_str
        instance(asked, of, str, error=InvalidQuery)
        if str(asked).encode(errors="ignore").decode() != asked:
            raise InvalidQuery(f"{of} is {asked!r}; expected no lone surrogates.")
    if mode not in BY_WORDS and query.query_embedding is None:
        raise InvalidQuery(
            f"Query mode {mode.value!r} needs a query_embedding, and there is none. "
            f"Embed the query, or search through a retriever, which embeds."
        )
    shares = {"alpha": query.alpha, "mmr_threshold": query.mmr_threshold}
    for name, share in shares.items():
        if share is not None:
            number(share, name, at_least=0, at_most=1, error=InvalidQuery)
    for name in ("sparse_top_k", "hybrid_top_k"):
        if (most := getattr(query, name)) is not None:
            whole(most, name, at_least=0, error=InvalidQuery)


def with_threshold(query: VectorStoreQuery, threshold: float) -> VectorStoreQuery:
    """Return an MMR query with a threshold that was given beside it, in [0, 1].

    Raises:
        InvalidQuery: It is another number, or the query has another mode.
    """
    instance(query, "The query", VectorStoreQuery, error=InvalidQuery)
    bounds: Any = {"at_least": 0, "at_most": 1, "error": InvalidQuery}
    threshold = number(threshold, "mmr_threshold", **bounds)
    if query.mode != _MMR:
        raise InvalidQuery(
            f"mmr_threshold is {threshold!r}, and the query's mode is "
            f"{query.mode.value!r}; expected 'mmr'. Ask so, or leave it out."
        )
    return replace(query, mmr_threshold=threshold)


def found_in_mode(
    query: VectorStoreQuery,
    find: Find,
    *,
    vector: list[float] | None,
    words: Bm25Encoder | None,
    vector_name: str,
    in_one: bool = False,
) -> Sequence[Hit]:
    """Return what the query finds in its mode, which `check_mode` has passed.

    Args:
        query: What is asked.
        find: Searches for one vector.
        vector: The query's, as it is stored.
        words: What makes vectors of words.
        vector_name: Name of the vector in each point.
        in_one: Whether HYBRID is `combined`, not LlamaIndex's `relative_scores`.
    """
    top_k, with_vector = query.similarity_top_k, [vector_name]
    nearest_to = None if vector is None else qe.Query.Nearest(vector, using=vector_name)
    if query.mode == _MMR:
        near = find(nearest_to, MMR_CANDIDATES * top_k, with_vector=with_vector)
        vectors = vectors_of(near, vector_name=vector_name, dim=len(vector or ()))
        share = 0.5 if query.mmr_threshold is None else query.mmr_threshold
        chosen = diverse(
            [hit.score for hit in near], vectors, threshold=share, top_k=top_k
        )
        return [_Scored(near[i].id, score, near[i].payload) for i, score in chosen]
    by_words: list[qe.ScoredPoint] = []
    (indices,), (values,) = words.queries([query.query_str])  # type: ignore[union-attr,list-item]  # checked
    terms = qe.Query.Nearest(qe.SparseVector(indices, values), using=SPARSE_NAME)
    if indices:
        depth = query.sparse_top_k or top_k
        by_words = find(terms, depth, with_vector=with_vector if in_one else None)
    if query.mode in BY_WORDS:
        return by_words
    by_vector = find(nearest_to, top_k)
    if in_one and not by_words:
        return by_vector[: query.hybrid_top_k or top_k]
    most = query.hybrid_top_k or top_k
    hits, others = _by_id(by_vector), _by_id(by_words)
    near_scores, word_scores = _scores(hits), _scores(others)
    if in_one:
        lacking = {hit.id for key, hit in hits.items() if key not in others}
        others = {key: hit for key, hit in others.items() if key not in hits}
        found = [*others.values()]
        rows = vectors_of(found, vector_name=vector_name, dim=len(vector or ()))
        products = (rows @ np.asarray(vector, dtype=np.float32)).tolist()
        if lacking:  # what the words' own list ends before may still have some of them
            word_scores |= _scores(_by_id(find(terms, len(lacking), within=lacking)))
        cosines = dict(zip(others, products, strict=True))
        scores = combined(near_scores, cosines, word_scores, top_k=most)
    else:
        alpha = 0.5 if query.alpha is None else query.alpha
        scores = relative_scores(near_scores, word_scores, alpha=alpha, top_k=most)
    hits |= others
    return [_Scored(key, score, hits[key].payload) for key, score in scores.items()]


def _by_id(hits: Sequence[qe.ScoredPoint]) -> dict[str, qe.ScoredPoint]:
    return {str(hit.id): hit for hit in hits}  # the engine makes ids anew at each look


def _scores(hits: Mapping[str, Hit]) -> dict[str, float]:
    return {key: hit.score for key, hit in hits.items()}
