"""Adding up by entity, by any rule: a brute force, properties, ties, hash seeds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import RRF, CalibratedSum, RankedList, WeightedSum
from llama_index_mmrag.fusion.normalize import NORMALIZERS

from ..support.runs import ranked, ranked_lists, scores_of


def random_lists(rng: random.Random) -> list[RankedList]:
    """Return up to four lists over few entities, with ties and repeats."""
    return [
        RankedList.from_scores(
            [
                (f"n{number}", f"e{number % 6}", rng.randint(0, 9) / 8)
                for number in rng.sample(range(20), rng.randint(0, 12))
            ],
            channel=f"c{index}",
            weight=rng.choice([0.5, 1.0, 2.0]),
        )
        for index in range(rng.randint(0, 4))
    ]


def brute_force(
    lists: list[RankedList], points: Callable[[RankedList, int], float]
) -> list[tuple[str, float]]:
    """Return (entity, score), best first, by looking at every pair once."""
    entities = {hit.entity_id for one in lists for hit in one.hits}
    rows = []
    for entity in entities:
        score, first = 0.0, len(lists)
        for index, one in enumerate(lists):
            ranks = [hit.rank for hit in one.hits if hit.entity_id == entity]
            if ranks:
                score += one.weight * points(one, min(ranks))
                first = min(first, index)
        rows.append((round(-score, 12), first, entity, score))
    return [(entity, score) for _, _, entity, score in sorted(rows)]


def min_max_points(one: RankedList, rank: int) -> float:
    scores = [hit.score for hit in one.hits]
    low, high = min(scores), max(scores)
    return 1.0 if low == high else (scores[rank - 1] - low) / (high - low)


@pytest.mark.parametrize(
    ("fusion", "points"),
    [
        (RRF(), lambda _one, rank: 1 / (60 + rank)),
        (RRF(k=0), lambda _one, rank: 1 / rank),
        (WeightedSum(), min_max_points),
    ],
    ids=["rrf60", "rrf0", "weighted"],
)
def test_thousand_random_cases_equal_a_brute_force(fusion, points):
    rng = random.Random(2026)
    for _ in range(1000):
        lists = random_lists(rng)
        fused = fusion.fuse(lists)
        expected = brute_force(lists, points)
        scores = {e.entity_id: e.score for e in fused}
        assert scores == pytest.approx(dict(expected), abs=1e-12)
        # Sums that are equal in exact arithmetic may differ in the last bit, so the
        # order is compared where scores differ by more than rounding.
        rounded = [round(e.score, 12) for e in fused]
        assert rounded == sorted(rounded, reverse=True)
        distinct = [e for e, s in expected if rounded.count(round(s, 12)) == 1]
        assert [e.entity_id for e in fused if e.entity_id in set(distinct)] == distinct


RULES = pytest.mark.parametrize(
    "fusion",
    [
        *(RRF(k=k) for k in (0.0, 1.0, 60.0)),
        *(WeightedSum(normalizer=name) for name in NORMALIZERS if name != "identity"),
    ],
    ids=lambda fusion: fusion.describe(),
)


@RULES
@given(lists=ranked_lists())
def test_contributions_add_up_to_the_score_and_the_lists_stay_as_they_were(
    fusion, lists
):
    before = deepcopy(lists)
    for entity in fusion.fuse(lists):
        amounts = [c.amount for c in entity.contributions]
        assert entity.score == pytest.approx(sum(amounts), abs=1e-9)
        assert amounts == sorted(amounts, reverse=True)
    assert lists == before


@RULES
@given(lists=ranked_lists(), rng=st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_the_lists(fusion, lists, rng):
    shuffled = rng.sample(lists, len(lists))
    assert scores_of(fusion.fuse(lists)) == scores_of(fusion.fuse(shuffled))


@RULES
@given(lists=ranked_lists(), place=st.integers(0, 4))
def test_an_empty_list_changes_nothing(fusion, lists, place):
    padded = [*lists[:place], ranked("empty", {}), *lists[place:]]
    assert fusion.fuse(padded) == fusion.fuse(lists)


@RULES
@pytest.mark.parametrize("lists", [[], [ranked("text", {})]])
def test_nothing_found_is_an_empty_ranking(fusion, lists):
    assert fusion.fuse(lists) == []


@pytest.mark.parametrize("rule", [RRF, WeightedSum, CalibratedSum])
@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weight_out_of_range_is_refused_by_name(rule, weight):
    with pytest.raises(InvalidSetting, match="'image'"):
        rule(weights={"text": 1.0, "image": weight})


def test_ten_chunks_of_one_entity_count_once_a_list_by_the_best():
    chunks = {f"chunk{n}": 0.5 - n / 100 for n in range(10)}
    text = ranked(
        "text", {"other": 0.9, **chunks}, entities=dict.fromkeys(chunks, "long")
    )
    fused = RRF().fuse([text])
    assert scores_of(fused) == {"other": 1 / 61, "long": 1 / 62}
    assert [c.node_id for c in fused[1].contributions] == ["chunk0"]


def test_figure_and_caption_of_one_entity_add_up():
    text = ranked("text", {"a": 0.9, "caption": 0.8}, entities={"caption": "figure"})
    image = ranked("image", {"b": 0.4, "picture": 0.3}, entities={"picture": "figure"})
    best = RRF().fuse([text, image])[0]
    assert (best.entity_id, best.score) == ("figure", pytest.approx(2 / 62, abs=1e-15))
    assert [c.node_id for c in best.contributions] == ["caption", "picture"]


def test_ties_break_by_configured_list_order_then_entity_id():
    text = ranked("text", {"z": 1.0})
    image = ranked("image", {"a": 1.0})
    video = ranked("video", {"m": 1.0})
    ids = [e.entity_id for e in RRF().fuse([text, image, video])]
    assert ids == ["z", "a", "m"]
    ids = [e.entity_id for e in RRF().fuse([video, image, text])]
    assert ids == ["m", "a", "z"]
    same_list = RRF(weights={"text": 0.0}).fuse([ranked("text", {"b": 2.0, "a": 1.0})])
    assert [e.entity_id for e in same_list] == ["a", "b"]


PROGRAM = """
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import RRF, CalibratedSum, RankedList, WeightedSum
from llama_index_mmrag.fusion.normalize import NORMALIZERS
names = [f"entity-{n}" for n in range(40)]
lists = [
    RankedList.from_scores(
        {(name, name, float(n % 4)) for n, name in enumerate(names)}, channel=channel
    )
    for channel in ("text", "image")
]
for fusion in (RRF(weights={"text": 0.0, "image": 0.0}), WeightedSum()):
    print([(e.entity_id, e.score) for e in fusion.fuse(lists)])
"""


def test_rankings_do_not_depend_on_the_hash_seed():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1
    assert "entity-39" in outputs.pop()


@pytest.mark.parametrize("rule", [RRF, WeightedSum, CalibratedSum])
@pytest.mark.parametrize(
    "weights", [None, 2.0, "text", ["text"], {"text"}, {1: 1.0}, {"text": "2"}]
)
def test_weights_that_are_no_mapping_of_numbers_are_refused(rule, weights):
    with pytest.raises(InvalidSetting, match="weight"):
        rule(weights=weights)
