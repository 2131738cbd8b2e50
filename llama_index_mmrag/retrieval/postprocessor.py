"""RRF as a node postprocessor: a flat list of results, fused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

from llama_index_mmrag.checks.components import CheckedComponent
from llama_index_mmrag.fusion import RRF, FusedEntity, Hit, RankedList
from llama_index_mmrag.nodes.node import (
    FusedNode,
    entity_of,
    modality_of,
    provenance_of,
)
from llama_index_mmrag.provenance import Contribution, Provenance


class RRFPostprocessor(CheckedComponent, BaseNodePostprocessor):
    """Fuses a flat list of results by reciprocal rank: Σ weight / (k + rank), from 1.

    Results of our retriever carry their routes and ranks, and are fused by those; with
    the retriever's own k and weights they come out as they went in. Results of other
    retrievers are first put into lists, by modality or by a metadata key, and ranked
    there by score; those without a score follow in the order given. Fusing twice
    changes nothing. The given results are not changed.

    Attributes:
        k: RRF's constant, at least 0.
        weights: Factor by channel; for other retrievers' results by group. For a
            channel named here it replaces all that the retriever weighed its routes by,
            the query's `part_weights` too: leave it empty to keep those.
        group_by: Metadata key that says which list a result belongs to; the node's
            modality if None.
        top_n: Entities kept; all if None.
    """

    k: float = Field(default=60.0, ge=0)
    weights: dict[str, float] = Field(default_factory=dict)
    group_by: str | None = None
    top_n: int | None = Field(default=None, ge=1)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialised postprocessors carry."""
        return "RRFPostprocessor"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - LlamaIndex's name
    ) -> list[NodeWithScore]:
        known = {id(result): provenance_of(result) for result in nodes}
        fusion = RRF(k=self.k, weights=self.weights)
        tagged = {p.entity_id: p for p in known.values() if p is not None}
        untagged = [result for result in nodes if known[id(result)] is None]
        lists = [*self._routes(tagged.values()), *self._grouped(untagged)]
        routes = tuple(ranked.route for ranked in lists)
        by_entity: dict[str, dict[str, BaseNode]] = {}
        for result in nodes:
            provenance = known[id(result)]
            entity = provenance.entity_id if provenance else entity_of(result.node)
            by_entity.setdefault(entity, {}).setdefault(
                result.node.node_id, result.node
            )
        return [
            FusedNode.of(node, _provenance(entity, fusion, tagged, routes))
            for entity in fusion.fuse(lists)[: self.top_n]
            for node in by_entity[entity.entity_id].values()
        ]

    def _routes(self, provenances: Iterable[Provenance]) -> list[RankedList]:
        """Return the routes' lists as far as the results remember them."""
        order: dict[str, list[tuple[str, Contribution]]] = {}
        for provenance in provenances:
            for route in provenance.requested:
                order.setdefault(route, [])
            for contribution in provenance.contributions:
                found = (provenance.entity_id, contribution)
                order.setdefault(contribution.route, []).append(found)
        return [self._list(found) for found in order.values() if found]

    def _list(self, found: list[tuple[str, Contribution]]) -> RankedList:
        found.sort(key=lambda pair: pair[1].rank)
        first = found[0][1]
        # A weight named here replaces the retriever's; were it multiplied, fusing twice
        # would weigh twice.
        weight = 1.0 if first.channel in self.weights else first.weight
        return RankedList(
            channel=first.channel,
            route=first.route,
            hits=tuple(
                Hit(c.node_id, entity_id, c.raw_score, c.rank) for entity_id, c in found
            ),
            modality=first.modality,
            weight=weight,
        )

    def _grouped(self, results: Sequence[NodeWithScore]) -> list[RankedList]:
        groups: dict[str, list[NodeWithScore]] = {}
        for result in results:
            modality = modality_of(result.node)
            group = (
                modality
                if self.group_by is None
                else str(result.node.metadata.get(self.group_by, modality))
            )
            groups.setdefault(group, []).append(result)
        return [_ranked(group, members) for group, members in groups.items()]


def _ranked(group: str, members: Sequence[NodeWithScore]) -> RankedList:
    """Return the results ranked by score; those without one follow as they came."""
    ranked = RankedList.from_scores(
        (
            (r.node.node_id, entity_of(r.node), r.score)
            for r in members
            if r.score is not None
        ),
        channel=group,
        modality=modality_of(members[0].node),
    )
    lowest = min((hit.score for hit in ranked.hits), default=0.0)
    known = {hit.node_id for hit in ranked.hits}
    unscored = {
        r.node.node_id: r.node for r in members if r.node.node_id not in known
    }.values()
    following = tuple(
        Hit(node.node_id, entity_of(node), lowest - place, len(known) + place)
        for place, node in enumerate(unscored, start=1)
    )
    return replace(ranked, hits=ranked.hits + following)


def _provenance(
    entity: FusedEntity,
    fusion: RRF,
    tagged: dict[str, Provenance],
    routes: tuple[str, ...],
) -> Provenance:
    before = tagged.get(entity.entity_id)
    requested = before.requested if before else ()
    return Provenance(
        entity_id=entity.entity_id,
        score=entity.score,
        fusion=fusion.describe(),
        contributions=entity.contributions,
        # In the lists' order, by which a second fusion breaks ties as this one did.
        requested=tuple(dict.fromkeys((*requested, *routes))),
        degraded=before.degraded if before else (),
    )
