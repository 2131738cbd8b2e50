"""Transforms made of other transforms, and of columns. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.checks import listed, number, whole
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.vectors import Vectors, unit_rows


@dataclass(frozen=True, eq=False, slots=True)
class Chain(Transform):
    """Transforms one after the other; an empty chain changes nothing.

    Example:
        >>> from llama_index_mmrag.alignment import Center, Normalize
        >>> steps = Chain((Center(mean=[1.0, 0.0]), Normalize()))
        >>> steps.apply([[4.0, 4.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]

    Raises:
        InvalidSetting: A step does not take what the one before it gives.
    """

    kind: ClassVar[str] = "chain"

    steps: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        steps = listed(self.steps, "Chain: steps", Transform)
        object.__setattr__(self, "steps", steps)
        self.out_dim(None)

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return the last step's length."""
        for step in self.steps:
            in_dim = step.out_dim(in_dim)
        return in_dim

    def _apply(self, rows: Vectors) -> Vectors:
        for step in self.steps:
            rows = step.apply(rows)
        return rows


@dataclass(frozen=True, eq=False, slots=True)
class Columns(Transform):
    """The columns from `start` to before `stop`.

    For vectors that are several vectors side by side, such as a picture's features and
    its training-free vector.

    Example:
        >>> Columns(start=1, stop=3).apply([[1.0, 2.0, 3.0, 4.0]]).tolist()
        [[2.0, 3.0]]
    """

    kind: ClassVar[str] = "columns"

    start: int
    stop: int

    def __post_init__(self) -> None:
        start = whole(self.start, "Columns: start", at_least=0)
        stop = whole(self.stop, "Columns: stop", at_least=start + 1)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return `stop - start`."""
        _long_enough(self.kind, in_dim, self.stop)
        return self.stop - self.start

    def _apply(self, rows: Vectors) -> Vectors:
        return np.array(rows[:, self.start : self.stop], dtype=np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class Truncate(Transform):
    """The first `dim` numbers, scaled to length 1.

    Good for encoders that were trained for it (Matryoshka representation learning,
    https://arxiv.org/abs/2205.13147) and after `PCA`; for others it throws away
    whatever happens to stand behind.

    Example:
        >>> Truncate(dim=2).apply([[3.0, 4.0, 12.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """

    kind: ClassVar[str] = "truncate"

    dim: int

    def __post_init__(self) -> None:
        dim = whole(self.dim, "Truncate: dim", at_least=1)
        object.__setattr__(self, "dim", dim)

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return `dim`."""
        _long_enough(self.kind, in_dim, self.dim)
        return self.dim

    def _apply(self, rows: Vectors) -> Vectors:
        return unit_rows(rows[:, : self.dim])


@dataclass(frozen=True, eq=False, slots=True)
class Mix(Transform):
    """Several transforms of the same vectors, added up: `unit(Σ w_i unit(part_i(x)))`.

    A learned head and the vectors it started from, say: what was learned from few
    pairs helps where it applies, and the rest still works elsewhere.

    Example:
        >>> both = Mix((Columns(0, 2), Columns(2, 4)), weights=(3.0, 4.0))
        >>> both.apply([[1.0, 0.0, 0.0, 1.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]

    Raises:
        InvalidSetting: The parts end in different lengths, or the weights do not fit.
    """

    kind: ClassVar[str] = "mix"

    parts: tuple[Transform, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        parts = listed(self.parts, "Mix: parts", Transform)
        object.__setattr__(self, "parts", parts)
        given = listed(self.weights, "Mix: weights", float, int, np.number)
        weights = [number(w, "Mix: a weight", at_least=0) for w in given]
        object.__setattr__(self, "weights", tuple(weights))
        if len(self.parts) != len(self.weights) or not any(self.weights):
            raise InvalidSetting(
                f"Mix got {len(self.parts)!r} parts with the weights {self.weights!r}; "
                f"expected one weight for each part, not all 0. Give "
                f"weights=(1.0, 0.5), say."
            )
        self.out_dim(None)

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return the length that all parts end in."""
        dims = {part.out_dim(in_dim) for part in self.parts} - {None}
        if len(dims) > 1:
            raise InvalidSetting(
                f"Mix got parts that end in {sorted(d for d in dims if d)!r} numbers; "
                f"expected one length. Project the parts to the same length."
            )
        return dims.pop() if dims else None

    def _apply(self, rows: Vectors) -> Vectors:
        total = np.zeros(1, dtype=np.float32)
        for part, weight in zip(self.parts, self.weights, strict=True):
            total = total + np.float32(weight) * unit_rows(part.apply(rows))
        return unit_rows(total)


def _long_enough(kind: str, in_dim: int | None, least: int) -> None:
    if in_dim is not None and in_dim < least:
        raise InvalidSetting(
            f"{kind} got vectors of {in_dim!r} numbers; expected at least {least}. "
            f"Take fewer, or use the encoder that this was made for."
        )
