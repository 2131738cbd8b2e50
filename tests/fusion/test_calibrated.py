"""CalibratedSum: worked examples, and what it is for."""

import math

import pytest

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import RRF, Background, CalibratedSum, RankedList
from llama_index_mmrag.fusion.calibrated import others_of


def ranked(
    scored: list[tuple[str, str, float]],
    channel: str,
    background: Background | None = None,
) -> RankedList:
    return RankedList.from_scores(scored, channel=channel, background=background)


def test_amount_is_softplus_of_the_standard_score_above_the_floor():
    hits = ranked([("n", "e", 0.5)], "text", Background(0.1, 0.1))
    (entity,) = CalibratedSum(floor=3.0, weights={"text": 2.0}).fuse([hits])
    z = (0.5 - 0.1) / 0.1
    assert entity.contributions[0].calibrated_score == pytest.approx(z, abs=1e-12)
    assert entity.score == pytest.approx(2.0 * math.log(1 + math.exp(z - 3.0)))


def test_one_hit_that_fits_beats_two_that_are_found_by_chance():
    # An illustrated section that fits nothing is in both lists; RRF prefers it.
    text = ranked(
        [("t1", "fits", 0.6), ("t2", "chance", 0.2)], "text", Background(0, 0.1)
    )
    image = ranked([("i2", "chance", 0.1)], "image", Background(0, 0.1))
    assert [e.entity_id for e in RRF().fuse([text, image])] == ["chance", "fits"]
    fused = CalibratedSum().fuse([text, image])
    assert [e.entity_id for e in fused] == ["fits", "chance"]


def test_a_channel_where_nothing_fits_does_not_lead():
    texts = ranked([("t", "rain", 0.36)], "text", Background(0.35, 0.05))
    images = ranked([("i", "cat", 0.25)], "image", Background(0.0, 0.05))
    fused = CalibratedSum().fuse([texts, images])
    assert [e.entity_id for e in fused] == ["cat", "rain"]


def test_asking_for_more_hits_changes_no_score():
    background = Background(0.1, 0.1)
    scored = [(f"n{i}", f"e{i}", 0.9 - 0.1 * i) for i in range(8)]
    short = CalibratedSum().fuse([ranked(scored[:3], "text", background)])
    long = CalibratedSum().fuse([ranked(scored, "text", background)])
    assert short == long[:3]


def test_a_linear_change_of_a_channels_scores_changes_nothing():
    scored = [("a", "a", 0.9), ("b", "b", 0.4)]
    plain = CalibratedSum().fuse([ranked(scored, "text", Background(0.2, 0.1))])
    moved = [(n, e, 10 * s - 3) for n, e, s in scored]
    scaled = CalibratedSum().fuse([ranked(moved, "text", Background(-1.0, 1.0))])
    assert [e.entity_id for e in scaled] == [e.entity_id for e in plain]
    assert [e.score for e in scaled] == pytest.approx([e.score for e in plain])


def test_without_a_background_the_list_itself_is_one():
    scored = [("a", "a", 3.0), ("b", "b", 1.0)]
    own = CalibratedSum().fuse([ranked(scored, "text")])
    given = CalibratedSum().fuse([ranked(scored, "text", Background(2.0, 1.0))])
    assert own == given


def test_a_background_without_spread_gives_every_hit_the_same():
    same = [("a", "a", 0.3), ("b", "b", 0.3)]
    fused = CalibratedSum(floor=3.0).fuse([ranked(same, "text")])
    assert [e.entity_id for e in fused] == ["a", "b"]
    assert {e.score for e in fused} == {math.log1p(math.exp(-3.0))}
    assert CalibratedSum().fuse([ranked([], "text")]) == []


def test_background_of_scores_is_mean_and_population_deviation():
    background = Background.of([1.0, 3.0])
    assert (background.mean, background.std) == (2.0, 1.0)


def test_a_far_hit_does_not_overflow():
    hits = ranked([("n", "e", 1e6)], "text", Background(0.0, 1.0))
    assert CalibratedSum(floor=0.0).fuse([hits])[0].score == 1e6


@pytest.mark.parametrize("floor", [math.nan, math.inf])
def test_a_floor_that_is_no_number_is_refused(floor):
    with pytest.raises(InvalidSetting, match="floor"):
        CalibratedSum(floor=floor)


def test_one_of_three_photographs_stands_out_beside_hundreds_of_texts():
    # Among three the best is 1.41 deviations above a mean that it is part of.
    texts = Background.of(0.1 + 0.1 * math.sin(i) for i in range(300))
    photos = Background.of([0.5, 0.0, -0.05])
    fused = CalibratedSum().fuse(
        [
            ranked([("t", "chance", 0.3)], "text", texts),
            ranked([("p", "cat", 0.5), ("q", "cup", 0.0)], "image", photos),
        ]
    )
    assert [e.entity_id for e in fused] == ["cat", "chance", "cup"]


def test_background_without_a_hit_is_that_of_the_other_items():
    others = others_of(Background.of([0.5, 0.0, -0.1]), 0.5, pooled=0.05**2)
    assert others is not None
    assert others.n_items == 2
    assert others.mean == pytest.approx((0.0 - 0.1) / 2)
    assert others.std == pytest.approx(0.05)


def test_background_that_the_hit_was_never_in_stays_a_number():
    # A sample that is older than the collection: the score fits no item of it.
    older = others_of(Background.of([0.1, 0.1, 0.1]), 0.9, pooled=0.0)
    assert older is not None
    assert older.std == 0.0
    unknown, one = Background(0.2, 0.1), Background.of([0.2])
    assert others_of(unknown, 0.9, pooled=0.0) == unknown
    assert others_of(one, 0.2, pooled=0.0) == one


def test_sample_of_one_item_leaves_the_lists_own_order():
    scored = [("a", "z", 0.9), ("b", "y", 0.5), ("c", "x", 0.1)]
    fused = CalibratedSum().fuse([ranked(scored, "text", Background.of([0.2]))])
    assert [e.entity_id for e in fused] == ["z", "y", "x"]
