"""Coloured texts and pictures whose every score is known by hand, and their stores."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag import MultiModalFusionRetriever
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.nodes.node import ENTITY_KEY, MODALITY_KEY, provenance_of
from llama_index_mmrag.provenance import Provenance
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.search import SearchChannel

NAMESPACE = uuid.UUID("0c9d4f57-6a9b-4a55-8a34-0d6a5bb3a7b1")
DIM = 4
GAP = 0.75
"""Pictures lie apart: a text and a picture have 4/5 of their colours' cosine."""
ENCODER = ColourEncoder(modality_gap=GAP)

OpenStore = Callable[..., BasePydanticVectorStore]
Paint = Callable[..., Path]


class WatchedEncoder(ColourEncoder):
    """The colour encoder, which calls `first` with what a query asks it to encode."""

    _first: Callable[[Any], object] = PrivateAttr()

    def __init__(self, first: Callable[[Any], object]) -> None:
        super().__init__(modality_gap=GAP)
        self._first = first

    def _get_query_embedding(self, query: str) -> list[float]:
        self._first(query)
        return super()._get_query_embedding(query)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        self._first(img_file_path)
        return super()._get_image_embedding(img_file_path)


class UsersEncoder(MultiModalEmbedding):
    """The colour encoder as a user may write one: nobody knows where it computes.

    It calls `first` with what a query asks it to encode.
    """

    _first: Callable[[Any], object] = PrivateAttr()

    def __init__(self, first: Callable[[Any], object]) -> None:
        super().__init__()
        self._first = first

    def _get_query_embedding(self, query: str) -> list[float]:
        self._first(query)
        return ENCODER.get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return ENCODER.get_text_embedding(text)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        self._first(img_file_path)
        return ENCODER.get_image_embedding(img_file_path)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)


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
        embedding=ENCODER.get_text_embedding(text),
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
        embedding=ENCODER.get_image_embedding(str(path)),
    )


def channel(
    name: str,
    store: BasePydanticVectorStore,
    encoder: BaseEmbedding = ENCODER,
    **settings: Any,
) -> Channel:
    return Channel(name, vector_store=store, embed_model=encoder, **settings)


def retriever_of(
    *channels: SearchChannel, **settings: Any
) -> MultiModalFusionRetriever:
    return MultiModalFusionRetriever(channels, **settings)


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
