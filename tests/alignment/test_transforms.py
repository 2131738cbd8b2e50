"""Transforms: worked by hand, row by row, told apart by content."""

from __future__ import annotations

import numpy as np
import pytest

from llama_index_mmrag.alignment import (
    PCA,
    Center,
    Chain,
    Columns,
    Mix,
    Normalize,
    Perceptron,
    Project,
    Truncate,
)
from llama_index_mmrag.errors import InvalidSetting, InvalidVector

RNG = np.random.default_rng(0)


def drawn(*shapes: int | tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.normal(size=shape) for shape in shapes]


EACH = [
    Normalize(),
    Center([1.0, 2.0, 3.0]),
    Project(*drawn((2, 3), 2)),
    Perceptron(*drawn((5, 3), 5, (2, 5), 2)),
    PCA([1.0, 0.0, 0.0], [[0.0, 0.6, 0.8]]),
    Truncate(2),
    Columns(1, 3),
    Chain((Center([1.0, 2.0, 3.0]), Normalize(), Truncate(2))),
    Mix((Columns(0, 2), Project(*drawn((2, 3), 2))), (1.0, 0.5)),
]
EACH_BY_NAME = pytest.mark.parametrize("transform", EACH, ids=lambda one: one.kind)
ROWS = np.array([[3.0, 0.0, 4.0], [-1.0, 2.0, 0.5], [0.0, 0.0, 7.0]])


@EACH_BY_NAME
def test_batch_equals_rows_one_by_one_and_leaves_its_input_alone(transform):
    before = ROWS.copy()
    whole = transform.apply(ROWS)
    alone = np.concatenate([transform.apply(row[None]) for row in ROWS])
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    np.testing.assert_array_equal(ROWS, before)
    assert whole.dtype == np.float32
    assert whole.shape == (3, transform.out_dim(3))
    assert transform.apply(np.empty((0, 3))).shape == (0, transform.out_dim(3))


@EACH_BY_NAME
def test_single_vector_is_refused_with_what_to_do(transform):
    with pytest.raises(InvalidVector, match=r"\(3,\).*put a single vector into a list"):
        transform.apply(ROWS[0])


@pytest.mark.parametrize("transform", EACH[1:], ids=lambda one: one.kind)
def test_vectors_of_another_encoder_are_refused(transform):
    with pytest.raises(InvalidVector, match="1"):
        transform.apply(np.ones((2, 1)))


@pytest.mark.parametrize(
    ("transform", "rows", "expected"),
    [
        (Normalize(), [[3, 0, 4], [0, 0, 0]], [[3 / 5, 0, 4 / 5], [0, 0, 0]]),
        (
            Project([[1.0, 2.0], [0.0, -1.0]], [10.0, 20.0]),
            [[3, 5]],
            [[3 + 2 * 5 + 10, -5 + 20]],
        ),
        (
            Perceptron([[1.0, 0.0], [0.0, 1.0]], [0.0, -1.0], [[2.0, 3.0]], [0.5]),
            [[4, 3], [-4, 3], [-4, -3]],
            [[8 + 6 + 0.5], [6 + 0.5], [0.5]],  # negative hidden values are cut
        ),
        (PCA([1, 0, 0], [[0, 0.6, 0.8]]), [[5, 1, 2]], [[0.6 * 1 + 0.8 * 2]]),
        (Truncate(2), [[3, 4, 9]], [[3 / 5, 4 / 5]]),
        (
            Mix((Columns(0, 2), Columns(2, 4)), (2.0, 1.0)),
            [[9, 0, 0, 0.1]],
            [[2 / 5**0.5, 1 / 5**0.5]],  # of unit vectors
        ),
        (Chain((Center([1, 0]), Normalize())), [[4, 4]], [[0.6, 0.8]]),
        (Chain((Normalize(), Center([1, 0]))), [[4, 4]], [[0.5**0.5 - 1, 0.5**0.5]]),
    ],
    ids=[
        "lengths-are-divided-out-and-zeros-stay", "multiplied-and-added",
        "negative-hidden-values-are-cut", "coordinates-from-the-mean",
        "first-numbers-at-length-one", "unit-vectors-added-by-weight",
        "steps-in-order", "steps-in-the-other-order",
    ],
)  # fmt: skip
def test_worked_by_hand(transform, rows, expected):
    np.testing.assert_allclose(transform.apply(rows), expected, rtol=1e-6)


def test_mix_with_all_weight_on_one_part_is_that_part():
    part = Chain((Project([[1.0, 2.0, 0.0]], [3.0]), Normalize()))
    other = Project([[7.0, 0.0, 1.0]], [0.0])
    np.testing.assert_allclose(
        Mix((part, other), (1.0, 0.0)).apply(ROWS), part.apply(ROWS), rtol=1e-6
    )


def test_empty_chain_changes_nothing():
    np.testing.assert_array_equal(Chain().apply(ROWS), ROWS.astype(np.float32))
    assert Chain().out_dim(None) is None


def test_chain_whose_steps_do_not_fit_is_refused_when_it_is_made():
    with pytest.raises(InvalidSetting, match="2 numbers, but was fitted on.*3"):
        Chain((Truncate(2), Center([1.0, 2.0, 3.0])))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Mix((Truncate(2), Truncate(3)), (1, 1)), r"\[2, 3\]"),
        (lambda: Mix((Truncate(2),), (1, 1)), "1 parts"),
        (lambda: Mix((Truncate(2), Truncate(2)), (0, 0)), "not all 0"),
        (lambda: Mix((Truncate(2),), (float("nan"),)), "nan"),
        (lambda: Truncate(0), "dim is 0"),
        (lambda: Columns(3, 3), "stop is 3"),
    ],
)
def test_bad_settings_are_refused(wrong, says):
    with pytest.raises(InvalidSetting, match=says):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Center([1.0, float("nan")]), "not finite"),
        (lambda: Center([]), "at least one"),
        (lambda: Center([[1.0]]), r"\(1, 1\)"),
        (lambda: Project([[1.0, 2.0]], [1.0, 2.0]), "2 numbers; expected 1"),
        (lambda: PCA([1.0], [[1.0, 0.0]]), "1 numbers; expected 2"),
        (lambda: Perceptron([[1.0]], [1.0, 2.0], [[1.0]], [0.0]), "hidden_bias"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(wrong, says):
    with pytest.raises(InvalidVector, match=says):
        wrong()  # type: ignore[operator]


def test_equal_content_is_equal_and_any_change_is_not():
    one = Chain((Center([1.0, 2.0]), Normalize()))
    assert one == Chain((Center([1.0, 2.0]), Normalize()))
    assert len({one, Chain((Center([1.0, 2.0]), Normalize()))}) == 1
    others = [
        Chain((Center([1.0, 2.5]), Normalize())),
        Chain((Normalize(), Center([1.0, 2.0]))),
        Chain((Chain((Center([1.0, 2.0]),)), Normalize())),
        Chain((Center([1.0, 2.0]),)),
    ]
    assert len({one.sha, *(other.sha for other in others)}) == 5
    assert one != "a string"


def test_arrays_are_copied_and_cannot_be_written():
    mean = np.array([1.0, 2.0])
    center = Center(mean)
    mean[0] = 99.0
    assert center.mean.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        center.mean[0] = 99.0
