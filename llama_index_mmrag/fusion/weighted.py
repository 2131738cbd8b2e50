"""Weighted sum of normalised scores (CombSUM, convex combination)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from llama_index_mmrag.checks import one_of
from llama_index_mmrag.checks.keywords import answered
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion.entities import (
    Amount,
    Weighed,
    checked_weights,
    fuse_lists,
)
from llama_index_mmrag.fusion.normalize import NORMALIZERS, Normalizer
from llama_index_mmrag.fusion.ranked_list import FusedEntity, RankedList


@answered({})
@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Weighted sum of normalised scores: score = Σ_lists weight · normalise(s).

    Fox and Shaw's CombSUM (TREC-2, 1994) with weights; a convex combination when the
    weights add up to 1 (Bruch, Gai and Ingber 2023, https://arxiv.org/abs/2210.11934).
    Normalisation sees each list whole; after it an entity counts once a list, by its
    best hit.

    Args:
        weights: Factor by channel name; 1 for a channel that is not named.
        normalizer: A name from `fusion.normalize.NORMALIZERS`, or a function from one
            list's scores, shape (n,), to as many.

    Raises:
        InvalidSetting: The normaliser's name is unknown, or a weight is negative or
            not finite.

    >>> text = RankedList.from_scores(
    ...     [("t1", "coffee", 0.9), ("t2", "tea", 0.4)], channel="text")
    >>> image = RankedList.from_scores([("i1", "tea", 0.3)], channel="image")
    >>> fusion = WeightedSum(weights={"text": 0.7, "image": 0.3})
    >>> [(e.entity_id, e.score) for e in fusion.fuse([text, image])]
    [('coffee', 0.7), ('tea', 0.3)]
    """

    weights: dict[str, float] = field(default_factory=dict)
    normalizer: str | Normalizer = "min_max"

    needs_background = False

    def __post_init__(self) -> None:
        if not callable(self.normalizer):
            advice = "A function of one list's scores does too."
            one_of(self.normalizer, "normalizer", NORMALIZERS, advice=advice)
        object.__setattr__(self, "weights", checked_weights(self.weights))

    def describe(self) -> str:
        """Return the rule with its normaliser."""
        name = (
            self.normalizer
            if isinstance(self.normalizer, str)
            else getattr(self.normalizer, "__name__", "custom")
        )
        return f"weighted_sum({name})"

    def fuse(self, lists: Sequence[RankedList]) -> list[FusedEntity]:
        """Return the entities of all lists, best first."""
        return fuse_lists(lists, weights=self.weights, amounts=self._amounts)

    def _amounts(self, weighed: Sequence[Weighed]) -> Iterator[list[Amount]]:
        normalize = (
            NORMALIZERS[self.normalizer]
            if isinstance(self.normalizer, str)
            else self.normalizer
        )
        for ranked, best, weight in weighed:
            scores = np.array([hit.score for hit in ranked.hits], dtype=np.float64)
            calibrated = normalize(scores)
            if calibrated.shape != scores.shape or not np.isfinite(calibrated).all():
                raise InvalidSetting(
                    f"{self.describe()} turned the {scores.size} scores of route "
                    f"{ranked.route!r} into {calibrated!r}; expected as many, all "
                    f"finite. Mend the normalizer, or look for scores out of all "
                    f"proportion."
                )
            placed = [(hit, float(calibrated[hit.rank - 1])) for hit in best]
            yield [(hit, weight * score, score) for hit, score in placed]
