"""What LlamaIndex's query modes make of hits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from llama_index_mmrag.vectors import Vectors

MMR_CANDIDATES = 4
"""Hits that MMR chooses from, for each that is asked for: as LlamaIndex's stores do."""

_SHARE = 0.02
"""Of BM25 beside a cosine: .02 was the best of those tried on three books, and part
numbers, of which BM25 tells one page from another alone, are found by it."""

_STEP = 1e-6
"""Between places whose vectors score the same; else a ranking would sort them by id."""


def relative_scores(
    by_vector: Mapping[str, float],
    by_words: Mapping[str, float],
    *,
    alpha: float,
    top_k: int,
) -> dict[str, float]:
    """Return LlamaIndex's `relative_score_fusion` of two lists, best first.

    alpha · vector + (1 - alpha) · words, each list's scores drawn to [0, 1]; 0 where a
    list lacks the node. Where one list is empty, the other one as it is.

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
    vector, words = _drawn(by_vector), _drawn(by_words)
    fused = {
        key: (1 - alpha) * words.get(key, 0) + alpha * vector.get(key, 0)
        for key in dict.fromkeys((*vector, *words))
    }
    return dict(sorted(fused.items(), key=lambda hit: -hit[1])[:top_k])


def _drawn(scores: Mapping[str, float]) -> Mapping[str, float]:
    least, most = min(scores.values()), max(scores.values())
    if least == most:  # as LlamaIndex leaves them
        return scores
    return {key: (score - least) / (most - least) for key, score in scores.items()}


def combined(
    by_vector: Mapping[str, float],
    others: Mapping[str, float],
    words: Mapping[str, float],
    *,
    top_k: int,
) -> dict[str, float]:
    """Return the vectors' own scores in the order of vectors and words together.

    That order is by cosine + 0.02 · BM25, ties by id; its i-th place has the i-th score
    of the vectors' list, or a millionth less than the place before. So words say which
    texts come first, and texts get no more say against pictures than they had.

    Args:
        by_vector: Cosines by id, best first.
        others: Cosines of what words alone have found.
        words: BM25 of both; 0 where there is none.
        top_k: Hits at most.

    Example:
        >>> combined({"a": 0.9, "b": 0.8}, {"c": 0.7}, {"c": 20.0}, top_k=2)
        {'c': 0.9, 'a': 0.8}
    """
    both = {**by_vector, **others}
    order = sorted(both, key=lambda i: (-(both[i] + _SHARE * words.get(i, 0.0)), i))
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
        best = int(left.argmax())
        nearest = vectors @ vectors[best]
        overlap = np.maximum(overlap, nearest) if chosen else nearest
        chosen.append((best, float(left[best])))
    return chosen
