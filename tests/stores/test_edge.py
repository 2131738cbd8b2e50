"""What only Qdrant Edge does: a folder of its own, refusals, light reads, async."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import qdrant_edge as qe
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidQuery,
    InvalidSetting,
    InvalidVector,
    StoreClosed,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.stores import (
    InvalidNodeId,
    QdrantEdgeVectorStore,
    UnsupportedQuery,
)

from .conftest import DIM, asking, expected_hits, make_node, make_nodes, node_id


@pytest.fixture
def store(tmp_path) -> Iterator[QdrantEdgeVectorStore]:
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as opened:
        yield opened


def one_filter(key: str, operator: str, value: object) -> MetadataFilters:
    condition = MetadataFilter(key=key, operator=FilterOperator(operator), value=value)
    return MetadataFilters(filters=[condition])


# Refusals: nothing of the batch is written


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (None, "has no embedding"),
        ([1.0] * (DIM - 1), "has 7 numbers; this store holds vectors of 8"),
        ([], "has 0 numbers"),
        ([float("nan")] + [1.0] * (DIM - 1), "NaN or infinity"),
        ([float("inf")] + [1.0] * (DIM - 1), "NaN or infinity"),
        ([0.0] * DIM, "all zeros"),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_bad_vector_refuses_the_whole_batch_and_names_the_node(
    embedding, message, place, store
):
    store.add([make_node(9)])
    batch = [make_node(0), make_node(1)]
    batch.insert(place, TextNode(id_=node_id(5), text="bad", embedding=embedding))
    with pytest.raises(InvalidVector, match=message) as caught:
        store.add(batch)
    assert node_id(5) in str(caught.value)
    assert store.ids_where() == [node_id(9)]


@pytest.mark.parametrize(
    "bad",
    ["doc-1", "", "012", "-1", str(2**64), "page 3"]
    # What Python's UUID takes.
    + [first + "1" * (32 - len(first)) for first in ("0x", "+", " ", "\uff11")],
)
def test_id_that_is_no_point_id_refuses_the_whole_batch(bad, store):
    node = TextNode(id_=bad, text="x", embedding=[1.0] * DIM)
    with pytest.raises(InvalidNodeId, match="uuid5"):
        store.add([make_node(0), node])
    assert store.count() == 0


def test_metadata_that_is_no_json_refuses_the_whole_batch(store):
    node = make_node(1)
    node.metadata["weight"] = object()
    with pytest.raises(InvalidSetting, match=node_id(1)):
        store.add([make_node(0), node])
    assert store.count() == 0


def test_zero_vector_is_a_vector_under_dot_product(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=2, distance="dot") as store:
        store.add(
            [
                TextNode(id_=node_id(0), text="none", embedding=[0.0, 0.0]),
                TextNode(id_=node_id(1), text="long", embedding=[3.0, 4.0]),
            ]
        )
        query = VectorStoreQuery(query_embedding=[2.0, 1.0], similarity_top_k=5)
        found = store.query(query)
    assert found.ids == [node_id(1), node_id(0)]
    assert found.similarities == [10.0, 0.0]


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e30, 1e200])
def test_cosine_does_not_depend_on_the_length_of_vectors(scale, store):
    direction = np.arange(1.0, DIM + 1)
    node = TextNode(id_=node_id(0), text="x", embedding=(direction * scale).tolist())
    store.add([node])
    query = VectorStoreQuery(query_embedding=(direction[::-1] * scale).tolist())
    expected = float(direction @ direction[::-1] / (direction @ direction))
    assert store.query(query).similarities == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize(
    "embedding",
    [[float("nan")] * DIM, [float("inf")] * DIM, [0.0] * DIM, [1.0] * (DIM + 1), []],
)
def test_bad_query_vector_is_refused(embedding, store):
    with pytest.raises(InvalidVector, match="The query vector"):
        store.query(VectorStoreQuery(query_embedding=embedding))


@pytest.mark.parametrize(
    "mode", [m for m in VectorStoreQueryMode if m.value not in {"default", "mmr"}]
)
def test_unsupported_mode_is_refused_and_not_answered_by_another(mode, store):
    query = VectorStoreQuery(query_embedding=[1.0] * DIM, mode=mode)
    with pytest.raises(UnsupportedQuery, match=repr(mode.value)):
        store.query(query)


def test_query_without_vector_or_with_negative_top_k_is_refused(store):
    with pytest.raises(InvalidQuery, match="query_embedding"):
        store.query(VectorStoreQuery(query_str="words only"))
    with pytest.raises(InvalidQuery, match="-1"):
        store.query(VectorStoreQuery(query_embedding=[1.0] * DIM, similarity_top_k=-1))


def test_top_k_zero_returns_nothing(store):
    store.add([make_node(0)])
    query = asking([1.0] * DIM, 0)
    assert store.query(query).ids == []
    assert store.query_ids(query) == []


@pytest.mark.parametrize(
    ("key", "operator", "value"),
    [
        ("my key", "==", "a"),
        ("n", ">", "five"),
        ("n", "==", None),
        ("n", "!=", 1.5),
        ("n", "in", [1.5]),
        ("note", "text_match", 3),
        ("tags", "any", "t1"),
        ("tags", "all", []),
        ("n", ">", "nan"),
        ("n", ">", 10**400),
        ("date", ">", "2020-13-01"),
    ],
)
def test_filter_that_cannot_be_built_is_refused_and_named(key, operator, value, store):
    with pytest.raises(InvalidQuery, match=key):
        store.count(one_filter(key, operator, value))


@pytest.mark.parametrize("ref_doc_id", [None, "", "None"])
def test_delete_without_a_document_removes_nothing(ref_doc_id, store):
    orphan = TextNode(id_=node_id(0), text="no source", embedding=[1.0] * DIM)
    store.add([orphan])
    with pytest.raises(InvalidSetting, match="names no document"):
        store.delete(ref_doc_id)
    assert store.count() == 1


@pytest.mark.parametrize(
    ("node_ids", "filters"),
    [
        (None, None),
        ([], None),
        (None, MetadataFilters(filters=[])),
        (None, MetadataFilters(filters=[MetadataFilters(filters=[])])),
        ([], one_filter("n", ">", 0)),
    ],
)
def test_delete_nodes_without_any_removes_nothing(node_ids, filters, store):
    store.add([make_node(1)])
    with pytest.raises(InvalidSetting, match="names no nodes"):
        store.delete_nodes(node_ids, filters)
    assert store.count() == 1


# The folder


def test_making_the_object_touches_no_disk(tmp_path):
    store = QdrantEdgeVectorStore(tmp_path / "store", dim=DIM)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreClosed, match="never opened"):
        store.count()


def test_settings_travel_and_the_copy_arrives_closed(store):
    for copy in (
        QdrantEdgeVectorStore.from_dict(store.to_dict()),
        pickle.loads(pickle.dumps(store)),
    ):
        assert copy.to_dict() == store.to_dict()
        with pytest.raises(StoreClosed):
            copy.count()


@pytest.mark.parametrize(
    "settings", [{"dim": DIM + 1}, {"distance": "dot"}, {"vector_name": "image-dense"}]
)
def test_existing_store_of_another_kind_is_refused(settings, tmp_path):
    path = tmp_path / "store"
    QdrantEdgeVectorStore.open(path, dim=DIM).close()
    with pytest.raises(CollectionMismatch, match="'text-dense': \\(8, 'cosine'\\)"):
        QdrantEdgeVectorStore.open(path, **{"dim": DIM, **settings})
    QdrantEdgeVectorStore.open(path, dim=DIM).close()  # The refusal freed the folder.


def test_existing_store_needs_no_dim_and_a_new_one_does(tmp_path):
    QdrantEdgeVectorStore.open(tmp_path / "old", dim=DIM).close()
    with QdrantEdgeVectorStore.open(tmp_path / "old") as store:
        assert store.dim == DIM
    with pytest.raises(InvalidSetting, match="dim is None"):
        QdrantEdgeVectorStore.open(tmp_path / "new")


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"distance": "euclid"}, "distance"), ({"dim": 0}, "dim"), ({"dimm": 4}, "dimm")],
)
def test_setting_that_is_none_or_out_of_range_is_refused(settings, told, tmp_path):
    for make in (QdrantEdgeVectorStore, QdrantEdgeVectorStore.open):
        with pytest.raises(ValueError, match=told):
            make(tmp_path / "store", **{"dim": DIM, **settings})


def test_path_that_is_a_file_or_below_one_is_unusable(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    for path in (file, file / "below"):
        with pytest.raises(StoreUnusable, match="cannot be used"):
            QdrantEdgeVectorStore.open(path, dim=DIM)


def test_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(StoreUnusable, match="thesis"):
        QdrantEdgeVectorStore.open(tmp_path, dim=DIM)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format": 2, "shard": "shard-1", "state": "ready"}', "[]"]
)
def test_unreadable_description_is_refused(content, tmp_path):
    QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM).close()
    (tmp_path / "s" / "store.json").write_text(content)
    with pytest.raises(StoreUnusable, match="store.json"):
        QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM)


def test_description_cannot_point_out_of_the_folder(tmp_path):
    (tmp_path / "shard-victim").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "store.json").write_text(
        '{"format": 1, "shard": "../shard-victim", "state": "creating"}'
    )
    with pytest.raises(StoreUnusable):
        QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM)
    assert (tmp_path / "shard-victim").is_dir()


def test_damaged_shard_is_reported_as_unusable(tmp_path):
    QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM).close()
    for config in (tmp_path / "s").glob("shard-*/edge_config.json"):
        config.write_text("{")
    with pytest.raises(StoreUnusable):
        QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM)


def test_second_object_is_refused_also_through_a_link(store, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for path in (tmp_path / "store", tmp_path / "link"):
        with pytest.raises(StoreInUse, match="this process"):
            QdrantEdgeVectorStore.open(path, dim=DIM)


def test_shard_opened_without_this_library_is_in_use(tmp_path):
    QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM).close()
    (folder,) = (tmp_path / "s").glob("shard-*")
    shard = qe.EdgeShard.load(str(folder))
    with pytest.raises(StoreInUse, match="without this library"):
        QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM)
    shard.close()


def test_forgotten_store_gives_its_folder_back(tmp_path):
    store = QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM)
    store.add([make_node(0)])
    del store
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM) as again:
        assert again.count() == 1


def test_closed_store_says_so_and_opens_again(store):
    store.add([make_node(0)])
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="connect\\(\\)"):
        store.count()
    assert store.connect().count() == 1
    assert store.connect().count() == 1


def test_moved_folder_opens_elsewhere(store, tmp_path):
    nodes = make_nodes(5)
    store.add(nodes)
    store.close()
    shutil.move(tmp_path / "store", tmp_path / "elsewhere")
    with QdrantEdgeVectorStore.open(tmp_path / "elsewhere") as moved:
        query = asking([1.0] * DIM, 5)
        ids, scores = expected_hits(nodes, [1.0] * DIM)
        found = moved.query(query)
    assert found.ids == ids
    assert found.similarities == pytest.approx(scores, abs=1e-6)


def test_fields_declared_later_are_indexed_and_another_kind_is_refused(tmp_path):
    path = tmp_path / "s"
    with QdrantEdgeVectorStore.open(path, dim=DIM, payload_indexes=["kind"]) as store:
        store.add(make_nodes(6))
    with QdrantEdgeVectorStore.open(path, payload_indexes={"n": "integer"}) as store:
        assert store.client.indexes == {"kind": "keyword", "n": "integer"}
        assert store.count(one_filter("n", ">", 3)) == 2
    with pytest.raises(CollectionMismatch, match="'n' as 'integer'"):
        QdrantEdgeVectorStore.open(path, payload_indexes={"n": "keyword"})
    with pytest.raises(InvalidSetting, match="colour"):
        QdrantEdgeVectorStore(path, payload_indexes={"n": "colour"})


# Light reads


def test_light_query_equals_full_query(store):
    store.add(make_nodes(20))
    query = VectorStoreQuery(
        query_embedding=[1.0] * DIM,
        similarity_top_k=12,
        filters=one_filter("n", "<", 15),
    )
    full = store.query(query)
    light = store.query_ids(query, ["kind", "note"])
    assert [hit[0] for hit in light] == full.ids
    assert [hit[1] for hit in light] == full.similarities
    for (_, _, payload), node in zip(light, full.nodes or [], strict=True):
        wanted = {k: v for k, v in node.metadata.items() if k in {"kind", "note"}}
        assert payload == wanted
    assert [hit[2] for hit in store.query_ids(query)] == [{}] * 12


def test_equal_scores_are_ordered_by_id(store):
    twins = make_nodes(9)
    for node in twins:
        node.embedding = [1.0] * DIM
    store.add(twins)
    query = asking([1.0] * DIM, 9)
    assert store.query(query).ids == sorted(node_id(n) for n in range(9))


def test_nodes_come_in_the_order_asked_for_and_missing_ones_are_left_out(store):
    store.add(make_nodes(9))
    asked = [node_id(7), "no uuid", node_id(0), node_id(99), node_id(4).upper()]
    found = store.get_nodes(asked)
    assert [node.metadata["n"] for node in found] == [7, 0, 4]
    found = store.get_nodes(asked, one_filter("n", ">", 0))
    assert [node.metadata["n"] for node in found] == [7, 4]
    assert store.get_nodes([]) == []
    assert len(store.get_nodes()) == 9
    assert store.get_nodes([node_id(1)], with_embeddings=False)[0].embedding is None


SPELLINGS = {
    "hex": lambda id_: id_.replace("-", ""),
    "upper case": str.upper,
    "urn": lambda id_: f"urn:uuid:{id_}",
    "braces": lambda id_: f"{{{id_.upper()}}}",
    "a number": lambda id_: str(int(id_[:8], 16)),
    "the largest number": lambda _: str(2**64 - 1),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_any_spelling_of_an_id_goes_in_and_the_callers_comes_out(spell, store):
    node, other = make_nodes(2)
    node.id_ = spell(node.node_id)
    assert store.add([node, other]) == [node.node_id, other.node_id]
    asked = asking(node.embedding, 1)
    found = store.query(asked)
    assert [one.node_id for one in found.nodes] == found.ids == [node.node_id]
    asked.node_ids = [node.node_id]
    assert store.query(asked).ids == [node.node_id]
    ((stored, _, _),) = store.query_ids(asked)
    for id_ in (node.node_id, stored, stored.upper()):
        assert [one.node_id for one in store.get_nodes([id_])] == [node.node_id]
        assert store.get_nodes([id_], one_filter("n", ">", 0)) == []
        assert store.existing([id_, "no id"]) == {id_}
        assert store.payload_values([id_], "n") == {id_: 0}
    store.delete_nodes([stored.upper()])
    assert store.existing([node.node_id, other.node_id]) == {other.node_id}


def test_numbers_and_uuids_tie_in_one_order(store):
    nodes = make_nodes(6)
    for n, node in enumerate(nodes):
        node.embedding = nodes[0].embedding
        node.id_ = str(n) if n % 2 else node.node_id
    store.add(nodes)
    ids = sorted(node.node_id for node in nodes)
    assert store.query(asking(nodes[0].embedding, 4)).ids == ids[:4]


def test_payload_values_and_ids_where(store):
    store.add(make_nodes(6))
    values = store.payload_values([node_id(3), node_id(1), node_id(42)], "note")
    assert values == {node_id(3): "solid oak number 3"}
    lamps = store.ids_where(one_filter("kind", "==", "lamp"))
    assert lamps == sorted([node_id(1), node_id(4)])
    assert store.count(one_filter("kind", "==", "lamp")) == 2


def test_more_nodes_than_one_page_or_one_write(store):
    nodes = make_nodes(2500)
    store.add(nodes)
    assert len(store.ids_where()) == store.count() == 2500
    assert len({node.node_id for node in store.get_nodes()}) == 2500


def test_last_of_equal_ids_in_one_batch_stays(store):
    ids = store.add([make_node(1, text="first"), make_node(1, text="last")])
    assert ids == [node_id(1), node_id(1)]
    assert [node.get_content() for node in store.get_nodes(ids)] == ["last"]


def test_caller_s_nodes_are_not_changed(store):
    node = make_node(3)
    before = node.model_copy(deep=True)
    store.add([node])
    assert node == before


# Threads and the event loop


async def test_asynchronous_methods_do_what_the_others_do(store):
    ids = await store.async_add(make_nodes(8))
    query = asking([1.0] * DIM, 8)
    first, second = await asyncio.gather(store.aquery(query), store.aquery(query))
    assert first.ids == second.ids == store.query(query).ids
    assert first.similarities == store.query(query).similarities
    assert [n.node_id for n in await store.aget_nodes(ids[:2])] == ids[:2]
    await store.adelete("doc-1")
    await store.adelete_nodes([node_id(0)])
    kept = {node_id(n) for n in (2, 3, 4, 6, 7)}
    assert set(store.ids_where()) == kept
    await store.aclear()
    assert store.count() == 0


def test_three_writers_and_two_readers_lose_nothing(store):
    done = threading.Event()

    def write(start: int) -> None:
        for first in range(start, start + 300, 30):
            store.add([make_node(n) for n in range(first, first + 30)])
            store.delete_nodes([node_id(first)])

    def read() -> None:
        while not done.is_set():
            found = store.query(asking([1.0] * DIM, 20))
            texts = [node.get_content() for node in found.nodes or []]
            numbers = [node.metadata["n"] for node in found.nodes or []]
            assert texts == [f"text {n}" for n in numbers]
            assert found.ids == [node_id(n) for n in numbers]

    with ThreadPoolExecutor(5) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        try:
            list(threads.map(write, range(0, 900, 300)))
        finally:
            done.set()
        for reader in readers:
            reader.result()
    expected = {node_id(n) for n in range(900) if n % 30}
    assert set(store.ids_where()) == expected


@pytest.mark.parametrize("filtered", [False, True])
def test_tie_at_the_cut_off_is_cut_by_id_whatever_was_inserted_first(
    tmp_path, filtered
):
    equal = [n.model_copy(update={"embedding": [1.0, 1.0]}) for n in make_nodes(40)]
    best = make_node(40).model_copy(update={"embedding": [1.0, 0.0]})
    keep = [n for n in equal if not filtered or n.metadata["kind"] == "lamp"]
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="lamp")])
    query = VectorStoreQuery(
        query_embedding=[1.0, 0.0],
        similarity_top_k=5,
        filters=filters if filtered else None,
    )
    expected = sorted(n.node_id for n in keep)
    assert best.metadata["kind"] == "lamp"
    for name, order in (("a", [*equal, best]), ("b", [best, *equal[::-1]])):
        with QdrantEdgeVectorStore.open(tmp_path / name, dim=2) as store:
            for start in range(0, 41, 7):
                store.add(order[start : start + 7])
            found = store.query(query)
            assert found.ids == [best.node_id, *expected[:4]]
            assert [n.node_id for n in found.nodes or ()] == found.ids
            assert found.nodes[1].text.startswith("text ")
            assert found.similarities == pytest.approx([1.0] + [0.5**0.5] * 4)
            assert [key for key, _, _ in store.query_ids(query)] == found.ids


UNKNOWN = {"query_filters": qe.Filter(must=[])}


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("query", [asking([1.0] * DIM)]),
        ("add", [[make_node(1)]]),
        ("delete", ["a document"]),
        ("delete_nodes", [[node_id(1)]]),
        ("get_nodes", [[node_id(1)]]),
        ("clear", []),
    ],
)
async def test_keyword_that_the_store_does_not_know_is_refused(store, method, given):
    store.add([make_node(1), make_node(2)])
    also = method.replace("add", "async_add") if method == "add" else f"a{method}"
    said = rf"{method}\(\) got the keyword 'query_filters'"
    with pytest.raises(InvalidSetting, match=said):
        getattr(store, method)(*given, **UNKNOWN)
    with pytest.raises(InvalidSetting, match=said):
        await getattr(store, also)(*given, **UNKNOWN)
    assert store.count() == 2


def test_llamaindex_may_pass_what_a_user_told_it_to(store):
    # LlamaIndex adds no keyword of its own, and a user's reach the store.
    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(DIM))
    index.insert_nodes([make_node(1)])
    with pytest.raises(InvalidSetting, match="query_filters"):
        index.as_retriever(vector_store_kwargs=UNKNOWN).retrieve("red")
    assert len(index.as_retriever().retrieve("red")) == 1
    index.delete_nodes([node_id(1)])
    assert store.count() == 0


@pytest.mark.parametrize("wrong", [None, "x", ["x"], [None], ("x",), 3])
def test_what_is_no_list_of_nodes_is_refused(wrong, store):
    with pytest.raises(InvalidSetting, match="nodes"):
        store.add(wrong)


@pytest.mark.parametrize("wrong", [None, "note", [1], 3])
def test_payload_keys_that_are_no_texts_are_refused(wrong, store):
    with pytest.raises(InvalidSetting, match="payload_keys"):
        store.query_ids(VectorStoreQuery(query_embedding=[1.0] * 4), wrong)
