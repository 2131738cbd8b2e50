"""Entities: texts and pictures that show one thing, made into linked nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.schema import (
    ImageNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.ingestion.identity import (
    content_hash,
    derived_id,
    plain,
    without_volatile,
)
from llama_index_mmrag.ingestion.pictures import Picture, place_picture
from llama_index_mmrag.ingestion.records import ReadSettings, RecordNode
from llama_index_mmrag.ingestion.splitting import PARAGRAPH, split
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    CaptionedImageNode,
    hide_bookkeeping,
)

FILE_NAME_KEY = "file_name"
FILE_PATH_KEY = "file_path"
SECTION_KEY = "section"
"""Metadata key of the headings above a node, outermost first, joined by " > "."""

HEADING_SEPARATOR = " > "

_LOCATION_KEYS = (FILE_NAME_KEY, FILE_PATH_KEY, SECTION_KEY)

TEXT = "text"
IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Caption:
    """A picture and the words that stand for it."""

    picture: Picture
    text: str


@dataclass(frozen=True, slots=True)
class Entity:
    """What one section, document or file shows.

    `entity_id` None makes each node an entity of its own: chunks of a plain text,
    which nothing but their file holds together. An `entity_id` in the origin's
    metadata is the user's word and wins over both.
    """

    entity_id: str | None
    text: str = ""
    separator: str = PARAGRAPH
    """What stands between the text's paragraphs, see `split`."""
    headings: tuple[str, ...] = ()
    pictures: tuple[Caption, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """What all nodes of one document share."""

    ref_doc_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    hidden_from_embedding: tuple[str, ...] = ()
    hidden_from_llm: tuple[str, ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict)
    """Text and metadata templates of a LlamaIndex document, by field name."""


def nodes_of(
    entities: Sequence[Entity], origin: Origin, settings: ReadSettings
) -> tuple[RecordNode, ...]:
    """Return the nodes of a document: each entity's chunks, then its pictures.

    A node's id is the uuid5 over everything stored in it (document, modality, entity,
    position, content, metadata, picture path), so equal ids mean equal nodes.
    """
    nodes: list[RecordNode] = []
    for entity in entities:
        for text in _chunks(entity, origin, settings):
            node = TextNode(text=text)
            _finish(node, entity, origin, len(nodes))
            nodes.append(node)
        for caption in entity.pictures:
            image = CaptionedImageNode(
                text=caption.text, **place_picture(caption.picture, settings.media_dir)
            )
            _finish(image, entity, origin, len(nodes), caption.picture)
            nodes.append(image)
    return tuple(nodes)


def node_id(node: TextNode, ref_doc_id: str, *, inline_picture: bool = False) -> str:
    """Return the uuid5 over what `node` holds; its metadata must be complete.

    Args:
        node: Node whose `content_hash`, `modality` and `position` are set.
        ref_doc_id: Its document.
        inline_picture: True leaves the path out: it follows from the picture's bytes.
    """
    metadata = without_volatile(node.metadata)
    path = getattr(node, "image_path", None)
    return derived_id(
        ref_doc_id,
        metadata.pop(MODALITY_KEY),
        metadata.pop(ENTITY_KEY, None),
        metadata.pop(POSITION_KEY),
        metadata.pop(CONTENT_HASH_KEY),
        plain(metadata),
        None if inline_picture else path,
    )


def _chunks(entity: Entity, origin: Origin, settings: ReadSettings) -> Iterator[str]:
    heading = HEADING_SEPARATOR.join(entity.headings)
    captions = [caption.text for caption in entity.pictures if caption.text]
    # A section that holds only pictures is still found by its heading and captions.
    text = entity.text.strip() or "\n".join(dict.fromkeys(captions))
    if entity.headings and text == entity.headings[-1]:
        text = ""
    if not text:
        if entity.pictures and heading:
            yield heading
        return
    probe = TextNode(text="", metadata=dict(origin.metadata))
    _dress(probe, origin)
    overhead = probe.get_metadata_str(mode=MetadataMode.EMBED)
    prefix = f"{heading}\n\n" if heading else ""
    for chunk in split(text, overhead + prefix, settings, separator=entity.separator):
        yield prefix + chunk


def _finish(
    node: TextNode,
    entity: Entity,
    origin: Origin,
    position: int,
    picture: Picture | None = None,
) -> None:
    node.metadata = {
        **origin.metadata,
        MODALITY_KEY: TEXT if picture is None else IMAGE,
        POSITION_KEY: position,
        CONTENT_HASH_KEY: content_hash(node.text, picture.data if picture else b""),
    }
    if entity.headings:
        node.metadata[SECTION_KEY] = HEADING_SEPARATOR.join(entity.headings)
    if entity.entity_id is not None and ENTITY_KEY not in origin.metadata:
        node.metadata[ENTITY_KEY] = entity.entity_id
    node.id_ = node_id(
        node,
        origin.ref_doc_id,
        inline_picture=picture is not None and picture.path is None,
    )
    node.metadata.setdefault(ENTITY_KEY, node.id_)
    node.relationships = {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id=origin.ref_doc_id)
    }
    _dress(node, origin)


def _dress(node: TextNode, origin: Origin) -> None:
    for name, template in origin.templates.items():
        setattr(node, name, template)
    node.excluded_embed_metadata_keys = [*origin.hidden_from_embedding, *_LOCATION_KEYS]
    node.excluded_llm_metadata_keys = [*origin.hidden_from_llm, FILE_PATH_KEY]
    if not isinstance(node, ImageNode):
        # A text starts with its headings already.
        node.excluded_llm_metadata_keys.append(SECTION_KEY)
    hide_bookkeeping(node)
