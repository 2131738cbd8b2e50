"""What is stored and what is asked, checked and of unit length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.checks import rows as checked
from llama_index_mmrag.compression.recall import NOBODY, Ids
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import Vectors, has_direction, unit_rows

FEWEST_QUERIES = 20
_FEWEST_VECTORS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries, and which stored row each of them is.

    Attributes:
        vectors: Unit rows, `(q, d)`.
        left_out: Row of the stored vectors that is the query itself; -1: none.
        origin: In words.
    """

    vectors: Vectors
    left_out: Ids
    origin: str

    def where(self, rows: Ids) -> Asked:
        """Return some of them."""
        return Asked(self.vectors[rows], self.left_out[rows], self.origin)

    def __len__(self) -> int:
        """Return how many."""
        return len(self.vectors)


def queries_of(
    rows: Vectors, queries: ArrayLike | None, most: int, rng: np.random.Generator
) -> Asked:
    """Return the user's queries in random order; None: stored vectors instead.

    Raises:
        InvalidVector: Too few queries, of another length, zeros, or not finite.
    """
    if queries is not None:
        return given_queries(queries, rows.shape[1], most, rng)
    return stored_queries(rows, most, rng)


def stored_queries(rows: Vectors, most: int, rng: np.random.Generator) -> Asked:
    """Return up to half of the stored vectors as queries, each to leave itself out."""
    picked = rng.permutation(len(rows))[: min(most, len(rows) // 2)]
    origin = f"{len(picked)} stored vectors, each leaving itself out"
    return Asked(rows[picked], picked, origin)


def given_queries(
    queries: ArrayLike, dim: int, most: int, rng: np.random.Generator
) -> Asked:
    """Return the user's queries in random order.

    Raises:
        InvalidVector: Too few, of another length, zeros, or not finite.
    """
    rows = checked_unit_rows(queries, "The queries")
    if len(rows) < FEWEST_QUERIES or rows.shape[1] != dim:
        raise InvalidVector(
            f"Got {len(rows)!r} queries of {rows.shape[1]!r} numbers; expected at "
            f"least {FEWEST_QUERIES} of {dim!r}. Encode more with the encoder "
            f"that filled the collection, or give none: stored vectors are asked then."
        )
    picked = rows[rng.permutation(len(rows))[:most]]
    nobody = np.full(len(picked), NOBODY, dtype=np.int64)
    return Asked(picked, nobody, f"{len(picked)} given")


def checked_unit_rows(vectors: ArrayLike, what: str) -> Vectors:
    """Return vectors with length 1, `(n, d)`, float32.

    Raises:
        InvalidVector: Some are zeros or not finite.
    """
    rows = checked(vectors, what)
    zeros = np.flatnonzero(~has_direction(rows))
    if len(zeros):
        raise InvalidVector(
            f"{what} have {len(zeros)} rows of zeros, first row {int(zeros[0])!r}; "
            f"expected directions. Leave them out."
        )
    return unit_rows(rows)


def enough_vectors(rows: Vectors) -> None:
    """Do nothing if there are vectors enough to measure on.

    Raises:
        InvalidVector: There are not.
    """
    if len(rows) < _FEWEST_VECTORS:
        raise InvalidVector(
            f"Got {len(rows)!r} vectors; expected at least {_FEWEST_VECTORS}: fewer "
            f"prove no recall, and have nothing to save. Leave them as they are."
        )
