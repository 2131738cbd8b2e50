"""One fine-tuning, step by step: the part that holds weights and optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import cos, isfinite, pi
from typing import TYPE_CHECKING, cast

import numpy as np

from llama_index_mmrag.alignment.finetuning.checkpoint import State, Tensors
from llama_index_mmrag.alignment.finetuning.examples import Examples
from llama_index_mmrag.alignment.finetuning.gradients import (
    NotFinite,
    accumulate_gradients,
    check_finite,
)
from llama_index_mmrag.alignment.finetuning.joint import Batch, JointModel
from llama_index_mmrag.alignment.finetuning.pictures import read_pictures
from llama_index_mmrag.alignment.finetuning.report import FinetuneEpoch
from llama_index_mmrag.alignment.finetuning.settings import FinetuneSettings
from llama_index_mmrag.alignment.finetuning.trained_weights import new_optimizer
from llama_index_mmrag.alignment.found import recall_both_ways
from llama_index_mmrag.alignment.training import LARGEST_SCALE, MOMENTS
from llama_index_mmrag.embeddings.batches import cut
from llama_index_mmrag.embeddings.clip_torch import to_numpy
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    from torch import Tensor

_JUDGED_AT_ONCE = 64

OnStep = Callable[[State, dict[str, float]], None]


class Training:
    """Weights, optimiser and data of one fine-tuning.

    Args:
        model: What learns.
        examples: What is learned from.
        judged: What is judged by; the same as `examples` where nothing is held out.
        settings: How.
        num_threads: Threads that decode pictures ahead of the model.
    """

    def __init__(
        self,
        model: JointModel,
        examples: Examples,
        judged: Examples,
        settings: FinetuneSettings,
        *,
        num_threads: int,
    ) -> None:
        import torch

        self.settings = settings
        self._model = model
        self._examples = examples
        self._judged = judged
        self._num_threads = num_threads
        self._ids = {
            part: [
                cut(ids, model.clip.max_tokens)
                for ids in model.clip.token_ids([pair.text for pair in part.pairs])
            ]
            for part in {examples, judged}
        }
        self.weights = model.trained()
        self._optimizer = new_optimizer(self.weights, settings)
        self._scaler = (
            torch.amp.GradScaler(model.clip.device.type)
            if model.dtype == torch.float16
            else None
        )
        self.steps_per_epoch = -(-len(examples) // settings.batch_size)
        self.n_all_steps = self.steps_per_epoch * settings.epochs

    def begin(self) -> State:
        """Return the state before the first step, judged as epoch 0."""
        start = self._copied()
        return State(start, {}, start, 0, (self._epoch(0, {}),), 0)

    def resume(self, state: State) -> None:
        """Put a checkpoint's weights and moments in place."""
        self.put(state.weights)
        for name, weight in self.weights.items():
            moments = {
                # AdamW counts its steps on the CPU.
                moment: kept.clone() if moment == "step" else kept.to(weight.device)
                for moment in MOMENTS
                if (kept := state.moments.get(f"{name}/{moment}")) is not None
            }
            if moments:
                self._optimizer.state[weight] = moments
        if self._scaler is not None and state.scaler:
            self._scaler.load_state_dict(state.scaler)

    def put(self, weights: Tensors) -> None:
        """Put weights in place."""
        import torch

        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])

    def epoch(self, state: State, on_step: OnStep) -> State:
        """Return the state after the rest of the epoch, judged.

        Args:
            state: At an epoch's start, or within it.
            on_step: Gets the state after each step, its weights and moments those of
                the epoch's start (see `snapshot`), and the step's losses.

        Raises:
            NotFinite: A loss, a gradient or a weight is no number.
        """
        number, done = divmod(state.n_steps, self.steps_per_epoch)
        number += 1
        order = self._order(number)[done * self.settings.batch_size :]
        self._model.train(True)
        sums = dict(state.sums)
        for batch in self._batches(self._examples, order, epoch=number):
            losses = self._step(batch, state.n_steps)
            for task, loss in losses.items():
                sums[task] = sums.get(task, 0.0) + loss * len(batch)
            state = replace(state, n_steps=state.n_steps + 1, sums=sums)
            on_step(state, losses)
        n = len(self._examples)
        means = {task: total / n for task, total in sums.items()}
        return self._with_epoch(state, self._epoch(number, means))

    def snapshot(self, state: State) -> State:
        """Return a state within an epoch with the weights and moments as they are."""
        return replace(
            state,
            weights=self._copied(),
            moments={
                f"{name}/{moment}": _copied(self._optimizer.state[weight][moment])
                for name, weight in self.weights.items()
                if weight in self._optimizer.state
                for moment in MOMENTS
            },
            scaler=dict(self._scaler.state_dict()) if self._scaler else {},
        )

    def figure(self, epoch: FinetuneEpoch) -> tuple[float, float]:
        """Return what is compared between epochs: recall, then the captions."""
        recall = epoch.recall if self._model.contrasts else 0.0
        return recall, -(epoch.captioning_loss or 0.0)

    def _with_epoch(self, state: State, epoch: FinetuneEpoch) -> State:
        best = max(map(self.figure, state.history))
        state = self.snapshot(replace(state, history=(*state.history, epoch), sums={}))
        # Of equal epochs the later one: it has seen more, at a lower rate.
        if self.figure(epoch) < best:
            return state
        return replace(state, best=state.weights, best_epoch=epoch.epoch)

    def _step(self, batch: Batch, n_steps: int) -> dict[str, float]:
        import torch

        settings, optimizer, scaler = self.settings, self._optimizer, self._scaler
        share = warmup_cosine(n_steps, self.n_all_steps, warmup=settings.warmup)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
        optimizer.zero_grad()
        losses = accumulate_gradients(
            self._model,
            batch,
            micro_batch_size=settings.micro_batch_size,
            seed=self._seed(2, n_steps),
            scaler=scaler,
        )
        if scaler is not None:
            scaler.unscale_(optimizer)
        norm = float(
            torch.nn.utils.clip_grad_norm_(
                self.weights.values(), settings.max_gradient_norm
            )
        )
        # float16 overflows now and then: such a step is left out and the scale halved.
        if not isfinite(norm) and (scaler is None or scaler.get_scale() < 1):
            raise NotFinite(f"the gradient's length became {norm}")
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        temperature = self.weights.get("model.logit_scale")
        # SigLIP has no such bound.
        if temperature is not None and "model.logit_bias" not in self.weights:
            temperature.data.clamp_(max=LARGEST_SCALE)
        return losses

    def _epoch(self, number: int, losses: dict[str, float]) -> FinetuneEpoch:
        """Return what the weights reach on the pairs that judge.

        Raises:
            NotFinite: A weight or a loss is no number.
        """
        import torch

        if not all(bool(w.isfinite().all()) for w in self.weights.values()):
            raise NotFinite("a weight is no number any more")
        self._model.train(False)
        sides: tuple[list[Vectors], ...] = ([], [])
        nats, n_tokens = 0.0, 0
        order = range(len(self._judged))
        captions = self._model.head is not None
        with torch.no_grad():
            for batch in self._batches(self._judged, order, size=_JUDGED_AT_ONCE):
                outputs = self._model.outputs(batch, vectors=True, captioning=captions)
                for rows, vectors in zip(sides, outputs[:2], strict=True):
                    rows.append(to_numpy(cast("Tensor", vectors)))
                if outputs.captioning is not None:
                    nats += float(outputs.captioning)
                    n_tokens += self._model.token_count(batch)
        captioning = nats / n_tokens if captions else None
        if captioning is not None:
            check_finite({"captioning": captioning})
        texts, images = map(np.concatenate, sides)
        groups, shas = self._judged.groups, np.array(self._judged.picture_shas)
        recalls = recall_both_ways(texts, images, groups, shas, k=1)
        return FinetuneEpoch(number, losses, *recalls, captioning)

    def _batches(
        self,
        part: Examples,
        order: Sequence[int],
        *,
        size: int | None = None,
        epoch: int | None = None,
    ) -> Iterator[Batch]:
        size = size or self.settings.batch_size
        seed = self._seed(3, epoch) if self.settings.augment and epoch else None
        paths = [part.pairs[row].image for row in order]
        pixels = read_pictures(
            self._model.clip,
            paths,
            num_threads=self._num_threads,
            augment_seed=seed,
            n_ahead=2 * size,
        )
        for start in range(0, len(order), size):
            rows = list(order[start : start + size])
            yield Batch(
                [next(pixels) for _ in rows],
                [self._ids[part][row] for row in rows],
                part.groups[rows],
            )

    def _order(self, epoch: int) -> list[int]:
        random = np.random.default_rng((self.settings.seed, 1, epoch))
        order: list[int] = random.permutation(len(self._examples)).tolist()
        return order

    def _seed(self, purpose: int, number: int) -> int:
        # Order and dropout follow the step's number alone: nothing else is needed to
        # go on from a checkpoint.
        state = np.random.SeedSequence((self.settings.seed, purpose, number))
        return int(state.generate_state(1)[0])

    def _copied(self) -> Tensors:
        return {name: _copied(weight) for name, weight in self.weights.items()}


def warmup_cosine(step: int, n_steps: int, *, warmup: float) -> float:
    """Return the share of the highest rate: up in a line, then down along a cosine.

    `(step + 1) / w` in the first `w = round(warmup n_steps)` steps, then
    `(1 + cos(pi t)) / 2` with t from 0 to below 1 (https://arxiv.org/abs/1608.03983).
    No step has rate 0.

    Args:
        step: From 0.
        n_steps: Of the whole training, at least 1.
        warmup: Share of the steps that rise, in [0, 1).

    Example:
        >>> [round(warmup_cosine(s, 6, warmup=0.34), 3) for s in range(6)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    n_rising = round(warmup * n_steps)
    if step < n_rising:
        return (step + 1) / n_rising
    return (1 + cos(pi * (step - n_rising) / (n_steps - n_rising))) / 2


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
