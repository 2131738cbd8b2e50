"""Doubles: one node that several channels found by the same part of a query.

A caption that lies in a collection of texts and in one of pictures is found twice by
the same words. That is no second reason to show it: only the better hit counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from llama_index.core.schema import BaseNode, MetadataMode

from llama_index_mmrag.fusion import FusedEntity, RankedList
from llama_index_mmrag.nodes.node import one_spelling
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
    # Nearly always all ids differ, and there is nothing to be done.
    if len({hit.node_id for hit in hits}) < len(hits):
        parts: dict[tuple[str, str], list[Contribution]] = {}
        for hit in hits:
            parts.setdefault((part_of(hit), one_spelling(hit.node_id)), []).append(hit)
        yield from parts.values()


def part_of(hit: Contribution) -> str:
    """Return the part of the query that found a hit, such as "text"."""
    return hit.route.removesuffix(f"→{hit.channel}")


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
                token = (part_of(hit), one_spelling(hit.node_id), text)
                same.setdefault(hit.route, {})[hit.node_id] = token
    return [replace(one, same=same.get(one.route, {})) for one in lists]
