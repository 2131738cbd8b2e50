"""From the searches' answers to results: fuse, choose nodes, read them, attach why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import starmap
from typing import Any, TypeAlias

from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import Job, Steps
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import FusedEntity, Fusion
from llama_index_mmrag.nodes.node import (
    POSITION_KEY,
    FusedNode,
    modality_of,
    one_spelling,
    words_of,
)
from llama_index_mmrag.provenance import Contribution, Degradation, Provenance
from llama_index_mmrag.retrieval.doubles import found_twice, with_doubles
from llama_index_mmrag.retrieval.links import Link
from llama_index_mmrag.retrieval.search import Answer, SearchChannel, job_of
from llama_index_mmrag.retrieval.words import (
    WordsOf,
    channel_of_pictures,
    named,
    with_caption,
)

_Read: TypeAlias = Callable[[], list[BaseNode]]
_ARead: TypeAlias = Callable[[], Awaitable[list[BaseNode]]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The fused entities of one query, and the nodes that show them."""

    fusion: str
    entities: tuple[FusedEntity, ...]
    nodes: dict[str, dict[str, BaseNode]]
    """Nodes known so far: by channel, then by id."""
    links: Mapping[str, Link]
    """By channel: what tells its nodes apart as entities."""
    kin: dict[str, list[tuple[str, BaseNode]]] = field(default_factory=dict)
    """By entity: nodes that were not found themselves, each with its channel."""
    lost: tuple[Degradation, ...] = ()
    """Points that were found and have nothing to show, a channel each."""
    words: Mapping[str, WordsOf] = field(default_factory=dict)
    """By id: the texts found that are words of pictures, and shown as these."""
    pictures: str = ""
    """The channel that the pictures are in."""

    @classmethod
    def of(
        cls,
        answers: Sequence[Answer],
        channels: Sequence[SearchChannel],
        *,
        links: Mapping[str, Link],
        fusion: Fusion,
        top_k: int,
        image_top_k: int | None,
        reading: Deadline | None,
    ) -> Steps[Ranking]:
        """Return the `top_k` best entities of what the searches found.

        With `image_top_k`, so many whose best node is a picture, and `top_k` others.

        Yields lookups only where channels found one id in one entity: whether that is
        one node, which counts once, its texts say.
        """
        nodes: dict[str, dict[str, BaseNode]] = {}
        for answer in answers:
            nodes.setdefault(answer.ranked.channel, {}).update(answer.nodes)
        lists = [answer.ranked for answer in answers]
        rule = fusion.describe()
        about = {"fusion": rule, "routes": len(answers)}
        with Span("fuse", about):
            fused = fusion.fuse(lists)
        if suspects := found_twice(fused):
            suspects = [
                hits
                for hits in suspects
                if not all(links[hit.channel].is_view for hit in hits)
            ]
        if suspects:
            hits = tuple(hit for hits in suspects for hit in hits)
            unread = cls(rule, (FusedEntity("", 0.0, hits),), nodes, links)
            lookups = unread.lookups(channels, None, None, None, reading)
            if lookups:
                read, lost = yield lookups  # what is lost here is asked for again
                nodes = unread.with_read(lookups, read, lost)[0].nodes
            lists = with_doubles(lists, suspects, nodes)
            with Span("fuse", about):
                fused = fusion.fuse(lists)
        made = partial(
            cls, rule, nodes=nodes, links=links, lost=_unshown(answers, links)
        )
        words: dict[str, WordsOf] = {}
        if any(answer.words for answer in answers) and (
            seen := channel_of_pictures(channels)
        ):
            words = {k: v for answer in answers for k, v in answer.words.items()}
            made = partial(made, words=words, pictures=seen)
        if image_top_k is None:
            return made(tuple(fused[:top_k]))
        pictures = {c.name for c in channels if c.modality == "image"}
        left = {True: image_top_k, False: top_k}
        best: list[FusedEntity] = []
        for entity in fused:
            first = entity.contributions[0]
            is_picture = first.channel in pictures or first.node_id in words
            if left[is_picture]:
                left[is_picture] -= 1
                best.append(entity)
        return made(tuple(best))

    def lookups(
        self,
        channels: Sequence[SearchChannel],
        late: Sequence[str] | None,
        filters: MetadataFilters | None,
        deadline: Deadline | None,
        reading: Deadline | None,
    ) -> list[Job[list[BaseNode]]]:
        """Return what must still be read, channel by channel.

        Nodes that a search brought the ids of; and the nodes of entities that the
        channel did not find.

        Args:
            channels: All of the retriever's.
            late: Channels that have kept this query waiting in vain already, and are
                not asked for more; None: none is, entities are left as they are.
            filters: The query's conditions.
            deadline: Of the whole query.
            reading: By which what was found must be read.
        """
        found: list[tuple[SearchChannel, str, _Read]] = []
        kindred: list[tuple[SearchChannel, str, _Read, _ARead]] = []
        for channel in channels:
            name = channel.name
            if channel.fetch and (missing := self._missing(name)):
                fetch = partial(channel.fetch, missing)
                found.append((channel, _fetch(name), fetch))
            if late is None or name in late:
                continue
            if kin := self._incomplete(name, can_fetch=channel.fetch is not None):
                how: dict[str, Any] = {"filters": filters}
                if named_by := self.links[name].named_by:
                    how["linked_by"] = named_by
                read = partial(channel.of_entities, kin, **how)
                aread = partial(channel.aof_entities, kin, **how)
                kindred.append((channel, f"complete {name}", read, aread))
        return [
            *starmap(partial(job_of, deadline=reading), found),
            *starmap(partial(job_of, deadline=deadline), kindred),
        ]

    def with_read(
        self,
        lookups: Sequence[Job[Any]],
        read: Sequence[list[BaseNode]],
        unread: Sequence[Degradation],
    ) -> tuple[Ranking, list[Degradation]]:
        """Return the ranking with what the lookups read, and what they did not find.

        Args:
            lookups: Those that were asked for.
            read: What they gave; nothing for those in `unread`.
            unread: Those that failed.
        """
        failed = {lost.route for lost in unread}
        answered = [job for job in lookups if job.name not in failed]
        nodes = {channel: dict(known) for channel, known in self.nodes.items()}
        kin: dict[str, list[tuple[str, BaseNode]]] = {}
        gone = list(self.lost)
        for job, found in zip(answered, read, strict=True):
            if job.name != _fetch(job.channel):
                entity_of = self.links[job.channel].entity_of
                for one in found:
                    entity_id = entity_of(one.metadata, one.node_id, one)
                    kin.setdefault(entity_id, []).append((job.channel, one))
                continue
            spelled = {node.node_id: node for node in found}
            missing = self._missing(job.channel)
            if not spelled.keys() >= set(missing):  # by an id of the caller's spelling
                spelled = {one_spelling(node.node_id): node for node in found}
            for node_id in missing:
                if (node := spelled.get(node_id)) is None:
                    reason = f"node {node_id!r} was found, and is not there to be read"
                    gone.append(Degradation(job.channel, job.name, "error", reason))
                else:
                    nodes.setdefault(job.channel, {})[node_id] = node
        return replace(self, nodes=nodes, kin=kin), gone

    def results(
        self, *, requested: tuple[str, ...], degraded: tuple[Degradation, ...]
    ) -> list[NodeWithScore]:
        """Return the results, best entity first, each with its provenance.

        Of an entity's nodes those that were found come first, by what they added; then
        at most one of its kin for each modality it has not been shown in.

        Args:
            requested: Names of the query's routes, in configured order.
            degraded: Routes that gave no answer, and lookups that failed.
        """
        explained: list[tuple[BaseNode, Provenance]] = []
        for entity_id, score, found in self.entities:
            read = [(hit, *self._node_of(hit, entity_id)) for hit in found]
            # Under one id an entity has one node of each modality: the best.
            chosen: dict[object, tuple[str, BaseNode]] = {}
            for hit, channel, node in read:
                if node is not None:
                    key = found[1:] and (one_spelling(node.node_id), modality_of(node))
                    if key not in chosen or hit.node_id in self.words:
                        chosen[key] = channel, node
            contributions = tuple(
                hit
                if node is None or node.node_id == hit.node_id
                else named(hit, self.words)
                if hit.node_id in self.words
                else hit._replace(node_id=node.node_id)  # as its caller spelled it
                for hit, _, node in read
            )
            shown = list(chosen.values())
            if related := self.kin.get(entity_id):
                # Words are told by their picture.
                texts = [kin for kin in related if not words_of(kin[1].metadata)]
                shown += _one_of_each_modality(texts, shown)
            for channel, one in shown:
                # By position: names would double the time, for every result.
                provenance = Provenance(
                    entity_id, score, self.fusion, contributions, requested, degraded,
                    channel,
                )  # fmt: skip
                explained.append((one, provenance))
        return list(FusedNode.all_of(explained))

    def _node_of(
        self, hit: Contribution, entity_id: str
    ) -> tuple[str, BaseNode | None]:
        """Return the node that shows a hit, and its channel; of words, the picture."""
        node = self.nodes[hit.channel].get(hit.node_id)
        if hit.node_id not in self.words:
            return hit.channel, node
        wanted = self.words[hit.node_id].picture
        related = {kin.node_id: kin for _, kin in self.kin.get(entity_id, ())}
        there = {**related, **self.nodes.get(self.pictures, {})}
        if (picture := there.get(wanted)) is None:
            return hit.channel, node
        return self.pictures, with_caption(picture, node)

    def _shown(self, hit: Contribution) -> tuple[str, str]:
        words = self.words.get(hit.node_id)
        return (self.pictures, words.picture) if words else (hit.channel, hit.node_id)

    def _missing(self, channel: str) -> list[str]:
        hits = [hit for entity in self.entities for hit in entity.contributions]
        found = [(hit.channel, hit.node_id) for hit in hits]
        if self.words and channel == self.pictures:
            found += map(self._shown, hits)
        there = self.nodes.get(channel, {})
        wanted = (id_ for name, id_ in found if name == channel and id_ not in there)
        return list(dict.fromkeys(wanted))

    def _incomplete(self, channel: str, *, can_fetch: bool) -> list[str]:
        # Where pictures cannot be read by their ids, those of words are kin.
        as_found = channel == self.pictures and not can_fetch
        found = {
            entity.entity_id: [
                (c.channel, c.node_id) if as_found else self._shown(c)
                for c in entity.contributions
            ]
            for entity in self.entities
        }
        # An entity that is a node of its own has no kin to look for.
        return [
            entity_id
            for entity_id, hits in found.items()
            if all(
                name != channel
                and entity_id not in [own + id_ for own in self.links[name].own]
                for name, id_ in hits
            )
        ]


def _unshown(
    answers: Sequence[Answer], links: Mapping[str, Link]
) -> tuple[Degradation, ...]:
    """Return, for each channel, how many points were found and show nothing."""
    if not any(answer.lost for answer in answers):
        return ()
    shown = {hit.entity_id for answer in answers for hit in answer.ranked.hits}
    lost: dict[str, dict[str, str]] = {}
    for answer in answers:
        channel = answer.ranked.channel
        for node_id, what in (answer.lost or {}).items():
            # What is no picture may be a text, of which another channel knows.
            if links[channel].entity_of({}, node_id) not in shown:
                lost.setdefault(channel, {})[node_id] = what
    return tuple(
        Degradation(channel, f"read {channel}", "error", _counted(lacking.values()))
        for channel, lacking in lost.items()
    )


def _counted(lacking: Iterable[str]) -> str:
    counts = Counter(lacking).items()
    told = "; ".join(f"{n} without {what}" for what, n in counts)
    return f"points were found that have nothing to show: {told}"


def _position(node: BaseNode) -> float:
    # In a payload of somebody else's it may be anything.
    position = node.metadata.get(POSITION_KEY)
    return position if isinstance(position, int | float) else 0


def _fetch(channel: str) -> str:
    return f"fetch {channel}"


def _one_of_each_modality(
    kin: Sequence[tuple[str, BaseNode]], shown: Sequence[tuple[str, BaseNode]]
) -> list[tuple[str, BaseNode]]:
    """Return, of each modality not shown yet, the first node in document order."""
    modalities = {modality_of(node) for _, node in shown}
    first: dict[str, tuple[str, BaseNode]] = {}
    for channel, node in sorted(
        kin, key=lambda one: (_position(one[1]), one[1].node_id)
    ):
        if (modality := modality_of(node)) not in modalities:
            first.setdefault(modality, (channel, node))
    return list(first.values())
