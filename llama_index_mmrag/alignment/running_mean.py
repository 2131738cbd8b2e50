"""A mean that keeps up with arriving vectors. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.alignment.transforms import Center
from llama_index_mmrag.checks import rows, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import WideVectors


@dataclass(frozen=True, slots=True, eq=False)
class RunningMean:
    """The mean of the vectors seen so far, in float64.

    `mean' = mean + (batch mean - mean) * m / (n + m)` (Welford 1962, in batches): the
    order and the sizes of batches change nothing but rounding. A `Center` made from it
    is a snapshot: vectors that were stored with an older mean keep that mean, so fit
    anew and rebuild when the mean has moved far.

    Example:
        >>> seen = RunningMean().updated([[1.0, 0.0], [3.0, 0.0]]).updated([[5.0, 3.0]])
        >>> seen.n, seen.mean.tolist()
        (3, [3.0, 1.0])
    """

    n: int = 0
    """Vectors seen."""
    mean: WideVectors | None = None
    """Shape `(d,)`; None before the first vector."""

    def __post_init__(self) -> None:
        whole(self.n, "RunningMean: n", at_least=0)
        if self.mean is not None:
            rows([self.mean], "RunningMean: mean")

    def updated(self, vectors: ArrayLike) -> RunningMean:
        """Return the mean with `vectors` added, `(m, d)`; m may be 0.

        Raises:
            InvalidVector: Another number of columns, or values that are not finite.
        """
        seen = checked_rows(vectors, "RunningMean")
        if not len(seen):
            return self
        return self.merged(RunningMean(len(seen), seen.mean(axis=0)))

    @checked
    def merged(self, other: RunningMean) -> RunningMean:
        """Return the mean of both sets of vectors.

        Raises:
            InvalidVector: The two are of vectors of different lengths.
        """
        if other.mean is None:
            return self
        if self.mean is None:
            return other
        if len(self.mean) != len(other.mean):
            raise InvalidVector(
                f"RunningMean over vectors of {len(self.mean)!r} numbers got vectors "
                f"of {len(other.mean)!r}. Keep one mean for each modality and encoder."
            )
        n = self.n + other.n
        return RunningMean(n, self.mean + (other.mean - self.mean) * (other.n / n))

    def center(self) -> Center:
        """Return the transform that subtracts the mean as it is now.

        Raises:
            InvalidVector: No vector was seen.
        """
        if self.mean is None:
            raise InvalidVector(
                "A mean of 0 vectors; expected at least one. Give some vectors of the "
                "modality."
            )
        return Center(self.mean.astype(np.float32))


def checked_rows(vectors: ArrayLike, of: str) -> WideVectors:
    """Return finite vectors as float64, `(n, d)`; n may be 0.

    Raises:
        InvalidVector: Another number of axes, or values that are not finite.
    """
    rows(vectors, of, advice="Leave out what the encoder could not read.")
    return np.asarray(vectors, dtype=np.float64)
