"""Compositions: worked examples, exact ends, missing and cancelling parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag import Blend, Composition, Concatenate
from llama_index_mmrag.composition import composition_of
from llama_index_mmrag.errors import InvalidSetting, InvalidVector

RULES = pytest.mark.parametrize("kind", [Blend, Concatenate])
ROOT_HALF = math.sqrt(0.5)


def rows(n: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_blend_is_the_weighted_mean_of_unit_vectors_with_length_1():
    (vector,) = Blend(0.75).compose([[0, 8]], [[3, 0]])
    length = math.hypot(0.25, 0.75)
    assert vector == pytest.approx([0.25 / length, 0.75 / length])


def test_concatenation_weighs_the_halves_by_the_roots_of_their_shares():
    (vector,) = Concatenate(0.64).compose([[0, 8]], [[3, 4, 0]])
    assert vector == pytest.approx([0, 0.8, 0.6 * 0.6, 0.6 * 0.8, 0])


@given(st.floats(0, 1), st.integers(0, 99))
def test_dot_product_of_concatenations_is_the_weighted_sum_of_cosines(alpha, seed):
    texts, pictures = rows(2, 3, seed), rows(2, 5, seed + 1)
    one, other = Concatenate(alpha).compose(texts, pictures)
    cosines = [unit(side)[0] @ unit(side)[1] for side in (texts, pictures)]
    assert one @ other == pytest.approx(alpha * cosines[0] + (1 - alpha) * cosines[1])


@given(st.floats(0, 1), st.integers(0, 99))
def test_cosine_of_a_blend_is_the_weighted_sum_of_cosines_over_its_length(alpha, seed):
    text, picture, other = (unit(row[None])[0] for row in rows(3, 4, seed))
    (blend,) = Blend(alpha).compose([text], [picture])
    length = np.linalg.norm(alpha * text + (1 - alpha) * picture)
    if length > 1e-3:
        expected = (alpha * text @ other + (1 - alpha) * picture @ other) / length
        assert blend @ other == pytest.approx(expected, abs=1e-9)


@RULES
@pytest.mark.parametrize("alpha", [0, 1])
@given(seed=st.integers(0, 99))
def test_rule_at_its_ends_is_the_single_part_to_the_bit(kind, alpha, seed):
    texts, pictures = rows(5, 4, seed), rows(5, 4, seed + 1)
    nothing = np.zeros_like(texts)
    single = (nothing, pictures) if alpha == 0 else (texts, nothing)
    ends = kind(alpha).compose(texts, pictures)
    assert (ends == kind(0.3).compose(*single)).all()
    parts = [unit(part) if part.any() else part for part in single]
    expected = sum(parts) if kind is Blend else np.hstack(parts)
    np.testing.assert_allclose(ends, expected, rtol=1e-15)


@RULES
@given(alpha=st.floats(0, 1), seed=st.integers(0, 99))
def test_composed_vectors_have_length_1_whatever_is_missing(kind, alpha, seed):
    texts, pictures = rows(6, 4, seed), rows(6, 4, seed + 1)
    texts[:2], pictures[2:4] = 0, 0
    composed = kind(alpha).compose(texts, pictures)
    assert np.linalg.norm(composed, axis=1) == pytest.approx(np.ones(6))


@RULES
def test_missing_part_leaves_the_other_whatever_alpha_says(kind):
    text, picture = unit(rows(2, 4, 0))
    nothing = np.zeros(4)
    for alpha in (0.0, 0.3, 1.0):
        alone = kind(alpha).compose([text, nothing], [nothing, picture])
        if kind is Blend:
            assert alone == pytest.approx(np.array([text, picture]))
        else:
            assert alone[0] == pytest.approx([*text, *nothing])
            assert alone[1] == pytest.approx([*nothing, *picture])


@RULES
def test_batch_is_its_rows_and_the_input_is_unchanged(kind):
    texts, pictures = rows(7, 4, 1), rows(7, 4, 2)
    texts[3], pictures[5] = 0, 0
    before = texts.copy(), pictures.copy()
    whole = kind(0.3).compose(texts, pictures)
    one_by_one = [
        kind(0.3).compose(texts[n : n + 1], pictures[n : n + 1])[0] for n in range(7)
    ]
    assert (whole == np.array(one_by_one)).all()
    assert (texts == before[0]).all()
    assert (pictures == before[1]).all()


@RULES
@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e200])
def test_length_of_a_part_does_not_count(kind, scale):
    texts, pictures = rows(3, 4, 1), rows(3, 4, 2)
    scaled = kind(0.3).compose(texts * scale, pictures)
    np.testing.assert_allclose(scaled, kind(0.3).compose(texts, pictures), rtol=1e-12)


def test_parts_that_cancel_each_other_leave_the_text():
    text = unit(rows(1, 4, 3))
    almost = -text + 1e-9
    assert Blend(0.5).compose(text, -text) == pytest.approx(text)
    assert Blend(0.5).compose(text, almost) == pytest.approx(text)
    assert Blend(0.4).compose(text, -text) == pytest.approx(-text), "no tie, no rule"


@RULES
def test_no_rows_compose_to_no_rows(kind):
    empty = kind(0.5).compose(np.empty((0, 4)), np.empty((0, 4)))
    assert empty.shape == (0, kind(0.5).out_dim(4, 4))


@RULES
@pytest.mark.parametrize(
    ("texts", "pictures", "said"),
    [
        ([[1, 0]], [[0, 1], [1, 0]], r"shape \(1, 2\) and pictures of \(2, 2\)"),
        ([1, 0], [0, 1], r"shape \(2,\)"),
        ([[1, math.nan]], [[0, 1]], "NaN or infinity"),
        ([[1, 0]], [[0, math.inf]], "NaN or infinity"),
        ([[1, 0], [0, 0]], [[1, 0], [0, 0]], "neither text nor picture in row 1"),
    ],
)
def test_what_cannot_be_composed_is_told(kind, texts, pictures, said):
    with pytest.raises(InvalidVector, match=said):
        kind(0.5).compose(texts, pictures)


def test_blend_of_two_lengths_is_refused_and_concatenation_takes_them():
    with pytest.raises(InvalidSetting, match="2 numbers and pictures of 3.*Concaten"):
        Blend(0.5).compose([[1, 0]], [[1, 0, 0]])
    with pytest.raises(InvalidSetting, match="expected one space"):
        Blend(0.5).out_dim(384, 512)
    assert Concatenate(0.5).out_dim(384, 512) == 896


@RULES
@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan, math.inf])
def test_alpha_out_of_its_range_is_refused(kind, alpha):
    with pytest.raises(InvalidSetting, match=f"alpha is {alpha!r}; expected.*0.*1"):
        kind(alpha)


@RULES
@given(alpha=st.floats(0, 1))
def test_space_id_names_the_rule_and_brings_it_back(kind, alpha):
    assert composition_of(kind(alpha).space_id) == kind(alpha)
    assert isinstance(kind(alpha), Composition)


@pytest.mark.parametrize(
    "space_id", ["", "blend", "combiner-v1(alpha=0.5)", "blend-v1(alpha=..)"]
)
def test_composition_of_somebody_else_is_told(space_id):
    with pytest.raises(InvalidSetting, match="No composition is called.*blend"):
        composition_of(space_id)


@RULES
def test_weights_of_the_parts_shift_their_shares(kind):
    assert kind(0.5).weighted(2.0, 1.0).alpha == pytest.approx(2 / 3)
    assert kind(0.25).weighted(3.0, 1.0).alpha == pytest.approx(0.5)
    for alpha in (0.0, 0.3, 1.0):
        assert kind(alpha).weighted(1.0, 1.0) == kind(alpha)
        assert kind(alpha).weighted(2.0, 2.0).alpha == pytest.approx(alpha)
    assert kind(0.0).weighted(9.0, 1.0) == kind(0.0)
    assert kind(1.0).weighted(1.0, 9.0) == kind(1.0)
