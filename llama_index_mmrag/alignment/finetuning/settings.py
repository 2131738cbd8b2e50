"""How both encoders are trained together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from llama_index_mmrag.alignment.settings import checked_seed
from llama_index_mmrag.checks import number, one_of, whole
from llama_index_mmrag.checks.arguments import checked_fields
from llama_index_mmrag.embeddings.clip_torch import DTypeName
from llama_index_mmrag.errors import InvalidSetting

Method = Literal["lora", "last_blocks", "full"]
Task = Literal["contrastive", "captioning"]

_COUNTS = {
    "lora_rank": 1, "n_blocks": 1, "epochs": 1, "batch_size": 2, "patience": 1,
    "head_width": 32, "head_layers": 1, "micro_batch_size": 1, "checkpoint_steps": 1,
}  # fmt: skip
"""At least so many."""
_OPTIONAL = ("micro_batch_size", "checkpoint_steps")
_HIGHEST_RATE = 1e30
"""Nonsense that float32 can still hold: AdamW divides it by as little as 1e-3."""


@checked_fields
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
    tasks: Mapping[Task, float] = field(
        default_factory=lambda: {"contrastive": 1.0, "captioning": 0.5}
    )
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
    precision: DTypeName = "auto"
    augment: bool = False
    held_out: float = 0.1
    patience: int = 3
    checkpoint_steps: int | None = None
    head_width: int = 256
    head_layers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(self.method, "method", get_args(Method))
        one_of(self.precision, "precision", get_args(DTypeName))
        for name, least in _COUNTS.items():
            count = getattr(self, name)
            if count is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, whole(count, name, at_least=least))
        object.__setattr__(self, "seed", checked_seed(self.seed))
        for name in ("lora_dropout", "warmup", "held_out"):
            number(getattr(self, name), name, at_least=0, less_than=1)
        for name in ("lora_alpha", "max_gradient_norm"):
            number(getattr(self, name), name, more_than=0)
        number(self.weight_decay, "weight_decay", at_least=0)
        for name, rate in (
            ("learning_rate", self.encoder_learning_rate),
            ("head_learning_rate", self.head_learning_rate),
        ):
            number(rate, name, more_than=0, at_most=_HIGHEST_RATE)
        for task, weight in self.tasks.items():
            one_of(task, "tasks: a name", get_args(Task))
            number(weight, f"tasks: the weight of {task}", at_least=0)
        if self.head_width % 32 or not any(self.tasks.values()):
            raise InvalidSetting(
                f"head_width is {self.head_width!r} and tasks are {self.tasks!r}; "
                f"expected a multiple of 32, and one weight above 0. Correct it."
            )

    def weight(self, task: Task) -> float:
        """Return a task's weight; 0 if it is not run."""
        return float(self.tasks.get(task, 0.0))

    @property
    def encoder_learning_rate(self) -> float:
        """The highest learning rate of the encoders."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-4 if self.method == "lora" else 1e-5
