"""Words beside vectors: the modes, over Qdrant Edge and local mode side by side."""

from __future__ import annotations

import asyncio
import json
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.schema import MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidQuery,
    InvalidSetting,
    StoreUnusable,
)
from llama_index_mmrag.stores import QdrantEdgeVectorStore, migrate
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.found import Nearness
from llama_index_mmrag.stores.modes import relative_scores
from llama_index_mmrag.stores.rescoring import RescoringVectorStore

from .conftest import DIM, make_node, node_id

THINGS = ("pump", "valve", "red lamp", "oak table", "copper pipe", "steel pipe", "fan")
STOP_WORDS = "the of and"
N = 40
Mode = VectorStoreQueryMode


def passages() -> list[Any]:
    """Return nodes of which each has a part number, and many have words in common."""
    return [
        make_node(n, text=f"The {THINGS[n % 7]} of room {n % 5}, part AB{n:04}. " * 2)
        for n in range(N)
    ]


def lamps() -> MetadataFilters:
    one = MetadataFilter(key="kind", operator=FilterOperator.EQ, value="lamp")
    return MetadataFilters(filters=[one])


def server_store(
    client: QdrantClient, kind: type = QdrantVectorStore, **how: Any
) -> Any:
    words = Bm25Encoder()
    return kind(
        "words",
        client=client,
        enable_hybrid=True,
        sparse_doc_fn=words.documents,
        sparse_query_fn=words.queries,
        sparse_config=models.SparseVectorParams(modifier=models.Modifier.IDF),
        **how,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[dict[str, BasePydanticVectorStore]]:
    folder = tmp_path_factory.mktemp("hybrid") / "store"
    client = QdrantClient(":memory:")
    with (
        warnings.catch_warnings(),
        QdrantEdgeVectorStore.open(folder, dim=DIM, enable_hybrid=True) as edge,
    ):
        warnings.filterwarnings("ignore", "Payload indexes have no effect")
        stores = {"edge": edge, "local": server_store(client)}
        for store in stores.values():
            store.add(passages())
        yield stores
    client.close()


def asked(words: str | None, mode: Mode, **how: Any) -> VectorStoreQuery:
    how = {"query_embedding": make_node(900).embedding, "similarity_top_k": 7, **how}
    return VectorStoreQuery(query_str=words, mode=mode, **how)


QUERIES = [
    *("pump", "red lamps in room 3", "part AB0017", "AB0003 copper", "oak", "fans"),
    "steel pipe or copper pipe",
]
HOW = {
    "sparse": (Mode.SPARSE, {}),
    "sparse, three": (Mode.SPARSE, {"sparse_top_k": 3}),
    "hybrid": (Mode.HYBRID, {}),
    "words alone": (Mode.HYBRID, {"alpha": 0.0}),
    "vectors alone": (Mode.HYBRID, {"alpha": 1.0}),
    "mostly vectors": (Mode.HYBRID, {"alpha": 0.8, "hybrid_top_k": 4}),
    "many words": (Mode.HYBRID, {"sparse_top_k": 20, "hybrid_top_k": 12}),
    "default": (Mode.DEFAULT, {}),
}
LIMITS: dict[str, dict[str, Any]] = {
    "all": {},
    "filters": {"filters": lamps()},
    "node_ids": {"node_ids": [node_id(n) for n in range(3, 30)]},
    "doc_ids": {"doc_ids": ["doc-1", "doc-3"]},
}


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("how", HOW)
def test_edge_finds_what_local_mode_finds(how, limits, both):
    mode, settings = HOW[how]
    for words in QUERIES:
        query = asked(words, mode, **settings, **LIMITS[limits])
        edge, local = (store.query(query) for store in both.values())
        expected = dict(zip(local.ids, local.similarities, strict=True))
        # Which of equal scores come first depends, there, on what was inserted first.
        expected_scores = pytest.approx(local.similarities, abs=1e-4)
        assert edge.similarities == expected_scores, (words, edge.ids, local.ids)
        last = round(edge.similarities[-1], 4)
        for key, score in zip(edge.ids, edge.similarities, strict=True):
            assert expected.get(key, last) == pytest.approx(score, abs=1e-4)


def test_points_are_those_of_llamaindex(both):
    edge, local = both["edge"], both["local"]
    record = edge.client.retrieve([node_id(5)], payload=True, vector=True)[node_id(5)]
    (point,) = local.client.retrieve("words", [node_id(5)], with_vectors=True)
    assert (
        record.vector.keys() == point.vector.keys() == {"text-dense", "text-sparse-new"}
    )
    theirs = point.vector["text-sparse-new"]
    ours = record.vector["text-sparse-new"]
    there = dict(zip(theirs.indices, theirs.values, strict=True))
    assert dict(zip(ours.indices, ours.values, strict=True)) == pytest.approx(there)
    assert {
        k: v for k, v in record.payload.items() if k in point.payload
    } == point.payload
    text = passages()[5].get_content(metadata_mode=MetadataMode.EMBED)
    (indices,), _ = Bm25Encoder().documents([text])
    assert sorted(indices) == sorted(ours.indices)


def test_text_search_is_sparse(both):
    by_words, by_text = (
        both["edge"].query(asked("oak table", mode))
        for mode in (Mode.SPARSE, Mode.TEXT_SEARCH)
    )
    assert by_text.ids == by_words.ids != []


def test_async_takes_every_alpha_as_sync_does(both):
    for alpha in (0.0, 0.3, 1.0):
        query = asked("copper pipe", Mode.HYBRID, alpha=alpha)
        assert (
            asyncio.run(both["edge"].aquery(query)).ids == both["edge"].query(query).ids
        )


def test_query_of_stop_words_finds_nothing_by_words_and_by_both_what_vectors_do(both):
    edge = both["edge"]
    assert edge.query(asked(STOP_WORDS, Mode.SPARSE)).ids == []
    dense = edge.query(asked(STOP_WORDS, Mode.DEFAULT))
    hybrid = edge.query(asked(STOP_WORDS, Mode.HYBRID))
    assert (hybrid.ids, hybrid.similarities) == (dense.ids, dense.similarities)


def test_ties_are_cut_by_id_whatever_was_inserted_first(tmp_path):
    same = [
        make_node(n, text="a pump").model_copy(
            update={"embedding": [1.0] * DIM, "metadata": {}}
        )
        for n in range(30)
    ]
    found = []
    for name, nodes in {"forth": same, "back": same[::-1]}.items():
        with QdrantEdgeVectorStore.open(
            tmp_path / name, dim=DIM, enable_hybrid=True
        ) as store:
            for node in nodes:
                store.add([node])
            modes = (Mode.SPARSE, Mode.HYBRID, Mode.MMR)
            found += [store.query(asked("pump", mode)).ids for mode in modes]
    lowest = sorted(node.node_id for node in same)[:7]
    assert found == [lowest] * 6


def test_mmr_takes_what_is_near_and_not_near_to_what_was_taken(tmp_path):
    rows = {
        0: [1.0, 0.0, 0.0],
        1: [0.99, 0.14, 0.0],
        2: [0.7, 0.0, 0.7],
        3: [0, 1.0, 0],
    }
    nodes = [
        make_node(n).model_copy(update={"embedding": row}) for n, row in rows.items()
    ]
    with QdrantEdgeVectorStore.open(tmp_path / "mmr", dim=3) as store:
        store.add(nodes)
        query = VectorStoreQuery(
            query_embedding=[1.0, 0.0, 0.0], similarity_top_k=2, mode=Mode.MMR
        )
        query.mmr_threshold = 1.0
        assert store.query(query).ids == [node_id(0), node_id(1)]
        query.mmr_threshold = 0.3
        found = store.query(query)
        assert found.ids[0] == node_id(0)
        assert found.ids[1] != node_id(1)
        # .3 · 0 - .7 · 0 of what stands at a right angle to both.
        assert found.similarities == pytest.approx([0.3, 0.0], abs=1e-6)
        retriever = VectorStoreIndex.from_vector_store(
            store, embed_model=MockEmbedding(3)
        ).as_retriever(
            vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 0.1}
        )
        assert len(retriever.retrieve("anything")) == 2


@pytest.mark.parametrize("mode", [Mode.SPARSE, Mode.TEXT_SEARCH, Mode.HYBRID])
def test_store_without_words_says_what_makes_it_anew(mode, tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "plain", dim=DIM) as store:
        assert store.enable_hybrid is False
        with pytest.raises(
            UnsupportedQuery, match="mmrag index DIR --store NEW --hybrid"
        ):
            store.query(asked("pump", mode))
    with pytest.raises(CollectionMismatch, match="--hybrid"):
        QdrantEdgeVectorStore.open(tmp_path / "plain", enable_hybrid=True)


def test_store_with_words_keeps_them_for_whoever_opens_it(tmp_path):
    with QdrantEdgeVectorStore.open(
        tmp_path / "w", dim=DIM, enable_hybrid=True
    ) as store:
        store.add(passages())
    with QdrantEdgeVectorStore.open(tmp_path / "w") as store:
        assert store.enable_hybrid is True
        store.add([make_node(99, text="a zeppelin")])
        assert store.query(asked("zeppelins", Mode.SPARSE)).ids == [node_id(99)]
        store.delete_nodes([node_id(99)])
        assert store.query(asked("zeppelins", Mode.SPARSE)).ids == []
    with pytest.raises(CollectionMismatch, match="enable_hybrid is False"):
        QdrantEdgeVectorStore.open(tmp_path / "w", enable_hybrid=False)


@pytest.mark.parametrize("given", ["german", Bm25Encoder("german", k=1.5)], ids=str)
def test_store_remembers_what_makes_its_words(given, tmp_path):
    store = QdrantEdgeVectorStore(tmp_path / "w", dim=DIM, enable_hybrid=given)
    copied = QdrantEdgeVectorStore.from_dict(json.loads(store.to_json()))
    with copied:
        copied.add([make_node(1, text="Häuser")])
    for again in (
        QdrantEdgeVectorStore(tmp_path / "w"),
        pickle.loads(pickle.dumps(store)),
    ):
        with again:
            assert again.query(asked("Haus", Mode.SPARSE)).ids == [node_id(1)]
    said = r"words of the store in .* by .*'german'.*not by .*'english'"
    with pytest.raises(CollectionMismatch, match=said):
        QdrantEdgeVectorStore.open(tmp_path / "w", enable_hybrid="english")
    (tmp_path / "w" / "words.json").write_text("[3]")
    with pytest.raises(StoreUnusable, match=r"words\.json"):
        QdrantEdgeVectorStore.open(tmp_path / "w")


@pytest.mark.parametrize(
    ("words", "mode", "how", "said"),
    [
        (None, Mode.SPARSE, {}, "query_str"),
        (None, Mode.HYBRID, {}, "query_str"),
        ("pump", Mode.HYBRID, {"query_embedding": None}, "query_embedding"),
        ("pump", Mode.MMR, {"query_embedding": None}, "query_embedding"),
        ("pump", Mode.HYBRID, {"alpha": 1.5}, "alpha"),
        ("pump", Mode.HYBRID, {"alpha": float("nan")}, "alpha"),
        ("pump", Mode.MMR, {"mmr_threshold": -0.1}, "mmr_threshold"),
        ("pump", Mode.SPARSE, {"sparse_top_k": -1}, "sparse_top_k"),
        ("lone \ud800", Mode.SPARSE, {}, "query_str"),
    ],
)
def test_bad_query_is_refused(words, mode, how, said, both):
    with pytest.raises(InvalidQuery, match=said):
        both["edge"].query(asked(words, mode, **how))


@pytest.mark.parametrize(
    "words", ["", "🦜", "x", "pump " * 10_000, "\u200fמים\u200b ligature \ufb01ne"]
)
def test_any_words_are_a_query_and_a_text(words, tmp_path):
    with QdrantEdgeVectorStore.open(
        tmp_path / "w", dim=DIM, enable_hybrid=True
    ) as store:
        store.add([make_node(1, text=words)])
        assert len(store.query(asked(words, Mode.HYBRID)).ids) == 1


def test_text_that_cannot_be_stored_is_refused_with_its_node(tmp_path):
    with QdrantEdgeVectorStore.open(
        tmp_path / "w", dim=DIM, enable_hybrid=True
    ) as store:
        with pytest.raises(InvalidSetting, match=node_id(1)):
            store.add([make_node(0), make_node(1, text="lone \ud800")])
        assert store.count() == 0


def test_words_move_to_a_server(both):
    client = QdrantClient(":memory:")
    edge = both["edge"]
    assert migrate(edge, client, "words") == N
    store = server_store(client)
    for words in QUERIES:
        for mode in (Mode.SPARSE, Mode.HYBRID):
            query = asked(words, mode, similarity_top_k=N, sparse_top_k=N)
            expected = dict(zip(*_found(edge, query), strict=True))
            assert dict(zip(*_found(store, query), strict=True)) == pytest.approx(
                expected, abs=1e-4
            )
    plain = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection("plain", vectors_config={"text-dense": plain})
    with pytest.raises(CollectionMismatch, match="words"):
        migrate(edge, client, "plain")
    client.close()


def _found(store: BasePydanticVectorStore, query: VectorStoreQuery) -> Any:
    found = store.query(query)
    return found.ids, found.similarities


def test_index_that_is_built_keeps_words(tmp_path):
    with QdrantEdgeVectorStore.open(
        tmp_path / "w", dim=DIM, enable_hybrid=True, quantisation={"scheme": "int8"}
    ) as store:
        store.add(passages())
        before = [store.query(asked(q, Mode.SPARSE)).ids for q in QUERIES]
        store.build_index()
        assert [store.query(asked(q, Mode.SPARSE)).ids for q in QUERIES] == before


def test_fusion_is_llamaindexs_own():
    from llama_index.core.vector_stores.types import VectorStoreQueryResult
    from llama_index.vector_stores.qdrant.utils import relative_score_fusion

    lists = [
        ({}, {}),
        ({"a": 0.9}, {}),
        ({}, {"a": 3.0}),
        ({"a": 0.9, "b": 0.7, "c": 0.1}, {"b": 9.0, "d": 5.0, "a": 1.0}),
        ({"a": 0.9}, {"b": 4.0}),
        ({"a": 0.5, "b": 0.5}, {"c": 2.0, "b": 2.0}),
    ]
    nodes = {key: make_node(n) for n, key in enumerate("abcd")}
    keys = {node.node_id: key for key, node in nodes.items()}

    def result(scores: dict[str, float]) -> VectorStoreQueryResult:
        found = [nodes[key] for key in scores]
        return VectorStoreQueryResult(
            nodes=found, similarities=list(scores.values()), ids=None
        )

    for by_vector, by_words in lists:
        for alpha in (0.0, 0.3, 0.5, 1.0):
            theirs = relative_score_fusion(
                result(by_vector), result(by_words), alpha=alpha, top_k=3
            )
            expected = [
                (keys[node.node_id], score)
                for node, score in zip(
                    theirs.nodes or (), theirs.similarities or (), strict=True
                )
            ]
            ours = relative_scores(by_vector, by_words, alpha=alpha, top_k=3)
            assert list(ours.items()) == expected


def test_mmr_is_the_same_on_a_server(both):
    for words in QUERIES:
        edge, local = (
            {
                hit.node_id: hit.score
                for hit in collection_of(store).search(asked(words, Mode.MMR))
            }
            for store in both.values()
        )
        assert edge == pytest.approx(local, abs=1e-5)


@pytest.mark.parametrize("distance", ["cosine", "dot"])
def test_hits_by_words_bring_vectors_that_a_query_scores_as_a_search_does(
    distance, tmp_path
):
    client = QdrantClient(":memory:")
    distances = {"cosine": models.Distance.COSINE, "dot": models.Distance.DOT}
    dense = models.VectorParams(size=DIM, distance=distances[distance])
    with QdrantEdgeVectorStore.open(
        tmp_path / "edge", dim=DIM, distance=distance, enable_hybrid=True
    ) as edge:
        for store in (edge, server_store(client, dense_config=dense)):
            store.add(passages())
            collection = collection_of(store)
            vector = asked("pump", Mode.DEFAULT).query_embedding or []
            every = asked("pump", Mode.DEFAULT, similarity_top_k=N)
            near = {hit.node_id: hit.score for hit in collection.search(every)}
            hits = collection.search(asked("pump", Mode.SPARSE), with_vectors=True)
            assert all(hit.node is None or hit.node.embedding is None for hit in hits)
            rows = {hit.node_id: hit.vector for hit in hits}
            found = Nearness(rows, collection.is_cosine).to(
                vector, without={hits[0].node_id}
            )
            assert found.keys() == rows.keys() - {hits[0].node_id}
            assert found == pytest.approx({i: near[i] for i in found}, abs=1e-5)
    client.close()


class Hiding(QdrantVectorStore):
    """A store that shows lamps alone, by what it adds to each query."""

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> Any:
        query.filters = lamps()
        return super().query(query, **kwargs)


def test_what_a_subclass_hides_stays_hidden_in_each_mode():
    client = QdrantClient(":memory:")
    store = server_store(client, kind=Hiding)
    store.add(passages())
    collection = collection_of(store)
    for mode in (Mode.HYBRID, Mode.SPARSE, Mode.DEFAULT):
        found = collection.search(asked("pump", mode))
        assert {hit.said["kind"] for hit in found} == {"lamp"}
    with pytest.raises(UnsupportedQuery, match="A Hiding's own query"):
        collection.search(asked("pump", Mode.MMR))
    client.close()


def test_small_codes_are_rescored_in_each_mode(monkeypatch):
    client = QdrantClient(":memory:")
    store = server_store(client, kind=RescoringVectorStore, oversampling=3.0)
    store.add(passages())
    params = []

    def recording(name: str, requests: Any) -> Any:
        params.extend(request.params for request in requests)
        plain = [request.model_copy(update={"params": None}) for request in requests]
        return QdrantClient.query_batch_points(client, name, plain)

    monkeypatch.setattr(client, "query_batch_points", recording)
    for mode, how in ((Mode.MMR, {}), (Mode.SPARSE, {"with_vectors": True})):
        params.clear()
        found = collection_of(store).search(asked("pump", mode), **how)
        assert len(found) == (7 if mode == Mode.MMR else 6)
        assert {each.quantization.oversampling for each in params} == {3.0}
    client.close()
