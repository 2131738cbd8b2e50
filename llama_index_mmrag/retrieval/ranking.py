"""From the searches' answers to results: fuse, choose nodes, read them, attach why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import Job, Steps
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import FusedEntity, Fusion
from llama_index_mmrag.nodes.node import FusedNode, modality_of, one_spelling
from llama_index_mmrag.provenance import Contribution, Degradation, Provenance
from llama_index_mmrag.retrieval.doubles import found_twice, with_doubles
from llama_index_mmrag.retrieval.kin import (
    Kin,
    lookups_of,
    nearest_first,
    pictures_of,
)
from llama_index_mmrag.retrieval.links import Link
from llama_index_mmrag.retrieval.search import (
    Answer,
    SearchChannel,
    job_of,
    unshown,
)
from llama_index_mmrag.retrieval.words import (
    WordsOf,
    all_words,
    named,
    said_of,
    with_words,
)
from llama_index_mmrag.stores.collection import Found

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranking:
    """The fused entities of one query, and the nodes that show them."""

    fusion: str
    entities: tuple[FusedEntity, ...]
    nodes: dict[str, dict[str, BaseNode]]
    """Nodes known so far: by channel, then by id."""
    links: Mapping[str, Link]
    """By channel: what tells its nodes apart as entities."""
    answers: Sequence[Answer] = ()
    """What the searches found, and what they were by."""
    kin: dict[str, list[Kin]] = field(default_factory=dict)
    """By entity: nodes that complete it, where it is not shown in their modality."""
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
            lookups = unread.lookups(channels, reading)
            if lookups:
                read, lost = yield lookups  # what is lost here is asked for again
                nodes = unread.with_read([*_answered(lookups, read, lost)])[0].nodes
            lists = with_doubles(lists, suspects, nodes)
            with Span("fuse", about):
                fused = fusion.fuse(lists)
        is_lost = any(answer.lost for answer in answers)
        gone = unshown(answers, links) if is_lost else ()
        made = partial(cls, rule, nodes=nodes, links=links, answers=answers, lost=gone)
        words: dict[str, WordsOf] = {}
        seen = next((c.name for c in channels if c.modality == "image"), None)
        if seen is not None and any(answer.words for answer in answers):
            # Without a channel of pictures words are shown as texts.
            words = all_words(answer.words for answer in answers)
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

    def read(
        self,
        channels: Sequence[SearchChannel],
        late: Sequence[str] | None,
        filters: MetadataFilters | None,
        deadline: Deadline | None,
        reading: Deadline | None,
    ) -> Steps[tuple[Ranking, list[Degradation], int]]:
        """Return the ranking with all its nodes, what failed, and of how many lookups.

        Args:
            channels: All of the retriever's.
            late: Channels that have kept this query waiting in vain already, and are
                not asked for kin; None: none is, entities are left as they are.
            filters: The query's conditions.
            deadline: Of the whole query.
            reading: By which what was found must be read.
        """
        jobs: list[Job[list[Found]]] = []
        how: dict[str, Any] = {"filters": filters, "deadline": deadline}
        if late is not None:
            wanted = {
                channel.name: self._incomplete(channel.name)
                for channel in channels
                if channel.name not in late
            }
            if any(wanted.values()):
                jobs = lookups_of(channels, wanted, self.answers, self.links, **how)
        # What was found is read beside: a channel that hangs must not keep it waiting.
        lookups = self.lookups(channels, reading)
        if self.words:
            how = {"filters": filters, "deadline": reading}
            lookups += pictures_of(channels, self._of_words(), **how)
        read, lost = yield [*lookups, *jobs]
        answered = [*_answered([*lookups, *jobs], read, lost)]
        fetches = {job.name for job in lookups}
        fetched = [one for one in answered if one[0].name in fetches]
        whole, gone = self.with_read(fetched)
        more: list[Job[list[BaseNode]]] = []
        if len(fetched) < len(answered):
            light = {channel.name for channel in channels if channel.fetch}
            whole = whole._with_kin(answered[len(fetched) :], light)
            silent = {one.channel for one in lost}
            healthy = [channel for channel in channels if channel.name not in silent]
            more = whole.lookups(healthy, reading) if whole.kin else []
        if more:
            read, unread = yield more
            whole, left = whole.with_read([*_answered(more, read, unread)])
            lost, gone = [*lost, *unread], [*gone, *left]
        n_asked = len(self.lost) + len(lookups) + len(jobs) + len(more)
        return whole, [*lost, *self.lost, *gone], n_asked

    def _with_kin(
        self, read: Iterable[tuple[Job[Any], list[Found]]], light: set[str]
    ) -> Ranking:
        """Return the ranking with what completes its entities.

        Args:
            read: Lookups, and what they found.
            light: Channels whose nodes are read afterwards.
        """
        nodes = {channel: dict(known) for channel, known in self.nodes.items()}
        kin: dict[str, list[Kin]] = {}
        for job, found in read:
            name = job.channel
            known, entity_of = nodes.setdefault(name, {}), self.links[name].entity_of
            for hit in found:
                node_id, said, _, node, _ = hit
                if node is not None:
                    known[node_id] = node
                elif name not in light:
                    continue  # it has nothing to show
                entity_id = entity_of(said, node_id, node)
                kin.setdefault(entity_id, []).append(Kin(name, hit))
        nearest = {i: nearest_first(all_of) for i, all_of in kin.items()}
        return replace(self, nodes=nodes, kin=nearest)

    def lookups(
        self, channels: Sequence[SearchChannel], deadline: Deadline | None
    ) -> list[Job[list[BaseNode]]]:
        """Return what reads the nodes that searches brought the ids of, by a deadline.

        One lookup a channel.
        """
        missing = {channel.name: self._missing(channel.name) for channel in channels}
        return [
            job_of(
                channel,
                f"fetch {channel.name}",
                partial(channel.fetch, missing[channel.name]),
                deadline=deadline,
            )
            for channel in channels
            if channel.fetch and missing[channel.name]
        ]

    def with_read(
        self, lookups: Sequence[tuple[Job[Any], list[BaseNode]]]
    ) -> tuple[Ranking, list[Degradation]]:
        """Return the ranking with what the lookups read, and what they did not find."""
        nodes = {channel: dict(known) for channel, known in self.nodes.items()}
        gone: list[Degradation] = []
        for job, found in lookups:
            spelled = {node.node_id: node for node in found}
            if job.name == f"show {job.channel}":
                # Words of a picture that is gone, or hidden, are shown themselves.
                nodes.setdefault(job.channel, {}).update(spelled)
                continue
            missing = self._missing(job.channel)
            if not spelled.keys() >= set(missing):  # by an id of the caller's spelling
                spelled = {one_spelling(node.node_id): node for node in found}
            for node_id in missing:
                if (node := spelled.get(node_id)) is None:
                    reason = f"node {node_id!r} was found, and is not there to be read"
                    gone.append(Degradation(job.channel, job.name, "error", reason))
                else:
                    nodes.setdefault(job.channel, {})[node_id] = node
        return replace(self, nodes=nodes), gone

    def results(
        self, *, requested: tuple[str, ...], degraded: tuple[Degradation, ...]
    ) -> list[NodeWithScore]:
        """Return the results, best entity first, each with its provenance.

        Of an entity's nodes those that were found come first, by what they added, the
        words of a picture as this picture; then of its kin, for each modality that it
        has not been shown in, the nearest.

        Args:
            requested: Names of the query's routes, in configured order.
            degraded: Routes that gave no answer, and lookups that failed.
        """
        explained: list[tuple[BaseNode, Provenance]] = []
        for entity_id, score, found in self.entities:
            kin = [
                (one.channel, node)
                for one in self.kin.get(entity_id, ())
                if (node := self.nodes[one.channel].get(one.found.node_id)) is not None
            ]
            said = said_of(found, self.words, self.nodes) if self.words else {}
            read = [(hit, *self._node_of(hit, said)) for hit in found]
            # Under one id an entity has one node of each modality: the best.
            chosen: dict[object, tuple[str, BaseNode]] = {}
            for _, channel, node in read:
                if node is not None:
                    key = found[1:] and (one_spelling(node.node_id), modality_of(node))
                    chosen.setdefault(key, (channel, node))
            contributions = tuple(
                hit
                if node is None or node.node_id == hit.node_id
                else named(hit, self.words, self.nodes)
                if hit.node_id in self.words
                else hit._replace(node_id=node.node_id)  # as its caller spelled it
                for hit, _, node in read
            )
            shown = list(chosen.values())
            modalities = {modality_of(node) for _, node in shown} if kin else ()
            shown += [one for one in kin if modality_of(one[1]) not in modalities]
            for channel, one in shown:
                # By position: names would double the time, for every result.
                provenance = Provenance(
                    entity_id, score, self.fusion, contributions, requested, degraded,
                    channel,
                )  # fmt: skip
                explained.append((one, provenance))
        return list(FusedNode.all_of(explained))

    def _node_of(
        self, hit: Contribution, said: Mapping[str, Sequence[BaseNode]]
    ) -> tuple[str, BaseNode | None]:
        """Return the node that shows a hit, and its channel; of words, the picture."""
        channel, node_id = self._shown(hit)
        if (node := self.nodes.get(channel, {}).get(node_id)) is None:
            return hit.channel, self.nodes[hit.channel].get(hit.node_id)
        return channel, with_words(node, said[node_id]) if node_id in said else node

    def _shown(self, hit: Contribution) -> tuple[str, str]:
        words = self.words.get(hit.node_id)
        return (self.pictures, words.picture) if words else (hit.channel, hit.node_id)

    def _of_words(self) -> tuple[str, list[str]]:
        """Return the channel, and the pictures in it that words alone have found."""
        hits = [hit for entity in self.entities for hit in entity.contributions]
        there = {hit.node_id for hit in hits if hit.channel == self.pictures}
        words = (self.words[hit.node_id] for hit in hits if hit.node_id in self.words)
        wanted = dict.fromkeys(one.picture for one in words)
        return self.pictures, [id_ for id_ in wanted if id_ not in there]

    def _missing(self, channel: str) -> list[str]:
        if self.kin:  # these are known when what was found has been read
            of_kin = (one for kin in self.kin.values() for one in kin)
            found = [(one.channel, one.found.node_id) for one in of_kin]
        else:
            hits = [hit for entity in self.entities for hit in entity.contributions]
            found = [(hit.channel, hit.node_id) for hit in hits]
        there = self.nodes.get(channel, {})
        wanted = (id_ for name, id_ in found if name == channel and id_ not in there)
        return list(dict.fromkeys(wanted))

    def _incomplete(self, channel: str) -> list[str]:
        # An entity that is a node of its own has no kin to look for.
        return [
            entity.entity_id
            for entity in self.entities
            if all(
                name != channel
                and entity.entity_id not in [own + id_ for own in self.links[name].own]
                for name, id_ in map(self._shown, entity.contributions)
            )
        ]


def _answered(
    jobs: Sequence[Job[T]], read: Sequence[T], unread: Sequence[Degradation]
) -> Iterator[tuple[Job[T], T]]:
    """Yield jobs that were answered, each with its answer."""
    failed = {lost.route for lost in unread}
    return zip((job for job in jobs if job.name not in failed), read, strict=True)
