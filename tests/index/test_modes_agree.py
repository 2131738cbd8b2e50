"""One index in Edge, in local mode and moved there: the same ids in the same order."""

from __future__ import annotations

import hashlib
import os
import random
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import Document
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores import migrate

from ..support.stores import open_client

N_PAGES, N_QUERIES, DIM = 120, 200, 24
VOCABULARY = """
pump valve oak table copper steel pipe fan lamp red blue seal gasket kit bolt nut washer
spring shaft rotor the of and in
"""
WORDS = VOCABULARY.split()
KINDS = ("chair", "lamp", "table")


class Words(BaseEmbedding):
    """Sums a random vector for each word, and one of the whole text."""

    def _vector(self, text: str) -> list[float]:
        parts = [*text.lower().split(), text]
        seeds = [hashlib.sha256(part.encode()).digest()[0:8] for part in parts]
        rows = [
            np.random.default_rng(int.from_bytes(seed, "big")).normal(size=DIM)
            for seed in seeds
        ]
        vector: list[float] = np.sum(rows, axis=0).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)


ENCODERS: dict[str, Any] = {
    "embed_model": Words(),
    "image_embed_model": ColourEncoder(),
}


def pages_and_queries() -> tuple[list[Document], list[str]]:
    """Return pages, some of which say the same, and words and part numbers to ask."""
    rng = random.Random(0)  # noqa: S311 - not for secrets

    def text() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randrange(3, 14)))

    pages = []
    for n in range(N_PAGES):
        said = f"{text()} part AB-{n % 70:04d}/{n % 7}"
        for name in ("page", "again")[: 1 + (n % 10 == 0)]:
            about = {"kind": KINDS[n % 3], "price": n % 50 / 4}
            page = Document(text=said, id_=f"{name}-{n}", metadata=about)
            page.excluded_embed_metadata_keys = [*about]
            pages.append(page)
    queries = [
        f"{rng.choice(WORDS)} AB{n % 70:04d}{n % 7}" if n % 3 else text()
        for n in range(N_QUERIES)
    ]
    return pages, queries


MODES: dict[str, dict[str, Any]] = {
    "default": {"vector_store_query_mode": "default"},
    "sparse": {"vector_store_query_mode": "sparse"},
    "text_search": {"vector_store_query_mode": "text_search", "sparse_top_k": 7},
    "both": {"vector_store_query_mode": "hybrid"},
    "words": {"vector_store_query_mode": "hybrid", "alpha": 0.0},
    "mostly words": {"vector_store_query_mode": "hybrid", "alpha": 0.3},
    "vectors": {"vector_store_query_mode": "hybrid", "alpha": 1.0},
    "few of many": {
        "vector_store_query_mode": "hybrid",
        "alpha": 0.7,
        "sparse_top_k": 20,
        "hybrid_top_k": 5,
    },
    "mmr": {"vector_store_query_mode": "mmr"},
    "unlike": {"vector_store_query_mode": "mmr", "mmr_threshold": 0.2},
}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory) -> Iterator[dict[str, Any]]:
    pages, _ = pages_and_queries()
    folder = tmp_path_factory.mktemp("agree") / "store"
    kinds = ["local", *["server"] * ("QDRANT_URL" in os.environ)]
    with MultiModalQdrantIndex.open(folder, hybrid=True, **ENCODERS) as edge:
        edge.insert(pages)
        opened = {"edge": edge}
        clients: list[tuple[Any, str, QdrantClient]] = []
        for kind in kinds:
            client = (entered := open_client(kind)).__enter__()
            name = uuid.uuid4().hex
            clients.append((entered, name, client))
            how = {"client": client, "hybrid": True, "catalogue": False, **ENCODERS}
            filled = MultiModalQdrantIndex.open(collection=name, **how)
            filled.insert(pages[::-1])  # whatever comes first
            for channel in edge.channels:
                store, model = channel.vector_store, channel.embed_model
                there = f"{name}-moved-{channel.name}"
                migrate(store, client, there, embed_model=model)
            moved = MultiModalQdrantIndex.open(collection=f"{name}-moved", **how)
            opened |= {kind: filled, f"moved to {kind}": moved}
        yield opened
        for entered, name, client in clients:
            for one in client.get_collections().collections:
                if one.name.startswith(name):
                    client.delete_collection(one.name)
            entered.__exit__(None, None, None)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_is_found_in_the_same_order_wherever_the_index_is(mode, indexes):
    nodes = indexes["edge"].channels[0].vector_store.get_nodes()
    some = sorted(node.node_id for node in nodes)[5:90:2]
    documents = [f"page-{n}" for n in range(0, N_PAGES, 3)]
    limits: list[dict[str, Any]] = [
        {},
        {"filters": {"kind": "lamp"}},
        {"node_ids": some},
        {"doc_ids": documents},
        {"filters": {"kind": "table"}, "node_ids": some, "doc_ids": documents},
    ]
    _, queries = pages_and_queries()
    n_found = 0
    for n, limit in enumerate(limits):
        retrievers = {
            where: index.as_retriever(top_k=10, **MODES[mode], **limit)
            for where, index in indexes.items()
        }
        for query in queries[n :: len(limits)]:
            found = {
                where: [result.node.node_id for result in retriever.retrieve(query)]
                for where, retriever in retrievers.items()
            }
            expected = found["edge"]
            assert found == dict.fromkeys(found, expected), (query, limit)
            n_found += len(expected)
    assert n_found > N_QUERIES
