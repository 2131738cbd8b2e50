from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.embeddings.conse import (
    centred_classes,
    conse,
    linear_head,
    softmax,
    with_head,
)
from llama_index_mmrag.vectors import unit_rows

CAT, DOG, CAR = np.eye(3, dtype=np.float32)
NAMES = np.stack([CAT, DOG, CAR])


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_softmax_of_two_classes_is_the_logistic_function():
    expected = [1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))]
    assert softmax(rows([3.0, 2.0]))[0] == pytest.approx(expected, abs=1e-6)


def test_temperature_divides_the_logits():
    assert softmax(rows([6.0, 2.0]), temperature=2.0) == pytest.approx(
        softmax(rows([3.0, 1.0])), abs=1e-7
    )


def test_softmax_of_huge_logits_is_finite():
    assert softmax(rows([1e30, 0.0], [-1e30, 0.0])).tolist() == [[1, 0], [0, 1]]


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=9))
def test_probabilities_add_up_to_one(logits):
    assert softmax(rows(logits)).sum() == pytest.approx(1.0, abs=1e-5)


def test_conse_of_a_sure_classifier_is_the_class():
    assert conse(rows([0, 99, 0]), NAMES) == pytest.approx(DOG[None], abs=1e-6)


def test_conse_of_an_undecided_classifier_lies_between_its_classes():
    expected = (CAT + DOG) / np.sqrt(2)
    assert conse(rows([99, 99, 0]), NAMES)[0] == pytest.approx(expected, abs=1e-6)


def test_conse_weighs_classes_by_softened_probability():
    # exp(2 / 2) : exp(0) : exp(0)
    expected = np.array([np.e, 1.0, 1.0]) / np.sqrt(np.e**2 + 2)
    assert conse(rows([2, 0, 0]), NAMES)[0] == pytest.approx(expected, abs=1e-6)


def test_conse_ignores_what_all_logits_share():
    logits = rows([1.0, -2.0, 0.5])
    assert conse(logits + 7, NAMES) == pytest.approx(conse(logits, NAMES), abs=1e-6)


def test_centred_classes_have_their_mean_at_the_origin():
    rng = np.random.default_rng(3)
    wordings = [rng.normal(size=(20, 5)).astype(np.float32) for _ in range(3)]
    centred, mean = centred_classes(*wordings)
    assert centred.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-6)
    whole = unit_rows(wordings[0] + wordings[1] + wordings[2])
    assert mean == pytest.approx(whole.mean(axis=0), abs=1e-6)
    assert centred == pytest.approx(whole - mean, abs=1e-6)


def test_linear_head_is_weight_times_features_plus_bias_at_length_one():
    weight, bias = rows([1, 0, 2], [0, 1, 0]), np.float32([0, 1])
    # [1 + 2 * 1, 1 + 3 - 1] = [3, 4] -> length 5
    head = linear_head(rows([1, 3, 1]), weight, bias)
    assert head[0] == pytest.approx([3 / 5, 4 / 5], abs=1e-6)


def test_head_weight_scales_the_heads_share():
    mixed = with_head(CAT[None], DOG[None], head_weight=0.5)
    assert mixed[0] == pytest.approx(np.array([1, 0.5, 0]) / np.sqrt(1.25), abs=1e-6)
    assert with_head(CAT[None], DOG[None], head_weight=0.0).tolist() == [CAT.tolist()]
