"""From the searches' answers to results: fuse, choose nodes, read them, attach why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, starmap
from typing import TypeAlias

from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import Job
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import FusedEntity, Fusion
from llama_index_mmrag.nodes.node import POSITION_KEY, FusedNode, entity_of, modality_of
from llama_index_mmrag.provenance import Degradation, Provenance
from llama_index_mmrag.retrieval.search import Answer, SearchChannel, job_of

FOUND_S = 0.05
"""Seconds that there are at least for reading what an embedded store has found: another
store's answer, while it is parsed, may hold the interpreter beyond the deadline."""

_Read: TypeAlias = Callable[[], list[BaseNode]]
_ARead: TypeAlias = Callable[[], Awaitable[list[BaseNode]]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The fused entities of one query, and the nodes that show them."""

    fusion: str
    entities: tuple[FusedEntity, ...]
    nodes: dict[str, BaseNode]
    """Nodes known so far, by id."""

    @classmethod
    def of(cls, answers: Sequence[Answer], *, fusion: Fusion, top_k: int) -> Ranking:
        """Return the `top_k` best entities of what the searches found."""
        # Of one id in two collections the first channel's copy is shown.
        nodes: dict[str, BaseNode] = {}
        for answer in reversed(answers):
            nodes |= answer.nodes
        lists = [answer.ranked for answer in answers]
        rule = fusion.describe()
        with Span("fuse", {"fusion": rule, "routes": len(answers)}):
            fused = fusion.fuse(lists)
        return cls(rule, tuple(fused[:top_k]), nodes)

    def lookups(
        self,
        channels: Sequence[SearchChannel],
        late: Sequence[str] | None,
        filters: MetadataFilters | None,
        deadline: Deadline | None,
    ) -> Iterable[Job[list[BaseNode]]]:
        """Return what must still be read, channel by channel.

        Nodes that a search brought the ids of; and the nodes of entities that the
        channel did not find.

        Args:
            channels: All of the retriever's.
            late: Channels that have kept this query waiting in vain already, and are
                not asked for more; None: none is, entities are left as they are.
            filters: The query's conditions.
            deadline: Of the whole query.
        """
        found: list[tuple[SearchChannel, str, _Read]] = []
        kindred: list[tuple[SearchChannel, str, _Read, _ARead]] = []
        for channel in channels:
            name = channel.name
            if channel.fetch and (missing := self._missing(name)):
                fetch = partial(channel.fetch, missing)
                found.append((channel, f"fetch {name}", fetch))
            if late is None or name in late:
                continue
            if kin := self._incomplete(name):
                read = partial(channel.of_entities, kin, filters=filters)
                aread = partial(channel.aof_entities, kin, filters=filters)
                kindred.append((channel, f"complete {name}", read, aread))
        extended = deadline and deadline.or_in(FOUND_S)
        return chain(
            starmap(partial(job_of, deadline=extended), found),
            starmap(partial(job_of, deadline=deadline), kindred),
        )

    def results(
        self,
        fetched: Sequence[BaseNode],
        *,
        requested: tuple[str, ...],
        degraded: tuple[Degradation, ...],
    ) -> list[NodeWithScore]:
        """Return the results, best entity first, each with its provenance.

        Of an entity's nodes those that were found come first, by what they added; then
        at most one of its kin for each modality it has not been shown in.

        Args:
            fetched: What the lookups read.
            requested: Names of the query's routes, in configured order.
            degraded: Routes that gave no answer, and lookups that failed.
        """
        # Of one id in two collections the first channel's copy is shown, as it is
        # where searches bring whole nodes.
        nodes = {node.node_id: node for node in reversed(fetched)} | self.nodes
        kin = self._kin(fetched)
        explained: list[tuple[BaseNode, Provenance]] = []
        for entity_id, score, contributions in self.entities:
            provenance = Provenance(
                entity_id, score, self.fusion, contributions, requested, degraded
            )
            shown = dict.fromkeys([c.node_id for c in contributions])
            chosen = [nodes[node_id] for node_id in shown if node_id in nodes]
            if related := kin.get(entity_id):
                chosen += _one_of_each_modality(related, chosen)
            explained += [(node, provenance) for node in chosen]
        return list(FusedNode.all_of(explained))

    def _kin(self, fetched: Sequence[BaseNode]) -> dict[str, list[BaseNode]]:
        kin: dict[str, list[BaseNode]] = {}
        found = {c.node_id for e in self.entities for c in e.contributions}
        for node in fetched:
            if node.node_id not in found:
                kin.setdefault(entity_of(node), []).append(node)
        return kin

    def _missing(self, channel: str) -> list[str]:
        wanted = dict.fromkeys(
            c.node_id
            for entity in self.entities
            for c in entity.contributions
            if c.channel == channel and c.node_id not in self.nodes
        )
        return list(wanted)

    def _incomplete(self, channel: str) -> list[str]:
        # An entity that is a node of its own has no kin to look for.
        return [
            entity.entity_id
            for entity in self.entities
            if all(
                c.channel != channel and c.node_id != entity.entity_id
                for c in entity.contributions
            )
        ]


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
