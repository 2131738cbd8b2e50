"""Vectors: one name for their arrays, their direction, and their unit length. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.errors import InvalidVector

Vectors: TypeAlias = "NDArray[np.float32]"
"""One vector a row, `(n, dim)`, where no other shape is said."""

WideVectors: TypeAlias = "NDArray[np.float64]"
"""The same where sums are taken that float32 would round."""


def has_direction(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each row whether it points anywhere, shape `(n,)`.

    A row of zeros does not, nor does one with NaN or infinity: no cosine with it is
    defined, and one such row spoils a whole search graph.

    Args:
        vectors: Shape `(n, dim)`.

    Example:
        >>> has_direction(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]])).tolist()
        [True, False, False]
    """
    return np.asarray(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))


def unit_rows(vectors: NDArray[Any]) -> Vectors:
    """Return the rows scaled to length 1; a row of zeros stays a row of zeros.

    Each row is divided by its largest number first, so that neither 1e200 nor 1e-200
    is squared out of a float's range.

    Args:
        vectors: Shape `(n, dim)`, of any float type; n may be 0.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).round(3).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    return np.asarray(_unit(vectors), dtype=np.float32)


def wide_unit_rows(vectors: WideVectors) -> WideVectors:
    """Return what `unit_rows` does, in float64."""
    return np.asarray(_unit(vectors), dtype=np.float64)


def stored_rows(
    rows: Sequence[Sequence[float]], names: Sequence[str], *, cosine: bool
) -> Vectors:
    """Return vectors as a store takes them: finite, and under cosine of length 1.

    The engine would scale them itself, but leaves very short vectors as they are and
    overflows on very long ones.

    Args:
        rows: At least one, all of one length.
        names: What each row is called in messages, such as "The query vector".
        cosine: Whether they are compared by cosine.

    Raises:
        InvalidVector: One is not finite, or, under cosine, all zeros.

    Example:
        >>> stored_rows([[0.0, 2.0]], ["The query vector"], cosine=True).tolist()
        [[0.0, 1.0]]
    """
    wide = np.asarray(rows, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        stored = unit_rows(wide) if cosine else wide.astype(np.float32)
        sizes = np.einsum("ij,ij->i", stored, stored)  # (n,)
    least = np.finfo(np.float32).tiny if cosine else 0
    if ((sizes >= least) & (sizes < np.inf)).all():
        return stored
    for name, row in zip(names, stored, strict=True):
        if not np.isfinite(row).all():
            raise InvalidVector(
                f"{name} holds NaN or infinity (or numbers beyond float32). Expected "
                "finite numbers: one NaN spoils the whole search graph. Check the "
                "encoder's output for this input."
            )
        if cosine and not row.any():
            raise InvalidVector(
                f"{name} is all zeros, which has no direction, so its cosine to "
                "anything is undefined. Check the encoder's output for this input."
            )
    return stored


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)  # (n, 1)
    largest[largest == 0] = 1
    scaled = vectors / largest
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))  # (n, 1)
    lengths[lengths == 0] = 1
    return np.asarray(scaled / lengths)
