"""The learning rate over a fine-tuning."""

from __future__ import annotations

from math import cos, pi


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
