"""How heads are trained, and what training reports."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from llama_index_mmrag.errors import InvalidSetting

SEEDS = 2**62
"""Seeds are below it and not negative: what numpy and torch take, and room above."""


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

    loss: Literal["info_nce", "triplet"] = "info_nce"
    start: Literal["random", "ridge", "procrustes"] = "random"
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
        checks = {
            "loss": self.loss in ("info_nce", "triplet"),
            "start": self.start in ("random", "ridge", "procrustes"),
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2,
            "learning_rate": self.learning_rate > 0 and isfinite(self.learning_rate),
            "weight_decay": self.weight_decay >= 0 and isfinite(self.weight_decay),
            "start_temperature": 0 < self.start_temperature < float("inf"),
            "margin": 0 < self.margin <= 2,
            "held_out": 0 < self.held_out < 1,
            "top_k": self.top_k >= 1,
            "seed": 0 <= self.seed < SEEDS,
            "patience": self.patience >= 1,
            "ridge_penalty": 0 < self.ridge_penalty < float("inf"),
        }
        wrong = [name for name, good in checks.items() if not good]
        if wrong:
            given = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            msg = (
                f"{given}: out of range. Expected counts of at least 1 (batch_size 2), "
                f"held_out in (0, 1), margin in (0, 2], rates and temperatures above "
                f"0, a seed in [0, 2**62), and names that TrainSettings lists. "
                f"Correct the setting."
            )
            raise InvalidSetting(msg)


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
