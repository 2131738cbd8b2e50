"""Recall and reciprocal rank of pairs, worked out by hand."""

from __future__ import annotations

import numpy as np

from llama_index_mmrag.alignment import Found, found_both_ways
from llama_index_mmrag.alignment.found import found, ranks, recall_at_k
from llama_index_mmrag.vectors import unit_rows

EYE = np.eye(4, dtype=np.float32)
IDS = np.arange(4)


def test_each_finds_its_own():
    both = found_both_ways(EYE * 3, EYE * 0.5, IDS, IDS)
    assert both.text_to_image == both.image_to_text == Found(4, 4, 1.0, 1.0, 1.0, 1.0)


def test_neighbour_in_front_costs_half_the_reciprocal_rank():
    # The first text points at the second picture more than at its own.
    texts = EYE.copy()
    texts[0] = [0.6, 0.8, 0.0, 0.0]
    both = found_both_ways(texts, EYE, IDS, IDS)
    assert both.text_to_image == Found(4, 4, 3 / 4, 1.0, 1.0, (1 / 2 + 3) / 4)
    # Picture 0 still prefers text 0 to the others; picture 1 prefers text 1.
    assert both.image_to_text.mrr == 1.0


def test_picture_with_two_texts_is_one_item():
    texts = EYE[[0, 0, 1]]
    images = EYE[[0, 0, 1]]
    both = found_both_ways(texts, images, np.array([5, 5, 9]), np.array([0, 0, 1]))
    assert (both.text_to_image.n_queries, both.text_to_image.n_items) == (3, 2)
    assert (both.image_to_text.n_queries, both.image_to_text.n_items) == (2, 3)
    assert both.image_to_text.mrr == 1.0


def test_any_picture_of_the_group_is_right():
    # Two pictures of one thing: the text finds the other one first.
    texts = EYE[[1]]
    rank = ranks(texts, EYE[:3], np.array([7]), np.array([7, 7, 8]))
    assert rank.tolist() == [1.0]


def test_ties_count_half_and_all_the_same_finds_by_chance():
    same = np.ones((5, 2), dtype=np.float32)
    rank = ranks(same, same, np.arange(5), np.arange(5))
    assert rank.tolist() == [1 + 4 / 2] * 5


def test_recalls_are_shares_of_queries():
    seen = found(np.array([1.0, 1.5, 5.0, 10.0, 11.0]), n_items=20)
    assert seen == Found(
        5, 20, 1 / 5, 3 / 5, 4 / 5, (1 + 2 / 3 + 1 / 5 + 1 / 10 + 1 / 11) / 5
    )


def test_more_queries_than_are_scored_at_once():
    rows = np.random.default_rng(0).normal(size=(2_500, 8)).astype(np.float32)
    vectors, numbers = unit_rows(rows), np.arange(2_500)
    assert ranks(vectors, vectors, numbers, numbers).tolist() == [1.0] * 2_500


def test_item_behind_k_others_is_not_found():
    items = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    found = [
        recall_at_k(query, items, np.array([2]), np.array([0, 1, 2]), k=k)
        for k in (1, 2, 3)
    ]
    assert found == [0.0, 0.0, 1.0]


def test_recall_counts_ties_as_ahead():
    same = np.ones((4, 2), dtype=np.float32)
    groups = np.arange(4)
    assert recall_at_k(same, same, groups, groups, k=3) == 0.0
    assert recall_at_k(same, same, groups, groups, k=4) == 1.0


def test_recall_equals_a_plain_loop_over_more_queries_than_one_block():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(1500, 8)).astype(np.float32)
    items = rng.normal(size=(30, 8)).astype(np.float32)
    asked, shown = rng.integers(0, 10, 1500), np.arange(30) % 10
    hits = 0
    for query, group in zip(queries, asked, strict=True):
        first = np.argsort(-(query[None] @ items.T)[0])[:5]
        hits += group in shown[first]
    assert recall_at_k(queries, items, asked, shown, k=5) == hits / 1500


def test_scores_that_are_no_numbers_find_nothing():
    nowhere = np.full((4, 2), np.nan, dtype=np.float32)
    assert recall_at_k(nowhere, nowhere, IDS, IDS, k=3) == 0.0
    assert ranks(nowhere, nowhere, IDS, IDS).tolist() == [1 + 3 / 2] * 4
