"""Weighted sum of normalised scores: worked by hand, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import WeightedSum
from llama_index_mmrag.fusion.normalize import Scores

from ..support.runs import ranked, scores_of


def test_score_is_the_weighted_sum_of_normalised_scores():
    text = ranked("text", {"a": 0.9, "b": 0.7, "c": 0.1})
    image = ranked("image", {"c": 0.3, "d": 0.1})
    fused = WeightedSum(weights={"text": 0.7, "image": 0.3}).fuse([text, image])
    assert [e.entity_id for e in fused] == ["a", "b", "c", "d"]
    assert [e.score for e in fused] == pytest.approx(
        [
            0.7 * (0.9 - 0.1) / 0.8,
            0.7 * (0.7 - 0.1) / 0.8,
            0.7 * 0.0 + 0.3 * (0.3 - 0.1) / 0.2,
            0.3 * 0.0,
        ],
        abs=1e-15,
    )


def test_contributions_hold_raw_and_calibrated_scores():
    fused = WeightedSum(weights={"image": 2.0}).fuse(
        [ranked("image", {"a": 0.9, "b": 0.5, "c": 0.1})]
    )
    (middle,) = fused[1].contributions
    assert middle.raw_score == 0.5
    assert middle.calibrated_score == pytest.approx(0.5)
    assert middle.amount == pytest.approx(2.0 * 0.5)


def test_entity_that_a_list_lacks_is_absent_not_zero():
    # With z-scores 0 is the average: an absent entity must not be charged for it.
    fused = WeightedSum(normalizer="z_score").fuse(
        [ranked("text", {"a": 3.0, "b": 1.0}), ranked("image", {"c": 2.0, "d": 1.0})]
    )
    assert scores_of(fused) == {"a": 1.0, "c": 1.0, "b": -1.0, "d": -1.0}
    assert all(len(e.contributions) == 1 for e in fused)


def test_a_function_may_normalise():
    def halved(scores: Scores) -> Scores:
        return scores / 2

    fusion = WeightedSum(normalizer=halved)
    assert scores_of(fusion.fuse([ranked("text", {"a": 1.0})])) == {"a": 0.5}
    assert fusion.describe() == "weighted_sum(halved)"


def test_unknown_normaliser_is_refused_with_the_known_ones():
    with pytest.raises(InvalidSetting, match=r"'softmax'.*'min_max'"):
        WeightedSum(normalizer="softmax")


@pytest.mark.parametrize(
    "broken",
    [lambda s: s * np.nan, lambda s: s[:-1], lambda s: np.full_like(s, np.inf)],
)
def test_normaliser_that_gives_no_numbers_is_refused_with_the_route(broken):
    with pytest.raises(InvalidSetting, match=r"2 scores of route 'text'"):
        WeightedSum(normalizer=broken).fuse([ranked("text", {"a": 1.0, "b": 0.0})])
