"""Projection heads: what is learned on each side, as tensors and as a transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.alignment.chain import Chain
from llama_index_mmrag.alignment.transforms import (
    Normalize,
    Perceptron,
    Project,
    Transform,
)
from llama_index_mmrag.checks import number, one_of, whole
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    from torch import Generator, Tensor

HeadKind: TypeAlias = Literal["identity", "linear", "mlp"]
Weights: TypeAlias = "Mapping[str, Tensor]"

Weight = TypeVar("Weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The shape of what is learned on one side.

    Attributes:
        kind: "identity": the encoder's vectors as they are; "linear": `W x + b`;
            "mlp": one hidden layer with `max(x, 0)`.
        hidden: Size of the hidden layer of "mlp".
        dropout: Share of the inputs, and of the hidden values, that is left out at
            random in each step of training; in [0, 1). Frozen features overfit
            without.
    """

    kind: HeadKind = "linear"
    hidden: int = 2048
    dropout: float = 0.5

    def __post_init__(self) -> None:
        one_of(self.kind, "A head's kind", get_args(HeadKind))
        hidden = whole(self.hidden, "A head's hidden", at_least=1)
        object.__setattr__(self, "hidden", hidden)
        number(self.dropout, "A head's dropout", at_least=0, less_than=1)


IDENTITY = Head(kind="identity", dropout=0.0)
"""A frozen side: its vectors only get length 1."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Inputs less their mean, divided by their deviation; folded into the weights."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Vectors) -> Scaling:
        """Return the scaling of the training vectors, `(n, d)`."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        deviation = vectors.std(axis=0, dtype=np.float64)
        # A column that never changes says nothing: it is not blown up.
        return cls(mean, np.where(deviation > 1e-6, deviation, 1.0))

    def apply(self, vectors: Vectors) -> Vectors:
        """Return scaled vectors, `(n, d)`."""
        return ((vectors - self.mean) / self.deviation).astype(np.float32)

    def folded(
        self, weight: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> tuple[Vectors, Vectors]:
        """Return weight and bias that do the same to vectors that are not scaled."""
        plain = weight / self.deviation
        shifted = bias - plain @ self.mean
        return plain.astype(np.float32), shifted.astype(np.float32)


def of_side(
    named: Mapping[str, Weight], side: str, separator: str = "."
) -> dict[str, Weight]:
    """Return what is named `<side>.<name>`, by its name."""
    prefix = f"{side}{separator}"
    return {
        name.removeprefix(prefix): weight
        for name, weight in named.items()
        if name.startswith(prefix)
    }


def fresh_weights(
    head: Head, in_dim: int, out_dim: int, random: Generator
) -> dict[str, Tensor]:
    """Return random weights, as `torch.nn.Linear` draws them; none for "identity".

    Args:
        head: The shape.
        in_dim: Length of the encoder's vectors.
        out_dim: Length of the shared space.
        random: Decides the draw; torch's global state is not touched.
    """
    import torch

    if head.kind == "identity":
        return {}
    sizes = {"": (in_dim, out_dim)}
    if head.kind == "mlp":
        sizes = {"hidden_": (in_dim, head.hidden), "": (head.hidden, out_dim)}
    weights = {}
    for layer, (n_in, n_out) in sizes.items():
        bound = n_in**-0.5
        for name, shape in {"weight": (n_out, n_in), "bias": (n_out,)}.items():
            drawn = torch.empty(shape).uniform_(-bound, bound, generator=random)
            weights[f"{layer}{name}"] = drawn
    return weights


def forward(
    head: Head, weights: Weights, inputs: Tensor, random: Generator | None = None
) -> Tensor:
    """Return unit rows in the shared space, `(n, out_dim)`.

    Args:
        head: The shape.
        weights: As from `fresh_weights`.
        inputs: Scaled vectors, `(n, in_dim)`.
        random: Decides the dropout; None: none, as outside of training.
    """
    from torch.nn.functional import linear, normalize

    if head.kind == "identity":
        return normalize(inputs, dim=1)
    rows = _dropped(inputs, head.dropout, random)
    if head.kind == "mlp":
        hidden = linear(rows, weights["hidden_weight"], weights["hidden_bias"])
        rows = _dropped(hidden.relu(), head.dropout, random)
    return normalize(linear(rows, weights["weight"], weights["bias"]), dim=1)


def as_transform(
    head: Head, weights: Mapping[str, NDArray[np.float32]], scaling: Scaling
) -> Transform:
    """Return the trained head as a transform of the encoder's own vectors."""
    if head.kind == "identity":
        return Normalize()
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    if head.kind == "linear":
        return Chain(
            (Project(*scaling.folded(wide["weight"], wide["bias"])), Normalize())
        )
    first = scaling.folded(wide["hidden_weight"], wide["hidden_bias"])
    return Chain((Perceptron(*first, weights["weight"], weights["bias"]), Normalize()))


def _dropped(rows: Tensor, share: float, random: Generator | None) -> Tensor:
    import torch

    if random is None or share == 0:
        return rows
    # Drawn where the generator lives: the same numbers on every device.
    kept = (torch.rand(rows.shape, generator=random) >= share).to(rows.device)
    return rows * kept / (1 - share)
