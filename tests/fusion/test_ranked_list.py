"""Ranked lists: order, ranks, ties, duplicates and scores that are no numbers."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import RankedList

from ..support.runs import MODEST_SCORES


def test_hits_are_ranked_from_one_by_score():
    found = [("a", "A", 0.1), ("b", "B", -0.5), ("c", "C", 0.9)]
    hits = RankedList.from_scores(found, channel="text").hits
    assert [(h.node_id, h.entity_id, h.score, h.rank) for h in hits] == [
        ("c", "C", 0.9, 1),
        ("a", "A", 0.1, 2),
        ("b", "B", -0.5, 3),
    ]


def test_equal_scores_break_by_entity_then_node_in_any_order_of_arrival():
    found = [("n3", "A", 0.5), ("n1", "B", 0.5), ("n2", "A", 0.5), ("n0", "C", 0.5)]
    for order in itertools.permutations(found):
        hits = RankedList.from_scores(order, channel="text").hits
        assert [h.node_id for h in hits] == ["n2", "n3", "n1", "n0"]


def test_node_found_twice_keeps_its_better_hit():
    found = [("a", "A", 0.1), ("b", "B", 0.5), ("a", "A", 0.9)]
    hits = RankedList.from_scores(found, channel="text").hits
    assert [(h.node_id, h.score, h.rank) for h in hits] == [
        ("a", 0.9, 1),
        ("b", 0.5, 2),
    ]


def test_the_same_row_given_twice_is_one_hit():
    row = ("a", "A", 0.5)
    assert len(RankedList.from_scores([row, row], channel="text").hits) == 1


def test_empty_list_is_a_list():
    empty = RankedList.from_scores([], channel="text")
    assert empty.hits == ()
    assert empty.route == "text"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_score_that_is_no_number_is_refused_with_its_channel_and_node(bad):
    found = [("good", "G", 0.5), ("odd", "O", bad)]
    with pytest.raises(InvalidSetting, match=r"'image'.*'odd'"):
        RankedList.from_scores(found, channel="image")


@given(st.lists(st.tuples(st.integers(0, 20), MODEST_SCORES), max_size=30))
def test_every_list_is_sorted_unique_and_ranked_without_gaps(found):
    rows = [(f"n{n}", f"e{n % 3}", score) for n, score in found]
    hits = RankedList.from_scores(rows, channel="text").hits
    assert [h.rank for h in hits] == list(range(1, len(hits) + 1))
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert {h.node_id for h in hits} == {row[0] for row in rows}
    assert len({h.node_id for h in hits}) == len(hits)
    for hit in hits:
        assert hit.score == max(row[2] for row in rows if row[0] == hit.node_id)
