"""One behaviour, three back ends: Qdrant local mode, Qdrant Edge, a Qdrant server.

The expected answers come from plain arithmetic, not from one of the back ends. The
server runs where QDRANT_URL says; its collections have random names and are removed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import (
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from .conftest import DIM, asking, expected_hits, make_node, make_nodes, node_id

SCORE = 1e-6
OR, NOT = FilterCondition.OR, FilterCondition.NOT


@pytest.fixture
def filled(store, nodes) -> BasePydanticVectorStore:
    store.add(nodes)
    return store


def where(
    *conditions: tuple[str, str, object] | MetadataFilters,
    condition: FilterCondition = FilterCondition.AND,
) -> MetadataFilters:
    built = [
        one
        if isinstance(one, MetadataFilters)
        else MetadataFilter(key=one[0], operator=FilterOperator(one[1]), value=one[2])
        for one in conditions
    ]
    return MetadataFilters(filters=built, condition=condition)


def assert_hits(
    store: BasePydanticVectorStore,
    nodes: list[TextNode],
    query: VectorStoreQuery,
    keep: Callable[[TextNode], bool] = lambda _: True,
) -> None:
    """Check that a store of these nodes finds those to be kept, scored and in order."""
    found, top_k = store.query(query), query.similarity_top_k
    ids, scores = expected_hits(nodes, query.query_embedding, keep=keep)
    assert found.ids == ids[:top_k]
    assert [node.node_id for node in found.nodes or []] == found.ids
    assert found.similarities == pytest.approx(scores[:top_k], abs=SCORE)


@pytest.mark.parametrize(
    ("top_k", "how"),
    [(7, {}), (3, {"node_ids": [], "doc_ids": []}), (1000, {})],
    ids=["seven of 24", "empty id lists restrict nothing", "more than there are"],
)
def test_ids_scores_and_order_are_those_of_plain_cosine(
    top_k, how, readable, nodes, query_embedding
):
    assert_hits(readable, nodes, asking(query_embedding, top_k, **how))


def test_add_returns_the_ids_in_order(store, nodes):
    assert store.add(nodes) == [node.node_id for node in nodes]


FILTERS = {
    "eq string": (where(("kind", "==", "lamp")), lambda m: m["kind"] == "lamp"),
    "eq integer": (where(("n", "==", 5)), lambda m: m["n"] == 5),
    "eq float": (where(("price", "==", 1.25)), lambda m: m["price"] == 1.25),
    "eq on a list": (where(("tags", "==", "t3")), lambda m: "t3" in m["tags"]),
    "eq unicode, nested key": (
        where(("place.city", "==", "東京")),
        lambda m: m["place"]["city"] == "東京",
    ),
    "ne": (where(("kind", "!=", "lamp")), lambda m: m["kind"] != "lamp"),
    "gt": (where(("n", ">", 20)), lambda m: m["n"] > 20),
    "gte": (where(("n", ">=", 20)), lambda m: m["n"] >= 20),
    "lt": (where(("price", "<", 0.75)), lambda m: m["price"] < 0.75),
    "lte": (where(("price", "<=", 0.75)), lambda m: m["price"] <= 0.75),
    "in": (where(("n", "in", [3, 4, 99])), lambda m: m["n"] in {3, 4}),
    "in, one string": (
        where(("kind", "in", "lamp,chair")),
        lambda m: m["kind"] != "table",
    ),
    "nin": (where(("kind", "nin", ["lamp", "chair"])), lambda m: m["kind"] == "table"),
    "text match": (where(("note", "text_match", "oak")), lambda m: "note" in m),
    "is empty": (where(("note", "is_empty", None)), lambda m: "note" not in m),
    "no such field": (where(("colour", "==", "red")), lambda _: False),
    "and": (
        where(("kind", "==", "lamp"), ("n", ">", 10)),
        lambda m: m["kind"] == "lamp" and m["n"] > 10,
    ),
    "or": (
        where(("n", "==", 1), ("n", ">=", 22), condition=OR),
        lambda m: m["n"] in {1, 22, 23},
    ),
    "not": (
        where(("kind", "==", "lamp"), ("n", "<", 12), condition=NOT),
        lambda m: not (m["kind"] == "lamp" or m["n"] < 12),
    ),
    "nested": (
        where(
            ("n", "<", 18),
            where(
                ("kind", "==", "table"),
                where(("place.floor", "==", 3), condition=NOT),
                condition=OR,
            ),
        ),
        lambda m: m["n"] < 18 and (m["kind"] == "table" or m["place"]["floor"] != 3),
    ),
    "empty filters keep all": (where(), lambda _: True),
    "empty nested filters are no condition": (
        where(("n", "<", 4), where()),
        lambda m: m["n"] < 4,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filter_keeps_exactly_the_matching_nodes(
    name, readable, nodes, query_embedding
):
    filters, matches = FILTERS[name]
    query = asking(query_embedding, filters=filters)
    assert_hits(readable, nodes, query, lambda node: matches(node.metadata))


def test_node_ids_doc_ids_and_filters_must_all_pass(readable, nodes, query_embedding):
    query = asking(
        query_embedding,
        node_ids=[node_id(n) for n in (1, 2, 3, 5, 6, 7)],
        doc_ids=["doc-1", "doc-2"],
        filters=where(("n", "<", 6)),
    )
    assert_hits(readable, nodes, query, lambda node: node.metadata["n"] in {1, 2, 5})


def test_adding_nothing_changes_nothing(filled, nodes):
    assert filled.add([]) == []
    assert len(filled.get_nodes([node.node_id for node in nodes])) == len(nodes)


def test_the_same_id_replaces_text_metadata_and_vector(filled, nodes, query_embedding):
    replacement = make_node(5, seed=1, text="new text")
    replacement.metadata["kind"] = "sofa"
    filled.add([replacement])
    everything = [*nodes[:5], replacement, *nodes[6:]]
    assert_hits(filled, everything, asking(query_embedding))
    (stored,) = filled.get_nodes([node_id(5)])
    assert (stored.get_content(), stored.metadata["kind"]) == ("new text", "sofa")


def test_delete_removes_the_document_and_nothing_else(filled, nodes, query_embedding):
    filled.delete("doc-2")
    filled.delete("doc-unknown")
    left = [node for node in nodes if node.ref_doc_id != "doc-2"]
    assert_hits(filled, left, asking(query_embedding))


def test_delete_nodes_removes_ids_and_filtered_ids(filled, nodes, query_embedding):
    filled.delete_nodes([node_id(0), node_id(1), node_id(500)])
    ids = [node_id(n) for n in range(10)]
    filled.delete_nodes(ids, filters=where(("kind", "==", "table")))
    filled.delete_nodes(filters=where(("n", ">=", 20)))
    gone = {0, 1, 2, 5, 8, 20, 21, 22, 23}
    left = [node for node in nodes if node.metadata["n"] not in gone]
    assert_hits(filled, left, asking(query_embedding))


def test_clear_removes_everything_and_the_store_stays_usable(
    filled, nodes, query_embedding
):
    filled.clear()
    filled.add(nodes[:3])
    assert_hits(filled, nodes[:3], asking(query_embedding))


def test_get_nodes_returns_existing_ids_and_matching_nodes(readable):
    by_id = readable.get_nodes([node_id(4), node_id(77), node_id(2)])
    assert {node.metadata["n"] for node in by_id} == {2, 4}
    by_filter = readable.get_nodes(filters=where(("kind", "==", "lamp")))
    assert {node.metadata["n"] for node in by_filter} == {1, 4, 7, 10, 13, 16, 19, 22}
    both = readable.get_nodes([node_id(1), node_id(2)], where(("kind", "==", "lamp")))
    assert [node.metadata["n"] for node in both] == [1]


def test_get_nodes_returns_the_unit_length_embedding(readable, nodes):
    (stored,) = readable.get_nodes([node_id(3)])
    given = nodes[3].embedding or []
    length = sum(value**2 for value in given) ** 0.5
    assert stored.embedding == pytest.approx([v / length for v in given], abs=1e-6)


def test_text_node_comes_back_as_it_went_in(readable, nodes):
    (stored,) = readable.get_nodes([node_id(6)])
    expected = nodes[6].model_copy(update={"embedding": stored.embedding})
    assert stored == expected


@pytest.mark.parametrize("kind", ["path", "base64"])
def test_image_node_keeps_its_picture_and_caption(kind, store, tmp_path):
    encoded = base64.b64encode(bytes(range(256)) * 40).decode()
    picture = {"path": {"image_path": "a/ö.png"}, "base64": {"image": encoded}}[kind]
    node = ImageNode(
        id_=node_id(0),
        text="Ein Stuhl 🪑",
        embedding=[1.0] * DIM,
        metadata={"modality": "image", "box": {"x": [1, 2.5, None], "flags": [True]}},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc-7")},
        **picture,
    )
    store.add([node])
    found = store.query(asking([1.0] * DIM))
    (stored,) = found.nodes or []
    assert isinstance(stored, ImageNode)
    assert (stored.image, stored.image_path) == (node.image, node.image_path)
    assert (stored.text, stored.metadata) == (node.text, node.metadata)
    assert (stored.ref_doc_id, stored.hash) == ("doc-7", node.hash)
    assert found.similarities == pytest.approx([1.0], abs=SCORE)


def test_reopened_store_finds_the_same(backend, nodes, query_embedding):
    store, reopen = backend
    store.add(nodes)
    assert_hits(reopen(), nodes, asking(query_embedding, 9))


def test_one_node_is_found_from_any_direction(store):
    node = make_node(1)
    store.add([node])
    opposite = [-value for value in node.embedding or []]
    found = store.query(asking(opposite))
    assert found.ids == [node.node_id]
    assert found.similarities == pytest.approx([-1.0], abs=SCORE)


def test_serves_a_vector_store_index(store):
    index = VectorStoreIndex(
        make_nodes(3),
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MockEmbedding(embed_dim=DIM),
    )
    index.insert_nodes([make_node(3)])
    found = index.as_retriever(similarity_top_k=10).retrieve("anything")
    assert {hit.node_id for hit in found} == {node_id(n) for n in range(4)}
    index.delete_nodes([node_id(0)])
    index.delete_ref_doc("doc-3", delete_from_docstore=False)
    found = index.as_retriever(similarity_top_k=10).retrieve("anything")
    assert {hit.node_id for hit in found} == {node_id(1), node_id(2)}
