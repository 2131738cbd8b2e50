"""Closed-form fits: planted answers are found, edges are refused."""

from __future__ import annotations

import numpy as np
import pytest

from llama_index_mmrag.alignment import (
    RunningMean,
    fit_center,
    fit_directions,
    fit_pca,
    fit_pca_randomised,
    fit_procrustes,
    fit_ridge,
)
from llama_index_mmrag.errors import InvalidSetting, InvalidVector


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_center_subtracts_the_mean():
    center = fit_center([[1.0, 4.0], [3.0, 0.0]])
    assert center.mean.tolist() == [2.0, 2.0]
    assert center.apply([[1.0, 4.0], [3.0, 0.0]]).tolist() == [[-1, 2], [1, -2]]


def test_running_mean_is_the_mean_whatever_the_batches(rng):
    rows = rng.normal(100.0, 1.0, size=(257, 5))
    seen = RunningMean()
    for batch in np.split(rows, [1, 1, 50, 200]):  # one of them empty
        seen = seen.updated(batch)
    halves = RunningMean().updated(rows[200:]).merged(RunningMean().updated(rows[:200]))
    assert seen.n == halves.n == 257
    np.testing.assert_allclose(seen.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(halves.mean, seen.mean, rtol=1e-13)


def test_running_mean_is_not_changed_by_an_update():
    before = RunningMean().updated([[1.0]])
    before.updated([[5.0]])
    assert (before.n, before.mean.tolist()) == (1, [1.0])
    assert before.merged(RunningMean()) is before


def test_mean_of_nothing_of_other_lengths_and_of_bad_rows_is_refused():
    with pytest.raises(InvalidVector, match="mean of 0 vectors"):
        fit_center(np.empty((0, 3)))
    with pytest.raises(InvalidVector, match="of 2 numbers got vectors of 3"):
        RunningMean().updated([[1.0, 2.0]]).updated([[1.0, 2.0, 3.0]])
    with pytest.raises(InvalidVector, match="not finite, first in row 1"):
        RunningMean().updated([[1.0, 2.0], [1.0, np.inf]])


def test_pca_finds_planted_directions_and_their_shares(rng):
    plane, _ = np.linalg.qr(rng.normal(size=(6, 2)))
    coordinates = rng.normal(size=(400, 2)) * [3.0, 1.0]
    coordinates -= coordinates.mean(axis=0)
    coordinates @= np.linalg.svd(coordinates, full_matrices=False)[2].T  # uncorrelated
    rows = coordinates @ plane.T + 5.0
    pca, shares = fit_pca(rows, 2)
    np.testing.assert_allclose(np.abs(pca.components @ plane), np.eye(2), atol=1e-5)
    variances = (coordinates**2).sum(axis=0)
    np.testing.assert_allclose(shares, variances / variances.sum(), rtol=1e-9)
    back = pca.apply(rows) @ pca.components + pca.mean
    np.testing.assert_allclose(back, rows, atol=1e-4)


def test_pca_of_batches_equals_pca_of_the_whole(rng):
    rows = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) + 10.0
    whole, shares = fit_pca(rows, 4)
    parts, same = fit_pca(iter(np.split(rows, [7, 7, 100])), 4)
    np.testing.assert_allclose(parts.components, whole.components, atol=1e-6)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(same, shares, rtol=1e-9)


def test_randomised_pca_equals_the_exact_one_and_its_seed_decides(rng):
    rows = rng.normal(size=(200, 40)) * np.geomspace(10, 0.1, 40)
    exact, shares = fit_pca(rows, 5)
    found, same = fit_pca_randomised(rows, 5, seed=1)
    np.testing.assert_allclose(found.components, exact.components, atol=1e-4)
    np.testing.assert_allclose(same, shares, rtol=1e-6)
    assert found == fit_pca_randomised(rows, 5, seed=1)[0]


@pytest.mark.parametrize("fit", [fit_pca, fit_pca_randomised])
@pytest.mark.parametrize("n_components", [0, 4, 9])
def test_more_components_than_there_are_is_refused(fit, n_components):
    rows = np.arange(12.0).reshape(4, 3) ** 2
    with pytest.raises(InvalidSetting, match="at least 1 and at most 3"):
        fit(rows, n_components)


@pytest.mark.parametrize("fit", [fit_pca, fit_pca_randomised])
def test_pca_of_equal_vectors_is_refused(fit):
    with pytest.raises(InvalidVector, match="All vectors are the same"):
        fit(np.ones((5, 3)), 2)


def test_ridge_solves_its_normal_equation_with_few_and_with_many_pairs(rng):
    for n, dim in ((6, 9), (40, 9)):
        x, y = rng.normal(2.0, size=(n, dim)), rng.normal(size=(n, 3))
        head = fit_ridge(x, y, penalty=2.0)
        xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
        left = head.weight @ (xc.T @ xc + 2.0 * np.eye(dim))
        np.testing.assert_allclose(left, yc.T @ xc, atol=1e-4)
        # The intercept lets the mean of the inputs meet the mean of the targets.
        at_mean = head.apply(x.mean(axis=0)[None])[0]
        np.testing.assert_allclose(at_mean, y.mean(axis=0), atol=1e-6)


def test_ridge_with_a_huge_penalty_always_says_the_mean():
    head = fit_ridge([[1.0], [2.0]], [[4.0], [8.0]], penalty=1e12)
    np.testing.assert_allclose(head.apply([[77.0]]), [[6.0]], rtol=1e-6)


def test_ridge_of_one_pair_says_that_pair():
    head = fit_ridge([[1.0, 2.0]], [[3.0]])
    assert head.apply([[1.0, 2.0], [9.0, 9.0]]).tolist() == [[3.0], [3.0]]


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan"), float("inf")])
def test_ridge_without_a_penalty_is_refused(penalty):
    with pytest.raises(InvalidSetting, match="penalty.*greater than 0"):
        fit_ridge([[1.0]], [[1.0]], penalty=penalty)


def test_procrustes_finds_a_planted_rotation_and_shift(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    x = rng.normal(size=(20, 5))
    head = fit_procrustes(x, x @ rotation.T + 3.0)
    np.testing.assert_allclose(head.weight, rotation, atol=1e-6)
    np.testing.assert_allclose(head.bias, np.full(5, 3.0), atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_procrustes_between_different_lengths_is_orthonormal(shape, rng):
    d, k = shape
    weight = fit_procrustes(rng.normal(size=(30, d)), rng.normal(size=(30, k))).weight
    small = weight @ weight.T if k < d else weight.T @ weight
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-5)


@pytest.mark.parametrize("fit", [fit_ridge, fit_procrustes])
@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([[1.0]], [[1.0], [2.0]], "1 inputs and 2 targets"),
        (np.empty((0, 2)), np.empty((0, 2)), "at least one pair"),
        ([[np.nan]], [[1.0]], "inputs have.*not finite"),
        ([[1.0]], [[np.nan]], "targets have.*not finite"),
    ],
)
def test_pairs_that_are_none_are_refused(fit, x, y, says):
    with pytest.raises(InvalidVector, match=says):
        fit(x, y)


def test_directions_keep_dot_products_best_whatever_the_batches(rng):
    rows = rng.normal(size=(300, 8)) * np.geomspace(5, 0.1, 8) + 1.0
    whole = fit_directions(rows, 3)
    parts = fit_directions(iter(np.split(rows, [7, 7, 100])), 3)
    np.testing.assert_allclose(parts.weight, whole.weight, atol=1e-5)
    assert not whole.bias.any()
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    best = (left[:, :3] * values[:3]) @ right[:3]  # Eckart and Young
    np.testing.assert_allclose(whole.apply(rows) @ whole.weight, best, atol=1e-3)


def test_directions_of_zeros_and_more_than_there_are_are_refused():
    with pytest.raises(InvalidVector, match="All vectors are zeros"):
        fit_directions(np.zeros((5, 3)), 2)
    with pytest.raises(InvalidSetting, match="n_components is 4"):
        fit_directions(np.ones((5, 3)), 4)
    assert fit_directions(np.eye(3)[:1], 1).weight.tolist() == [[1.0, 0.0, 0.0]]
