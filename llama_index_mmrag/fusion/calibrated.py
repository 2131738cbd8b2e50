"""Calibrated sum: how far each hit stands above what its collection gives anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_index_mmrag.checks import number
from llama_index_mmrag.checks.keywords import answered
from llama_index_mmrag.fusion.entities import (
    Amount,
    Weighed,
    checked_weights,
    fuse_lists,
)
from llama_index_mmrag.fusion.ranked_list import Background, FusedEntity, RankedList

_MANY = 256
"""What a background of unknown size counts for in the pooled variance."""

_PRIOR_ITEMS = 30
"""What the pooled variance counts for beside a collection's own: the textbook's number
from which a sample's deviation is called known."""

_NO_SPREAD = 1e-9
"""Rounding gives equal scores a standard deviation of some 1e-17, not 0."""


@answered({})
@dataclass(frozen=True, slots=True)
class CalibratedSum:
    """Calibrated sum: score = Σ_lists weight · ln(1 + exp(z - floor)).

    z = (s - mean) / standard deviation, over the query's scores against a sample of the
    route's whole collection: its background. So a picture at cosine 0.25 among pictures
    around 0.0 outranks a text at 0.40 among texts around 0.35, and a list in which
    nothing fits adds next to nothing, where rank fusion would still pay its first hit
    in full. Scores do not depend on how many hits were asked for.

    Small collections tell little of their own: a hit is measured against the other
    items, and the variance of n items counts as n of n + 30, the rest being that of
    all of the query's lists together. So one of three photographs can stand out.

    The logarithm (softplus) is the identity far above the floor and 0 far below it: two
    hits by chance do not outweigh one that fits. Backgrounds calibrate scores in metric
    fusion (Webber, Moffat and Zobel, SIGIR 2008, https://doi.org/10.1145/1390334.1390346
    standardise by topic in the same way); the floor is ours.

    Args:
        floor: Standard deviations above its background that a hit needs to count; among
            a thousand random items the best stands at about 3.
        weights: Factor by channel name; 1 for a channel that is not named.

    Raises:
        InvalidSetting: `floor` or a weight is out of its range.

    >>> found = [("t1", "tea", 0.45), ("t2", "rain", 0.36)]
    >>> text = RankedList.from_scores(
    ...     found, channel="text", background=Background(0.35, 0.05))
    >>> image = RankedList.from_scores(
    ...     [("i1", "cat", 0.25)], channel="image", background=Background(0.0, 0.05))
    >>> [(e.entity_id, round(e.score, 2)) for e in CalibratedSum().fuse([text, image])]
    [('cat', 2.13), ('tea', 0.31), ('rain', 0.06)]
    """

    floor: float = 3.0
    weights: dict[str, float] = field(default_factory=dict)

    needs_background = True

    def __post_init__(self) -> None:
        number(self.floor, "CalibratedSum: floor")
        object.__setattr__(self, "weights", checked_weights(self.weights))

    def describe(self) -> str:
        """Return the rule with its constant."""
        return f"calibrated_sum(floor={self.floor:g})"

    def fuse(self, lists: Sequence[RankedList]) -> list[FusedEntity]:
        """Return the entities of all lists, best first."""
        return fuse_lists(lists, weights=self.weights, amounts=self._amounts)

    def _amounts(self, weighed: Sequence[Weighed]) -> list[list[Amount]]:
        pooled = _pooled_variance([ranked for ranked, _, _ in weighed])
        amounts: list[list[Amount]] = []
        for ranked, best, weight in weighed:
            own: Background | None = None
            added: list[Amount] = []
            for hit in best:
                others = others_of(ranked.background, hit.score, pooled)
                # A background without spread (a sample of one item) ranks nothing;
                # the list's own order is still worth something.
                if others is None or others.std <= _NO_SPREAD:
                    own = own or Background.of([one.score for one in ranked.hits])
                    others = own
                has_spread = others.std > _NO_SPREAD
                z = (hit.score - others.mean) / others.std if has_spread else 0.0
                added.append((hit, weight * _softplus(z - self.floor), z))
            amounts.append(added)
        return amounts


def others_of(
    background: Background | None, score: float, pooled: float
) -> Background | None:
    """Return the background of the other items, if one of a sample has this score.

    A hit that stands far out moves the mean towards itself and widens the spread:
    among n items none can stand more than sqrt(n - 1) deviations above a mean that it
    is part of, however well it fits. The variance of the few that are left is drawn
    towards the pooled one.
    """
    if background is None or background.n_items is None:
        return background
    mean, variance, n_items = background.mean, background.std**2, background.n_items
    if n_items >= 2:
        squares = n_items * (variance + mean**2) - score**2
        mean = (n_items * mean - score) / (n_items - 1)
        n_items -= 1
        # Rounding, or a score that was not in the sample after all.
        variance = max(0.0, squares / n_items - mean**2)
    variance = (n_items * variance + _PRIOR_ITEMS * pooled) / (n_items + _PRIOR_ITEMS)
    return Background(mean, math.sqrt(variance), n_items)


def _pooled_variance(lists: Sequence[RankedList]) -> float:
    """Return the variance of all backgrounds, each item of a sample counting once."""
    weighed = [
        (b.n_items or _MANY, b.std**2)
        for b in (ranked.background for ranked in lists)
        if b is not None
    ]
    total = sum(n_items for n_items, _ in weighed)
    return math.fsum(n * variance for n, variance in weighed) / total if total else 0.0


def _softplus(x: float) -> float:
    # exp overflows above 709; there the two terms are the same number anyway.
    return x if x > 30.0 else math.log1p(math.exp(x))
