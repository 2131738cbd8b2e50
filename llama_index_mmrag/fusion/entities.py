"""Adding up contributions by entity, exactly and in an order that never varies."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeAlias

from llama_index_mmrag.checks import numbers
from llama_index_mmrag.fusion.ranked_list import FusedEntity, Hit, RankedList
from llama_index_mmrag.provenance import Contribution

Amount: TypeAlias = "tuple[Hit, float, float | None]"
"""A hit, what it adds to its entity, and its score on the rule's own scale or None."""

Weighed: TypeAlias = "tuple[RankedList, Sequence[Hit], float]"
"""A list, each entity's best hit in it, and the list's weight."""


def best_hits(ranked: RankedList) -> list[Hit]:
    """Return each entity's best hit in a list, in the list's order.

    A section cut into ten chunks is one thing: were every chunk to count, long
    documents would win by length (max-passage aggregation, Dai and Callan 2019,
    https://arxiv.org/abs/1905.09217). Across lists an entity's hits add up.
    """
    best: dict[str, Hit] = {}
    for hit in ranked.hits:
        best.setdefault(hit.entity_id, hit)
    return list(best.values())


def fuse_lists(
    lists: Sequence[RankedList],
    *,
    weights: dict[str, float],
    amounts: Callable[[Sequence[Weighed]], Iterable[Iterable[Amount]]],
) -> list[FusedEntity]:
    """Return the entities of all lists by the sum of what their hits add, best first.

    Of hits that the lists say are one node (`RankedList.same`) the best counts, and the
    others of other channels add nothing.

    Ties break by the configured order of the lists in which an entity's hits count,
    then by entity id. Sums are exact (`math.fsum`): the order of addition cannot show.

    Args:
        lists: The routes' ranked lists, in configured order.
        weights: Factor by channel name; 1 for a channel that is not named.
        amounts: The fusion's rule: what each list's best hits add.
    """
    weighed = [
        (ranked, best_hits(ranked), weights.get(ranked.channel, 1.0) * ranked.weight)
        for ranked in lists
    ]
    by_entity: dict[str, list[tuple[int, Contribution]]] = {}
    for index, added in enumerate(amounts(weighed)):
        ranked, _, weight = weighed[index]
        channel, route, modality = ranked.channel, ranked.route, ranked.modality
        for hit, amount, calibrated in added:
            # By position: names would double the time, and this is done for each hit.
            contribution = Contribution(
                channel, route, hit.node_id, modality, hit.rank, hit.score,
                weight, amount, calibrated,
            )  # fmt: skip
            by_entity.setdefault(hit.entity_id, []).append((index, contribution))
    has_doubles = any(ranked.same for ranked in lists)
    fused: list[tuple[float, int, str, tuple[Contribution, ...]]] = []
    for entity_id, found in by_entity.items():
        if len(found) == 1:  # nearly all of them, in disjoint collections
            ((index, only),) = found
            fused.append((-only.amount, index, entity_id, (only,)))
            continue
        found.sort(key=_largest_first)
        counted = _counted_once(found, lists) if has_doubles else found
        score = math.fsum(contribution.amount for _, contribution in counted)
        parts = tuple(contribution for _, contribution in counted)
        first_list = min(index for index, one in counted if one.counts)
        fused.append((-score, first_list, entity_id, parts))
    fused.sort()  # entity ids are unique: contributions are never compared
    return [FusedEntity(row[2], -row[0], row[3]) for row in fused]


def _largest_first(found: tuple[int, Contribution]) -> tuple[float, int]:
    return -found[1].amount, found[0]


def _counted_once(
    found: Sequence[tuple[int, Contribution]], lists: Sequence[RankedList]
) -> list[tuple[int, Contribution]]:
    """Return an entity's contributions with those of one node's doubles at 0."""
    counted: dict[Hashable, str] = {}
    once: list[tuple[int, Contribution]] = []
    for index, contribution in found:
        node = lists[index].same.get(contribution.node_id)
        channel = contribution.channel
        # What one channel finds by several routes is its own affair.
        if node is not None and counted.setdefault(node, channel) != channel:
            contribution = contribution._replace(amount=0.0, counts=False)  # noqa: PLW2901
        once.append((index, contribution))
    return sorted(once, key=_largest_first)


def checked_weights(weights: dict[str, float]) -> dict[str, float]:
    """Return a copy of the weights.

    Raises:
        InvalidSetting: They are no mapping, or a weight is negative or not finite.
    """
    advice = "Leave the channel out to ignore it."
    return numbers(weights, "weights", at_least=0, advice=advice)
