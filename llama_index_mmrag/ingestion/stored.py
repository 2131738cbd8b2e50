"""What a channel's store holds of some nodes, and whether it is what is wanted."""

from __future__ import annotations

from collections.abc import Collection

from llama_index.core.schema import BaseNode

from llama_index_mmrag.ingestion.identity import without_volatile
from llama_index_mmrag.retrieval.channel import Channel


def stored_nodes(channel: Channel, node_ids: Collection[str]) -> list[BaseNode]:
    """Return the nodes that are stored, with their vectors."""
    return channel.collection.nodes(node_ids, with_vectors=True)


def holds(stored: BaseNode, wanted: BaseNode) -> bool:
    """Return whether a stored node has the content, metadata and links of another."""
    one, other = (
        (
            node.get_content(),
            without_volatile(node.metadata),
            node.relationships,
            sorted(node.excluded_embed_metadata_keys),
        )
        for node in (stored, wanted)
    )
    return one == other


def write_nodes(channel: Channel, nodes: list[BaseNode]) -> None:
    """Add nodes that have their vectors; none is none."""
    channel.collection.add(nodes)


def remove_nodes(channel: Channel, node_ids: Collection[str]) -> None:
    """Delete nodes by id; none is none."""
    channel.collection.remove(node_ids)
