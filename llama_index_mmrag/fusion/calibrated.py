"""Calibrated sum: how far each hit stands above what its collection gives anyway."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llama_index_mmrag.checks import number
from llama_index_mmrag.fusion.entities import (
    Amount,
    checked_weights,
    fuse_lists,
)
from llama_index_mmrag.fusion.ranked_list import (
    Background,
    FusedEntity,
    Hit,
    RankedList,
)

_MANY = 256
"""What a background of unknown size counts for in the pooled variance."""


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
        pooled = _pooled_variance(lists)

        def amounts(
            ranked: RankedList, best: Sequence[Hit], weight: float
        ) -> Iterator[Amount]:
            own = Background.of([hit.score for hit in ranked.hits])
            for hit in best:
                others = own
                if ranked.background is not None:
                    others = ranked.background.without(hit.score).shrunk(pooled)
                # A background without spread (a sample of one item) ranks nothing;
                # the list's own order is still worth something.
                z = (others if others.has_spread else own).z_score(hit.score)
                yield hit, weight * _softplus(z - self.floor), z

        return fuse_lists(lists, weights=self.weights, amounts=amounts)


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
