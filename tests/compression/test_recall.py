"""Recall with ties, and what a measured recall promises."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest

from llama_index_mmrag.compression.recall import last_scores, low_recall, recalls
from llama_index_mmrag.vectors import unit_rows

NOBODY = np.array([-1])


def unit(*angles: float) -> np.ndarray:
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("itself", "top_k", "angle"), [(-1, 2, 10), (0, 2, 20), (0, 9, 30)]
)
def test_last_score_is_the_last_neighbours_without_the_query_itself(
    itself, top_k, angle
):
    rows = unit(0, 10, 20, 30)
    last = last_scores(rows, rows[:1], np.array([itself]), top_k=top_k)
    assert last == pytest.approx([np.cos(np.radians(angle))], abs=1e-6)


def test_any_of_equally_near_vectors_is_right_and_none_counts_twice():
    rows = unit(0, 5, 5, 5, 90)
    last = last_scores(rows, rows[:1], NOBODY, top_k=2)
    asked = [
        np.array(ids, dtype=int) for ids in ([0, 3], [0, 1], [1, 2], [0, 0], [4, 0], [])
    ]
    found = recalls(rows, np.repeat(rows[:1], 6, 0), asked, np.repeat(last, 6), top_k=2)
    assert found.tolist() == [1.0, 1.0, 1.0, 0.5, 0.5, 0.0]


def test_blocks_of_queries_equal_queries_one_by_one():
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.normal(size=(700, 6)).astype(np.float32))
    itself = rng.permutation(700)
    whole = last_scores(rows, rows[itself], itself, top_k=10)
    one_by_one = [
        last_scores(rows, rows[[i]], np.array([i]), top_k=10)[0] for i in itself
    ]
    np.testing.assert_allclose(whole, one_by_one, atol=1e-6)


def test_low_recall_is_the_lower_prediction_bound():
    shares = np.array([1.0, 0.5, 0.75])
    seen = [1.0, 0.5, 0.75, 0.0]
    mean = sum(seen) / 4
    spread = sqrt(sum((x - mean) ** 2 for x in seen) / 3)
    z = NormalDist().inv_cdf(0.95)
    expected = mean - z * spread * sqrt(1 / 4 + 1 / 10)
    assert low_recall(shares, n_next=10, error=0.05) == pytest.approx(expected)


def test_more_queries_promise_more_and_perfect_ones_never_all():
    few, many = (low_recall(np.ones(n), n_next=n, error=1e-4) for n in (20, 2000))
    assert few < 0.9 < many < 1.0


def test_next_queries_keep_what_was_said_at_the_stated_rate():
    """A thousand times: measure 200 queries, promise, ask 200 more."""
    rng = np.random.default_rng(0)
    # A tenth of the queries finds little: far from normal.
    draw = np.where(rng.random((1000, 400)) < 0.1, 0.3, 1.0)
    draw -= rng.choice([0.0, 0.1], size=draw.shape)
    broken = [
        low_recall(row[:200], n_next=200, error=0.05) > row[200:].mean() for row in draw
    ]
    assert 0.01 < np.mean(broken) < 0.06
