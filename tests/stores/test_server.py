"""Collections on a server: made ready, checked, and asked for their documents."""

from __future__ import annotations

import pytest
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.server import open_server_collection

from .conftest import DIM, make_node, make_nodes, node_id


def test_missing_collection_is_made_with_one_unnamed_cosine_vector(client, name):
    store = open_server_collection(client, name, dim=DIM)
    vectors = client.get_collection(name).config.params.vectors
    assert isinstance(vectors, models.VectorParams)
    assert (vectors.size, vectors.distance) == (DIM, models.Distance.COSINE)
    store.add(make_nodes(5))
    assert client.count(name).count == 5


def test_existing_collection_keeps_its_points(client, name):
    open_server_collection(client, name, dim=DIM).add([make_node(0)])
    again = open_server_collection(client, name, dim=DIM)
    assert [node.node_id for node in again.get_nodes()] == [node_id(0)]


@pytest.mark.parametrize("named", [False, True])
def test_collection_of_another_size_is_refused(client, name, named):
    params = models.VectorParams(size=3, distance=models.Distance.COSINE)
    config = {"text-dense": params} if named else params
    client.create_collection(name, vectors_config=config)
    with pytest.raises(CollectionMismatch, match=f"{name}.*size 3; the encoder makes"):
        open_server_collection(client, name, dim=DIM)


def test_named_collection_of_llamaindex_is_opened(client, name):
    params = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config={"text-dense": params})
    store = open_server_collection(client, name, dim=DIM)
    store.add([make_node(1)])
    assert collection_of(store).document_ids() == {"doc-1"}


def test_server_that_does_not_answer_is_unusable():
    client = QdrantClient(url="http://127.0.0.1:9", check_compatibility=False)
    with pytest.raises(
        StoreUnusable, match="'c' failed.*Check that it runs, and its addr"
    ):
        open_server_collection(client, "c", dim=DIM)


def test_points_that_others_wrote_have_no_document():
    client = QdrantClient(":memory:")
    store = open_server_collection(client, "c", dim=DIM)
    points = [
        models.PointStruct(id=1, vector=[1.0] * DIM, payload={"mine": True}),
        models.PointStruct(id=2, vector=[1.0] * DIM),
    ]
    client.upsert("c", points)
    assert isinstance(store, QdrantVectorStore)
    assert collection_of(store).document_ids() == set()
    client.close()
