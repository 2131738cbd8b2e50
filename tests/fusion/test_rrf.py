"""Reciprocal rank fusion: worked by hand, and properties of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import RRF, CalibratedSum, RankedList, WeightedSum

from ..support.runs import ranked, ranked_lists


def test_score_is_the_sum_of_one_over_k_plus_rank_from_one():
    text = ranked("text", {"a": 0.9, "b": 0.8, "c": 0.7})
    image = ranked("image", {"c": 0.3, "d": 0.2})
    fused = RRF().fuse([text, image])
    assert [(e.entity_id, e.score) for e in fused] == [
        ("c", pytest.approx(1 / (60 + 3) + 1 / (60 + 1), abs=1e-15)),
        ("a", 1 / (60 + 1)),
        # Both are second: the first list's comes first.
        ("b", 1 / (60 + 2)),
        ("d", 1 / (60 + 2)),
    ]


def test_k_zero_is_the_sum_of_reciprocal_ranks():
    fused = RRF(k=0).fuse([ranked("t", {"a": 2, "b": 1}), ranked("i", {"b": 5})])
    assert [(e.entity_id, e.score) for e in fused] == [("b", 1 / 2 + 1 / 1), ("a", 1)]


def test_weights_go_by_channel_name_and_multiply_the_lists_own():
    text = ranked("text", {"a": 1.0}, weight=0.5)
    image = ranked("image", {"b": 1.0})
    fused = RRF(k=1, weights={"text": 3.0}).fuse([image, text])
    assert [(e.entity_id, e.score) for e in fused] == [
        ("a", 3.0 * 0.5 / (1 + 1)),
        ("b", 1.0 / (1 + 1)),
    ]
    assert [e.contributions[0].weight for e in fused] == [1.5, 1.0]


def test_weights_order_what_rank_alone_leaves_tied():
    # Over disjoint lists unweighted RRF is a round robin.
    text = ranked("text", {"t0": 0.9, "t1": 0.8})
    image = ranked("image", {"i0": 0.3, "i1": 0.2})
    plain = [e.entity_id for e in RRF().fuse([text, image])]
    heavy = [e.entity_id for e in RRF(weights={"image": 9.0}).fuse([text, image])]
    assert plain == ["t0", "i0", "t1", "i1"]
    assert heavy == ["i0", "i1", "t0", "t1"]


def test_weight_zero_keeps_the_entity_and_gives_it_nothing():
    fused = RRF(weights={"image": 0.0}).fuse(
        [ranked("text", {"a": 1.0}), ranked("image", {"b": 1.0})]
    )
    assert [(e.entity_id, e.score) for e in fused] == [("a", 1 / 61), ("b", 0.0)]


def test_contributions_say_channel_route_node_rank_and_raw_score():
    text = RankedList.from_scores(
        [("n1", "coffee", 0.9)], channel="text", route="image→text", modality="prose"
    )
    (found,) = RRF().fuse([text])[0].contributions
    assert (found.channel, found.route, found.modality) == (
        "text",
        "image→text",
        "prose",
    )
    assert (found.node_id, found.rank, found.raw_score) == ("n1", 1, 0.9)
    assert found.calibrated_score is None


@pytest.mark.parametrize("k", [-1, float("nan"), float("inf")])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(InvalidSetting, match="k is"):
        RRF(k=k)


def test_callers_weights_are_copied():
    weights = {"text": 1.0}
    fusion = RRF(weights=weights)
    weights["text"] = 5.0
    assert fusion.weights == {"text": 1.0}


@given(ranked_lists())
def test_only_ranks_count_not_the_scale_of_scores(lists):
    rescaled = [
        RankedList.from_scores(
            # Powers of two are exact, so no two scores become equal.
            [(h.node_id, h.entity_id, h.score * 4.0) for h in one.hits],
            channel=one.channel,
            weight=one.weight,
        )
        for one in lists
    ]
    before = [(e.entity_id, e.score) for e in RRF().fuse(lists)]
    assert before == [(e.entity_id, e.score) for e in RRF().fuse(rescaled)]


@given(ranked_lists(), st.sampled_from([2.0, 0.25]))
def test_scaling_all_weights_scales_all_scores(lists, factor):
    names = {one.channel for one in lists}
    scaled = RRF(weights=dict.fromkeys(names, factor)).fuse(lists)
    plain = RRF().fuse(lists)
    assert [e.entity_id for e in scaled] == [e.entity_id for e in plain]
    assert [e.score for e in scaled] == [e.score * factor for e in plain]


def test_entity_found_by_two_channels_beats_entity_found_by_one():
    # Ranks 2 and 2 against rank 1: 2/62 > 1/61.
    text = ranked("text", {"solo": 0.99, "both": 0.1})
    image = ranked("image", {"other": 0.9, "both": 0.2})
    assert RRF().fuse([text, image])[0].entity_id == "both"


@pytest.mark.parametrize("rule", [RRF, WeightedSum, CalibratedSum])
def test_a_misspelt_argument_is_answered(rule):
    with pytest.raises(InvalidSetting, match="takes no 'wieghts'. Use weights."):
        rule(wieghts={})
