"""Normalisers: worked by hand, all-equal and single lists, and what they preserve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.fusion.normalize import (
    NORMALIZERS,
    identity,
    max_scaled,
    min_max,
    three_sigma,
    z_score,
)

from ..support.runs import MODEST_SCORES

SCORES = np.array([0.9, 0.5, 0.1])


def test_min_max_maps_to_zero_and_one():
    assert min_max(SCORES) == pytest.approx([(0.9 - 0.1) / 0.8, (0.5 - 0.1) / 0.8, 0.0])


def test_z_score_uses_the_population_deviation():
    deviation = math.sqrt((0.4**2 + 0.0**2 + 0.4**2) / 3)
    assert z_score(SCORES) == pytest.approx([0.4 / deviation, 0.0, -0.4 / deviation])


def test_three_sigma_uses_the_samples_deviation():
    deviation = math.sqrt((0.4**2 + 0.0**2 + 0.4**2) / 2)
    low = 0.5 - 3 * deviation
    expected = [(score - low) / (6 * deviation) for score in SCORES]
    assert three_sigma(SCORES) == pytest.approx(expected)


def test_three_sigma_cuts_outliers_to_one():
    scores = np.array([100.0] + [0.0] * 30)
    mean, deviation = 100 / 31, math.sqrt((100 - 100 / 31) ** 2 / 30 + (100 / 31) ** 2)
    assert mean + 3 * deviation < 100
    assert three_sigma(scores)[0] == 1.0


def test_max_scaled_keeps_signs_and_divides_by_the_largest_magnitude():
    assert max_scaled(np.array([0.5, -2.0, 0.0])).tolist() == [0.25, -1.0, 0.0]


def test_identity_keeps_scores():
    assert identity(SCORES).tolist() == SCORES.tolist()


@pytest.mark.parametrize("name", NORMALIZERS)
def test_empty_list_stays_empty(name):
    assert NORMALIZERS[name](np.array([])).tolist() == []


EQUAL = {"min_max": 1.0, "max_scaled": 1.0, "z_score": 0.0, "three_sigma": 0.5}


@pytest.mark.parametrize(("name", "value"), EQUAL.items())
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("score", [0.1, 0.3, 1e-9, 123.4])
def test_equal_scores_get_the_stated_value(name, value, size, score):
    # 0.1 three times: the mean is 0.10000000000000002, so the deviation is not 0.
    assert NORMALIZERS[name](np.full(size, score)).tolist() == [value] * size


@pytest.mark.parametrize("name", ["max_scaled", "z_score", "identity"])
def test_zeros_stay_zeros(name):
    assert NORMALIZERS[name](np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", NORMALIZERS)
@given(scores=st.lists(MODEST_SCORES, min_size=1, max_size=20))
def test_order_is_kept_and_the_input_too(name, scores):
    given_scores = np.array(sorted(scores, reverse=True), dtype=np.float64)
    before = given_scores.copy()
    normalized = NORMALIZERS[name](given_scores)
    assert np.isfinite(normalized).all()
    assert (np.diff(normalized) <= 1e-12).all()
    assert np.array_equal(given_scores, before)


@pytest.mark.parametrize("name", ["min_max", "z_score", "three_sigma"])
@given(
    scores=st.lists(st.integers(-50, 50), min_size=2, max_size=15),
    scale=st.sampled_from([0.5, 2.0, 8.0]),
    shift=st.integers(-20, 20),
)
def test_neither_scale_nor_offset_of_scores_matters(name, scores, scale, shift):
    # A modality's offset (the gap between texts and pictures) is exactly this.
    plain = np.array(scores, dtype=np.float64)
    moved = NORMALIZERS[name](plain * scale + shift)
    assert moved == pytest.approx(NORMALIZERS[name](plain), abs=1e-9)
