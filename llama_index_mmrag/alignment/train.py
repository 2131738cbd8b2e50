"""Training projection heads over two frozen encoders' vectors; needs torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tqdm.auto import tqdm

from llama_index_mmrag.alignment.checkpoint import (
    State,
    fingerprint,
    read_checkpoint,
    write_checkpoint,
)
from llama_index_mmrag.alignment.heads import IDENTITY, Head
from llama_index_mmrag.alignment.pairs import Pairs
from llama_index_mmrag.alignment.settings import Epoch, TrainSettings
from llama_index_mmrag.alignment.training import Training, out_of_patience
from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.checks import needs, one_of, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.embeddings.clip_torch import choose_device
from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainedHeads:
    """The best heads of a training, and how it went.

    Attributes:
        text: What vectors of texts go through; ends in unit length.
        image: What vectors of pictures go through; ends in unit length.
        best_epoch: Whose weights these are; 0: training never beat its start.
        history: Every epoch, with the start as epoch 0.
        stopped: "finished" after all epochs, "early" for want of a better recall,
            "not finite" because the loss or a weight was no number any more.
        n_trained: Pairs that were learned from.
        n_held_out: Pairs that were judged by.
    """

    text: Transform
    image: Transform
    best_epoch: int
    history: tuple[Epoch, ...]
    stopped: Literal["finished", "early", "not finite"]
    n_trained: int
    n_held_out: int


@checked
def train_heads(
    pairs: Pairs,
    *,
    text_head: Head = IDENTITY,
    image_head: Head | None = None,
    dim: int | None = None,
    settings: TrainSettings | None = None,
    held_out: Pairs | None = None,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    show_progress: bool = True,
) -> TrainedHeads:
    """Return heads that bring each text near its picture, learned from pairs.

    Both encoders stay as they are: only their vectors are needed. Each epoch is judged
    by recall on held-out pairs and the best one's weights are kept. The outcome
    depends on the arguments alone, torch's random state neither read nor changed.

    Args:
        pairs: What is learned from.
        text_head: By default the text side is frozen: new pictures then fit texts that
            were indexed long ago.
        image_head: None: linear, with a dropout of 0.5.
        dim: Length of the shared space; None: that of the frozen side, or the shorter
            of the two.
        settings: None: `TrainSettings()`.
        held_out: Pairs to judge by; None: a share of `pairs`, without a group in both.
        checkpoint: An `.npz` file, written after each epoch. If it exists, training
            goes on from there and ends with the same bits as without the interruption
            (same machine, torch, device and number of threads).
        device: What torch computes on: "cpu", "cuda", "cuda:1", "mps"; "auto" is CUDA
            where there is one. Weights, order and dropout are drawn on the CPU, so that
            devices differ by rounding only.
        show_progress: A bar over the epochs, with loss and recall.

    Raises:
        InvalidSetting: Both sides frozen, `dim` contradicts the frozen side, a
            closed-form start that does not fit, a checkpoint of another training, a
            device that there is not, or a loss that was not finite before any epoch was
            finished.
        InvalidVector: Pairs about one thing only.
        MissingExtra: torch is not installed.
    """
    place = check_device(device)
    settings = TrainSettings() if settings is None else settings
    heads = (text_head, Head() if image_head is None else image_head)
    if held_out is None:
        pairs, held_out = pairs.split(settings.held_out, seed=settings.seed)
    out_dim = _shared_dim(heads, pairs, dim)
    run = Training(pairs, held_out, heads, out_dim, settings, device=str(place))
    path = None if checkpoint is None else Path(checkpoint)
    of = fingerprint((pairs, held_out), heads, out_dim, settings)
    state = read_checkpoint(path, of) if path is not None else None
    state, stopped = _trained(run, state, path, of, show_progress)
    text, image = run.transforms(state.best)
    return TrainedHeads(
        text, image, state.best_epoch, state.history, stopped, len(pairs), len(held_out)
    )


def _trained(
    run: Training, state: State | None, path: Path | None, of: str, show_progress: bool
) -> tuple[State, Literal["finished", "early", "not finite"]]:
    settings = run.settings
    state = run.begin() if state is None else run.resume(state)
    first = len(state.history)
    progress = tqdm(
        range(first, settings.epochs + 1),
        initial=first - 1,
        total=settings.epochs,
        desc="Training heads",
        disable=not show_progress,
    )
    with progress:
        for number in progress:
            recalls = [epoch.recall for epoch in state.history]
            if out_of_patience(recalls, settings.patience):
                return state, "early"
            loss = run.epoch(number)
            if loss is None and len(state.history) < 2:
                raise InvalidSetting(
                    f"The loss was not finite in epoch {number} with learning_rate="
                    f"{settings.learning_rate!r}; expected a number. Lower the "
                    f"learning rate, and look for vectors of huge length."
                )
            if loss is None:
                _LOG.warning(
                    "The loss was not finite in epoch %d: training stopped, the heads "
                    "of epoch %d are kept. Lower the learning rate to go on.",
                    number, state.best_epoch,
                )  # fmt: skip
                return state, "not finite"
            state = run.judged(state, number, loss)
            recall = state.history[-1].recall
            progress.set_postfix(loss=f"{loss:.3f}", recall=f"{recall:.3f}")
            if path is not None:
                write_checkpoint(path, state, of)
    return state, "finished"


def _shared_dim(heads: tuple[Head, Head], pairs: Pairs, dim: int | None) -> int:
    dims: tuple[int, int] = (pairs.texts.shape[1], pairs.images.shape[1])
    frozen = {d for head, d in zip(heads, dims, strict=True) if head.kind == "identity"}
    if all(head.kind == "identity" for head in heads):
        raise InvalidSetting(
            "Both heads are the identity; expected at least one side to learn. Give "
            "image_head=Head(), or use the encoders as they are."
        )
    if dim is None:
        return frozen.pop() if frozen else min(dims)
    dim = whole(dim, "dim", at_least=1)
    advice = "A frozen side has that length. Leave dim out."
    return dim if not frozen else one_of(dim, "dim", frozen, advice=advice)


def check_device(device: str) -> torch.device:
    """Return the device of this name, as torch knows it.

    Raises:
        InvalidSetting: It does not know it, or the machine has none.
        MissingExtra: torch is not installed.
    """
    needs("torch", extra="train", for_="Training heads")
    return choose_device(device)
