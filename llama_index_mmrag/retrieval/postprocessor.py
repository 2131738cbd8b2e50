"""RRF as a node postprocessor: a flat list of results, fused."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

from llama_index_mmrag.checks.components import CheckedComponent
from llama_index_mmrag.fusion import RRF, FusedEntity, Hit, RankedList
from llama_index_mmrag.nodes.node import (
    FusedNode,
    entity_id_of,
    modality_of,
    own_entity,
    provenance_of,
    stored_as,
)
from llama_index_mmrag.provenance import Contribution, Provenance
from llama_index_mmrag.retrieval.doubles import node_of
from llama_index_mmrag.retrieval.halves import apart_as, halved, joined


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
        said = [(result, provenance_of(result)) for result in nodes]
        fusion = RRF(k=self.k, weights=self.weights)
        tagged = {p.entity_id: p for _, p in said if p is not None}
        untagged = [result for result, provenance in said if provenance is None]
        lists = [*self._routes(tagged.values()), *self._grouped(untagged)]
        all_of = (c for p in tagged.values() for c in p.contributions)
        whole = {halved(c)[0] for c in all_of if c.place is not None}
        # Halves are named by what asked for them.
        routes = tuple(one.route for one in lists if one.route not in whole)
        by_entity: dict[str, dict[tuple[str, str], BaseNode]] = {}
        for result, provenance in said:
            node = result.node
            channel, stored_id = stored_as(node)
            if provenance is None:
                channel = self._group(node)
            entity = provenance.entity_id if provenance else _entity(channel, node)
            by_entity.setdefault(entity, {}).setdefault((channel, stored_id), node)
        fused = [
            (
                node,
                _provenance(entity, fusion, tagged, routes)._replace(channel=channel),
            )
            for entity in fusion.fuse(lists)[: self.top_n]
            for (channel, _), node in by_entity[entity.entity_id].items()
        ]
        return list(FusedNode.all_of(fused))

    def _group(self, node: BaseNode) -> str:
        modality = modality_of(node)
        if self.group_by is None:
            return modality
        return str(node.metadata.get(self.group_by, modality))

    def _routes(self, provenances: Iterable[Provenance]) -> list[RankedList]:
        """Return the routes' lists as far as the results remember them."""
        order: dict[str, list[tuple[str, Contribution]]] = {}
        same: dict[str, dict[str, Hashable]] = {}
        for provenance in provenances:
            whole = {c.route: halved(c)[0] for c in provenance.contributions}
            for route in provenance.requested:
                order.setdefault(whole.get(route, route), [])
            hits_on: dict[Hashable, list[Contribution]] = {}
            for c in joined(provenance.contributions):
                order.setdefault(c.route, []).append((provenance.entity_id, c))
                hits_on.setdefault(node_of(c), []).append(c)
            for node, hits in hits_on.items():
                doubles = [c for c in hits if not c.counts]
                # What counts beside the best is of other words.
                best = [c for c in hits if c.counts and doubles][:1]
                for c in (*best, *doubles):
                    same.setdefault(c.route, {})[c.node_id] = node
        return [
            self._list(found, same.get(route, {}))
            for route, found in order.items()
            if found
        ]

    def _list(
        self, found: list[tuple[str, Contribution]], same: dict[str, Hashable]
    ) -> RankedList:
        found.sort(key=lambda pair: pair[1].rank)
        first = found[0][1]
        # A weight named here replaces the retriever's; were it multiplied, fusing twice
        # would weigh twice.
        most = max(hit.weight for _, hit in found)  # a half may weigh less
        weight = 1.0 if first.channel in self.weights else most
        return RankedList(
            channel=first.channel,
            route=first.route,
            hits=tuple(
                Hit(c.node_id, entity_id, c.raw_score, c.rank) for entity_id, c in found
            ),
            modality=first.modality,
            weight=weight,
            same=same,
        )

    def _grouped(self, results: Sequence[NodeWithScore]) -> list[RankedList]:
        groups: dict[str, list[NodeWithScore]] = {}
        for result in results:
            groups.setdefault(self._group(result.node), []).append(result)
        return [_ranked(group, members) for group, members in groups.items()]


def _entity(group: str, node: BaseNode) -> str:
    """Return the entity that a node declares; else it is one of its own in its list."""
    return entity_id_of(node.metadata, own_entity(group, node.node_id))


def _ranked(group: str, members: Sequence[NodeWithScore]) -> RankedList:
    """Return the results ranked by score; those without one follow as they came."""
    ranked = RankedList.from_scores(
        (
            (r.node.node_id, _entity(group, r.node), r.score)
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
        Hit(node.node_id, _entity(group, node), lowest - place, len(known) + place)
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
    requested, found = (before.requested, before.contributions) if before else ((), ())
    words = {c.node_id: c for c in found if c.words_of}
    return Provenance(
        entity_id=entity.entity_id,
        score=entity.score,
        fusion=fusion.describe(),
        contributions=tuple(
            c._replace(words=of.words, words_of=of.words_of, lettering=of.lettering)
            if (of := words.get(c.node_id))
            else c
            for c in apart_as(found, entity.contributions)
        ),
        # In the lists' order, by which a second fusion breaks ties as this one did.
        requested=tuple(dict.fromkeys((*requested, *routes))),
        degraded=before.degraded if before else (),
    )
