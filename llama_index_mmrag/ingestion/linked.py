"""Linked nodes: id, entity, place, modality, metadata and links, decided in one place.

Whatever a node comes from, a page's section or a user's own code, it is finished here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core.schema import (
    BaseNode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.ingestion.identity import (
    VOLATILE_KEYS,
    derived_id,
    is_random,
    without_volatile,
)
from llama_index_mmrag.ingestion.records import RecordNode
from llama_index_mmrag.ingestion.roots import Root
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    FILE_PATH_KEY,
    GIVEN_ID_KEY,
    IMAGE_FILE_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    hide_bookkeeping,
)
from llama_index_mmrag.nodes.places import (
    Places,
    here,
    named_all,
    stored_metadata,
)
from llama_index_mmrag.readers.page import Picture

FILE_NAME_KEY = "file_name"
SECTION_KEY = "section"
"""Metadata key of the headings above a node, outermost first, joined by " > "."""

ORIGINAL_ID_KEY = "original_id"
"""Metadata key of the id that a node came with, where it is stored under another."""

HEADING_SEPARATOR = " > "

TEXT = "text"
IMAGE = "image"

Related: TypeAlias = "RelatedNodeInfo | list[RelatedNodeInfo]"


@dataclass(frozen=True, slots=True)
class Origin:
    """What all nodes of one document, or of one node that a user made, share."""

    ref_doc_id: str | None
    """None for a node without a document or an id of its own: it is its own."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    hidden_from_embedding: tuple[str, ...] = ()
    hidden_from_llm: tuple[str, ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict)
    """Text and metadata templates of a LlamaIndex document, by field name."""
    random_id: str | None = None
    """The one that the document came with, where LlamaIndex made it."""
    node_id: str | None = None
    """The one that the node came with, whoever made it."""
    related: Mapping[NodeRelationship, Related] = field(default_factory=dict)
    """The node's relationships, besides the one with its document."""
    places: Places = field(default_factory=dict)
    """Where the roots lie that nothing stored may depend on."""
    root: Root | None = None
    """A file's: what it shows is named from there, also what lies beside it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A node with its content alone, and what is to be decided for it apart."""

    node: RecordNode
    position: int
    picture: Picture | None = None
    modality: str | None = None
    """A user's word; None: what the content is."""
    entity_id: str | None = None
    """None makes it an entity of its own. An `entity_id` in the origin's metadata is
    the user's word and wins."""
    section: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What a step that splits said of it, beside the origin's."""
    hidden_from_embedding: tuple[str, ...] = ()
    hidden_from_llm: tuple[str, ...] = ()
    id_: str | None = None
    """The id to store it under; None derives it from the content."""


def linked(drafts: Sequence[Draft], origin: Origin) -> tuple[RecordNode, ...]:
    """Return the drafts' nodes, finished; they are changed."""
    source = origin.ref_doc_id
    paths = [getattr(draft.node, "image_path", None) or "" for draft in drafts]
    files = named_all(paths, origin.places)
    said = stored_metadata(origin.metadata, origin.places).get(FILE_PATH_KEY)
    for draft, path, named in zip(drafts, paths, files, strict=True):
        node, picture = draft.node, draft.picture
        node.metadata = {
            **origin.metadata,
            **draft.metadata,
            MODALITY_KEY: draft.modality or (TEXT if picture is None else IMAGE),
            POSITION_KEY: draft.position,
            CONTENT_HASH_KEY: content_hash(node.text, picture),
        }
        known = node.metadata.pop(IMAGE_FILE_KEY, None)  # of a node that was stored
        if path and (file := named or _beside(path, origin, known)):
            node.metadata[IMAGE_FILE_KEY] = file
        if draft.section:
            node.metadata[SECTION_KEY] = draft.section
        if draft.entity_id is not None:
            node.metadata.setdefault(ENTITY_KEY, draft.entity_id)
    contents = [_content(draft.node, draft.picture, said) for draft in drafts]
    ids = [derived_id(origin.ref_doc_id or "", *content) for content in contents]
    for draft, id_ in zip(drafts, ids, strict=True):
        node = draft.node
        node.id_ = draft.id_ or id_
        if origin.node_id not in (None, node.id_):
            node.metadata.setdefault(ORIGINAL_ID_KEY, origin.node_id)
        if origin.random_id is not None:
            node.metadata.setdefault(GIVEN_ID_KEY, origin.random_id)
        node.metadata.setdefault(ENTITY_KEY, node.id_)
        # Without a document, a node is its own: stores cannot delete what has none.
        source = source or node.id_
        info = RelatedNodeInfo(node_id=source)
        node.relationships = {NodeRelationship.SOURCE: info, **origin.related}
        dress(node, origin, draft.hidden_from_llm, draft.hidden_from_embedding)
    nodes = tuple(draft.node for draft in drafts)
    hide_bookkeeping(*nodes)
    return nodes


def dress(
    node: RecordNode,
    origin: Origin,
    hidden_from_llm: Sequence[str],
    hidden_from_embedding: Sequence[str] = (),
) -> None:
    """Write to a node how it is shown: templates, and which keys a user hides."""
    for name, template in origin.templates.items():
        setattr(node, name, template)
    hidden = [*origin.hidden_from_embedding, *hidden_from_embedding]
    node.excluded_embed_metadata_keys = hidden
    node.excluded_llm_metadata_keys = [*origin.hidden_from_llm, *hidden_from_llm]


def _beside(path: str, origin: Origin, known: object) -> str | None:
    """Return the name of a picture beside a root, if a page there shows it."""
    if origin.root is not None:
        return origin.root.id_of(Path(path))
    name, _, below = str(known or "").partition("/")
    is_there = name in origin.places and here(origin.places[name], below) == path
    return str(known) if is_there else None


def _content(
    node: RecordNode, picture: Picture | None, file_path: object
) -> tuple[object, ...]:
    """Return all that is stored in a node: its id follows from it."""
    metadata = {k: v for k, v in node.metadata.items() if k not in VOLATILE_KEYS}
    if file_path is not None:
        metadata[FILE_PATH_KEY] = file_path
    file = metadata.pop(IMAGE_FILE_KEY, None) or getattr(node, "image_path", None)
    # The path of an inline picture follows from its bytes.
    is_file = picture is not None and picture.path is not None
    return (
        metadata.pop(MODALITY_KEY),
        metadata.pop(ENTITY_KEY, None),
        metadata.pop(POSITION_KEY),
        metadata.pop(CONTENT_HASH_KEY),
        metadata,
        file if is_file else None,
    )


def content_hash(text: str, picture: Picture | None) -> str:
    """Return the SHA-256 over text or caption and the picture's encoded bytes."""
    digest = hashlib.sha256(text.encode("utf-8"))
    digest.update(b"\0")  # so that text cannot imitate the start of a picture
    if picture is not None:
        digest.update(picture.data)
    return digest.hexdigest()


def holds(stored: BaseNode, wanted: BaseNode) -> bool:
    """Return whether a stored node has the content, metadata and links of another."""
    is_made_up = is_random(str(wanted.metadata.get(ORIGINAL_ID_KEY)))
    own = {ORIGINAL_ID_KEY} if is_made_up else set()  # the first stays
    one, other = (
        (
            node.get_content(),
            {k: v for k, v in without_volatile(node.metadata).items() if k not in own},
            node.relationships,
            set(node.excluded_embed_metadata_keys),
        )
        for node in (stored, wanted)
    )
    return one == other


def templates_of(node: Node | TextNode) -> dict[str, str]:
    """Return how the node's text and metadata are written out, by field name."""
    names = ("text_template", "metadata_template", "metadata_separator")
    return {name: getattr(node, name) for name in names}
