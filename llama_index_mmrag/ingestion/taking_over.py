"""Taking over: vectors that are there already, of a file under another name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from llama_index.core.schema import BaseNode, ImageNode, MetadataMode

from llama_index_mmrag.ingestion.records import SourceRecord
from llama_index_mmrag.nodes.node import CONTENT_HASH_KEY
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue


def alike(
    catalogue: Catalogue, records: Iterable[SourceRecord]
) -> dict[str, list[str]]:
    """Return the ids of nodes of files with the same content, by modality."""
    hashes = {row.sha256 for record in records for row in record.rows}
    found: dict[str, list[str]] = {}
    for row in catalogue.with_hashes(hashes) if hashes else ():
        for modality, ids in row.ids.items():
            found.setdefault(modality, []).extend(ids)
    return found


def take_over(
    channel: Channel, nodes: Sequence[BaseNode], donors: Sequence[str]
) -> tuple[list[BaseNode], list[BaseNode]]:
    """Return the nodes whose vectors are there, with these, and those that have none.

    Args:
        channel: Where they are to be written.
        nodes: What is new.
        donors: Ids of nodes that may have been encoded from the same.
    """
    there = channel.collection.nodes(donors, with_vectors=True)
    vectors = {_encoded(node): node.embedding for node in there if node.embedding}
    taken = [
        node.model_copy(update={"embedding": vectors[key]})
        for node in nodes
        if (key := _encoded(node)) in vectors
    ]
    ids = {node.node_id for node in taken}
    return taken, [node for node in nodes if node.node_id not in ids]


def _encoded(node: BaseNode) -> Hashable:
    """Return what a node's vector follows from: words, and a picture's bytes."""
    words = node.get_content(metadata_mode=MetadataMode.EMBED)
    if not isinstance(node, ImageNode):
        return words, None
    return words, node.metadata.get(CONTENT_HASH_KEY, node.node_id)
