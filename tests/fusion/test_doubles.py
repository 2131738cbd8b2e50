"""One node that several channels found by one part of a query counts once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.fusion import RRF, CalibratedSum, RankedList, WeightedSum

from ..support.runs import ranked, ranked_lists, scores_of

RULES = pytest.mark.parametrize(
    "fusion",
    [
        RRF(),
        CalibratedSum(),
        *(WeightedSum(normalizer=n) for n in ("min_max", "z_score")),
    ],
    ids=lambda fusion: fusion.describe(),
)


def said_same(one: RankedList, **tokens: str) -> RankedList:
    return replace(one, same=tokens)


def test_the_best_hit_of_one_node_counts_and_the_others_stand_there_with_nothing():
    text = said_same(ranked("text", {"z": 0.9, "x": 0.8}), x="caption")
    image = said_same(ranked("image", {"x": 0.3, "b": 0.2}), x="caption")
    fused = RRF().fuse([text, image])
    assert [(e.entity_id, e.score) for e in fused] == [
        ("z", 1 / 61),
        ("x", 1 / 61),
        ("b", 1 / 62),
    ]
    assert [
        (c.channel, c.rank, c.amount, c.counts) for c in fused[1].contributions
    ] == [
        ("image", 1, 1 / 61, True),
        ("text", 2, 0.0, False),
    ]


def test_other_words_under_one_id_add_up_and_so_does_what_nothing_is_said_of():
    text = said_same(ranked("text", {"x": 0.8, "y": 0.7, "z": 0.6}), x="a tea cup")
    image = said_same(
        ranked("image", {"x": 0.3, "y": 0.2, "z": 0.1}), x="a photo", y="y"
    )
    assert scores_of(RRF().fuse([text, image])) == {
        "x": 2 / 61,
        "y": 2 / 62,
        "z": 2 / 63,
    }


def test_nodes_of_two_entities_are_not_one():
    text = said_same(ranked("text", {"x": 0.8}, entities={"x": "one"}), x="same")
    image = said_same(ranked("image", {"x": 0.3}, entities={"x": "two"}), x="same")
    assert scores_of(RRF().fuse([text, image])) == {"one": 1 / 61, "two": 1 / 61}


def test_routes_of_one_channel_are_its_own():
    lists = [said_same(ranked("text", {"x": 0.8}), x="same") for _ in range(2)]
    (both,) = RRF().fuse(lists)
    assert both.score == 2 / 61
    (all_three,) = RRF().fuse(
        [*lists, said_same(ranked("image", {"x": 1.0}), x="same")]
    )
    assert all_three.score == 2 / 61
    assert [c.counts for c in all_three.contributions] == [True, True, False]


@RULES
@given(
    lists=ranked_lists(),
    tokens=st.dictionaries(
        st.integers(0, 9).map("n{}".format), st.sampled_from("pq"), max_size=10
    ),
)
def test_amounts_add_up_and_no_score_is_more_than_without_doubles(
    fusion, lists, tokens
):
    told = [replace(one, same=tokens) for one in lists]
    plain = {e.entity_id: e for e in fusion.fuse(lists)}
    for entity in fusion.fuse(told):
        amounts = [c.amount for c in entity.contributions]
        assert entity.score == pytest.approx(sum(amounts), abs=1e-9)
        assert amounts == sorted(amounts, reverse=True)
        assert all(c.amount == 0 for c in entity.contributions if not c.counts)
        before = plain[entity.entity_id].contributions
        assert {(c.route, c.rank) for c in entity.contributions} == {
            (c.route, c.rank) for c in before
        }
        if isinstance(fusion, RRF):
            assert entity.score <= plain[entity.entity_id].score + 1e-12


def test_best_of_hits_below_the_lists_mean_is_the_nearest_to_it():
    lists = [
        said_same(ranked(name, {"a": 1.0, "b": 0.5, "x": low}), x="same")
        for name, low in (("text", 0.0), ("image", 0.4))
    ]
    fused = {e.entity_id: e for e in WeightedSum(normalizer="z_score").fuse(lists)}
    best = next(c for c in fused["x"].contributions if c.counts)
    assert fused["x"].score == best.amount < 0
    assert best.calibrated_score == pytest.approx(
        max(c.calibrated_score for c in fused["x"].contributions)
    )
