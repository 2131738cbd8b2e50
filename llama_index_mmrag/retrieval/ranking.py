"""From the routes' answers to results: fuse, choose nodes, fetch them, attach why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from llama_index.core.schema import BaseNode, NodeWithScore

from llama_index_mmrag.concurrency.deadlines import Deadline, deadline_in, sooner
from llama_index_mmrag.concurrency.jobs import Job
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import FusedEntity, Fusion, RankedList
from llama_index_mmrag.nodes.node import POSITION_KEY, FusedNode, entity_of, modality_of
from llama_index_mmrag.provenance import Degradation, Provenance
from llama_index_mmrag.retrieval.routes import Answer, Route
from llama_index_mmrag.retrieval.search_channel import SearchChannel


@dataclass(frozen=True, slots=True)
class Lookup:
    """Nodes that are still to be read from one channel's store."""

    name: str
    """What it is for, such as "fetch image"."""
    channel: SearchChannel
    read: Callable[[], list[BaseNode]]
    """Returns the nodes; those that are gone by now are left out."""
    aread: Callable[[], Awaitable[list[BaseNode]]] | None = None
    """The same without holding a thread, where there is such a way."""

    def job(self, deadline: Deadline | None) -> Job[list[BaseNode]]:
        """Return the lookup; like a search it ends at the channel's deadline too."""
        channel = self.channel
        return Job(
            self.read,
            source=channel.source,
            span=Span(self.name, channel=channel.name),
            deadline=sooner(deadline_in(channel.timeout_s), deadline),
            is_embedded=channel.is_embedded,
            n_retries=channel.n_retries,
            awork=self.aread,
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """The fused entities of one query, and the nodes that show them."""

    routes: tuple[Route, ...]
    channels: tuple[SearchChannel, ...]
    """All of the retriever's, those that were not searched too."""
    fusion: str
    entities: tuple[FusedEntity, ...]
    nodes: dict[str, BaseNode]
    """Nodes known so far, by id."""
    degraded: tuple[Degradation, ...]

    @property
    def requested(self) -> tuple[str, ...]:
        """Names of the query's routes, in configured order."""
        return tuple(route.name for route in self.routes)

    def lookups(self, *, complete_entities: bool) -> list[Lookup]:
        """Return what must still be read, channel by channel.

        Nodes that a search brought the ids of; and the nodes of entities that the
        channel did not find, unless it has kept this query waiting in vain already.
        """
        lookups: list[Lookup] = []
        late = {d.channel for d in self.degraded if d.kind in {"deadline", "busy"}}
        for channel in self.channels:
            if channel.is_light and (missing := tuple(self._missing(channel.name))):
                read = partial(_fetch, channel, missing)
                lookups.append(Lookup(f"fetch {channel.name}", channel, read))
            if not complete_entities or channel.name in late:
                continue
            if kin := tuple(self._incomplete(channel.name)):
                filters = self.routes[0].filters
                read = partial(channel.of_entities, kin, filters=filters)
                aread = partial(channel.aof_entities, kin, filters=filters)
                name, way = f"complete {channel.name}", channel.is_async
                lookups.append(Lookup(name, channel, read, aread if way else None))
        return lookups

    def results(self, fetched: Sequence[BaseNode] = ()) -> list[NodeWithScore]:
        """Return the results, best entity first, each with its provenance.

        Of an entity's nodes those that were found come first, by what they added; then
        at most one of its kin for each modality it has not been shown in.
        """
        nodes = dict(self.nodes)
        for node in fetched:
            # Of one id in two collections the first channel's copy is shown, as it is
            # where searches bring whole nodes.
            nodes.setdefault(node.node_id, node)
        kin = self._kin(fetched)
        requested = self.requested
        results: list[NodeWithScore] = []
        for entity_id, score, contributions in self.entities:
            provenance = Provenance(
                entity_id, score, self.fusion, contributions, requested, self.degraded
            )
            shown = dict.fromkeys([c.node_id for c in contributions])
            chosen = [nodes[node_id] for node_id in shown if node_id in nodes]
            if related := kin.get(entity_id):
                chosen += _one_of_each_modality(related, chosen)
            for node in chosen:
                results.append(FusedNode.of(node, provenance))  # noqa: PERF401
        return results

    def _kin(self, fetched: Sequence[BaseNode]) -> dict[str, list[BaseNode]]:
        kin: dict[str, list[BaseNode]] = {}
        if fetched:
            found = {c.node_id for e in self.entities for c in e.contributions}
            for node in fetched:
                if node.node_id not in found:
                    kin.setdefault(entity_of(node), []).append(node)
        return kin

    def _missing(self, channel: str) -> Iterator[str]:
        wanted = dict.fromkeys(
            c.node_id
            for entity in self.entities
            for c in entity.contributions
            if c.channel == channel and c.node_id not in self.nodes
        )
        return iter(wanted)

    def _incomplete(self, channel: str) -> Iterator[str]:
        for entity in self.entities:
            contributions = entity.contributions
            # An entity that is a node of its own has no kin to look for.
            linked = all(c.node_id != entity.entity_id for c in contributions)
            if linked and all(c.channel != channel for c in contributions):
                yield entity.entity_id


def rank(
    routes: Sequence[Route],
    answers: Sequence[Answer],
    *,
    channels: Sequence[SearchChannel],
    fusion: Fusion,
    top_k: int,
) -> Ranking:
    """Return the fused ranking of the routes that answered.

    Args:
        routes: The query's routes, in configured order.
        answers: What each of them gave, in the same order.
        channels: All of the retriever's channels.
        fusion: The rule.
        top_k: Entities kept.
    """
    with Span("fuse", fusion=fusion.describe(), routes=len(routes)):
        lists: list[RankedList] = []
        degraded: list[Degradation] = []
        nodes: dict[str, BaseNode] = {}
        for route, answer in zip(routes, answers, strict=True):
            ranked = _ranked(route, answer)
            if isinstance(ranked, Degradation):
                degraded.append(ranked)
                continue
            lists.append(ranked)
            found = () if isinstance(answer, Degradation) else answer.found
            for node_id, _, _, node in found:
                if node is not None:
                    nodes.setdefault(node_id, node)
        return Ranking(
            routes=tuple(routes),
            channels=tuple(channels),
            fusion=fusion.describe(),
            entities=tuple(fusion.fuse(lists)[:top_k]),
            nodes=nodes,
            degraded=tuple(degraded),
        )


def _fetch(channel: SearchChannel, node_ids: Sequence[str]) -> list[BaseNode]:
    return list(channel.fetch(node_ids).values())


def _ranked(route: Route, answer: Answer) -> RankedList | Degradation:
    if isinstance(answer, Degradation):
        return answer
    channel = route.channel
    weight = 1.0 if channel.weight is None else channel.weight
    try:
        return RankedList.from_scores(
            ((found.node_id, found.entity_id, found.score) for found in answer.found),
            channel=channel.name,
            route=route.name,
            modality=channel.modality,
            weight=weight * route.part.weight,
            background=answer.background,
        )
    except InvalidSetting as error:
        return Degradation(channel.name, route.name, "invalid", str(error))


def _one_of_each_modality(
    kin: Sequence[BaseNode], shown: Sequence[BaseNode]
) -> list[BaseNode]:
    """Return, of each modality not shown yet, the first node in document order."""
    modalities = {modality_of(node) for node in shown}
    first: dict[str, BaseNode] = {}
    for node in sorted(kin, key=lambda n: (n.metadata.get(POSITION_KEY, 0), n.node_id)):
        if (modality := modality_of(node)) not in modalities:
            first.setdefault(modality, node)
    return list(first.values())
