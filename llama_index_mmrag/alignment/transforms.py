"""What a vector goes through between its encoder and its collection. Pure numpy.

A transform is a value: fitted once (see `alignment.fitting`, `alignment.train`), then
applied to any number of vectors, and told from another by its content.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.errors import InvalidSetting, InvalidVector
from llama_index_mmrag.vectors import Vectors, unit_rows


class Transform(ABC):
    """A map from vectors `(n, d)` to vectors `(n, k)`, row by row.

    No row depends on the other rows, so a batch and its rows one by one give the same.
    Equal content means equal transforms: `==` and `hash` compare `sha`.
    """

    kind: ClassVar[str]
    """Name in a saved artefact."""

    def apply(self, vectors: ArrayLike) -> Vectors:
        """Return the transformed vectors, `(n, k)`, float32; the input is unchanged.

        Args:
            vectors: Shape `(n, d)`; n may be 0.

        Raises:
            InvalidVector: The array has another number of axes or of columns.
        """
        rows = _as_array(vectors, self.kind)
        if rows.ndim != 2:
            raise InvalidVector(
                f"{self.kind} got an array of shape {rows.shape!r}; expected (n, d): "
                f"put a single vector into a list."
            )
        try:
            self.out_dim(rows.shape[1])
        except InvalidSetting as error:
            raise InvalidVector(str(error)) from error
        return self._apply(rows)

    @abstractmethod
    def _apply(self, rows: Vectors) -> Vectors: ...

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return how long vectors get; None if that depends on an unknown input.

        Args:
            in_dim: Length of the vectors that go in; None if it is not known.

        Raises:
            InvalidSetting: Vectors of that length do not fit.
        """
        return in_dim

    def _expect(self, in_dim: int | None, fitted: int) -> None:
        if in_dim is not None and in_dim != fitted:
            raise InvalidSetting(
                f"{self.kind} got vectors of {in_dim!r} numbers, but was fitted on "
                f"vectors of {fitted!r}. Use the encoder it was fitted with, or fit "
                f"it again."
            )

    def _freeze(self, **axes: int) -> None:
        """Keep the named fields as arrays with so many axes that nobody can write."""
        for name, n_axes in axes.items():
            named = f"{type(self).__name__}.{name}"
            object.__setattr__(self, name, _frozen(getattr(self, name), named, n_axes))

    @property
    def sha(self) -> str:
        """SHA-256 of the content: kind, settings and arrays; 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for part in _content(self):
            digest.update(part)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and self.sha == other.sha

    def __hash__(self) -> int:
        return hash(self.sha)


def _content(value: Any) -> Iterator[bytes]:
    # Lengths go in, so that neighbouring parts cannot be divided otherwise.
    if isinstance(value, Transform):
        yield f"<{value.kind}>".encode()
        for field in dataclasses.fields(value):  # type: ignore[arg-type]
            yield f"{field.name}=".encode()
            yield from _content(getattr(value, field.name))
    elif isinstance(value, np.ndarray):
        yield f"float32{value.shape}".encode()
        yield np.ascontiguousarray(value, dtype="<f4").tobytes()
    elif isinstance(value, tuple):
        yield f"[{len(value)}]".encode()
        for part in value:
            yield from _content(part)
    else:
        yield repr(value).encode()


def _as_array(values: ArrayLike, name: str) -> Vectors:
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinity
            array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidVector(
            f"{name} got no array of numbers ({error}); expected one. Check what it "
            f"is made of."
        ) from error
    return array


def _frozen(values: ArrayLike, name: str, ndim: int) -> Vectors:
    array: Vectors = np.array(_as_array(values, name))
    if array.ndim != ndim or not array.size:
        raise InvalidVector(
            f"{name} has shape {array.shape!r}; expected {ndim} "
            f"{'axis' if ndim == 1 else 'axes'} and at least one number. Check how it "
            f"was fitted."
        )
    if not np.isfinite(array).all():
        raise InvalidVector(
            f"{name} has values that are not finite; expected finite numbers. Look "
            f"for NaN in the vectors that it was fitted on."
        )
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False, slots=True)
class Normalize(Transform):
    """Rows scaled to length 1; a row of zeros stays a row of zeros.

    Example:
        >>> Normalize().apply([[3.0, 4.0]]).round(3).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """

    kind: ClassVar[str] = "normalize"

    def _apply(self, rows: Vectors) -> Vectors:
        return unit_rows(rows)


@dataclass(frozen=True, eq=False, slots=True)
class Center(Transform):
    """Rows less a mean: `x - mean`.

    One mean for each modality (query text, document text, document image) takes away
    the constant part of the modality gap: https://arxiv.org/abs/2507.19054. Normalise
    before (the means are those of unit vectors) and after.

    Example:
        >>> Center(mean=[1.0, 0.0]).apply([[3.0, 4.0]]).tolist()
        [[2.0, 4.0]]
    """

    kind: ClassVar[str] = "center"

    mean: Vectors
    """Shape `(d,)`."""

    def __post_init__(self) -> None:
        self._freeze(mean=1)

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return `d`."""
        self._expect(in_dim, len(self.mean))
        return len(self.mean)

    def _apply(self, rows: Vectors) -> Vectors:
        return rows - self.mean


@dataclass(frozen=True, eq=False, slots=True)
class Project(Transform):
    """A linear map: `x W^T + b`.

    Example:
        >>> Project(weight=[[1.0, 1.0]], bias=[0.5]).apply([[3.0, 4.0]]).tolist()
        [[7.5]]
    """

    kind: ClassVar[str] = "project"

    weight: Vectors
    """Shape `(k, d)`."""
    bias: Vectors
    """Shape `(k,)`."""

    def __post_init__(self) -> None:
        self._freeze(weight=2, bias=1)
        _fits("Project.bias", self.bias, len(self.weight))

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return `k`."""
        self._expect(in_dim, self.weight.shape[1])
        return len(self.weight)

    def _apply(self, rows: Vectors) -> Vectors:
        return np.asarray(rows @ self.weight.T + self.bias, dtype=np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class Perceptron(Transform):
    """One hidden layer: `max(x V^T + c, 0) W^T + b`.

    Example:
        >>> unit = Perceptron([[1.0], [-1.0]], [0.0, 0.0], [[1.0, 1.0]], [0.0])
        >>> unit.apply([[-3.0], [2.0]]).tolist()  # the absolute value
        [[3.0], [2.0]]
    """

    kind: ClassVar[str] = "perceptron"

    hidden_weight: Vectors
    """V, shape `(h, d)`."""
    hidden_bias: Vectors
    """c, shape `(h,)`."""
    weight: Vectors
    """W, shape `(k, h)`."""
    bias: Vectors
    """b, shape `(k,)`."""

    def __post_init__(self) -> None:
        self._freeze(hidden_weight=2, hidden_bias=1, weight=2, bias=1)
        _fits("Perceptron.hidden_bias", self.hidden_bias, len(self.hidden_weight))
        _fits("A row of Perceptron.weight", self.weight[0], len(self.hidden_weight))
        _fits("Perceptron.bias", self.bias, len(self.weight))

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return `k`."""
        self._expect(in_dim, self.hidden_weight.shape[1])
        return len(self.weight)

    def _apply(self, rows: Vectors) -> Vectors:
        hidden = np.maximum(rows @ self.hidden_weight.T + self.hidden_bias, 0)
        return np.asarray(hidden @ self.weight.T + self.bias, dtype=np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class PCA(Transform):
    """Coordinates along the directions of largest variance: `(x - mean) V^T`.

    Distances are kept as far as the left-out directions carry none. Cosines are those
    of centred vectors: fit and apply it on every modality, or on none.

    Example:
        >>> PCA(mean=[1.0, 1.0], components=[[0.0, 1.0]]).apply([[9.0, 3.0]]).tolist()
        [[2.0]]
    """

    kind: ClassVar[str] = "pca"

    mean: Vectors
    """Shape `(d,)`."""
    components: Vectors
    """Orthonormal rows, largest variance first, `(k, d)`."""

    def __post_init__(self) -> None:
        self._freeze(mean=1, components=2)
        _fits("PCA.mean", self.mean, self.components.shape[1])

    def out_dim(self, in_dim: int | None) -> int | None:
        """Return `k`."""
        self._expect(in_dim, len(self.mean))
        return len(self.components)

    def _apply(self, rows: Vectors) -> Vectors:
        return np.asarray((rows - self.mean) @ self.components.T, dtype=np.float32)


def _fits(name: str, array: Vectors, expected: int) -> None:
    if len(array) != expected:
        raise InvalidVector(
            f"{name} has {len(array)!r} numbers; expected {expected!r}, as the other "
            f"arrays. Check that they belong together."
        )
