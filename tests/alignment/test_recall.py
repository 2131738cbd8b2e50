"""Recall among groups, by hand and against a plain loop."""

from __future__ import annotations

import numpy as np

from llama_index_mmrag.alignment.recall import recall_at_k


def test_item_behind_k_others_is_not_found() -> None:
    items = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    found = [
        recall_at_k(query, items, np.array([2]), np.array([0, 1, 2]), k=k)
        for k in (1, 2, 3)
    ]
    assert found == [0.0, 0.0, 1.0]


def test_ties_count_as_ahead() -> None:
    same = np.ones((4, 2), dtype=np.float32)
    groups = np.arange(4)
    assert recall_at_k(same, same, groups, groups, k=3) == 0.0
    assert recall_at_k(same, same, groups, groups, k=4) == 1.0


def test_recall_equals_a_plain_loop_over_more_queries_than_one_block() -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(1500, 8)).astype(np.float32)
    items = rng.normal(size=(30, 8)).astype(np.float32)
    asked, shown = rng.integers(0, 10, 1500), np.arange(30) % 10
    hits = 0
    for query, group in zip(queries, asked, strict=True):
        first = np.argsort(-(query[None] @ items.T)[0])[:5]
        hits += group in shown[first]
    assert recall_at_k(queries, items, asked, shown, k=5) == hits / 1500
