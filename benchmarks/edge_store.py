"""Qdrant Edge beside Qdrant's local mode, through LlamaIndex, in one run.

Both stores hold the same nodes and answer the same queries in turn, so that a busy
machine slows both; read the ratios rather than the times. From the repository's root:

    python benchmarks/edge_store.py --nodes 10000
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from page import facts, header, parser, table, write
from qdrant_client import QdrantClient

from llama_index_mmrag.nodes.node import ENTITY_KEY
from llama_index_mmrag.stores import QdrantEdgeVectorStore

CATEGORIES = 10
PACKAGES = [
    "qdrant-edge-py",
    "qdrant-client",
    "llama-index-vector-stores-qdrant",
    "llama-index-core",
    "numpy",
]

Search = Callable[[VectorStoreQuery], Sequence[str] | None]


def make_vectors(n: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Return unit vectors in 64 clusters, shape `(n, dim)`: real ones cluster too."""
    centres = rng.normal(size=(64, dim))
    noise = rng.normal(size=(n, 48)) @ rng.normal(size=(48, dim)) / 7
    vectors = centres[rng.integers(0, 64, size=n)] + noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_nodes(vectors: np.ndarray) -> list[TextNode]:
    return [
        TextNode(
            id_=str(uuid.uuid4()),
            text=f"Passage {i}. " + "Lorem ipsum dolor sit amet. " * 16,
            metadata={"category": f"c{i % CATEGORIES}", ENTITY_KEY: f"e{i}"},
            embedding=vector.tolist(),
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{i // 20}")
            },
        )
        for i, vector in enumerate(vectors)
    ]


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(
    searches: dict[str, Search], queries: Sequence[VectorStoreQuery]
) -> tuple[dict[str, float], float]:
    """Return each search's 10th percentile in ms, and the share of hits all agree on.

    A low percentile, since on a shared machine the median is that of the neighbours.
    """
    times: dict[str, list[float]] = {name: [] for name in searches}
    agreed = 0.0
    order = list(searches)
    for query in queries:
        answers = []
        # Whoever goes second finds the query's pages in the cache: take turns at that.
        order.append(order.pop(0))
        for name in order:
            search = searches[name]
            start = time.perf_counter()
            found = search(query)
            times[name].append(1000 * (time.perf_counter() - start))
            answers.append(set(found or []))
        agreed += len(set.intersection(*answers)) / max(1, len(answers[0]))
    low = {name: statistics.quantiles(ms, n=10)[0] for name, ms in times.items()}
    return low, agreed / len(queries)


def measure(
    local: QdrantVectorStore,
    edge: QdrantEdgeVectorStore,
    vectors: np.ndarray,
    *,
    state: str,
) -> list[dict[str, object]]:
    searches: dict[str, Search] = {
        "local": lambda query: local.query(query).ids,
        "edge": lambda query: edge.query(query).ids,
        "edge light": lambda query: [
            hit[0] for hit in edge.query_ids(query, [ENTITY_KEY])
        ],
    }
    category = MetadataFilter(key="category", operator=FilterOperator.EQ, value="c3")
    rows = []
    for top_k in (10, 100):
        for filters in (None, MetadataFilters(filters=[category])):
            queries = [
                VectorStoreQuery(
                    vector.tolist(), similarity_top_k=top_k, filters=filters
                )
                for vector in vectors
            ]
            in_turn(searches, queries[:3])  # Caches warm for all alike.
            low, agreed = in_turn(searches, queries)
            rows.append(
                {
                    "edge state": state,
                    "k": top_k,
                    "filter": "10 %" if filters else "none",
                    **{f"{name} ms": round(ms, 2) for name, ms in low.items()},
                    "local / edge": round(low["local"] / low["edge"], 1),
                    "full / light": round(low["edge"] / low["edge light"], 1),
                    "same hits": round(agreed, 3),
                }
            )
    return rows


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    begun = header(*PACKAGES)
    rng = np.random.default_rng(0)
    vectors = make_vectors(arguments.nodes + arguments.queries, arguments.dim, rng)
    nodes = make_nodes(vectors[: arguments.nodes])
    asked = vectors[arguments.nodes :]
    local = QdrantVectorStore("benchmark", client=QdrantClient(":memory:"))
    with (
        tempfile.TemporaryDirectory() as folder,
        QdrantEdgeVectorStore.open(
            Path(folder) / "edge",
            dim=arguments.dim,
            payload_indexes=["doc_id", ENTITY_KEY, "category"],
        ) as edge,
    ):
        local_s, edge_s = (
            timed(lambda: local.add(nodes)),
            timed(lambda: edge.add(nodes)),
        )
        rows = measure(local, edge, asked, state="no graph")
        built: list[int] = []
        build_s = timed(lambda: built.append(edge.build_index()))
        if built[0]:
            rows += measure(local, edge, asked, state="graph")
        edge.close()
        open_s = timed(edge.connect)
    return {
        **begun,
        # Above the number of cores, only ratios mean anything.
        "load_average_after": round(os.getloadavg()[0], 1),
        "nodes": arguments.nodes,
        "dim": arguments.dim,
        "ingest nodes/s": {
            "local": round(arguments.nodes / local_s),
            "edge": round(arguments.nodes / edge_s),
        },
        "edge build_index s": round(build_s, 1),
        "edge vectors in the graph": built[0],
        "edge open s": round(open_s, 3),
        "queries": rows,
    }


def markdown(result: dict[str, Any]) -> list[str]:
    """Return the report as the lines of a page."""
    rows = result["queries"]
    return [
        "# Qdrant Edge beside Qdrant's local mode (`:memory:`), through LlamaIndex",
        "",
        "10th percentile per query, asked in turn about the same nodes. `light` "
        "is `query_ids` with one payload field. Synthetic vectors in 64 clusters.",
        "",
        *facts({name: value for name, value in result.items() if name != "queries"}),
        "",
        *table(list(rows[0]), (row.values() for row in rows)),
    ]


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--nodes", type=int, default=10_000)
    asked.add_argument("--dim", type=int, default=384)
    asked.add_argument("--queries", type=int, default=100)
    # Local mode warns of payload indexes it lacks and, above 20,000 nodes, of its size.
    warnings.filterwarnings("ignore", module="qdrant_client|llama_index")
    arguments = asked.parse_args()
    result = run(arguments)
    print(write(f"edge_store_{arguments.nodes}", result, markdown(result)))


if __name__ == "__main__":
    main()
