"""Embedded to server: the points, the answers and the refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.stores import QdrantEdgeVectorStore, migrate

from .conftest import DIM, make_nodes, node_id

SIZE = 70


@pytest.fixture
def source(tmp_path) -> Iterator[QdrantEdgeVectorStore]:
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        store.add(make_nodes(SIZE))
        yield store


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    opened = QdrantClient(":memory:")
    yield opened
    opened.close()


@pytest.mark.parametrize("layout", ["new", "unnamed", "named"])
@pytest.mark.parametrize("batch_size", [1, 32, 1000])
def test_plain_qdrant_store_answers_as_the_embedded_one_did(
    layout, batch_size, source, client
):
    params = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    if layout != "new":
        config = params if layout == "unnamed" else {"text-dense": params}
        client.create_collection("moved", vectors_config=config)
    assert migrate(source, client, "moved", batch_size=batch_size) == SIZE
    target = QdrantVectorStore("moved", client=client)
    lamps = MetadataFilter(key="kind", operator=FilterOperator.EQ, value="lamp")
    query = VectorStoreQuery(
        query_embedding=[1.0] * DIM,
        similarity_top_k=SIZE,
        filters=MetadataFilters(filters=[lamps]),
    )
    before, after = source.query(query), target.query(query)
    assert after.ids == before.ids
    assert after.nodes == before.nodes
    assert after.similarities == pytest.approx(before.similarities, abs=1e-6)
    target.delete("doc-1")
    assert len(target.get_nodes()) == SIZE - 18


def test_repeated_migration_replaces_and_keeps_other_points(source, client):
    migrate(source, client, "moved")
    client.upsert("moved", [models.PointStruct(id=node_id(999), vector=[1.0] * DIM)])
    source.delete_nodes([node_id(0)])
    assert migrate(source, client, "moved") == SIZE - 1
    assert client.count("moved").count == SIZE + 1


def test_empty_store_makes_an_empty_collection(tmp_path, client):
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=3, distance="dot") as empty:
        assert migrate(empty, client, "moved") == 0
    params = client.get_collection("moved").config.params.vectors
    assert (params.size, params.distance) == (3, models.Distance.DOT)


@pytest.mark.parametrize(
    ("size", "distance", "name"),
    [
        (DIM + 1, models.Distance.COSINE, None),
        (DIM, models.Distance.DOT, None),
        (DIM, models.Distance.COSINE, "other"),
    ],
)
def test_collection_of_another_kind_is_refused_before_anything_is_written(
    size, distance, name, source, client
):
    params = models.VectorParams(size=size, distance=distance)
    client.create_collection("c", params if name is None else {name: params})
    with pytest.raises(CollectionMismatch, match="'c'"):
        migrate(source, client, "c")
    assert client.count("c").count == 0


def test_batch_size_below_one_is_refused(source, client):
    with pytest.raises(InvalidSetting, match="batch_size is 0"):
        migrate(source, client, "moved", batch_size=0)
