"""What a fine-tuning tells: its epochs, how it ended, and what it left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stopped = Literal["finished", "early", "not finite"]


@dataclass(frozen=True, slots=True)
class FinetuneEpoch:
    """What one pass over the pairs reached."""

    epoch: int
    """From 1; 0 is the start, before any step."""
    losses: dict[str, float]
    """Mean loss of each task over the epoch's steps, not weighted; empty for 0."""
    text_to_image: float
    """Share of the held-out texts whose picture comes first, in [0, 1]."""
    image_to_text: float
    """Share of the held-out pictures with one of their texts first, in [0, 1]."""
    captioning_loss: float | None
    """Nats a token on the held-out pairs; None without that task."""

    @property
    def recall(self) -> float:
        """Recall@1, the mean of both directions."""
        return (self.text_to_image + self.image_to_text) / 2


@dataclass(frozen=True, slots=True)
class SkippedPair:
    """A pair that was not used, and why."""

    index: int
    """Its position among the given pairs, from 0."""
    image: str
    """The picture's path."""
    reason: str
    """A sentence that a user can act on."""


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """A finished fine-tuning.

    Attributes:
        folder: Where the model is; `BatchedClipEmbedding(model_name=folder)` loads it.
        best_epoch: Whose weights it has; 0: training never beat its start.
        history: Every epoch, with the start as epoch 0.
        stopped: "finished" after all epochs, "early" for want of a better figure,
            "not finite" because a loss or a gradient was no number any more.
        not_finite: What was no number and where, if that stopped it.
        skipped: Pairs that were not used.
        n_trained: Pairs that were learned from.
        n_held_out: Pairs that were judged by; 0: the trained ones judged.
        n_weights: Numbers that were trained, the captioning head's among them.
    """

    folder: Path
    best_epoch: int
    history: tuple[FinetuneEpoch, ...]
    stopped: Stopped
    not_finite: str | None
    skipped: tuple[SkippedPair, ...]
    n_trained: int
    n_held_out: int
    n_weights: int

    @property
    def best(self) -> FinetuneEpoch:
        """The epoch whose weights are kept."""
        return self.history[self.best_epoch]

    def __str__(self) -> str:
        """Return the outcome in a few lines."""
        start, best = self.history[0], self.best
        lines = [
            f"{self.n_trained} pairs learned from, "
            f"{self.n_held_out or 'the same'} judged by; "
            f"{self.n_weights:,} numbers trained.",
            f"Epoch {self.best_epoch} of {len(self.history) - 1} is kept: recall@1 "
            f"text to image {start.text_to_image:.3f} -> {best.text_to_image:.3f}, "
            f"image to text {start.image_to_text:.3f} -> {best.image_to_text:.3f}.",
        ]
        if best.captioning_loss is not None and start.captioning_loss is not None:
            lines.append(
                f"Captioning: {start.captioning_loss:.3f} -> "
                f"{best.captioning_loss:.3f} nats a token."
            )
        if self.stopped == "early":
            lines.append("Stopped early: no better epoch for a while.")
        if self.not_finite is not None:
            lines.append(f"Stopped: {self.not_finite}")
        return "\n".join(lines)
