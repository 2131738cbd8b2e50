"""What pairs find of each other: recall and reciprocal rank, both ways. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.alignment.pairs import Groups, Pairs, group_numbers
from llama_index_mmrag.checks import rows
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import Vectors, WideVectors, unit_rows

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
    pairs = Pairs(texts, images, groups)
    n_pairs, dim = pairs.texts.shape
    placed = rows(images, "images", dim=dim, advice="Bring them to the texts' space.")
    pictures = group_numbers(pictures, "pictures")
    if len(pictures) != n_pairs:
        raise InvalidVector(
            f"Got {len(pictures)} pictures of {n_pairs} pairs; expected one of each. "
            f"Number the pairs' pictures."
        )
    asked, groups = unit_rows(pairs.texts), pairs.groups
    once, things = _once(unit_rows(placed), groups, pictures)
    return FoundBothWays(
        found(ranks(asked, once, groups, things), n_items=len(once)),
        found(ranks(once, asked, things, groups), n_items=len(asked)),
    )


def recall_both_ways(
    texts: Vectors, images: Vectors, groups: Groups, pictures: NDArray[Any], *, k: int
) -> tuple[float, float]:
    """Return `recall_at_k` of texts among the different pictures, and the reverse.

    Args:
        texts: A unit row for each pair, `(n, d)`.
        images: A unit row for each pair, `(n, d)`.
        groups: Which thing each pair is about, `(n,)`.
        pictures: Which picture each pair has, `(n,)`: each is one item.
        k: Length of the list that is looked at.
    """
    once, things = _once(images, groups, pictures)
    return (
        recall_at_k(texts, once, groups, things, k=k),
        recall_at_k(once, texts, things, groups, k=k),
    )


def recall_at_k(
    queries: Vectors,
    items: Vectors,
    query_groups: Groups,
    item_groups: Groups,
    *,
    k: int,
) -> float:
    """Return the share of queries with an item of their group among the first k.

    The figure that training watches: an item that ties with the right one counts as
    ahead of it, so that vectors that are all the same find nothing.

    Example:
        >>> items = np.eye(2, dtype=np.float32)
        >>> groups = np.array([7, 8])
        >>> recall_at_k(items[[0, 0]], items, groups, groups, k=1)
        0.5
    """
    rank = ranks(queries, items, query_groups, item_groups, ties=1.0)
    return float((rank <= k).mean())


def _once(
    images: Vectors, groups: Groups, pictures: NDArray[Any]
) -> tuple[Vectors, Groups]:
    """Return each picture once: with two texts it is one item to be found, not two."""
    first = np.unique(pictures, return_index=True)[1]
    return images[first], groups[first]


def found(rank: WideVectors, *, n_items: int) -> Found:
    """Return the figures of queries' ranks, `(n,)`, from 1; n at least 1."""
    at_1, at_5, at_10 = (float((rank <= k).mean()) for k in (1, 5, 10))
    return Found(len(rank), n_items, at_1, at_5, at_10, float((1 / rank).mean()))


def ranks(
    queries: Vectors,
    items: Vectors,
    query_groups: Groups,
    item_groups: Groups,
    *,
    ties: float = 0.5,
) -> WideVectors:
    """Return each query's rank of its first right item, from 1, `(q,)`.

    Args:
        queries: Unit rows, `(q, d)`.
        items: Unit rows, `(n, d)`.
        query_groups: Which thing each query asks for, `(q,)`.
        item_groups: Which thing each item shows, `(n,)`; each query's is there.
        ties: Share of the items that tie with it which counts as ahead: half, as for an
            order drawn at random, or all. Scores that are no numbers tie.

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
        # Not `==`: what is no number must not look like a find.
        beside = (~(scores > best) & ~(scores < best) & ~right).sum(axis=1)
        rank[rows] = 1 + ahead + ties * beside
    return rank
