"""Nodes with known vectors and metadata, and the searches' expected answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import numpy as np
import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

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
    return [make_node(number) for number in range(24)]


@pytest.fixture
def query_embedding() -> list[float]:
    vector: list[float] = np.random.default_rng(99).normal(size=DIM).tolist()
    return vector
