"""What pairs find of each other: recall and reciprocal rank, both ways. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.alignment.pairs import Groups
from llama_index_mmrag.vectors import Vectors, unit_rows

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Found:
    """How well queries find an item of their own among all items; shares in [0, 1]."""

    n_queries: int
    n_items: int
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    mrr: float
    """Mean of 1 / rank of the first right item; no cut-off."""


@dataclass(frozen=True, slots=True)
class FoundBothWays:
    """Texts that look for their picture, and pictures that look for their text."""

    text_to_image: Found
    image_to_text: Found


def found_both_ways(
    texts: Vectors, images: Vectors, groups: Groups, pictures: Groups
) -> FoundBothWays:
    """Return what texts find among the different pictures, and the reverse.

    Args:
        texts: A row for each pair, `(n, d)`; scaled to length 1 here.
        images: A row for each pair, `(n, d)`; scaled to length 1 here.
        groups: Which thing each pair is about, `(n,)`: all of it is right.
        pictures: Which picture each pair has, `(n,)`: each is one item.
    """
    _, first = np.unique(pictures, return_index=True)
    once, things = unit_rows(images[first]), groups[first]
    asked = unit_rows(texts)
    return FoundBothWays(
        found(ranks(asked, once, groups, things), n_items=len(once)),
        found(ranks(once, asked, things, groups), n_items=len(asked)),
    )


def found(rank: NDArray[np.float64], *, n_items: int) -> Found:
    """Return the figures of queries' ranks, `(n,)`, from 1; n at least 1."""
    at_1, at_5, at_10 = (float((rank <= k).mean()) for k in (1, 5, 10))
    return Found(len(rank), n_items, at_1, at_5, at_10, float((1 / rank).mean()))


def ranks(
    queries: Vectors,
    items: Vectors,
    query_groups: Groups,
    item_groups: Groups,
) -> NDArray[np.float64]:
    """Return each query's rank of its first right item, from 1, `(q,)`.

    Of items that tie with it half count as ahead, as for an order drawn at random.

    Args:
        queries: Unit rows, `(q, d)`.
        items: Unit rows, `(n, d)`.
        query_groups: Which thing each query asks for, `(q,)`.
        item_groups: Which thing each item shows, `(n,)`; each query's is there.

    Example:
        >>> items = np.eye(3, dtype=np.float32)
        >>> asked = np.array([[0.9, 0.1, 0.1]], dtype=np.float32)
        >>> ranks(asked, items, np.array([2]), np.array([0, 1, 2])).tolist()
        [2.5]
    """
    rank = np.empty(len(queries))
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        scores = queries[rows] @ items.T  # (rows, n)
        right = query_groups[rows, None] == item_groups[None, :]
        best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        ahead = ((scores > best) & ~right).sum(axis=1)
        beside = ((scores == best) & ~right).sum(axis=1)
        rank[rows] = 1 + ahead + beside / 2
    return rank
