"""What a node must carry: its modality, its entity, and content an LLM can be shown."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any
from unicodedata import normalize

from llama_index.core.base.llms.types import BaseContentBlock, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, PlainSerializer
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    MetadataMode,
    NodeWithScore,
    TextNode,
)
from pydantic import computed_field

from llama_index_mmrag.provenance import Line, Provenance

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

STORED_ID_KEY = "stored_id"
"""Metadata key of a node's id in its collection, where a result has another one: of
results of one id, LlamaIndex would drop all but the first."""

GIVEN_ID_KEY = "given_id"
"""Metadata key of the random id that a node's document or source came with, where it is
stored under another: the first, if it came with several."""

FILE_PATH_KEY = "file_path"

KIND_KEY = "kind"
"""Metadata key of what a node is within its modality; most have none."""

TABLE = "table"
"""The kind of a text that is a table, or a part of one, and nothing else."""

WORDS = "words"
"""The kind of a text that is words of a picture: found, it is the picture."""

WORDS_KEY = "words"
"""Metadata key of what such words are: "caption", "alt", "title", and so on."""

WORDS_OF_KEY = "words_of"
"""Metadata key of the id that their picture is stored under."""

LETTERING = "lettering"
"""The kind, and the modality, of a text that a machine read in a picture."""

SCAN = "scan"
"""The kind of what is a page that was scanned, or stands on one."""

READ_BY_KEY = "read_by"
"""Metadata key of what read it: an engine and its version."""

LINES_KEY = "lines"
"""Metadata key of its lines: text, box and confidence of each, as `lettering.Line`."""

LETTERED_KEY = "mmrag_lettering"
"""Metadata key under which a picture that was found by its lettering carries that."""

ROOT_KEY = "root"
"""Metadata key of the root that a node's `file_path` is stored relative to."""

IMAGE_FILE_KEY = "image_file"
"""Metadata key of a picture's root and path below it: "docs/pix/a.png"."""

BOOKKEEPING_KEYS = (
    STORED_ID_KEY,
    ENTITY_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    CONTENT_HASH_KEY,
    PROVENANCE_KEY,
    LETTERED_KEY,
    ROOT_KEY,
    IMAGE_FILE_KEY,
    GIVEN_ID_KEY,
)
"""Metadata keys that are neither embedded nor shown to an LLM."""

SEPARATOR = ":"
"""Stands between a channel's name and a node's id."""

_DERIVED = uuid.UUID("8f4f3f1e-52a7-4b0c-9a0f-6d1f4f0d9c55")

_SPELLED = re.compile(
    r"(urn:uuid:)?\{?[0-9a-f]{8}(-?[0-9a-f]{4}){4}[0-9a-f]{8}\}?",
    re.ASCII | re.IGNORECASE,
)
"""What Qdrant and Python take for a UUID; Python takes "0x", "+" and blanks too."""

is_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
"""Whether a text is a UUID in the spelling that Qdrant gives back."""


def one_spelling(node_id: str) -> str:
    """Return a UUID in the spelling that Qdrant gives back, other ids as they are.

    >>> one_spelling("{A34B2C1D000040008000000000000001}"), one_spelling("p. 7")
    ('a34b2c1d-0000-4000-8000-000000000001', 'p. 7')
    >>> one_spelling("URN:UUID:a34b2c1d-0000-4000-8000-000000000001")
    'a34b2c1d-0000-4000-8000-000000000001'
    """
    # Nearly all are spelled so: a tenth of the time a UUID takes.
    if is_uuid(node_id) or not _SPELLED.fullmatch(node_id):
        return node_id
    return str(uuid.UUID(node_id.lower()))


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
        copied: CaptionedImageNode = _as(cls, node, {"metadata": dict(node.metadata)})
        return copied


class ExplainedTextNode(TextNode):
    """A text node whose hash leaves out its provenance, and where its file lies here.

    LlamaIndex takes results of one hash for one node (`QueryFusionRetriever` does), and
    a text node's hash covers its metadata: with the provenance in there, no other
    retriever's result would be the same; nor with an absolute path where the store has
    one below a root. The class name stays "TextNode".
    """

    @property
    def hash(self) -> str:
        """Return what the hash of the stored node is."""
        is_derived = stored_as(self)[1] != self.node_id
        ours = (PROVENANCE_KEY, *([STORED_ID_KEY] if is_derived else ()))
        metadata = {k: v for k, v in self.metadata.items() if k not in ours}
        if below := (self.ref_doc_id or "").removeprefix(f"{metadata.get(ROOT_KEY)}/"):
            path = normalize("NFC", str(metadata.get(FILE_PATH_KEY)))
            if path.endswith(f"/{below}"):
                metadata[FILE_PATH_KEY] = below
        return TextNode(text=self.text, metadata=metadata).hash


def with_provenance(node: BaseNode, provenance: Provenance) -> BaseNode:
    """Return a copy of `node` whose metadata carries the provenance, without vectors.

    Stores hand out cached nodes, so the given one is left as it is: its metadata and
    its lists of excluded keys are copied before they are written to.
    """
    return _explained(node, provenance.to_dict(), set())


def _explained(node: BaseNode, provenance: dict[str, Any], taken: set[str]) -> BaseNode:
    """Return the copy; with an id of its own, if its id is among those `taken`."""
    metadata = node.metadata.copy()
    metadata[PROVENANCE_KEY] = provenance
    node_id = node.node_id
    if node_id in taken:
        metadata[STORED_ID_KEY] = node_id
        node_id = _derived(provenance["channel"], node_id)
    taken.add(node_id)
    changed = {
        "id_": node_id,
        "metadata": metadata,
        "excluded_embed_metadata_keys": _with_ours(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": _with_ours(node.excluded_llm_metadata_keys),
        "embedding": None,
    }
    if isinstance(node, ImageNode):
        changed["text_embedding"] = None
    kind = CaptionedImageNode if isinstance(node, ImageNode) else type(node)
    shown: BaseNode = _as(
        ExplainedTextNode if kind is TextNode else kind, node, changed
    )
    return shown


class FusedNode(NodeWithScore):
    """A result: a node, its entity's fused score, and where that score came from.

    The provenance is kept in the node's metadata, where it survives components that
    rebuild results.
    """

    def __init__(self, *, provenance: Any = None, **fields: Any) -> None:
        # A validator of pydantic's would cost every result as much again.
        if provenance is not None:
            is_data = isinstance(provenance, Mapping)
            said = Provenance.from_dict if is_data else Provenance._make
            fields["node"] = with_provenance(fields["node"], said(provenance))
        super().__init__(**fields)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def provenance(self) -> Annotated[Provenance, PlainSerializer(Provenance.to_dict)]:
        """Where the score came from."""
        return Provenance.from_dict(self.node.metadata[PROVENANCE_KEY])

    @property
    def lettering(self) -> tuple[Line, ...]:
        """The lines in the picture that a query means, where it was found by such."""
        return lettering_of(self)

    @classmethod
    def of(cls, node: BaseNode, provenance: Provenance) -> FusedNode:
        """Return the result; `node` itself is not changed."""
        return cls.all_of([(node, provenance)])[0]

    @classmethod
    def all_of(cls, found: Sequence[tuple[BaseNode, Provenance]]) -> list[FusedNode]:
        """Return the results of nodes and their provenances, as `of` does.

        Of those that share an id, all but the first get one that is derived from it.
        """
        said = list(map(Provenance.to_dict, map(itemgetter(1), found)))
        taken: set[str] = set()
        return [
            cls(node=_explained(node, data, taken), score=data["score"])
            for (node, _), data in zip(found, said, strict=True)
        ]


def provenance_of(result: NodeWithScore) -> Provenance | None:
    """Return a result's provenance, also where a LlamaIndex component rebuilt it.

    Several of them (CitationQueryEngine, LLMRerank) make a plain `NodeWithScore` of
    what they get; the node's metadata survives that.
    """
    data = result.node.metadata.get(PROVENANCE_KEY)
    return Provenance.from_dict(data) if data else None


def lettering_of(result: NodeWithScore) -> tuple[Line, ...]:
    """Return `FusedNode.lettering`, also where a LlamaIndex component rebuilt it."""
    if (provenance := provenance_of(result)) is None:
        return ()
    hits = provenance.of_node(stored_as(result.node)[1])
    return tuple(dict.fromkeys(line for hit in hits for line in hit.lettering))


def stored_as(node: BaseNode) -> tuple[str, str]:
    """Return a result's channel and its id there; the channel is "" if not known."""
    said = node.metadata.get(PROVENANCE_KEY) or {}
    channel = str(said.get("channel", ""))
    stored_id = str(node.metadata.get(STORED_ID_KEY, ""))
    # The key may be a user's own, or from another retriever that this one asked.
    is_ours = node.node_id == _derived(channel, stored_id)
    return channel, stored_id if is_ours else node.node_id


def _derived(channel: str, stored_id: str) -> str:
    return str(uuid.uuid5(_DERIVED, own_entity(channel, stored_id)))


def own_entity(space: str, node_id: str) -> str:
    """Return the entity of a node that declares none: one of its own."""
    return f"{space}{SEPARATOR}{node_id}" if space else node_id


def entity_of(node: BaseNode) -> str:
    """Return what the node shows: its `entity_id` metadata, else its own id."""
    return entity_id_of(node.metadata, node.node_id)


def entity_id_of(metadata: Mapping[str, Any], node_id: str) -> str:
    """Return the entity that metadata names; 0 is a name, the empty text is none."""
    named = metadata.get(ENTITY_KEY)
    return node_id if named is None or named == "" else str(named)


def words_of(metadata: Mapping[str, Any]) -> str:
    """Return the id of the picture that a node is words of; "" if it is none."""
    is_words = metadata.get(KIND_KEY) == WORDS
    return str(metadata.get(WORDS_OF_KEY) or "") if is_words else ""


def text_of_picture(metadata: Mapping[str, Any]) -> str:
    """Return the id of the picture whose words or lettering a node is; "" if none."""
    is_its = metadata.get(KIND_KEY) in (WORDS, LETTERING)
    return str(metadata.get(WORDS_OF_KEY) or "") if is_its else ""


def is_lettering(metadata: Mapping[str, Any]) -> bool:
    """Return whether a node is what was read from a picture."""
    return metadata.get(KIND_KEY) == LETTERING and bool(text_of_picture(metadata))


def modality_of(node: BaseNode) -> str:
    """Return the node's modality: its metadata's word, else "image" or "text"."""
    declared = node.metadata.get(MODALITY_KEY)
    if declared:
        return str(declared)
    return "image" if isinstance(node, ImageNode) else "text"


def hide_bookkeeping(*nodes: BaseNode) -> None:
    """Keep our metadata keys out of embeddings and prompts (changes the nodes)."""
    for node in nodes:
        for hidden in (
            node.excluded_embed_metadata_keys,
            node.excluded_llm_metadata_keys,
        ):
            hidden[:] = _with_ours(hidden)


def _with_ours(keys: Sequence[str]) -> list[str]:
    ours = BOOKKEEPING_KEYS
    return [*keys, *([key for key in ours if key not in keys] if keys else ours)]


def _as(kind: type[BaseNode], node: BaseNode, changed: dict[str, Any]) -> Any:
    """Return a copy of `node` as one of a class that has the same fields."""
    # As pickle does: to construct one takes four times as long, for every result.
    state = BaseModel.__getstate__(node)
    state["__dict__"] = node.__dict__ | changed
    state["__pydantic_fields_set__"] = set(state["__pydantic_fields_set__"])
    copied = kind.__new__(kind)
    BaseModel.__setstate__(copied, state)
    return copied
