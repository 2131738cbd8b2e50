"""What LlamaIndex's query modes make of hits, whichever engine finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_mmrag.stores.edge_points import HasPayload, vectors_of
from llama_index_mmrag.vectors import Vectors

BY_WORDS = {VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH}

_CANDIDATES = 4
"""Hits that MMR chooses from, for each that is asked for: as LlamaIndex's stores do."""

_SHARE_OF_WORDS = 0.02
_USUAL_WORDS = 5
"""BM25 beside a cosine, and for how many words: a sum over words grows with these, and
a cosine does not. Without the bound, figures that are asked for by a long alt text are
lost behind passages, in which some of so many words always stand."""

_STEP = 1e-6
"""Between places whose vectors score the same; else a ranking would sort them by id."""


class Hit(HasPayload, Protocol):
    """A point that was found."""

    @property
    def score(self) -> float:
        """Larger is better."""
        ...

    @property
    def vector(self) -> Any:
        """Its vectors by name, or its only one, where they were asked for."""
        ...


def even(score: float) -> float:
    """Return a score as far as engines agree on it, which add up in other orders.

    Of what is above 1, as BM25 often is, four digits behind the point, else five.
    """
    return round(score, 5 if -1 < score < 1 else 4)


class Asked(NamedTuple):
    """One search.

    Attributes:
        by: What is searched by, in the engine's words.
        limit: Hits at most.
        with_vectors: Whether their vectors are read.
    """

    by: Any
    limit: int
    with_vectors: bool = False


Find: TypeAlias = Callable[..., list[list[Any]]]
"""Of any number of `Asked`: for each its hits, best first, ties by id."""


class _Scored(NamedTuple):
    id: Any
    score: float
    payload: dict[str, Any] | None
    vector: Any = None


def found_in_mode(
    query: VectorStoreQuery,
    find: Find,
    *,
    near: Any,
    terms: Any | None,
    vector_name: str,
    with_vectors: bool = False,
) -> list[Hit]:
    """Return what a query finds in a mode that is not DEFAULT, best first.

    Args:
        query: What is asked.
        find: The engine's search.
        near: The query's vector, as `find` takes it.
        terms: Its words, likewise; None: it has none that are searched.
        vector_name: Name of the vector in each point.
        with_vectors: Whether a search by words brings the vectors of what it finds.
    """
    top_k = query.similarity_top_k
    if query.mode == VectorStoreQueryMode.MMR:
        (hits,) = find(Asked(near, _CANDIDATES * top_k, with_vectors=True))
        share = 0.5 if query.mmr_threshold is None else query.mmr_threshold
        vectors = vectors_of(
            hits, vector_name=vector_name, dim=len(query.query_embedding or ())
        )
        chosen = diverse(
            [hit.score for hit in hits], vectors, threshold=share, top_k=top_k
        )
        return [_Scored(hits[i].id, score, hits[i].payload) for i, score in chosen]
    most = query.sparse_top_k or top_k
    asked = [] if terms is None else [Asked(terms, most, with_vectors)]
    if query.mode in BY_WORDS:
        return [
            _Scored(hit.id, even(hit.score), hit.payload, hit.vector)
            for hits in find(*asked)
            for hit in hits
        ]
    found = find(Asked(near, top_k), *asked)
    by_vector, by_words = (_by_id(hits) for hits in (*found, ())[:2])
    scores = relative_scores(
        _scores(by_vector),
        _scores(by_words),
        alpha=0.5 if query.alpha is None else query.alpha,
        top_k=query.hybrid_top_k or top_k,
    )
    hits_of = by_words | by_vector
    return [_Scored(i, score, hits_of[i].payload) for i, score in scores.items()]


def _by_id(hits: Sequence[Hit]) -> dict[str, Hit]:
    return {str(hit.id): hit for hit in hits}  # an engine may make ids at each look


def _scores(hits: Mapping[str, Hit]) -> dict[str, float]:
    return {key: hit.score for key, hit in hits.items()}


def relative_scores(
    by_vector: Mapping[str, float],
    by_words: Mapping[str, float],
    *,
    alpha: float,
    top_k: int,
) -> dict[str, float]:
    """Return LlamaIndex's `relative_score_fusion` of two lists, best first.

    alpha · vector + (1 - alpha) · words, each list's scores drawn to [0, 1]; 0 where a
    list lacks the node; ties by id. Where one list is empty, the other one as it is.

    Args:
        by_vector: Scores by id, best first.
        by_words: The same.
        alpha: Share of the vector, in [0, 1].
        top_k: Hits at most.

    Example:
        >>> by_words = {"c": 7.0, "b": 3.0}
        >>> relative_scores({"a": 0.9, "b": 0.5}, by_words, alpha=0.6, top_k=2)
        {'a': 0.6, 'c': 0.4}
    """
    if not (by_vector and by_words):
        return dict(by_vector or by_words)
    vector, words = drawn(by_vector), drawn(by_words)
    fused = {
        key: (1 - alpha) * words.get(key, 0) + alpha * vector.get(key, 0)
        for key in dict.fromkeys((*vector, *words))
    }
    return dict(sorted(fused.items(), key=lambda hit: (-even(hit[1]), hit[0]))[:top_k])


def drawn(scores: Mapping[str, float]) -> Mapping[str, float]:
    """Return scores drawn to [0, 1]; equal ones as they are, as in LlamaIndex."""
    least, most = min(scores.values()), max(scores.values())
    if least == most:
        return scores
    return {key: (score - least) / (most - least) for key, score in scores.items()}


def share_of_words(n_words: int) -> float:
    """Return what BM25 counts beside a cosine, for a query of so many words.

    0.02, of more than five 0.1 / n: as much as five of their kind would say.

    Example:
        >>> share_of_words(2), share_of_words(10)
        (0.02, 0.01)
    """
    return _SHARE_OF_WORDS * _USUAL_WORDS / max(_USUAL_WORDS, n_words)


def combined(
    by_vector: Mapping[str, float],
    others: Mapping[str, float],
    words: Mapping[str, float],
    *,
    top_k: int,
    weights: tuple[float, float],
) -> dict[str, float]:
    """Return the vectors' own scores in the order of vectors and words together.

    That order is by cosine and BM25, each times its weight, ties by id; its i-th place
    has the i-th score of the vectors' list, or a millionth less than the place before.
    So words say which texts come first, and texts get no more say against pictures than
    they had.

    Args:
        by_vector: The vectors' scores by id, best first.
        others: Theirs of what words alone have found.
        words: BM25 of both; 0 where there is none.
        top_k: Hits at most.
        weights: Of the cosine and of BM25, such as 1 and `share_of_words`.

    Example:
        >>> near, weights = {"a": 0.9, "b": 0.8}, (1, 0.02)
        >>> combined(near, {"c": 0.7}, {"c": 20.0}, top_k=2, weights=weights)
        {'c': 0.9, 'a': 0.8}
    """
    of_vector, of_words = weights
    both = {
        key: of_vector * score + of_words * words.get(key, 0.0)
        for key, score in {**by_vector, **others}.items()
    }
    order = sorted(both, key=lambda key: (-round(both[key], 5), key))
    scores = sorted(by_vector.values(), reverse=True)
    apart = accumulate(scores, lambda before, score: min(score, before - _STEP))
    return dict(zip(order[:top_k], apart, strict=False))


def diverse(
    scores: Sequence[float], vectors: Vectors, *, threshold: float, top_k: int
) -> list[tuple[int, float]]:
    """Return which candidates are chosen by maximal marginal relevance, and why.

    Each in turn has the largest threshold · score - (1 - threshold) · overlap, which is
    its product with the nearest of those before it; ties by position.

    Args:
        scores: Of the candidates.
        vectors: Theirs, `(n, dim)`.
        threshold: LlamaIndex's `mmr_threshold`: 1 is nearness alone.
        top_k: How many at most.

    Example:
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> diverse([0.9, 0.9, 0.1], rows, threshold=0.5, top_k=2)
        [(0, 0.45), (2, 0.05)]
    """
    relevance = threshold * np.asarray(scores, dtype=np.float64)
    overlap = np.zeros(len(relevance))
    chosen: list[tuple[int, float]] = []
    while len(chosen) < min(top_k, len(relevance)):
        left = relevance - (1 - threshold) * overlap
        left[[row for row, _ in chosen]] = -np.inf
        best = int(left.round(5).argmax())  # engines differ behind that
        nearest = vectors @ vectors[best]
        overlap = np.maximum(overlap, nearest) if chosen else nearest
        chosen.append((best, float(left[best])))
    return chosen
