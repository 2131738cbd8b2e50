"""A small autoencoder: fewer dimensions, learned by torch, applied by numpy."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.alignment.chain import Chain
from llama_index_mmrag.alignment.fitting import fit_directions
from llama_index_mmrag.alignment.heads import of_side
from llama_index_mmrag.alignment.settings import checked_seed
from llama_index_mmrag.alignment.training import one_cycle
from llama_index_mmrag.alignment.transforms import (
    Normalize,
    Perceptron,
    Project,
    Transform,
)
from llama_index_mmrag.checks import needs, number, whole
from llama_index_mmrag.checks import rows as checked_rows
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.files.npz import Arrays
from llama_index_mmrag.vectors import Vectors, unit_rows

if TYPE_CHECKING:
    from torch import Tensor

_LOG = logging.getLogger(__name__)
_FEWEST = 20
_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSettings:
    """How an autoencoder is trained.

    Attributes:
        hidden: Size of a hidden layer with `max(x, 0)`, at least twice the number of
            dimensions, which it needs to start as PCA; None: a linear encoder.
        epochs: Passes over the vectors, at least 1.
        batch_size: At least 2.
        learning_rate: The largest one, of a cycle that rises and falls.
        similarity_weight: How much cosines count beside reconstruction; 0 or more. A
            code that reconstructs well may still order neighbours badly: searches see
            cosines of codes alone.
        seed: Decides the split, the order and the start; torch's random state is
            neither read nor changed.
    """

    hidden: int | None = None
    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 1e-3
    similarity_weight: float = 100.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "batch_size": 2}.items():
            count = whole(getattr(self, name), name, at_least=least)
            object.__setattr__(self, name, count)
        if self.hidden is not None:
            whole(self.hidden, "hidden", at_least=1)
        object.__setattr__(self, "seed", checked_seed(self.seed))
        number(self.learning_rate, "learning_rate", more_than=0)
        number(self.similarity_weight, "similarity_weight", at_least=0)


@dataclass(frozen=True, slots=True)
class TrainedAutoencoder:
    """The best encoder of a training, and how it went.

    Attributes:
        encoder: What vectors go through; codes have unit length.
        losses: On held-out vectors, the start (PCA) first, then after each epoch.
        best_epoch: Whose weights these are; 0: training never beat PCA.
        stopped: "finished", or "not finite" because the loss or a weight was no number
            any more; the encoder is the best one before that.
    """

    encoder: Transform
    losses: tuple[float, ...]
    best_epoch: int
    stopped: Literal["finished", "not finite"]


@checked
def fit_autoencoder(
    vectors: ArrayLike, dim: int, *, settings: AutoencoderSettings | None = None
) -> TrainedAutoencoder:
    """Return an encoder into `dim` numbers from which the vectors can be told again.

    Minimises `mean |x - D(E(x))|² + w mean (E(x)·E(y) - x·y)²` over unit vectors, E
    with unit codes, D linear or with one hidden layer as E. It starts as PCA without a
    mean, where it stays unless held-out vectors (a tenth) are better off.

    Args:
        vectors: Shape `(n, d)`, n at least 20; only their directions count.
        dim: Length of the codes; less than d and less than n.
        settings: None: `AutoencoderSettings()`.

    Raises:
        InvalidSetting: `dim` or `hidden` is out of its range.
        InvalidVector: Too few vectors, values that are not finite, or zeros alone.
        MissingExtra: torch is not installed.
    """
    settings = AutoencoderSettings() if settings is None else settings
    rows = unit_rows(checked_rows(vectors, "The vectors"))
    _check(rows, dim, settings)
    needs("torch", extra="train", for_="Training an autoencoder")
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(rows))
    n_held_out = max(2, round(_HELD_OUT * len(rows)))
    held_out, learned = rows[order[:n_held_out]], rows[order[n_held_out:]]
    run = _Run(learned, held_out, dim, settings)
    best, losses, best_epoch = run.weights(), [run.judged()], 0
    stopped: Literal["finished", "not finite"] = "finished"
    for epoch in range(1, settings.epochs + 1):
        loss = run.epoch(epoch)
        if loss is None:
            _LOG.warning(
                "The loss was not finite in epoch %d: training stopped, the encoder "
                "of epoch %d is kept. Lower the learning rate to go on.",
                epoch, best_epoch,
            )  # fmt: skip
            stopped = "not finite"
            break
        losses.append(loss)
        if loss < min(losses[:-1]):
            best, best_epoch = run.weights(), epoch
    if "hidden_weight" in best:
        step: Transform = Perceptron(**best)
    else:
        step = Project(**best)
    encoder = Chain((Normalize(), step, Normalize()))
    return TrainedAutoencoder(encoder, tuple(losses), best_epoch, stopped)


class _Run:
    """Tensors of one training."""

    def __init__(
        self,
        learned: Vectors,
        held_out: Vectors,
        dim: int,
        settings: AutoencoderSettings,
    ) -> None:
        import torch

        self._settings = settings
        self._rows = torch.from_numpy(learned)
        self._held_out = torch.from_numpy(held_out)
        directions = torch.tensor(fit_directions(learned, dim).weight)  # (k, d)
        random = torch.Generator().manual_seed(settings.seed)
        # The transposed directions undo the projection as far as that is possible.
        self._weights = {
            f"{side}.{name}": weight
            for side, start in {"encoder": directions, "decoder": directions.T}.items()
            for name, weight in _start(start, settings.hidden, random).items()
        }
        for weight in self._weights.values():
            weight.requires_grad_()
        self._optimizer = torch.optim.AdamW(
            self._weights.values(), lr=settings.learning_rate, weight_decay=0.0
        )
        self._n_steps = 0

    def epoch(self, number: int) -> float | None:
        """Take one pass; return the held-out loss, None if anything is not finite."""
        import torch

        random = torch.Generator().manual_seed(self._settings.seed + 7919 * number)
        order = torch.randperm(len(self._rows), generator=random)
        size = self._settings.batch_size
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        for batch in batches:
            loss = self._loss(self._rows[batch])
            if not isfinite(float(loss.detach())):
                return None
            n_all = max(len(batches) * self._settings.epochs - 1, 1)
            rate = self._settings.learning_rate * one_cycle(self._n_steps / n_all)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self._n_steps += 1
        judged = self.judged()
        finite = isfinite(judged) and all(
            bool(weight.isfinite().all()) for weight in self._weights.values()
        )
        return judged if finite else None

    def judged(self) -> float:
        """Return the loss on held-out vectors."""
        import torch

        with torch.no_grad():
            return float(self._loss(self._held_out))

    def weights(self) -> Arrays:
        """Return copies of the encoder's weights."""
        learned = of_side(self._weights, "encoder")
        return {
            name: weight.detach().numpy().copy() for name, weight in learned.items()
        }

    def _loss(self, rows: Tensor) -> Tensor:
        from torch.nn.functional import normalize

        codes = self._through("encoder", rows)
        back = self._through("decoder", codes)
        unit = normalize(codes, dim=1)
        wrong = (rows - back).square().sum(dim=1).mean()
        skewed = (unit @ unit.T - rows @ rows.T).square().mean()
        return wrong + self._settings.similarity_weight * skewed

    def _through(self, side: str, rows: Tensor) -> Tensor:
        from torch.nn.functional import linear

        weights = of_side(self._weights, side)
        if "hidden_weight" in weights:
            hidden = linear(rows, weights["hidden_weight"], weights["hidden_bias"])
            rows = hidden.relu()
        return linear(rows, weights["weight"], weights["bias"])


def _start(directions: Tensor, hidden: int | None, random: object) -> dict[str, Tensor]:
    """Return a layer or two that begin as `x W^T`, W being `directions`."""
    import torch

    k, d = directions.shape
    if hidden is None:
        return {"weight": directions.clone(), "bias": torch.zeros(k)}
    # max(z, 0) - max(-z, 0) = z: the first units carry the narrow side through, with
    # its sign, and the others start as random units that nothing listens to yet.
    narrow = directions if k <= d else torch.eye(d)
    n = len(narrow)
    spare = torch.empty(hidden - 2 * n, d).uniform_(
        -(d**-0.5),
        d**-0.5,
        generator=random,  # type: ignore[arg-type]
    )
    carried = torch.eye(k) if k <= d else directions  # (k, n)
    return {
        "hidden_weight": torch.cat([narrow, -narrow, spare]),
        "hidden_bias": torch.zeros(hidden),
        "weight": torch.cat([carried, -carried, torch.zeros(k, len(spare))], dim=1),
        "bias": torch.zeros(k),
    }


def _check(rows: Vectors, dim: int, settings: AutoencoderSettings) -> None:
    n, in_dim = rows.shape
    if n < _FEWEST or not rows.any():
        raise InvalidVector(
            f"The autoencoder got {n!r} vectors{'' if n < _FEWEST else ' of zeros'}; "
            f"expected at least {_FEWEST} with a direction. Give more vectors, or use "
            f"Truncate."
        )
    most = min(in_dim - 1, n - max(2, round(_HELD_OUT * n)))
    advice = f"There are {n} vectors of {in_dim} numbers: ask for fewer, or give more."
    whole(dim, "dim", at_least=1, at_most=most, advice=advice)
    if settings.hidden is not None:
        advice = "It is twice dim at least. Give hidden=None for a linear encoder."
        whole(settings.hidden, "hidden", at_least=2 * dim, advice=advice)
