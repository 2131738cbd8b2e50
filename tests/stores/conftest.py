"""Nodes with known vectors and metadata, and the searches' expected answers."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore

from llama_index_mmrag.stores import QdrantEdgeVectorStore

from ..support.stores import open_client

DIM = 8
NAMESPACE = uuid.UUID("6f2d1f0e-6c5b-4f0c-9a55-0a4bb4a9f3c1")


def node_id(number: int) -> str:
    return str(uuid.uuid5(NAMESPACE, str(number)))


def make_node(number: int, *, seed: int = 0, text: str | None = None) -> TextNode:
    """Return node `number` of document `number % 4`; every third has a note."""
    vector = np.random.default_rng([seed, number]).normal(size=DIM)
    metadata = {
        "n": number,
        "price": number / 4,
        "kind": ("chair", "lamp", "table")[number % 3],
        "tags": [f"t{number % 2}", f"t{number % 5}"],
        "place": {"city": ("Zürich", "東京")[number % 2], "floor": number % 4},
    }
    if number % 3 == 0:
        metadata["note"] = f"solid oak number {number}"
    source = RelatedNodeInfo(node_id=f"doc-{number % 4}")
    return TextNode(
        id_=node_id(number),
        text=f"text {number}" if text is None else text,
        metadata=metadata,
        embedding=vector.tolist(),
        relationships={NodeRelationship.SOURCE: source},
    )


def make_nodes(count: int) -> list[TextNode]:
    return [make_node(number) for number in range(count)]


def asking(embedding: list[float], top_k: int = 24, **how: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=embedding, similarity_top_k=top_k, **how)


def expected_hits(
    nodes: list[TextNode],
    query: list[float],
    *,
    keep: Callable[[TextNode], bool] = lambda _: True,
) -> tuple[list[str], list[float]]:
    """Return ids and cosines of the kept nodes, best first, by plain arithmetic."""
    wanted = np.asarray(query) / np.linalg.norm(query)
    scored = []
    for node in nodes:
        if keep(node):
            vector = np.asarray(node.embedding)
            scored.append((float(wanted @ vector / np.linalg.norm(vector)), node))
    scored.sort(key=lambda pair: -pair[0])
    return [node.node_id for _, node in scored], [score for score, _ in scored]


@pytest.fixture
def nodes() -> list[TextNode]:
    return make_nodes(24)


@pytest.fixture
def query_embedding() -> list[float]:
    vector: list[float] = np.random.default_rng(99).normal(size=DIM).tolist()
    return vector


KINDS = ["local", "edge", "server"]
Backend = tuple[BasePydanticVectorStore, Callable[[], BasePydanticVectorStore]]


@contextlib.contextmanager
def open_backend(kind: str, path: Path) -> Iterator[Backend]:
    """Yield an empty store and what opens it again."""
    if kind == "edge":
        with QdrantEdgeVectorStore.open(path / "store", dim=DIM) as store:

            def reopen_edge() -> BasePydanticVectorStore:
                store.close()
                return store.connect()

            yield store, reopen_edge
        return
    name = f"test-{uuid.uuid4().hex}"
    with open_client(kind) as client:

        def reopen() -> BasePydanticVectorStore:
            return QdrantVectorStore(name, client=client)

        try:
            yield reopen(), reopen
        finally:
            client.delete_collection(name)


@pytest.fixture(params=KINDS)
def backend(request, tmp_path) -> Iterator[Backend]:
    with open_backend(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module", params=KINDS)
def readable(request, tmp_path_factory) -> Iterator[BasePydanticVectorStore]:
    """Yield a filled store that the tests only read."""
    with (
        warnings.catch_warnings(),
        open_backend(request.param, tmp_path_factory.mktemp("readable")) as opened,
    ):
        # The module's mark does not reach module fixtures.
        warnings.filterwarnings("ignore", "Payload indexes have no effect")
        opened[0].add(make_nodes(24))
        yield opened[0]


@pytest.fixture
def store(backend) -> BasePydanticVectorStore:
    return backend[0]
