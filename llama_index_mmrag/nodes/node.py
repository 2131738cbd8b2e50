"""What a node must carry: its modality, its entity, and content an LLM can be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeVar

from llama_index.core.base.llms.types import BaseContentBlock, TextBlock
from llama_index.core.bridge.pydantic import (
    BaseModel,
    field_serializer,
    field_validator,
)
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    MetadataMode,
    NodeWithScore,
    TextNode,
)

from llama_index_mmrag.provenance import Provenance

ENTITY_KEY = "entity_id"
"""Metadata key of the thing that a node shows; nodes with equal values add up."""

MODALITY_KEY = "modality"
"""Metadata key of the node's modality: "text", "image", or a channel of your own."""

POSITION_KEY = "position"
"""Metadata key of the node's place in its document, counted from 0."""

CONTENT_HASH_KEY = "content_hash"
"""Metadata key of the SHA-256 over what was encoded: text, caption, picture bytes."""

PROVENANCE_KEY = "mmrag_provenance"
"""Metadata key under which a fused node carries its provenance as plain data."""

BOOKKEEPING_KEYS = (
    ENTITY_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    CONTENT_HASH_KEY,
    PROVENANCE_KEY,
)
"""Metadata keys that are neither embedded nor shown to an LLM."""


Node = TypeVar("Node", bound=BaseNode)
Model = TypeVar("Model", bound=BaseModel)


class CaptionedImageNode(ImageNode):
    """An image node whose content blocks hold its caption as well as its picture.

    LlamaIndex 0.14 leaves `text` out of `ImageNode.get_content_blocks`, so captions
    never reach the LLM. The class name stays "ImageNode", so that the node is stored
    and read back like any other.
    """

    def get_content_blocks(
        self, metadata_mode: MetadataMode = MetadataMode.NONE
    ) -> list[BaseContentBlock]:
        """Return metadata, caption and picture, in that order."""
        *metadata, picture = super().get_content_blocks(metadata_mode)
        caption = [TextBlock(text=self.text)] if self.text else []
        return [*metadata, *caption, picture]

    @classmethod
    def from_node(cls, node: ImageNode) -> CaptionedImageNode:
        """Return a copy of `node`; metadata is copied, so neither sees the other's."""
        return _as(cls, node, {"metadata": dict(node.metadata)})


class ExplainedTextNode(TextNode):
    """A text node whose hash leaves out its provenance.

    LlamaIndex takes results of one hash for one node (`QueryFusionRetriever` does), and
    a text node's hash covers its metadata: with the provenance in there, no other
    retriever's result would be the same. The class name stays "TextNode".
    """

    @property
    def hash(self) -> str:
        """Return what the hash was before the provenance came along."""
        metadata = {k: v for k, v in self.metadata.items() if k != PROVENANCE_KEY}
        return TextNode(text=self.text, metadata=metadata).hash

    @classmethod
    def from_node(cls, node: TextNode) -> ExplainedTextNode:
        """Return a copy of `node`; metadata is copied, so neither sees the other's."""
        return _as(cls, node, {"metadata": dict(node.metadata)})


def with_provenance(node: BaseNode, provenance: Provenance) -> BaseNode:
    """Return a copy of `node` whose metadata carries the provenance.

    Stores hand out cached nodes, so the given one is left as it is: its metadata and
    its lists of excluded keys are copied before they are written to.
    """
    metadata = node.metadata.copy()
    metadata[PROVENANCE_KEY] = provenance.to_dict()
    changed = {
        "metadata": metadata,
        "excluded_embed_metadata_keys": _with_ours(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": _with_ours(node.excluded_llm_metadata_keys),
    }
    kind = _EXPLAINED.get(type(node))
    if kind is not None:
        return _made(kind, node.__dict__ | changed)
    if isinstance(node, ImageNode):
        return _as(CaptionedImageNode, node, changed)
    return node.model_copy(update=changed)


_EXPLAINED: dict[type[BaseNode], type[BaseNode]] = {
    TextNode: ExplainedTextNode,
    ExplainedTextNode: ExplainedTextNode,
    ImageNode: CaptionedImageNode,
    CaptionedImageNode: CaptionedImageNode,
}
"""Nearly all nodes there are, and the classes of the same fields they are copied to."""


class FusedNode(NodeWithScore):
    """A result: a node, its entity's fused score, and where that score came from."""

    provenance: Provenance

    @field_serializer("provenance")
    def _as_data(self, provenance: Provenance) -> dict[str, Any]:
        # Pydantic writes a named tuple without its names.
        return provenance.to_dict()

    @field_validator("provenance", mode="before")
    @classmethod
    def _from_data(cls, given: Any) -> Any:
        return Provenance.from_dict(given) if isinstance(given, Mapping) else given

    @classmethod
    def of(cls, node: BaseNode, provenance: Provenance) -> FusedNode:
        """Return the result; `node` itself is not changed."""
        shown = with_provenance(node, provenance)
        score = provenance.score
        return _made(cls, {"node": shown, "score": score, "provenance": provenance})


def provenance_of(result: NodeWithScore) -> Provenance | None:
    """Return a result's provenance, also where a LlamaIndex component rebuilt it.

    Several of them (CitationQueryEngine, LLMRerank) make a plain `NodeWithScore` of
    what they get; the node's metadata survives that.
    """
    if isinstance(result, FusedNode):
        return result.provenance
    data = result.node.metadata.get(PROVENANCE_KEY)
    return Provenance.from_dict(data) if data else None


def entity_of(node: BaseNode) -> str:
    """Return what the node shows: its `entity_id` metadata, else its own id."""
    return entity_id_of(node.metadata, node.node_id)


def entity_id_of(metadata: Mapping[str, Any], node_id: str) -> str:
    """Return the entity that metadata names; 0 is a name, the empty text is none."""
    named = metadata.get(ENTITY_KEY)
    return node_id if named is None or named == "" else str(named)


def modality_of(node: BaseNode) -> str:
    """Return the node's modality: its metadata's word, else "image" or "text"."""
    declared = node.metadata.get(MODALITY_KEY)
    if declared:
        return str(declared)
    return "image" if isinstance(node, ImageNode) else "text"


def hide_bookkeeping(node: BaseNode) -> None:
    """Keep our metadata keys out of embeddings and prompts (changes `node`)."""
    for keys in (node.excluded_embed_metadata_keys, node.excluded_llm_metadata_keys):
        keys[:] = _with_ours(keys)


def _with_ours(keys: Sequence[str]) -> list[str]:
    return [*(_joined(tuple(keys)) if keys else BOOKKEEPING_KEYS)]


@lru_cache(maxsize=1024)
def _joined(keys: tuple[str, ...]) -> tuple[str, ...]:
    return (*keys, *(key for key in BOOKKEEPING_KEYS if key not in keys))


def _as(kind: type[Node], node: BaseNode, changed: dict[str, Any]) -> Node:
    """Return a copy of `node` of a class with the same fields, some of them changed."""
    given = type(node)
    if given is kind or given is kind.__base__:
        return _made(kind, node.__dict__ | changed)
    return _made(
        kind, {name: getattr(node, name) for name in kind.model_fields} | changed
    )


@cache
def _all_fields(kind: type[BaseModel]) -> set[str]:
    # One set for all of them: every field is in it, so that none can be added.
    return set(kind.model_fields)


_set = object.__setattr__


def _made(kind: type[Model], values: dict[str, Any]) -> Model:
    """Return what pydantic's own `model_construct` does, given all fields.

    That one loops over the fields and costs four times as much, for every result.
    """
    made = kind.__new__(kind)
    _set(made, "__dict__", values)
    _set(made, "__pydantic_fields_set__", _all_fields(kind))
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made
