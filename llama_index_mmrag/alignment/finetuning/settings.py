"""How both encoders are trained together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from llama_index_mmrag.alignment.settings import SEEDS
from llama_index_mmrag.errors import InvalidSetting

Method = Literal["lora", "last_blocks", "full"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Task = Literal["contrastive", "captioning"]

_CHOICES = {
    "method": ("lora", "last_blocks", "full"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
}
_HIGHEST_RATE = 1e30
"""Nonsense that float32 can still hold: AdamW divides it by as little as 1e-3."""

_TASKS = ("contrastive", "captioning")


def _default_tasks() -> dict[Task, float]:
    return {"contrastive": 1.0, "captioning": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """How both encoders are trained; the defaults are for some thousands of pairs.

    Attributes:
        method: What is trained. "lora": low-rank additions to the matrices of both
            towers (https://arxiv.org/abs/2106.09685, through `peft`); "last_blocks":
            the last blocks of both towers and their projections; "full": everything.
        tasks: Weight of each task's loss. "contrastive": texts find their pictures and
            the other way round; "captioning": a head writes the text, reading the
            picture tower. A task of weight 0, or one that is left out, is not run.
        lora_rank: Columns of the low-rank additions.
        lora_alpha: Additions are scaled by `lora_alpha / lora_rank`.
        lora_dropout: Share of what enters an addition that is left out, in [0, 1).
        n_blocks: Of each tower, with "last_blocks".
        epochs: Passes over the pairs.
        batch_size: Pairs in a step, and so how many negatives there are.
        micro_batch_size: Pairs that are computed at once; None: the whole batch. The
            gradient is that of the whole batch: only time and memory change.
        learning_rate: The highest, of the encoders; None: 2e-4 with "lora", else 1e-5.
        head_learning_rate: The highest, of the captioning head, which starts from
            nothing.
        warmup: Share of the steps in which the rates rise; then they fall to 0 along a
            cosine.
        weight_decay: Of AdamW, on matrices; not on norms, biases and temperatures.
        max_gradient_norm: Longer gradients are shortened to this.
        precision: Of matrix products; "auto": float32 on a CPU, bfloat16 on a GPU that
            has it, else float16. Weights and sums are float32 always.
        augment: Cut up to a tenth off each side at random. Never mirrored: texts may
            say "left".
        held_out: Share of the things that is not trained on but judged by, in [0, 1);
            0: the trained pairs judge, which shows what was learned by heart.
        patience: Epochs without a better figure after which training stops.
        checkpoint_steps: Steps between checkpoints; None: one after each epoch only.
        head_width: Width of the captioning head, a multiple of 32.
        head_layers: Blocks of the captioning head.
        seed: Decides the held-out things, the head's start, the order, the dropout.
    """

    method: Method = "lora"
    tasks: Mapping[Task, float] = field(default_factory=_default_tasks)
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.05
    n_blocks: int = 2
    epochs: int = 10
    batch_size: int = 128
    micro_batch_size: int | None = None
    learning_rate: float | None = None
    head_learning_rate: float = 5e-4
    warmup: float = 0.1
    weight_decay: float = 0.05
    max_gradient_norm: float = 1.0
    precision: Precision = "auto"
    augment: bool = False
    held_out: float = 0.1
    patience: int = 3
    checkpoint_steps: int | None = None
    head_width: int = 256
    head_layers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [name for name, good in self._checks().items() if not good]
        if wrong:
            names = "; ".join(f"{key} {', '.join(v)}" for key, v in _CHOICES.items())
            given = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            msg = (
                f"{given}: out of range. Expected counts of at least 1 (batch_size 2), "
                f"rates in (0, 1e30], shares in [0, 1), a seed in [0, 2**62), "
                f"head_width a multiple of 32, weights of {' and '.join(_TASKS)} of "
                f"at least 0 with one above 0, {names}. Correct the setting."
            )
            raise InvalidSetting(msg)

    def _checks(self) -> dict[str, bool]:
        rate = self.learning_rate
        counts = ("lora_rank", "n_blocks", "epochs", "patience", "head_layers")
        optional = ("micro_batch_size", "checkpoint_steps")
        return {
            **{name: getattr(self, name) in names for name, names in _CHOICES.items()},
            **{name: getattr(self, name) >= 1 for name in counts},
            **{name: getattr(self, name) is None for name in optional},
            **{
                name: value >= 1
                for name in optional
                if (value := getattr(self, name)) is not None
            },
            "tasks": _are_tasks(self.tasks),
            "batch_size": self.batch_size >= 2,
            "learning_rate": rate is None or 0 < rate <= _HIGHEST_RATE,
            "head_learning_rate": 0 < self.head_learning_rate <= _HIGHEST_RATE,
            "lora_alpha": _is_positive(self.lora_alpha),
            "max_gradient_norm": _is_positive(self.max_gradient_norm),
            "weight_decay": self.weight_decay >= 0 and isfinite(self.weight_decay),
            "lora_dropout": 0 <= self.lora_dropout < 1,
            "warmup": 0 <= self.warmup < 1,
            "held_out": 0 <= self.held_out < 1,
            "seed": 0 <= self.seed < SEEDS,
            "head_width": self.head_width >= 32 and self.head_width % 32 == 0,
        }

    def weight(self, task: Task) -> float:
        """Return a task's weight; 0 if it is not run."""
        return float(self.tasks.get(task, 0.0))

    @property
    def encoder_learning_rate(self) -> float:
        """The highest learning rate of the encoders."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.method == "lora" else 1e-5


def _is_positive(value: float) -> bool:
    return value > 0 and isfinite(value)


def _are_tasks(tasks: Mapping[Task, float]) -> bool:
    weights = tasks.values()
    return (
        set(tasks) <= set(_TASKS)
        and all(weight >= 0 and isfinite(weight) for weight in weights)
        and any(weight > 0 for weight in weights)
    )
