"""Relations: ids that hold in every run, of documents, of nodes and of their kin."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import Node, NodeRelationship, RelatedNodeInfo, TextNode

from llama_index_mmrag.ingestion.identity import (
    derived_id,
    is_random,
    is_uuid,
    without_volatile,
)
from llama_index_mmrag.ingestion.linked import Related
from llama_index_mmrag.ingestion.records import ReadSettings
from llama_index_mmrag.ingestion.roots import known_as, located
from llama_index_mmrag.nodes.places import Places, stored_metadata


def is_own(id_: str, settings: ReadSettings) -> bool:
    """Return whether an id is its giver's, and not one that LlamaIndex made up."""
    return settings.keep_uuid4 or not is_random(id_)


def stored_id(given: str) -> str:
    """Return the id that a node is stored under: a UUID is, in its one spelling."""
    return str(uuid.UUID(given)) if is_uuid(given) else derived_id("node", given)


def lasting_metadata(metadata: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """Return the metadata that an id may depend on."""
    return without_volatile(stored_metadata(located(metadata, places), places))


def document_of(
    node: Node | TextNode, settings: ReadSettings, places: Places
) -> tuple[str | None, str | None]:
    """Return the id that a node's document is stored under, and the one made up.

    None if it has no document, and is its own; and None where it was not made up.
    """
    source = node.source_node
    if source is None:
        return None, None if is_own(node.id_, settings) else node.id_
    if is_own(source.node_id, settings):
        return known_as(source.node_id, places), None
    # The random id of a document that was split before: its hash is the same in each
    # run, unless its metadata hold the date of a file, or where that lies.
    lasting = lasting_metadata(source.metadata, places)
    if lasting != source.metadata:
        return derived_id("document", lasting), source.node_id
    same = derived_id("document", source.hash) if source.hash else source.node_id
    return same, source.node_id


def relations_of(
    node: Node | TextNode, settings: ReadSettings, places: Places
) -> dict[NodeRelationship, Related]:
    """Return a node's relationships, but for its document and for made-up ids."""
    kept: dict[NodeRelationship, Related] = {}
    for relationship, related in node.relationships.items():
        if relationship == NodeRelationship.SOURCE:
            continue
        moved = [
            _moved(info, places)
            for info in (related if isinstance(related, list) else [related])
            if is_own(info.node_id, settings)
        ]
        if isinstance(related, list):
            kept[relationship] = moved
        elif moved:
            kept[relationship] = moved[0]
    return kept


def _moved(info: RelatedNodeInfo, places: Places) -> RelatedNodeInfo:
    """Return what is stored of a related node: its metadata may name a folder too."""
    update: dict[str, Any] = {"node_id": stored_id(known_as(info.node_id, places))}
    metadata = stored_metadata(located(info.metadata, places), places)
    if metadata != info.metadata:
        # The hash is of the metadata as they were.
        update |= {"metadata": metadata, "hash": None}
    return info.model_copy(update=update)
