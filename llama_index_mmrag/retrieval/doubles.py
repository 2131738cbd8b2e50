"""Doubles: one node that several channels found by the same part of a query.

A caption that lies in a collection of texts and in one of pictures is found twice by
the same words. That is no second reason to show it: only the better hit counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from llama_index.core.schema import BaseNode, MetadataMode

from llama_index_mmrag.fusion import FusedEntity, RankedList
from llama_index_mmrag.nodes.node import is_uuid, one_spelling
from llama_index_mmrag.provenance import Contribution


def found_twice(entities: Iterable[FusedEntity]) -> list[list[Contribution]]:
    """Return the hits of several channels on one id, by entity and part of the query.

    Whether they are on one node is known when their texts are.
    """
    return [
        hits
        for entity in entities
        for hits in _by_part(entity.contributions)
        if len({hit.channel for hit in hits}) > 1
    ]


def _by_part(hits: Sequence[Contribution]) -> Iterator[list[Contribution]]:
    # Nearly always all ids differ, in one spelling, and there is nothing to be done.
    ids = {hit.node_id for hit in hits}
    if len(ids) < len(hits) or not all(map(is_uuid, ids)):
        parts: dict[tuple[str, str], list[Contribution]] = {}
        for hit in hits:
            parts.setdefault(node_of(hit), []).append(hit)
        yield from parts.values()


def node_of(hit: Contribution) -> tuple[str, str]:
    """Return the part of the query that found a hit, such as "text", and its id."""
    return hit.route.removesuffix(f"→{hit.channel}"), one_spelling(hit.node_id)


def with_doubles(
    lists: Sequence[RankedList],
    suspects: Iterable[Sequence[Contribution]],
    nodes: Mapping[str, Mapping[str, BaseNode]],
) -> list[RankedList]:
    """Return the lists, which say now which of their hits are one node.

    Args:
        lists: What the routes found.
        suspects: From `found_twice`.
        nodes: By channel, then by id. One that is not known, or has no words, is a
            node of its own.
    """
    same: dict[str, dict[str, tuple[str, ...]]] = {}
    for hits in suspects:
        for hit in hits:
            node = nodes[hit.channel].get(hit.node_id)
            text = node.get_content(metadata_mode=MetadataMode.NONE) if node else ""
            if text.strip():
                same.setdefault(hit.route, {})[hit.node_id] = *node_of(hit), text
    return [replace(one, same=same.get(one.route, {})) for one in lists]
