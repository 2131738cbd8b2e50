"""Kin: nodes of an entity that no search found, and which of them completes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import Job
from llama_index_mmrag.nodes.node import (
    LETTERING,
    MODALITY_KEY,
    POSITION_KEY,
    modality_of,
    one_spelling,
    words_of,
)
from llama_index_mmrag.retrieval.links import PICTURE, TYPE_KEY, Link
from llama_index_mmrag.retrieval.search import Answer, SearchChannel, job_of
from llama_index_mmrag.stores.collection import Found


class Kin(NamedTuple):
    """A node of an entity, in a channel that did not find the entity."""

    channel: str
    found: Found
    """Its score is how near it is to the query: larger is nearer."""

    @property
    def node_id(self) -> str:
        """Its id, in one spelling."""
        return one_spelling(self.found.node_id)

    @property
    def words_of(self) -> str:
        """Id of the picture whose words it holds; "" if it is none."""
        return one_spelling(words_of(self.found.said))

    @property
    def modality(self) -> str:
        """What `modality_of` says of it, read or not."""
        _, said, _, node, _ = self.found
        if node is not None:
            return modality_of(node)
        is_picture = said.get(TYPE_KEY) == PICTURE
        return str(said.get(MODALITY_KEY) or ("image" if is_picture else "text"))

    @property
    def position(self) -> float:
        """Its place in its document; 0 where a payload of somebody else's has none."""
        position = self.found.said.get(POSITION_KEY)
        return position if isinstance(position, int | float) else 0


def lookups_of(  # noqa: PLR0913 - what a query's searches had in common
    channels: Sequence[SearchChannel],
    wanted: Mapping[str, Sequence[str]],
    answers: Sequence[Answer],
    links: Mapping[str, Link],
    *,
    filters: MetadataFilters | None,
    deadline: Deadline | None,
) -> list[Job[list[Found]]]:
    """Return what asks for kin, one lookup a channel but those of lettering.

    Args:
        channels: All of the retriever's.
        wanted: By channel, the entities that it did not find. Of those of which a
            picture is still to be chosen, texts are asked for words of pictures too.
        answers: What the query found.
        links: Of each channel.
        filters: The query's conditions.
        deadline: Of the whole query.
    """
    unchosen = {
        entity_id
        for channel in channels
        if channel.modality == "image"
        for entity_id in wanted.get(channel.name, ())
    }
    jobs: list[Job[list[Found]]] = []
    for channel in channels:
        name = channel.name
        if (ids := wanted.get(name)) is None or channel.modality == LETTERING:
            continue  # what is read in a picture is none of its entity's texts
        how: dict[str, Any] = {"filters": filters}
        if named_by := links[name].named_by:
            how["linked_by"] = named_by
        scored = [
            answer
            for answer in answers
            if answer.ranked.channel == name
            and answer.ranked.weight
            and answer.vector is not None
            and getattr(channel, "scores_kin", False)
        ]
        if scored:
            more = unchosen.difference(ids) if channel.modality == "text" else ()
            how |= {"payload_keys": links[name].payload_keys, "words_of": sorted(more)}
        if ids or how.get("words_of"):
            work = partial(_read, channel, ids, scored, how)
            awork = partial(_aread, channel, ids, scored, how)
            about = f"complete {name}"
            jobs.append(job_of(channel, about, work, awork, deadline=deadline))
    return jobs


def pictures_of(
    channels: Sequence[Any],
    wanted: tuple[str, Sequence[str]],
    *,
    filters: MetadataFilters | None,
    deadline: Deadline | None,
) -> list[Job[list[BaseNode]]]:
    """Return what reads pictures by whose words their entities were found.

    Args:
        channels: All of the retriever's.
        wanted: The pictures' channel, and their ids.
        filters: The query's conditions: they may hide a picture, and not its words.
        deadline: By which they must be read.
    """
    name, ids = wanted
    how: dict[str, Any] = {"filters": filters}
    return [
        job_of(
            channel,
            f"show {name}",
            partial(channel.of_ids, ids, **how),
            partial(channel.aof_ids, ids, **how),
            deadline=deadline,
        )
        for channel in channels
        if ids and channel.name == name and hasattr(channel, "of_ids")
    ]


def _read(
    channel: Any, ids: Sequence[str], answers: Sequence[Answer], how: dict[str, Any]
) -> list[Found]:
    if answers:
        found: list[Found] = channel.nearness_of(ids, answers, **how)
        return found
    return _unscored(channel.of_entities(ids, **how))


async def _aread(
    channel: Any, ids: Sequence[str], answers: Sequence[Answer], how: dict[str, Any]
) -> list[Found]:
    if answers:
        found: list[Found] = await channel.anearness_of(ids, answers, **how)
        return found
    return _unscored(await channel.aof_entities(ids, **how))


def _unscored(nodes: Sequence[BaseNode]) -> list[Found]:
    return [Found(node.node_id, node.metadata, 0.0, node) for node in nodes]


def nearest_first(kin: Sequence[Kin]) -> list[Kin]:
    """Return which of an entity's kin complete it: of each modality the nearest one.

    A picture is as near as it is itself, or as its words are if these are nearer: a sum
    would prefer pictures that have words, whatever these say. Words are no text of the
    entity; the picture shows them. Equally near ones are in document order.

    Args:
        kin: Of one entity; a node may come several times, with several scores.
    """
    nearness: dict[tuple[bool, str], float] = {}

    def shown_by(one: Kin) -> tuple[bool, str]:
        return bool(one.words_of) or one.modality == "image", (
            one.words_of or one.node_id
        )

    for one in kin:
        key = shown_by(one)
        nearness[key] = max(nearness.get(key, one.found.score), one.found.score)
    candidates = sorted(
        (one for one in kin if not one.words_of),
        key=lambda one: (-nearness[shown_by(one)], one.position, one.node_id),
    )
    first: dict[str, Kin] = {}
    for one in candidates:
        first.setdefault(one.modality, one)
    return list(first.values())
