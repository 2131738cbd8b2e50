"""Fixtures that several folders share."""

from __future__ import annotations

import asyncio
import os
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from llama_index.core import Settings
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from PIL import Image
from qdrant_client import QdrantClient

from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores import QdrantEdgeVectorStore

from .support import skips
from .support.colours import DIM, GAP, OpenStore, Paint
from .support.network import watched
from .support.stores import open_client
from .support.tiny_models import make_torchvision_importable

KINDS: dict[Any, Any] = {"edge": QdrantEdgeVectorStore} | dict.fromkeys(
    ("local", "server"), QdrantVectorStore
)

# A gate must not depend on luck: there the same examples are tried every time. New ones
# are looked for wherever people work.
# No example fails for being slow: the machines are shared.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("here", **_PATIENT)
settings.register_profile("gate", derandomize=True, **_PATIENT)
settings.load_profile("gate" if os.environ.get("CI") else "here")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI"):
        # A plugin judges the package's doctests too; a conftest here would not.
        config.pluginmanager.register(skips)


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder(modality_gap=GAP)


@pytest.fixture
def paint(tmp_path) -> Paint:
    """Return a function that writes a picture of one colour."""

    def painted(colour: str, *, size: tuple[int, int] = (16, 12)) -> Path:
        # Pillow's green is half as bright as ours, which has the same direction.
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", size, colour).save(path)
        return path

    return painted


@pytest.fixture
def open_store(tmp_path) -> Iterator[OpenStore]:
    """Return a function that opens a store of some kind and fills it.

    Kinds: "edge" (Qdrant Edge in a folder), "local" (Qdrant's local mode), "server"
    (QDRANT_URL), or a subclass of a store of the first two. Each has its own client.
    """
    with ExitStack() as cleanup:

        def opened(
            kind: str | type[Any], nodes: Sequence[BaseNode] = ()
        ) -> BasePydanticVectorStore:
            name = uuid.uuid4().hex
            store: BasePydanticVectorStore
            make = KINDS.get(kind, kind)
            if issubclass(make, QdrantEdgeVectorStore):
                store = cleanup.enter_context(make.open(tmp_path / name, dim=DIM))
            else:
                client = cleanup.enter_context(open_client(str(kind)))
                if kind == "server":
                    cleanup.callback(client.delete_collection, name)
                store = make(name, client=client)
            if nodes:
                store.add(list(nodes))
            return store

        yield opened


@pytest.fixture(params=["sync", "async"])
def retrieve(request) -> Callable[..., Awaitable[list[NodeWithScore]]]:
    """Return `retrieve` or `aretrieve` of a retriever, to be awaited either way."""

    async def found(retriever: BaseRetriever, query: Any) -> list[NodeWithScore]:
        if request.param == "async":
            return await retriever.aretrieve(query)
        return await asyncio.to_thread(retriever.retrieve, query)

    return found


@pytest.fixture
def unset(monkeypatch) -> Any:
    """Return LlamaIndex's Settings as they are before anything is set."""
    for name in ("_llm", "_embed_model", "_node_parser", "_transformations"):
        monkeypatch.setattr(Settings, name, None)
    return Settings


@pytest.fixture
def no_network(monkeypatch) -> Iterator[None]:
    """Fail a test that asks another machine, though a key for OpenAI is at hand."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-this-must-go-nowhere")
    with watched() as asked:
        yield
    assert asked == []


@pytest.fixture(params=["local", "server"])
def client(request) -> Iterator[QdrantClient]:
    with open_client(request.param) as opened:
        yield opened


@pytest.fixture
def name(client) -> Iterator[str]:
    """Return what the names of a test's own collections begin with."""
    made = f"test-{uuid.uuid4().hex}"
    yield made
    for collection in client.get_collections().collections:
        if collection.name.startswith(made):
            client.delete_collection(collection.name)


@pytest.fixture
def server() -> Iterator[Any]:
    """Return a chat server of OpenAI's kind, which says what it is told to."""
    # OpenAI's client takes a second to import, which few tests need.
    from .support.openai_server import OpenAIServer

    served = OpenAIServer()
    yield served
    served.close()


@pytest.fixture
async def make_llm(server) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that makes clients of `server`."""
    from .support.openai_server import clients_of

    async with clients_of(server) as make:
        yield make


@pytest.fixture
def llm(make_llm) -> Any:
    return make_llm()


@pytest.fixture(scope="session")
def torchvision_operators() -> Iterator[None]:
    """Make torchvision importable beside a torch without CUDA."""
    pytest.importorskip("torch", reason="install extra 'clip'")
    kept_alive = make_torchvision_importable()
    yield
    del kept_alive


@pytest.fixture(scope="session")
def clip_module(torchvision_operators) -> Any:
    """Return OpenAI's `clip`, importable beside a torch without CUDA."""
    pytest.importorskip("ftfy", reason="install extra 'clip'")
    with warnings.catch_warnings():
        # clip-anytorch imports pkg_resources, which setuptools deprecates.
        warnings.simplefilter("ignore")
        return pytest.importorskip("clip", reason="install extra 'clip'")


@pytest.fixture(scope="session")
def clip_checkpoint(tmp_path_factory, clip_module) -> str:
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
def clip_encoder(clip_checkpoint) -> Any:
    integration = pytest.importorskip(
        "llama_index.embeddings.clip", reason="install extra 'clip'"
    )
    return integration.ClipEmbedding(model_name=clip_checkpoint)
