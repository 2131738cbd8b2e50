"""How many pairs find each other: the figure that training watches. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.vectors import Vectors

_ROWS_AT_ONCE = 1024


def recall_at_k(
    queries: Vectors,
    items: Vectors,
    query_groups: NDArray[np.int64],
    item_groups: NDArray[np.int64],
    *,
    k: int,
) -> float:
    """Return the share of queries with an item of their group among the first k.

    An item that ties with the right one counts as ahead of it: vectors that are all
    the same, or not finite, find nothing.

    Args:
        queries: Unit rows, `(q, d)`; q at least 1.
        items: Unit rows, `(n, d)`.
        query_groups: Which thing each query asks for, `(q,)`.
        item_groups: Which thing each item shows, `(n,)`; each query's is there.
        k: Length of the list that is looked at.

    Returns:
        In [0, 1].

    Example:
        >>> items = np.eye(2, dtype=np.float32)
        >>> groups = np.array([7, 8])
        >>> recall_at_k(items[[0, 0]], items, groups, groups, k=1)
        0.5
    """
    found = 0
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        scores = queries[rows] @ items.T  # (rows, n)
        right = query_groups[rows, None] == item_groups[None, :]
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        # Not `scores >= best`: what is no number must not look like a find.
        ahead = (~(scores < best) & ~right).sum(axis=1)
        found += int((ahead < k).sum())
    return found / len(queries)
