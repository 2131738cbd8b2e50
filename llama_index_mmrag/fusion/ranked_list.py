"""Ranked lists: what a route found, and what a fusion makes of several of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import gt
from typing import NamedTuple, Protocol, runtime_checkable

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.provenance import Contribution


class Hit(NamedTuple):
    """One node found by one route."""

    node_id: str
    entity_id: str
    score: float
    """Larger is better; comparable within its list only."""
    rank: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Background:
    """What a query scores against a sample of a whole collection."""

    mean: float
    std: float
    """Standard deviation; at least 0."""
    n_items: int | None = None
    """Items in the sample, the hits among them; None where that is not known."""

    @classmethod
    def of(cls, scores: Iterable[float]) -> Background:
        """Return the mean and population standard deviation; zeros for no scores."""
        values = list(scores)
        if not values:
            return cls(0.0, 0.0, 0)
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
        return cls(mean, math.sqrt(variance), len(values))


class InvalidScore(InvalidSetting):
    """A score that cannot be ranked: NaN, infinite, or beyond a store's numbers."""


_LARGEST = 3.4028234663852886e38
"""The largest float32: stores compute in those. Squares of scores stay finite too."""


@dataclass(frozen=True, slots=True)
class RankedList:
    """The hits of one route: best first, finite scores, ranks 1..n, unique ids."""

    channel: str
    route: str
    hits: tuple[Hit, ...]
    modality: str = "text"
    weight: float = 1.0
    background: Background | None = None
    same: Mapping[str, Hashable] = field(default_factory=dict, hash=False)
    """By node id: equal values in several lists are one node with one text, found by
    one part of the query. Of an entity's hits on it only the best counts."""

    @classmethod
    def from_scores(  # noqa: PLR0913 - one argument for each field, all by name
        cls,
        scored: Iterable[tuple[str, str, float]],
        *,
        channel: str,
        route: str | None = None,
        modality: str = "text",
        weight: float = 1.0,
        background: Background | None = None,
        ties_in_order: bool = False,
    ) -> RankedList:
        """Return the list ranked by score; of a node found twice the better hit stays.

        Ties break by entity id, then node id, so that a store's arbitrary order of
        equal scores does not show; or as they come, where that order says something.

        Args:
            scored: (node id, entity id, score) in any order.
            channel: Name of the channel.
            route: Name of the route; the channel's name if None.
            modality: Modality of the channel's nodes.
            weight: Factor of the whole list in a fusion.
            background: The query's scores against a sample of the collection.
            ties_in_order: Whether equal scores come best first already.

        Raises:
            InvalidScore: A score, or what it is calibrated by, is NaN, infinite or
                larger than any float32.

        >>> found = [("n1", "e1", 0.2), ("n2", "e2", 0.9)]
        >>> [(h.node_id, h.rank) for h in
        ...     RankedList.from_scores(found, channel="text").hits]
        [('n2', 1), ('n1', 2)]
        """
        ordered = list(scored)
        scores = [hit[2] for hit in ordered]
        if not all(map(gt, scores, scores[1:])):  # few stores' are not in order
            ordered.sort(
                key=(lambda hit: -hit[2])
                if ties_in_order
                else (lambda hit: (-hit[2], hit[1], hit[0]))
            )
        bad = next((hit for hit in ordered if not abs(hit[2]) <= _LARGEST), None)
        if bad is not None:  # NaN is not at most anything
            raise InvalidScore(
                f"Channel {channel!r} returned the score {bad[2]!r} for node "
                f"{bad[0]!r}; expected finite numbers, as a float32 has them. Look for "
                f"NaN or infinite vectors in its collection."
            )
        if background is not None and not (
            abs(background.mean) <= _LARGEST and 0 <= background.std <= _LARGEST
        ):
            raise InvalidScore(
                f"Channel {channel!r} has the background {background!r}; expected "
                f"finite numbers. Look for NaN or infinite vectors in its collection."
            )
        best: dict[str, tuple[str, str, float]] = {}
        for hit in ordered:
            best.setdefault(hit[0], hit)
        return cls(
            channel=channel,
            route=route or channel,
            hits=tuple(
                Hit(node_id, entity_id, float(score), rank)
                for rank, (node_id, entity_id, score) in enumerate(
                    best.values(), start=1
                )
            ),
            modality=modality,
            weight=weight,
            background=background,
        )


class FusedEntity(NamedTuple):
    """One entity in the fused ranking, with what each hit added."""

    entity_id: str
    score: float
    """The exact sum of the contributions' amounts."""
    contributions: tuple[Contribution, ...]
    """Largest amount first."""


@runtime_checkable
class Fusion(Protocol):
    """A rule from ranked lists to one ranking of entities. Pure."""

    @property
    def needs_background(self) -> bool:
        """Whether lists need the background that scores are calibrated by."""
        ...

    @property
    def weights(self) -> dict[str, float]:
        """Weights by channel name; a channel that is not named has weight 1."""
        ...

    def describe(self) -> str:
        """Return the rule with its constants, such as "rrf(k=60)"."""
        ...

    def fuse(self, lists: Sequence[RankedList]) -> list[FusedEntity]:
        """Return the entities of all lists, best first; the lists are not changed."""
        ...
