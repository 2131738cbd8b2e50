"""Calibrated sum: how far each hit stands above what its collection gives anyway."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion.entities import (
    Amount,
    best_hits,
    checked_weights,
    fuse_lists,
)
from llama_index_mmrag.fusion.ranked_list import Background, FusedEntity, RankedList


@dataclass(frozen=True, slots=True)
class CalibratedSum:
    """Calibrated sum: score = Σ_lists weight · ln(1 + exp(z - floor)).

    z = (s - mean) / standard deviation, over the query's scores against a sample of the
    route's whole collection: its background. So a picture at cosine 0.25 among pictures
    around 0.0 outranks a text at 0.40 among texts around 0.35, and a list in which
    nothing fits adds next to nothing, where rank fusion would still pay its first hit
    in full. Scores do not depend on how many hits were asked for.

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
        if not math.isfinite(self.floor):
            msg = f"CalibratedSum got floor={self.floor!r}; expected a finite number."
            raise InvalidSetting(msg)
        object.__setattr__(self, "weights", checked_weights(self.weights))

    def describe(self) -> str:
        """Return the rule with its constant."""
        return f"calibrated_sum(floor={self.floor:g})"

    def fuse(self, lists: Sequence[RankedList]) -> list[FusedEntity]:
        """Return the entities of all lists, best first."""
        return fuse_lists(lists, weights=self.weights, amounts=self._amounts)

    def _amounts(self, ranked: RankedList, weight: float) -> Iterator[Amount]:
        background = ranked.background or Background.of(h.score for h in ranked.hits)
        for hit in best_hits(ranked):
            z = background.z_score(hit.score)
            yield hit, weight * _softplus(z - self.floor), z


def _softplus(x: float) -> float:
    # exp overflows above 709; there the two terms are the same number anyway.
    return x if x > 30.0 else math.log1p(math.exp(x))
