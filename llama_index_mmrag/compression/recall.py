"""Recall against exact search, ties counted fairly, and what it promises. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.vectors import Vectors

Ids: TypeAlias = "NDArray[np.int64]"

TIE = 1e-6
"""Cosines that differ by less are equal: a few roundings of float32, 1.2e-7 each."""

_BLOCK = 256
NOBODY = -1
"""For a query that is no stored vector: nothing is left out."""


def last_scores(
    vectors: Vectors, queries: Vectors, left_out: Ids, *, top_k: int
) -> Vectors:
    """Return the score of each query's `top_k`-th exact neighbour, `(q,)`.

    Args:
        vectors: Unit rows, `(n, d)`.
        queries: Unit rows, `(q, d)`.
        left_out: Row of `vectors` that is the query itself, `(q,)`; -1: none.
        top_k: Which neighbour; where fewer are stored, the last one.
    """
    last = np.empty(len(queries), dtype=np.float32)
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        scores = queries[block] @ vectors.T  # (block, n)
        itself = left_out[block]
        at = np.flatnonzero(itself != NOBODY)
        scores[at, itself[at]] = -np.inf
        for row, one in enumerate(scores):
            n = len(one) - int(itself[row] != NOBODY)
            k = min(top_k, n)
            last[start + row] = np.partition(one, len(one) - k)[len(one) - k]
    return last


def recalls(
    vectors: Vectors,
    queries: Vectors,
    found: Sequence[Ids],
    last: Vectors,
    *,
    top_k: int,
) -> NDArray[np.float64]:
    """Return the share of each query's neighbours that were found, `(q,)`, in [0, 1].

    Whatever scores at least as much as the `top_k`-th exact neighbour is right, as in
    ANN-Benchmarks (https://arxiv.org/abs/1807.05614): of several stored vectors that
    are equally near, a search may return any, and none counts more than another.

    Args:
        vectors: Unit rows before any compression, `(n, d)`.
        queries: Unit rows before any compression, `(q, d)`.
        found: For each query the rows of `vectors` that a search returned, without the
            query itself.
        last: Of `last_scores`.
        top_k: How many were asked for.

    Example:
        >>> rows = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
        >>> asked = rows[:1]
        >>> last = last_scores(rows, asked, np.array([-1]), top_k=1)
        >>> [recalls(rows, asked, [np.array([i])], last, top_k=1)[0] for i in (0, 1, 2)]
        [np.float64(1.0), np.float64(1.0), np.float64(0.0)]
    """
    shares = np.empty(len(queries))
    for row, ids in enumerate(found):
        best = np.unique(ids[:top_k])
        right = vectors[best] @ queries[row] >= last[row] - TIE
        shares[row] = right.sum() / min(top_k, len(vectors))
    return shares


def low_recall(shares: NDArray[np.float64], *, n_next: int, error: float) -> float:
    """Return what the mean recall of the next queries stays above, almost surely.

    `m - z s sqrt(1/n + 1/n_next)`: the lower prediction bound for the mean of `n_next`
    more queries of the same kind (Hahn and Meeker, Statistical Intervals, 1991, section
    4.7), normal. m and s are those of the measured queries and of one more that found
    nothing, so that a few perfect queries promise little.

    Args:
        shares: Recall of each measured query, `(n,)`; n at least 1.
        n_next: How many more queries.
        error: Chance that their mean is lower.

    Example:
        >>> round(low_recall(np.ones(99), n_next=100, error=0.01), 3)
        0.957
    """
    seen = np.append(shares, 0.0)
    z = NormalDist().inv_cdf(1 - error)
    spread = float(seen.std(ddof=1)) * sqrt(1 / len(seen) + 1 / n_next)
    return float(seen.mean()) - z * spread
