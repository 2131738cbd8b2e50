"""Collections: one behaviour for each kind of store, and what differs between them."""

from __future__ import annotations

import asyncio
import threading
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.collection import N_SAMPLED, Collection
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.server import open_server_collection

from .conftest import DIM, asking, expected_hits, make_node, make_nodes, node_id

QUERY = np.linspace(-1.0, 2.0, DIM).tolist()
N_NODES = 24


@pytest.fixture
def readonly(readable) -> Collection:
    """Return a collection of 24 nodes that tests only read."""
    return collection_of(readable)


@pytest.fixture
def collection(store) -> Collection:
    """Return an empty collection."""
    return collection_of(store)


def lamps(condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    is_lamp = MetadataFilter(key="kind", value="lamp")
    return MetadataFilters(filters=[is_lamp], condition=condition)


def of_document(number: int, ref_doc_id: str) -> TextNode:
    source = RelatedNodeInfo(node_id=ref_doc_id)
    return make_node(number).model_copy(
        update={"relationships": {NodeRelationship.SOURCE: source}}
    )


# Searching and reading


async def test_search_finds_the_same_awaited_or_not(readonly, nodes):
    query = asking(QUERY, 7)
    found = readonly.search(query)
    ids, scores = expected_hits(nodes, QUERY)
    assert [one.node_id for one in found] == ids[:7]
    assert [one.score for one in found] == pytest.approx(scores[:7], abs=1e-6)
    assert all((one.node is None) == readonly.is_light for one in found)
    assert await readonly.asearch(query) == found


def test_nodes_come_in_the_order_asked_for_without_those_that_are_not_there(readonly):
    asked = [node_id(n) for n in (7, 100, 3, 7, 5)]
    assert [n.metadata["n"] for n in readonly.nodes(asked)] == [7, 3, 5]
    assert readonly.nodes([]) == []
    assert readonly.nodes([node_id(100)]) == []


def test_nodes_are_those_of_get_nodes_with_or_without_their_vectors(readonly, readable):
    ids = [node_id(n) for n in range(N_NODES)]
    theirs = sorted(readable.get_nodes(ids), key=lambda node: ids.index(node.node_id))
    assert readonly.nodes(ids, with_vectors=True) == theirs
    assert all(node.embedding is not None for node in theirs)
    without = [node.model_copy(update={"embedding": None}) for node in theirs]
    assert readonly.nodes(ids) == without
    known = {node.node_id: node for node in theirs}
    for node in readonly.nodes_where(lamps(), with_vectors=True):
        assert node == known[node.node_id]


@pytest.mark.parametrize("condition", [FilterCondition.AND, FilterCondition.OR])
async def test_nodes_where_are_all_that_pass_awaited_or_not(condition, readonly):
    found = readonly.nodes_where(lamps(condition))
    assert {n.metadata["n"] for n in found} == set(range(1, N_NODES, 3))
    assert all(node.embedding is None for node in found)
    assert await readonly.anodes_where(lamps(condition)) == found
    everything = readonly.nodes_where(MetadataFilters(filters=[]))
    assert len(everything) == N_NODES


async def test_more_nodes_than_a_page_are_all_read(collection):
    collection.add(make_nodes(1_100))
    floor = MetadataFilter(key="n", value=0, operator=">=")
    found = collection.nodes_where(MetadataFilters(filters=[floor]))
    assert {node.metadata["n"] for node in found} == set(range(1_100))
    assert len(collection.document_ids()) == 4
    assert len(collection.ids_of_documents(["doc-0", "doc-1"])) == 550


def test_existing_are_the_ids_that_are_stored(readonly):
    asked = [node_id(n) for n in (2, 50, 4)]
    assert readonly.existing(asked) == {node_id(2), node_id(4)}
    assert readonly.existing([]) == set()


def test_documents_and_their_nodes_are_listed(readonly):
    assert readonly.document_ids() == {"doc-0", "doc-1", "doc-2", "doc-3"}
    ids = readonly.ids_of_documents(["doc-1", "doc-3", "unknown"])
    assert sorted(ids) == sorted(node_id(n) for n in range(1, N_NODES, 2))
    assert readonly.ids_of_documents([]) == []
    assert readonly.ids_of_documents(["unknown"]) == []


def test_documents_are_spelled_as_they_were_given(collection):
    one = uuid.uuid5(uuid.NAMESPACE_URL, "one")
    spelled = {str(one), one.hex, str(one).upper(), "/a/ö b.md", "7", "東京"}
    collection.add([of_document(n, name) for n, name in enumerate(sorted(spelled))])
    assert collection.document_ids() == spelled


def test_documents_whose_nodes_are_gone_are_not_listed(collection):
    collection.add([of_document(n, f"document {n}") for n in range(40)])
    collection.remove([node_id(n) for n in range(30)])
    loose = make_node(30).model_copy(update={"relationships": {}})
    collection.add([loose, of_document(31, "another")])
    expected = {f"document {n}" for n in range(32, 40)} | {"another"}
    assert collection.document_ids() == expected


def test_documents_are_listed_without_an_index_on_them(tmp_path):
    with QdrantEdgeVectorStore.open(
        tmp_path / "store", dim=DIM, payload_indexes=()
    ) as store:
        store.add(make_nodes(10))
        expected = {"doc-0", "doc-1", "doc-2", "doc-3"}
        assert collection_of(store).document_ids() == expected


# Writing


def test_what_was_added_and_removed_is_seen_by_the_next_sample(collection):
    nodes = make_nodes(30)
    assert collection.add(nodes[:5]) == [node.node_id for node in nodes[:5]]
    few = collection.background(QUERY)
    collection.add(nodes[5:])
    many = collection.background(QUERY)
    collection.remove([node.node_id for node in nodes[5:]])
    assert (few.n_items, many.n_items) == (5, 30)
    assert collection.background(QUERY) == few


def test_adding_or_removing_nothing_asks_nothing_of_the_store():
    # It has no method to be asked.
    collection = Collection(SimpleVectorStore())
    collection.store = None
    assert collection.add([]) == []
    collection.remove([])


# Kinds of stores


def test_collection_is_one_for_each_store_and_goes_with_its_users(tmp_path):
    store = QdrantEdgeVectorStore(tmp_path / "a", dim=2)
    found = collection_of(store)
    assert collection_of(store) is found
    assert collection_of(QdrantEdgeVectorStore(tmp_path / "a", dim=2)) is not found
    gone = weakref.ref(found)
    del found
    assert gone() is None, "nothing refers to it, in a circle either"
    assert collection_of(store).store is store


async def test_asynchronous_client_alone_searches_and_reads(nodes):
    aclient = AsyncQdrantClient(":memory:")
    store = QdrantVectorStore("c", aclient=aclient)
    await store.async_add(nodes)
    collection = collection_of(store)
    query = asking(QUERY, 3)
    found = await collection.asearch(query)
    assert [one.node_id for one in found] == expected_hits(nodes, QUERY)[0][:3]
    for condition in (FilterCondition.AND, FilterCondition.OR):
        read = await collection.anodes_where(lamps(condition))
        assert {n.metadata["n"] for n in read} == set(range(1, N_NODES, 3))
        assert all(node.embedding is None for node in read)
    collection.check(DIM)
    await aclient.close()


class Discreet(QdrantVectorStore):
    """A store that shows no lamps."""

    def get_nodes(self, *args: Any, **kwargs: Any) -> Any:
        found = super().get_nodes(*args, **kwargs)
        return [node for node in found if node.metadata["kind"] != "lamp"]


async def test_store_that_hides_nodes_hides_them_here_too(client, nodes):
    store = Discreet("c", client=client)
    store.add(nodes)
    collection = collection_of(store)
    ids = [node_id(n) for n in range(4)]
    assert [n.metadata["n"] for n in collection.nodes(ids)] == [0, 2, 3]
    assert collection.nodes_where(lamps()) == []
    assert await collection.anodes_where(lamps()) == []


class InMemory(SimpleVectorStore):
    """A store that is not Qdrant, with an asynchronous way of its own or none."""

    stores_text: bool = True
    _aclient: object | None = PrivateAttr(default=None)
    _threads: list[int] = PrivateAttr(default_factory=list)

    def get_nodes(self, node_ids: Any = None, filters: Any = None) -> list[Any]:
        self._threads.append(threading.get_ident())
        return [make_node(n) for n in (2, 0, 1) if filters or node_id(n) in node_ids]


class Awaitable(InMemory):
    async def aget_nodes(self, node_ids: Any = None, filters: Any = None) -> list[Any]:
        await asyncio.sleep(0)
        return self.get_nodes(node_ids, filters)


@pytest.mark.parametrize(
    ("kind", "has_client", "is_awaited"),
    [
        (InMemory, False, False),
        (InMemory, True, False),  # LlamaIndex's own would block the event loop
        (Awaitable, False, False),
        (Awaitable, True, True),
    ],
)
async def test_any_other_store_is_read_without_blocking_the_event_loop(
    kind, has_client, is_awaited
):
    store = kind()
    store._aclient = object() if has_client else None
    collection = collection_of(store)
    assert len(await collection.anodes_where(lamps())) == 3
    assert (store._threads == [threading.get_ident()]) == is_awaited
    asked = [node_id(n) for n in (0, 1, 9)]
    assert [n.metadata["n"] for n in collection.nodes(asked)] == [0, 1]
    assert collection.existing(asked) == {node_id(0), node_id(1)}
    assert collection.ids_of_documents(["doc-0"]) == [node_id(n) for n in (2, 0, 1)]


# Samples: what a query scores by chance


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    opened = QdrantClient(":memory:")
    yield opened
    opened.close()


@pytest.fixture(params=["edge", "local", "named"])
def sampled(request, tmp_path, client) -> Iterator[BasePydanticVectorStore]:
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


def test_background_is_mean_and_deviation_of_the_querys_cosines(sampled):
    nodes = make_nodes(50)
    sampled.add(nodes)
    background = collection_of(sampled).background(QUERY)
    assert background.mean == pytest.approx(cosines(nodes).mean(), abs=1e-6)
    assert background.std == pytest.approx(cosines(nodes).std(), abs=1e-6)


def test_large_collection_is_sampled_by_its_lowest_ids(sampled):
    nodes = [make_node(n) for n in range(N_SAMPLED + 60)]
    sampled.add(nodes)
    lowest = sorted(nodes, key=lambda node: node.node_id)[:N_SAMPLED]
    background = collection_of(sampled).background(QUERY)
    assert background.mean == pytest.approx(cosines(lowest).mean(), abs=1e-6)


def test_one_vector_is_a_background_without_spread(sampled):
    sampled.add([make_node(0)])
    background = collection_of(sampled).background(QUERY)
    assert background.std == 0.0


def test_empty_collection_has_none_until_others_fill_it(sampled):
    sample = collection_of(sampled)
    assert sample.background(QUERY) is None
    sampled.add(make_nodes(3))
    assert sample.background(QUERY) is not None


def test_sample_is_kept_until_it_is_forgotten(sampled):
    sampled.add(make_nodes(5))
    sample = collection_of(sampled)
    before = sample.background(QUERY)
    sampled.add([make_node(n) for n in range(5, 30)])
    assert sample.background(QUERY) == before
    sample.forget()
    after = sample.background(QUERY)
    assert after != before


def test_query_without_length_scores_zero_everywhere(sampled):
    sampled.add(make_nodes(5))
    background = collection_of(sampled).background([0.0] * DIM)
    assert (background.mean, background.std) == (0.0, 0.0)


def test_dot_products_are_not_divided_by_lengths(client):
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT)
    client.create_collection("c", vectors_config=params)
    store = QdrantVectorStore("c", client=client)
    nodes = make_nodes(20)
    store.add(nodes)
    dots = np.array([node.embedding for node in nodes]) @ np.array(QUERY)
    background = collection_of(store).background(QUERY)
    assert background.mean == pytest.approx(dots.mean(), rel=1e-5)


def test_distance_of_which_smaller_is_better_has_no_background(client):
    params = models.VectorParams(size=DIM, distance=models.Distance.EUCLID)
    client.create_collection("c", vectors_config=params)
    store = QdrantVectorStore("c", client=client)
    store.add([make_node(0)])
    assert collection_of(store).background(QUERY) is None


def test_store_that_cannot_be_sampled_has_no_background():
    assert collection_of(SimpleVectorStore()).background(QUERY) is None


async def test_store_without_a_synchronous_client_has_no_background():
    aclient = AsyncQdrantClient(":memory:")
    store = QdrantVectorStore("c", aclient=aclient)
    assert collection_of(store).background(QUERY) is None
    await aclient.close()


class Generous(SimpleVectorStore):
    """Returns more than it was asked for."""

    stores_text: bool = True

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        nodes = make_nodes(N_NODES)
        scores = np.linspace(1, 0, N_NODES).tolist()
        return VectorStoreQueryResult(nodes, scores, [n.node_id for n in nodes])


def test_no_more_hits_are_taken_than_were_asked_for():
    found = collection_of(Generous()).search(
        VectorStoreQuery(query_embedding=QUERY, similarity_top_k=3)
    )
    assert [hit.node_id for hit in found] == [n.node_id for n in make_nodes(3)]
