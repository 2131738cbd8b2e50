"""One training of projection heads, epoch by epoch: the part that holds tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, isfinite, log, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_index_mmrag.alignment.checkpoint import State
from llama_index_mmrag.alignment.fitting import fit_procrustes, fit_ridge
from llama_index_mmrag.alignment.found import recall_both_ways
from llama_index_mmrag.alignment.heads import (
    Head,
    Scaling,
    as_transform,
    forward,
    fresh_weights,
    of_side,
)
from llama_index_mmrag.alignment.losses import info_nce, triplet
from llama_index_mmrag.alignment.pairs import Pairs
from llama_index_mmrag.alignment.settings import Epoch, TrainSettings
from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.files.npz import Arrays
from llama_index_mmrag.vectors import unit_rows

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_SCALE = log(100.0)
"""CLIP's bound on 1 / temperature, https://arxiv.org/abs/2103.00020, section 2.5."""

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What torch's AdamW keeps for each weight."""


class Training:
    """Tensors of one training: inputs, weights, optimiser.

    Args:
        pairs: What is learned from.
        held_out: What is judged by.
        heads: Of texts, of pictures.
        dim: Length of the shared space.
        settings: How.
        device: What torch computes on.

    Raises:
        InvalidSetting: A closed-form start that does not fit the heads.
    """

    def __init__(
        self,
        pairs: Pairs,
        held_out: Pairs,
        heads: tuple[Head, Head],
        dim: int,
        settings: TrainSettings,
        *,
        device: str = "cpu",
    ) -> None:
        import torch

        self.settings = settings
        self._device = device
        self._heads = dict(zip(("text", "image"), heads, strict=True))
        rows = {"text": pairs.texts, "image": pairs.images}
        judged = {"text": held_out.texts, "image": held_out.images}
        self._scaling = {
            side: Scaling(np.zeros(rows[side].shape[1]), np.ones(rows[side].shape[1]))
            if head.kind == "identity"
            else Scaling.of(rows[side])
            for side, head in self._heads.items()
        }
        self._inputs, self._judged = (
            {
                side: torch.from_numpy(scaling.apply(part[side])).to(device)
                for side, scaling in self._scaling.items()
            }
            for part in (rows, judged)
        )
        self._groups = torch.from_numpy(pairs.groups).to(device)
        self._held_out_groups = held_out.groups
        random = torch.Generator().manual_seed(settings.seed)
        self._weights: dict[str, Tensor] = {
            "log_scale": torch.tensor(-log(settings.start_temperature))
        }
        for side, head in self._heads.items():
            drawn = fresh_weights(head, rows[side].shape[1], dim, random)
            self._weights |= {f"{side}.{name}": array for name, array in drawn.items()}
        if settings.start != "random":
            self._start_closed(settings.start, pairs)
        for name, weight in self._weights.items():
            self._weights[name] = weight.to(device).requires_grad_()
        learned = [w for name, w in self._weights.items() if name != "log_scale"]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": learned, "weight_decay": settings.weight_decay},
                {"params": [self._weights["log_scale"]], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        self._n_steps = 0

    def _start_closed(self, start: str, pairs: Pairs) -> None:
        import torch

        kinds = {side: head.kind for side, head in self._heads.items()}
        if sorted(kinds.values()) != ["identity", "linear"]:
            raise InvalidSetting(
                f"start={start!r} with the heads {kinds!r}; expected one linear head "
                f"and one identity. Use start='random', or freeze one side."
            )
        side = "image" if kinds["image"] == "linear" else "text"
        targets = unit_rows(pairs.texts if side == "image" else pairs.images)
        inputs = self._inputs[side].cpu().numpy()
        if start == "ridge":
            fitted = fit_ridge(inputs, targets, penalty=self.settings.ridge_penalty)
        else:
            fitted = fit_procrustes(inputs, targets)
        self._weights[f"{side}.weight"] = torch.tensor(fitted.weight)
        self._weights[f"{side}.bias"] = torch.tensor(fitted.bias)

    def begin(self) -> State:
        """Return the state before the first step, judged as epoch 0."""
        start = self._arrays()
        zeroth = Epoch(0, None, self._recall(), self._temperature())
        return State(start, {}, start, 0, (zeroth,), 0)

    def resume(self, state: State) -> State:
        """Put a checkpoint's weights and moments in place; return it."""
        import torch

        for name, weight in self._weights.items():
            weight.data = torch.tensor(state.weights[name], device=self._device)
            # The step's number stays on the CPU, where AdamW keeps it.
            moments = {
                moment: torch.tensor(
                    state.moments[f"{name}/{moment}"],
                    device="cpu" if moment == "step" else self._device,
                )
                for moment in MOMENTS
                if f"{name}/{moment}" in state.moments
            }
            if moments:
                self._optimizer.state[weight] = moments
        self._n_steps = state.n_steps
        return state

    def epoch(self, number: int) -> float | None:
        """Take one pass over the pairs; return the mean loss, None if not finite."""
        import torch

        # Order and dropout follow the epoch's number alone: nothing else is needed to
        # go on from a checkpoint.
        random = torch.Generator().manual_seed(self.settings.seed + 7919 * number)
        order = torch.randperm(len(self._groups), generator=random)
        order = order.to(self._device)
        losses = []
        for start in range(0, len(order), self.settings.batch_size):
            batch = order[start : start + self.settings.batch_size]
            texts, images = (
                forward(head, self._of(side), self._inputs[side][batch], random)
                for side, head in self._heads.items()
            )
            loss = self._loss(texts, images, self._groups[batch])
            if not isfinite(float(loss.detach())):
                return None
            losses.append(float(loss.detach()) * len(batch))
            self._step(loss, len(order))
        # Normalising hides weights that have run away: their squares show them.
        if not all(
            isfinite(float(w.detach().square().sum())) for w in self._weights.values()
        ):
            return None
        return sum(losses) / len(order)

    def _loss(self, texts: Tensor, images: Tensor, groups: Tensor) -> Tensor:
        if self.settings.loss == "triplet":
            return triplet(texts, images, groups, margin=self.settings.margin)
        return info_nce(texts, images, groups, self._weights["log_scale"])

    def _step(self, loss: Tensor, n_pairs: int) -> None:
        settings = self.settings
        n_all = -(-n_pairs // settings.batch_size) * settings.epochs
        rate = settings.learning_rate * one_cycle(self._n_steps / max(n_all - 1, 1))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._weights["log_scale"].data.clamp_(max=LARGEST_SCALE)
        self._n_steps += 1

    def judged(self, state: State, number: int, loss: float) -> State:
        """Return the state after an epoch, with the best weights so far."""
        epoch = Epoch(number, loss, self._recall(), self._temperature())
        weights = self._arrays()
        best = max(past.recall for past in state.history)
        # Of equal epochs the later one: it has seen more, at a lower rate.
        is_best = epoch.recall >= best
        return State(
            weights=weights,
            moments={
                f"{name}/{moment}": _as_array(self._optimizer.state[weight][moment])
                for name, weight in self._weights.items()
                if weight in self._optimizer.state
                for moment in MOMENTS
            },
            best=weights if is_best else state.best,
            best_epoch=number if is_best else state.best_epoch,
            history=(*state.history, epoch),
            n_steps=self._n_steps,
        )

    def _recall(self) -> float:
        import torch

        with torch.no_grad():
            texts, images = (
                _as_array(forward(head, self._of(side), self._judged[side]))
                for side, head in self._heads.items()
            )
        # A thing's pairs have one picture here: the first stands for all.
        groups, k = self._held_out_groups, self.settings.top_k
        return sum(recall_both_ways(texts, images, groups, groups, k=k)) / 2

    def _temperature(self) -> float:
        return float((-self._weights["log_scale"].detach()).exp())

    def _of(self, side: str) -> dict[str, Tensor]:
        return of_side(self._weights, side)

    def _arrays(self) -> Arrays:
        return {name: _as_array(weight) for name, weight in self._weights.items()}

    def transforms(self, best: Arrays) -> tuple[Transform, Transform]:
        """Return what texts and what pictures go through with these weights."""
        text, image = (
            as_transform(head, of_side(best, side), self._scaling[side])
            for side, head in self._heads.items()
        )
        return text, image


def out_of_patience(figures: Sequence[Any], patience: int) -> bool:
    """Return whether so many epochs came after the best one, larger being better."""
    return len(figures) - 1 - figures.index(max(figures)) >= patience


def one_cycle(progress: float) -> float:
    """Return the share of the highest learning rate at `progress` in [0, 1].

    Up from 1/25 in the first 30 %, then down to nearly 0, along cosines: the defaults
    of torch's `OneCycleLR`.

    Example:
        >>> [round(one_cycle(p), 3) for p in (0.0, 0.3, 0.65, 1.0)]
        [0.04, 1.0, 0.5, 0.0]
    """
    lowest, peak_at, last = 1 / 25, 0.3, 1 / 25e4
    if progress < peak_at:
        start, end, part = lowest, 1.0, progress / peak_at
    else:
        start, end, part = 1.0, last, (progress - peak_at) / (1 - peak_at)
    return end + (start - end) * (1 + cos(pi * part)) / 2


def _as_array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy().copy()
