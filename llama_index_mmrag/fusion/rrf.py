"""Reciprocal rank fusion."""

from __future__ import annotations

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
from llama_index_mmrag.fusion.ranked_list import FusedEntity, RankedList


@answered({})
@dataclass(frozen=True, slots=True)
class RRF:
    """Reciprocal rank fusion: score = Σ_lists weight / (k + rank), rank from 1.

    Cormack, Clarke and Büttcher, SIGIR 2009
    (https://doi.org/10.1145/1571941.1572114), whose constant is k = 60. LlamaIndex's
    own fusion counts ranks from 0 and Qdrant's default is k = 2, so their scores
    differ. An entity counts once a list, by its best hit; an entity that a list lacks
    gets nothing from it.

    Args:
        k: Larger values flatten the difference between ranks; at least 0.
        weights: Factor by channel name; 1 for a channel that is not named.

    Raises:
        InvalidSetting: `k` or a weight is negative or not finite.

    >>> text = RankedList.from_scores(
    ...     [("t1", "coffee", 0.9), ("t2", "tea", 0.8)], channel="text")
    >>> image = RankedList.from_scores([("i1", "tea", 0.3)], channel="image")
    >>> [(e.entity_id, round(e.score, 4)) for e in RRF().fuse([text, image])]
    [('tea', 0.0325), ('coffee', 0.0164)]
    """

    k: float = 60.0
    weights: dict[str, float] = field(default_factory=dict)

    needs_background = False

    def __post_init__(self) -> None:
        number(self.k, "RRF: k", at_least=0)
        object.__setattr__(self, "weights", checked_weights(self.weights))

    def describe(self) -> str:
        """Return the rule with its constant."""
        return f"rrf(k={self.k:g})"

    def fuse(self, lists: Sequence[RankedList]) -> list[FusedEntity]:
        """Return the entities of all lists, best first."""
        return fuse_lists(lists, weights=self.weights, amounts=self._amounts)

    def _amounts(self, weighed: Sequence[Weighed]) -> list[list[Amount]]:
        return [
            [(hit, weight / (self.k + hit.rank), None) for hit in best]
            for _, best, weight in weighed
        ]
