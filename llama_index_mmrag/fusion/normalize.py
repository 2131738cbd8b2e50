"""Normalisers: one list's scores brought to a scale that other lists share.

Each takes the scores of one ranked list, shape (n,), and returns as many. They see only
the list that came back, so their output depends on how long it is; calibration against
a collection's background does not (see the design).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float64]
Normalizer: TypeAlias = Callable[[Scores], Scores]


def identity(scores: Scores) -> Scores:
    """Return the scores as they are: for channels whose scores share a scale."""
    return scores


def min_max(scores: Scores) -> Scores:
    """Return (s - min) / (max - min), in [0, 1].

    A list whose scores are all equal, one of a single hit too, gets 1 throughout: it
    was found, and nothing in it is worse. (Lee, SIGIR 1997,
    https://doi.org/10.1145/258525.258587)

    >>> min_max(np.array([0.9, 0.5, 0.1])).round(6).tolist()
    [1.0, 0.5, 0.0]
    """
    if scores.size == 0:
        return scores
    low, high = scores.min(), scores.max()
    if high == low:
        return np.ones_like(scores)
    normalized: Scores = (scores - low) / (high - low)
    return normalized


def max_scaled(scores: Scores) -> Scores:
    """Return s / max |s|, in [-1, 1]; all zeros stay zeros."""
    largest = float(np.abs(scores).max(initial=0.0))
    return scores if largest == 0.0 else scores / largest


def z_score(scores: Scores) -> Scores:
    """Return (s - mean) / standard deviation (population); all equal gives zeros.

    A list's mean hit gets 0, the same as an entity that the list lacks, and hits below
    it subtract from their entity. (Montague and Aslam, CIKM 2001,
    https://doi.org/10.1145/502585.502657)
    """
    spread = _spread(scores, ddof=0)
    if spread == 0.0:
        return np.zeros_like(scores)
    normalized: Scores = (scores - scores.mean()) / spread
    return normalized


def three_sigma(scores: Scores) -> Scores:
    """Return (s - (mean - 3σ)) / 6σ, cut to [0, 1]; all equal gives 0.5.

    Distribution-based score fusion, as Qdrant and Haystack name it; σ is the sample's
    (n - 1).
    """
    spread = _spread(scores, ddof=1)
    if spread == 0.0:
        return np.full_like(scores, 0.5)
    normalized: Scores = (scores - scores.mean()) / (6.0 * spread) + 0.5
    return normalized.clip(0.0, 1.0)


def _spread(scores: Scores, *, ddof: int) -> float:
    # Rounding gives equal scores a standard deviation just above 0, and z-scores of
    # -1: [0.1, 0.1, 0.1] has a mean of 0.10000000000000002.
    if scores.size == 0 or scores.min() == scores.max():
        return 0.0
    return float(scores.std(ddof=ddof))


NORMALIZERS: dict[str, Normalizer] = {
    rule.__name__: rule
    for rule in (identity, min_max, max_scaled, z_score, three_sigma)
}
"""Normalisers by name, for settings that come from a file or a command line."""
