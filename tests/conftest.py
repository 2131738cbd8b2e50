"""A small world of coloured texts and pictures whose every score is known by hand."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from PIL import Image
from qdrant_client import QdrantClient

from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.nodes.node import ENTITY_KEY, MODALITY_KEY, provenance_of
from llama_index_mmrag.provenance import Provenance
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores import QdrantEdgeVectorStore

# A gate must not depend on luck: there the same examples are tried every time. New ones
# are looked for wherever people work.
# No example fails for being slow: the machines are shared.
settings.register_profile("here", deadline=None)
settings.register_profile("gate", derandomize=True, deadline=None)
settings.load_profile("gate" if os.environ.get("CI") else "here")

NAMESPACE = uuid.UUID("0c9d4f57-6a9b-4a55-8a34-0d6a5bb3a7b1")
DIM = 4
GAP = 0.75
"""Pictures lie apart: a text and a picture have 4/5 of their colours' cosine."""

OpenStore = Callable[..., BasePydanticVectorStore]
Paint = Callable[..., Path]


def uid(name: str) -> str:
    """Return the id of a node by its name in a test, such as "text red"."""
    return str(uuid.uuid5(NAMESPACE, name))


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder(modality_gap=GAP)


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Return a function that writes a picture of one colour."""

    def painted(colour: str, *, size: tuple[int, int] = (16, 12)) -> Path:
        # Pillow's green is half as bright as ours, which has the same direction.
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", size, colour).save(path)
        return path

    return painted


class FaultyStore(QdrantVectorStore):
    """A real Qdrant store that can be made slow, stuck or broken."""

    _delay_s: float = PrivateAttr(default=0.0)
    _error: Exception | None = PrivateAttr(default=None)
    _stuck: threading.Event | None = PrivateAttr(default=None)
    _bad_score: float | None = PrivateAttr(default=None)
    _n_queries: int = PrivateAttr(default=0)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._n_queries += 1
        time.sleep(self._delay_s)
        if self._stuck is not None:
            self._stuck.wait(30)
        if self._error is not None:
            raise self._error
        result = super().query(query, **kwargs)
        if self._bad_score is not None and result.similarities:
            result.similarities[0] = self._bad_score
        return result


class CachingStore(QdrantVectorStore):
    """A store that hands out the same node objects every time, as some do."""

    _cache: dict[str, BaseNode] = PrivateAttr(default_factory=dict)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        result = super().query(query, **kwargs)
        nodes = result.nodes or ()
        result.nodes = [self._cache.setdefault(n.node_id, n) for n in nodes]
        return result


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    """Return a function that opens a store of some kind and fills it.

    Kinds: "edge" (Qdrant Edge in a folder), "local" (Qdrant's local mode), or a
    subclass of `QdrantVectorStore`. Each has a client of its own.
    """
    with ExitStack() as cleanup:

        def opened(
            kind: str | type[QdrantVectorStore], nodes: Sequence[BaseNode] = ()
        ) -> BasePydanticVectorStore:
            name = uuid.uuid4().hex
            store: BasePydanticVectorStore
            if kind == "edge":
                store = cleanup.enter_context(
                    QdrantEdgeVectorStore.open(tmp_path / name, dim=DIM)
                )
            else:
                client = QdrantClient(":memory:")
                cleanup.callback(client.close)
                make = QdrantVectorStore if kind == "local" else kind
                assert isinstance(make, type)
                store = make(name, client=client)
            if nodes:
                store.add(list(nodes))
            return store

        yield opened


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


def ids_of(results: Sequence[NodeWithScore]) -> list[str]:
    return [result.node.node_id for result in results]


def why(result: NodeWithScore) -> Provenance:
    provenance = provenance_of(result)
    assert provenance is not None
    return provenance


def dumped(results: Sequence[NodeWithScore]) -> list[Any]:
    """Return everything about results: ids, scores, order, content and provenance."""
    return [(r.node.model_dump(), r.score, why(r).to_dict()) for r in results]


@pytest.fixture(scope="session")
def torchvision_operators() -> None:
    """Make torchvision importable beside a torch without CUDA."""
    torch = pytest.importorskip("torch", reason="install extra 'clip'")
    # PyPI's torchvision is built for CUDA and looks for two operators on import, which
    # it does not find beside a CPU build of torch (0.28 and 2.13). The library object
    # must stay alive.
    operators = torch.library.Library("torchvision", "DEF")
    with contextlib.suppress(RuntimeError):  # a fitting torchvision has them already
        operators.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
    _KEPT_ALIVE.append(operators)


@pytest.fixture(scope="session")
def clip_module(torchvision_operators: None) -> Any:
    """Return OpenAI's `clip`, importable beside a torch without CUDA."""
    pytest.importorskip("ftfy", reason="install extra 'clip'")
    with warnings.catch_warnings():
        # clip-anytorch imports pkg_resources, which setuptools deprecates.
        warnings.simplefilter("ignore")
        return pytest.importorskip("clip", reason="install extra 'clip'")


_KEPT_ALIVE: list[Any] = []


@pytest.fixture(scope="session")
def clip_checkpoint(tmp_path_factory: pytest.TempPathFactory, clip_module: Any) -> str:
    """Return the file of a tiny CLIP with random weights."""
    import torch

    torch.manual_seed(0)
    model = clip_module.model.CLIP(
        embed_dim=4,
        image_resolution=32,
        vision_layers=1,
        vision_width=64,
        vision_patch_size=16,
        context_length=77,
        vocab_size=49408,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=1,
    )
    path = tmp_path_factory.mktemp("clip") / "tiny.pt"
    torch.save(model.state_dict(), path)
    return str(path)


@pytest.fixture
def clip_encoder(clip_checkpoint: str) -> Any:
    integration = pytest.importorskip(
        "llama_index.embeddings.clip", reason="install extra 'clip'"
    )
    return integration.ClipEmbedding(model_name=clip_checkpoint)
