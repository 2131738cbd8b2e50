"""Loose nodes: what users made themselves, kept whole under ids that a store takes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias

from llama_index.core.schema import (
    ImageNode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.ingestion.entities import (
    FILE_PATH_KEY,
    IMAGE,
    TEXT,
    node_id,
)
from llama_index_mmrag.ingestion.identity import (
    VOLATILE_KEYS,
    checked_text,
    content_hash,
    derived_id,
    is_random,
    is_uuid,
    without_volatile,
)
from llama_index_mmrag.ingestion.metadata import stored_key, user_metadata
from llama_index_mmrag.ingestion.parts import templates_of, text_of
from llama_index_mmrag.ingestion.pictures import (
    Picture,
    opened_picture,
    place_picture,
)
from llama_index_mmrag.ingestion.records import (
    Problem,
    ReadSettings,
    RecordNode,
    SourceRecord,
)
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    CaptionedImageNode,
    hide_bookkeeping,
)
from llama_index_mmrag.nodes.shown import has_picture

ORIGINAL_ID_KEY = "original_id"
"""Metadata key of a node's own id, where a vector store would not take it."""

Related: TypeAlias = "RelatedNodeInfo | list[RelatedNodeInfo]"


def read_node(node: Node | TextNode, settings: ReadSettings) -> SourceRecord:
    """Return a node as it is, under a stable id; a `Node` may become two.

    TextNode and ImageNode (its text is the caption) stay one node. A `Node` with text
    and picture becomes a text node and an image node of one entity. Metadata's
    `entity_id` and `modality` are the user's word.

    Ids: a UUID that is not of version 4 stays; a version-4 one, which LlamaIndex made,
    becomes the uuid5 over the content; any other becomes its own uuid5 and is kept as
    metadata `original_id`. Relationships follow; those to version-4 ids are dropped,
    as nothing is stored under them.

    Raises:
        ImageUnreadable: Its picture is broken or only a URL, and it has no text.
        InvalidSetting: Text or metadata cannot be stored.
    """
    text = checked_text(text_of(node))
    is_two = isinstance(node, Node) and has_picture(node) and bool(text.strip())
    picture, problems = None, []
    try:
        picture = opened_picture(node) if has_picture(node) else None
    except ImageUnreadable as error:
        if not is_two:
            raise
        problems.append(f"{error} The text went in.")
    if not text.strip() and picture is None:
        problems.append("The node has neither text nor picture. Leave it out.")
    parts: list[tuple[RecordNode, Picture | None]] = []
    if text.strip() and (is_two or not has_picture(node)):
        parts.append((_text_part(node, text), None))
    if picture is not None:
        parts.append((_image_part(node, text, picture, settings), picture))
    metadata = _metadata(node)
    ref_doc_id = _document_of(node, settings)
    given = None if is_random(node.id_) and not settings.keep_uuid4 else node.id_
    if is_two:
        about = [given] if given else [ref_doc_id, _hash(text, picture), metadata]
        metadata.setdefault(ENTITY_KEY, derived_id("node", *about))
    nodes = tuple(
        _finish(part, opened, metadata, node, ref_doc_id, given, is_two=is_two)
        for part, opened in parts
    )
    # Without a document, a node is its own: stores cannot delete what has none.
    ref_doc_id = ref_doc_id or given or (nodes[0].id_ if nodes else node.id_)
    for finished in nodes:
        finished.relationships = _relationships(node, ref_doc_id, settings)
    return SourceRecord(
        ref_doc_id,
        nodes,
        whole=False,
        problems=tuple(Problem(ref_doc_id, reason) for reason in problems),
    )


def _text_part(node: Node | TextNode, text: str) -> TextNode:
    if isinstance(node, TextNode):
        return node.model_copy()
    return TextNode(text=text, **_shared(node))


def _image_part(
    node: Node | TextNode, text: str, picture: Picture, settings: ReadSettings
) -> ImageNode:
    placed = place_picture(picture, settings.media_dir)
    if not isinstance(node, ImageNode):
        return CaptionedImageNode(text=text, **placed, **_shared(node))
    copy = CaptionedImageNode.from_node(node)
    copy.image, copy.image_url = placed.get("image"), None
    copy.image_path = placed.get("image_path")
    copy.image_mimetype = placed["image_mimetype"]
    return copy


def _shared(node: Node | TextNode) -> dict[str, Any]:
    return {
        **templates_of(node),
        "excluded_embed_metadata_keys": node.excluded_embed_metadata_keys,
        "excluded_llm_metadata_keys": node.excluded_llm_metadata_keys,
    }


def _finish(
    part: RecordNode,
    picture: Picture | None,
    metadata: Mapping[str, Any],
    node: Node | TextNode,
    ref_doc_id: str | None,
    given: str | None,
    *,
    is_two: bool,
) -> RecordNode:
    modality = TEXT if picture is None else IMAGE
    part.metadata = {
        **metadata,
        MODALITY_KEY: modality if is_two else _modality(node, modality),
        POSITION_KEY: _position(node),
        CONTENT_HASH_KEY: _hash(part.text, picture),
    }
    if given is None:
        is_inline = picture is not None and picture.path is None
        part.id_ = node_id(part, ref_doc_id or "", inline_picture=is_inline)
    else:
        part.id_ = derived_id("node", given, modality) if is_two else stored_id(given)
        if part.id_ != given:
            part.metadata.setdefault(ORIGINAL_ID_KEY, given)
    part.metadata.setdefault(ENTITY_KEY, part.id_)
    part.excluded_embed_metadata_keys = [
        *map(stored_key, node.excluded_embed_metadata_keys),
        ORIGINAL_ID_KEY,
        FILE_PATH_KEY,
    ]
    part.excluded_llm_metadata_keys = [
        *map(stored_key, node.excluded_llm_metadata_keys),
        ORIGINAL_ID_KEY,
    ]
    hide_bookkeeping(part)
    return part


def stored_id(given: str) -> str:
    """Return the id under which a node with the id `given` is stored."""
    return str(uuid.UUID(given)) if is_uuid(given) else derived_id("node", given)


def _hash(text: str, picture: Picture | None) -> str:
    return content_hash(text, picture.data if picture else b"")


def _metadata(node: Node | TextNode) -> dict[str, Any]:
    # Here, unlike for documents, a modality is the user's word and not renamed.
    own = {key: node.metadata[key] for key in node.metadata if key != MODALITY_KEY}
    return user_metadata(own)


def _modality(node: Node | TextNode, default: str) -> str:
    return str(node.metadata.get(MODALITY_KEY) or default)


def _position(node: Node | TextNode) -> int:
    # Only beside a content hash is it the position that we wrote; see user_metadata.
    position = node.metadata.get(POSITION_KEY)
    if CONTENT_HASH_KEY in node.metadata and isinstance(position, int):
        return position
    return 0


def _document_of(node: Node | TextNode, settings: ReadSettings) -> str | None:
    source = node.source_node
    if source is None:
        return None
    if settings.keep_uuid4 or not is_random(source.node_id):
        return source.node_id
    # The random id of a document that was split before: its hash is the same in each
    # run, unless its metadata hold the date of a file.
    if VOLATILE_KEYS & source.metadata.keys():
        return derived_id("document", without_volatile(source.metadata))
    return derived_id("document", source.hash) if source.hash else source.node_id


def _relationships(
    node: Node | TextNode, ref_doc_id: str, settings: ReadSettings
) -> dict[NodeRelationship, Related]:
    def is_kept(info: RelatedNodeInfo) -> bool:
        return settings.keep_uuid4 or not is_random(info.node_id)

    def moved(info: RelatedNodeInfo) -> RelatedNodeInfo:
        return info.model_copy(update={"node_id": stored_id(info.node_id)})

    kept: dict[NodeRelationship, Related] = {}
    for relationship, related in node.relationships.items():
        if relationship == NodeRelationship.SOURCE:
            continue
        if isinstance(related, list):
            kept[relationship] = [moved(info) for info in related if is_kept(info)]
        elif is_kept(related):
            kept[relationship] = moved(related)
    return {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref_doc_id), **kept}
