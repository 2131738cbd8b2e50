"""Transforms with a closed form: means, PCA, ridge, Procrustes. Pure numpy.

All are fitted in float64 and need no more than a few matrix products, so a few hundred
pairs and a second are enough; heads that need training are in `alignment.train`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llama_index_mmrag.alignment.running_mean import RunningMean, checked_rows
from llama_index_mmrag.alignment.settings import checked_seed
from llama_index_mmrag.alignment.transforms import PCA, Center, Project
from llama_index_mmrag.checks import number, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import Vectors, WideVectors

_OVERSAMPLING = 10
_POWER_ITERATIONS = 4
"""Halko, Martinsson and Tropp, https://arxiv.org/abs/0909.4061, section 4.5, find that
a few power iterations are enough where singular values fall slowly."""


def fit_center(vectors: ArrayLike) -> Center:
    """Return the transform that subtracts the mean of `vectors`.

    Args:
        vectors: Those of one modality, normalised as they will be when it is applied,
            `(n, d)`; n at least 1. Ten already help, 10,000 are plenty.

    Raises:
        InvalidVector: No vectors, or values that are not finite.
    """
    return RunningMean().updated(vectors).center()


@checked
def fit_pca(
    vectors: NDArray[Any] | Iterable[NDArray[Any]], n_components: int
) -> tuple[PCA, WideVectors]:
    """Return the directions of largest variance, and each one's share of it.

    Exact and in one pass: batches add to a mean and a `(d, d)` covariance (Chan et al.
    1983), so n may be larger than memory and the batches' sizes change nothing.

    Args:
        vectors: One array `(n, d)`, or an iterable of such arrays.
        n_components: How many directions to keep; at most d and at most n - 1.

    Returns:
        The transform, and the share of the variance along each kept direction, in
        [0, 1], falling.

    Raises:
        InvalidSetting: `n_components` is out of its range.
        InvalidVector: Values that are not finite, or all vectors are the same.
    """
    n, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
    for rows in _batches(vectors):
        if not n:
            mean = np.zeros(rows.shape[1])
            scatter = np.zeros((rows.shape[1], rows.shape[1]))
        batch_mean = rows.mean(axis=0)
        shift = batch_mean - mean
        centred = rows - batch_mean
        total = n + len(rows)
        scatter += centred.T @ centred
        scatter += np.outer(shift, shift) * (n * len(rows) / total)
        mean, n = mean + shift * (len(rows) / total), total
    _check_components(n_components, n, len(mean))
    values, directions = np.linalg.eigh(scatter)  # rising
    return _pca(mean, values[::-1], directions.T[::-1], n_components, values.sum())


def fit_pca_randomised(
    vectors: ArrayLike, n_components: int, *, seed: int = 0
) -> tuple[PCA, WideVectors]:
    """Return what `fit_pca` does, for long vectors: cost O(n d k) instead of O(n d²).

    Halko et al., https://arxiv.org/abs/0909.4061, algorithm 4.4 with 10 more
    directions than asked and 4 power iterations.

    Args:
        vectors: Shape `(n, d)`, in memory.
        n_components: How many directions to keep; at most d and at most n - 1.
        seed: Of the random start.

    Raises:
        InvalidSetting: `n_components` is out of its range.
        InvalidVector: Values that are not finite, or all vectors are the same.
    """
    rows = checked_rows(vectors, "The vectors")
    n, dim = rows.shape
    _check_components(n_components, n, dim)
    mean = rows.mean(axis=0)
    centred = rows - mean
    n_sampled = min(n_components + _OVERSAMPLING, n, dim)
    start = np.random.default_rng(checked_seed(seed)).standard_normal((dim, n_sampled))
    basis, _ = np.linalg.qr(centred @ start)  # (n, n_sampled)
    for _ in range(_POWER_ITERATIONS):
        other, _ = np.linalg.qr(centred.T @ basis)
        basis, _ = np.linalg.qr(centred @ other)
    _, values, directions = np.linalg.svd(basis.T @ centred, full_matrices=False)
    return _pca(mean, values**2, directions, n_components, (centred**2).sum())


@checked
def fit_directions(
    vectors: NDArray[Any] | Iterable[NDArray[Any]], n_components: int
) -> Project:
    """Return the `n_components` directions that keep the most of all dot products.

    PCA without the mean: the eigenvectors of `Σ x x^T`. Where neighbours are ranked by
    dot product or cosine this is the better cut: a mean that is taken away moves every
    cosine, and directions that keep dot products keep their order (Eckart and Young
    1936). Exact and in one pass over the batches, as `fit_pca`.

    Args:
        vectors: One array `(n, d)`, or an iterable of such arrays, normalised as they
            will be when it is applied.
        n_components: How many directions to keep; at most d and at most n.

    Raises:
        InvalidSetting: `n_components` is out of its range.
        InvalidVector: Values that are not finite, or zeros alone.
    """
    n, moment = 0, np.zeros((0, 0))
    for rows in _batches(vectors):
        moment = rows.T @ rows + (moment if n else 0.0)
        n += len(rows)
    _check_components(n_components, n + 1, len(moment))
    if not np.trace(moment) > 0:
        raise InvalidVector(
            "All vectors are zeros; expected directions. Give other vectors."
        )
    _, directions = np.linalg.eigh(moment)  # rising
    kept = _signed(directions.T[::-1][:n_components])
    return Project(kept, np.zeros(n_components, dtype=np.float32))


def fit_ridge(
    inputs: ArrayLike, targets: ArrayLike, *, penalty: float = 10.0
) -> Project:
    """Return the linear map of least squared error, with small weights.

    Minimises `Σ |x_i W^T + b - y_i|² + penalty |W|²`; b is not penalised.

    Args:
        inputs: Shape `(n, d)`; n may be smaller than d.
        targets: Row i belongs to row i of `inputs`, `(n, k)`.
        penalty: Greater than 0; the larger, the nearer to "always the mean". On the
            scale of the inputs' squares: standardised inputs need about 10 to 1,000.

    Raises:
        InvalidSetting: `penalty` is not greater than 0.
        InvalidVector: No pairs, or the arrays differ in length or are not finite.
    """
    number(penalty, "penalty", more_than=0, advice="Give 10.0 to start with.")
    x, y, mean_x, mean_y = _centred_pairs(inputs, targets)
    n, dim = x.shape
    if n < dim:  # the same solution from the smaller system
        weight = y.T @ np.linalg.solve(x @ x.T + penalty * np.eye(n), x)
    else:
        weight = np.linalg.solve(x.T @ x + penalty * np.eye(dim), x.T @ y).T
    return _as_project(weight, mean_x, mean_y)


def fit_procrustes(inputs: ArrayLike, targets: ArrayLike) -> Project:
    """Return the rotation (or reflection) and shift that bring pairs together best.

    `W = U V^T` of `Y^T X = U S V^T`, both centred (Schönemann 1966). Cosines among the
    inputs' differences are kept, so nothing is lost and few pairs are enough; it
    cannot help where the two spaces have different shapes. For different lengths the
    rows or the columns of W are orthonormal.

    Args:
        inputs: Shape `(n, d)`.
        targets: Row i belongs to row i of `inputs`, `(n, k)`.

    Raises:
        InvalidVector: No pairs, or the arrays differ in length or are not finite.
    """
    x, y, mean_x, mean_y = _centred_pairs(inputs, targets)
    left, _, right = np.linalg.svd(y.T @ x, full_matrices=False)
    return _as_project(left @ right, mean_x, mean_y)


def _batches(vectors: NDArray[Any] | Iterable[NDArray[Any]]) -> Iterator[WideVectors]:
    for batch in [vectors] if isinstance(vectors, np.ndarray) else vectors:
        rows = checked_rows(batch, "The vectors")
        if len(rows):
            yield rows


def _centred_pairs(
    inputs: ArrayLike, targets: ArrayLike
) -> tuple[WideVectors, WideVectors, WideVectors, WideVectors]:
    x, y = checked_rows(inputs, "inputs"), checked_rows(targets, "targets")
    if len(x) != len(y) or not len(x):
        raise InvalidVector(
            f"Got {len(x)!r} inputs and {len(y)!r} targets; expected as many of each, "
            f"and at least one pair. Row i of both must belong together."
        )
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    return x - mean_x, y - mean_y, mean_x, mean_y


def _as_project(
    weight: WideVectors, mean_x: WideVectors, mean_y: WideVectors
) -> Project:
    bias = mean_y - weight @ mean_x
    return Project(weight.astype(np.float32), bias.astype(np.float32))


def _check_components(n_components: int, n: int, dim: int) -> None:
    advice = f"There are {n} vectors of {dim} numbers: ask for fewer, or give more."
    most = max(min(dim, n - 1), 0)
    whole(n_components, "n_components", at_least=1, at_most=most, advice=advice)


def _signed(directions: WideVectors) -> Vectors:
    # A direction and its opposite are equally right: the largest number is positive.
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    return np.asarray(directions * signs[:, None], dtype=np.float32)


def _pca(
    mean: WideVectors,
    variances: WideVectors,
    directions: WideVectors,
    k: int,
    total: float,
) -> tuple[PCA, WideVectors]:
    if not total > 0:
        raise InvalidVector(
            "All vectors are the same; expected some variance. Give vectors of "
            "different texts or pictures."
        )
    components = _signed(directions[:k])
    shares = np.clip(variances[:k] / total, 0.0, 1.0)
    return PCA(mean.astype(np.float32), components), shares
