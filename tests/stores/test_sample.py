"""Samples: what a query scores by chance, from any Qdrant collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.sample import N_SAMPLED, CollectionSample
from llama_index_mmrag.stores.server import open_server_collection

from .conftest import DIM, make_node

QUERY = np.linspace(-1.0, 2.0, DIM).tolist()


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    opened = QdrantClient(":memory:")
    yield opened
    opened.close()


@pytest.fixture(params=["edge", "local", "named"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, client: QdrantClient
) -> Iterator[BasePydanticVectorStore]:
    if request.param == "edge":
        with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as opened:
            yield opened
    elif request.param == "local":
        yield open_server_collection(client, "c", dim=DIM)
    else:
        params = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
        client.create_collection("c", vectors_config={"text-dense": params})
        yield QdrantVectorStore("c", client=client)


def cosines(nodes: list[TextNode]) -> np.ndarray:
    vectors = np.array([node.embedding for node in nodes])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ np.array(QUERY) / np.linalg.norm(QUERY)


def test_background_is_mean_and_deviation_of_the_querys_cosines(store):
    nodes = [make_node(n) for n in range(50)]
    store.add(nodes)
    background = CollectionSample(store).background(QUERY)
    assert background is not None
    assert background.mean == pytest.approx(cosines(nodes).mean(), abs=1e-6)
    assert background.std == pytest.approx(cosines(nodes).std(), abs=1e-6)


def test_large_collection_is_sampled_by_its_lowest_ids(store):
    nodes = [make_node(n) for n in range(N_SAMPLED + 60)]
    store.add(nodes)
    lowest = sorted(nodes, key=lambda node: node.node_id)[:N_SAMPLED]
    background = CollectionSample(store).background(QUERY)
    assert background is not None
    assert background.mean == pytest.approx(cosines(lowest).mean(), abs=1e-6)


def test_one_vector_is_a_background_without_spread(store):
    store.add([make_node(0)])
    background = CollectionSample(store).background(QUERY)
    assert background is not None
    assert background.std == 0.0
    assert background.z_score(0.9) == 0.0


def test_empty_collection_has_none_until_others_fill_it(store):
    sample = CollectionSample(store)
    assert sample.background(QUERY) is None
    store.add([make_node(n) for n in range(3)])
    assert sample.background(QUERY) is not None


def test_sample_is_kept_until_it_is_forgotten(store):
    store.add([make_node(n) for n in range(5)])
    sample = CollectionSample(store)
    before = sample.background(QUERY)
    store.add([make_node(n) for n in range(5, 30)])
    assert sample.background(QUERY) == before
    sample.forget()
    after = sample.background(QUERY)
    assert after is not None
    assert after != before


def test_query_without_length_scores_zero_everywhere(store):
    store.add([make_node(n) for n in range(5)])
    background = CollectionSample(store).background([0.0] * DIM)
    assert background is not None
    assert (background.mean, background.std) == (0.0, 0.0)


def test_dot_products_are_not_divided_by_lengths(client):
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT)
    client.create_collection("c", vectors_config=params)
    store = QdrantVectorStore("c", client=client)
    nodes = [make_node(n) for n in range(20)]
    store.add(nodes)
    dots = np.array([node.embedding for node in nodes]) @ np.array(QUERY)
    background = CollectionSample(store).background(QUERY)
    assert background is not None
    assert background.mean == pytest.approx(dots.mean(), rel=1e-5)


def test_distance_of_which_smaller_is_better_has_no_background(client):
    params = models.VectorParams(size=DIM, distance=models.Distance.EUCLID)
    client.create_collection("c", vectors_config=params)
    store = QdrantVectorStore("c", client=client)
    store.add([make_node(0)])
    assert CollectionSample(store).background(QUERY) is None


def test_store_that_cannot_be_sampled_has_no_background():
    assert CollectionSample(SimpleVectorStore()).background(QUERY) is None


async def test_store_without_a_synchronous_client_has_no_background():
    aclient = AsyncQdrantClient(":memory:")
    store = QdrantVectorStore("c", aclient=aclient)
    assert CollectionSample(store).background(QUERY) is None
    await aclient.close()
