"""Coloured texts and pictures whose every score is known by hand, and their stores."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.nodes.node import ENTITY_KEY, MODALITY_KEY, provenance_of
from llama_index_mmrag.provenance import Provenance
from llama_index_mmrag.retrieval.channel import Channel

NAMESPACE = uuid.UUID("0c9d4f57-6a9b-4a55-8a34-0d6a5bb3a7b1")
DIM = 4
GAP = 0.75
"""Pictures lie apart: a text and a picture have 4/5 of their colours' cosine."""

OpenStore = Callable[..., BasePydanticVectorStore]
Paint = Callable[..., Path]


def uid(name: str) -> str:
    """Return the id of a node by its name in a test, such as "text red"."""
    return str(uuid.uuid5(NAMESPACE, name))


def text_node(
    text: str, *, name: str | None = None, entity: str | None = None, **metadata: Any
) -> TextNode:
    """Return an encoded text node, by default with the id `uid(f"text {text}")`."""
    known = {ENTITY_KEY: entity} if entity else {}
    return TextNode(
        id_=uid(name or f"text {text}"),
        text=text,
        metadata={**known, MODALITY_KEY: "text", **metadata},
        embedding=ColourEncoder(modality_gap=GAP).get_text_embedding(text),
    )


def image_node(
    path: Path, *, name: str | None = None, entity: str | None = None, **metadata: Any
) -> ImageNode:
    """Return an encoded image node, by default with the id `uid(f"image {stem}")`."""
    known = {ENTITY_KEY: entity} if entity else {}
    return ImageNode(
        id_=uid(name or f"image {path.stem}"),
        image_path=str(path),
        metadata={**known, MODALITY_KEY: "image", **metadata},
        embedding=ColourEncoder(modality_gap=GAP).get_image_embedding(str(path)),
    )


def channel(
    name: str, store: BasePydanticVectorStore, encoder: ColourEncoder, **settings: Any
) -> Channel:
    return Channel(name, vector_store=store, embed_model=encoder, **settings)


def ranked(*nodes: BaseNode, score: float | None = 1.0) -> list[NodeWithScore]:
    """Return nodes as a plain LlamaIndex ranking, all with one score."""
    return [NodeWithScore(node=node, score=score) for node in nodes]


def ids_of(results: Sequence[NodeWithScore]) -> list[str]:
    return [result.node.node_id for result in results]


def why(result: NodeWithScore) -> Provenance:
    provenance = provenance_of(result)
    assert provenance is not None
    return provenance


def dumped(results: Sequence[NodeWithScore]) -> list[Any]:
    """Return everything about results: ids, scores, order, content and provenance."""
    return [(r.node.model_dump(), r.score, why(r).to_dict()) for r in results]
