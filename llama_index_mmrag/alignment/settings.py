"""How heads are trained, and what training reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from llama_index_mmrag.checks import number, one_of, whole

Loss = Literal["info_nce", "triplet"]
Start = Literal["random", "ridge", "procrustes"]


def checked_seed(seed: int) -> int:
    """Return a seed that numpy and torch take, with room above it."""
    return whole(seed, "seed", at_least=0, at_most=2**62 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How heads are trained; the defaults are those of the shipped open head.

    Attributes:
        loss: "info_nce" with a learned temperature, or "triplet" with the hardest
            negative of the batch.
        start: Where linear heads begin: "random", or the closed forms "ridge" and
            "procrustes", which need the other side to be the identity.
        epochs: Passes over the pairs; the learning rate follows one cycle over all of
            them (https://arxiv.org/abs/1708.07120).
        batch_size: Pairs in a step: also how many negatives there are.
        learning_rate: The highest of the cycle.
        weight_decay: Of AdamW; not on the temperature.
        start_temperature: Of "info_nce".
        margin: Of "triplet".
        held_out: Share of the groups that is not trained on but judged by.
        top_k: Recall among so many first results is what is judged.
        patience: Epochs without a better recall after which training stops.
        seed: Decides the held-out pairs, the weights, the order and the dropout.
        ridge_penalty: Of the start "ridge".
    """

    loss: Loss = "info_nce"
    start: Start = "random"
    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    start_temperature: float = 0.1
    margin: float = 0.2
    held_out: float = 0.1
    top_k: int = 10
    patience: int = 10
    seed: int = 0
    ridge_penalty: float = 100.0

    def __post_init__(self) -> None:
        one_of(self.loss, "loss", get_args(Loss))
        one_of(self.start, "start", get_args(Start))
        counts = {"epochs": 1, "batch_size": 2, "top_k": 1, "patience": 1}
        for name, least in counts.items():
            count = whole(getattr(self, name), name, at_least=least)
            object.__setattr__(self, name, count)
        object.__setattr__(self, "seed", checked_seed(self.seed))
        for name in ("learning_rate", "start_temperature", "ridge_penalty"):
            number(getattr(self, name), name, more_than=0)
        number(self.weight_decay, "weight_decay", at_least=0)
        number(self.margin, "margin", more_than=0, at_most=2)
        number(self.held_out, "held_out", more_than=0, less_than=1)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the pairs reached."""

    epoch: int
    """From 1; 0 is the start, before any step."""
    loss: float | None
    """Mean over the batches; None for epoch 0."""
    recall: float
    """On the held-out pairs among the first `top_k`, mean of both directions."""
    temperature: float
    """Of InfoNCE after the epoch."""
