"""Meaning and words as routes of their own, which have one vote together."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.embeddings.encoder import TextEncoder
from llama_index_mmrag.errors import AllRoutesFailed, InvalidSetting, RouteFailed
from llama_index_mmrag.fusion import RRF, CalibratedSum
from llama_index_mmrag.provenance import Provenance
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.postprocessor import RRFPostprocessor
from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever
from llama_index_mmrag.stores import QdrantEdgeVectorStore

from ..support.colours import why

DIM, N, TOP_K = 8, 60, 7
THINGS = ("pump", "valve", "red lamp", "oak table", "copper pipe", "steel pipe", "fan")
MEANING, WORDS = "text→text (meaning)", "text→text (words)"
LONG = "Which oak table of room 2 stands beside the red lamp, a fan and a copper pipe?"
QUERIES = (
    "pump",
    "red lamps in room 3",
    "part AB0017",
    "steel pipe, copper pipe",
    LONG,
)
Mode = VectorStoreQueryMode


class Given(TextEncoder):
    """An encoder whose vectors of texts are given, or which fails."""

    fails: bool = False

    def encode_texts(self, texts: Sequence[str]) -> Any:
        if self.fails:
            raise ConnectionError("no encoder today")
        return np.array([vector_of(text) for text in texts], dtype=np.float32)


def vector_of(text: str) -> list[float]:
    """Return a vector that is near those of all other texts, of a length of its own."""
    seed = int(uuid.uuid5(uuid.NAMESPACE_OID, text).hex[:8], 16)
    rng = np.random.default_rng(seed)
    return ((1 + rng.random() / 50) * (1 + rng.normal(size=DIM) / 6) / 3).tolist()


def passages() -> list[TextNode]:
    texts = [f"The {THINGS[n % 7]} of room {n % 5}, part AB{n:04}." for n in range(N)]
    return [
        TextNode(
            id_=str(uuid.uuid5(uuid.NAMESPACE_OID, text)),
            text=text,
            embedding=vector_of(text),
            metadata={},
        )
        for text in texts
    ]


class Stores:
    """A collection in a folder and one in local mode, with the same passages."""

    def __init__(self, folder: Any, distance: str) -> None:
        self.client = QdrantClient(":memory:")
        words = Bm25Encoder()
        self.edge = QdrantEdgeVectorStore.open(
            folder, dim=DIM, distance=distance, enable_hybrid=True
        )
        by = {"cosine": models.Distance.COSINE, "dot": models.Distance.DOT}
        self.local = QdrantVectorStore(
            "words",
            client=self.client,
            enable_hybrid=True,
            sparse_doc_fn=words.documents,
            sparse_query_fn=words.queries,
            sparse_config=models.SparseVectorParams(modifier=models.Modifier.IDF),
            dense_config=models.VectorParams(size=DIM, distance=by[distance]),
        )
        for store in (self.edge, self.local):
            store.add(passages())

    def close(self) -> None:
        self.edge.close()
        self.client.close()


@pytest.fixture(params=["cosine", "dot"])
def stores(request, tmp_path) -> Iterator[Stores]:
    both = Stores(tmp_path / "edge", request.param)
    yield both
    both.close()


@pytest.fixture
def local(tmp_path) -> Iterator[Stores]:
    both = Stores(tmp_path / "edge", "cosine")
    yield both
    both.close()


def retriever(
    store: Any,
    fusion: Any = None,
    encoder: Given | None = None,
    of: dict[str, Any] | None = None,
    **how: Any,
) -> MultiModalFusionRetriever:
    channel = Channel(
        "text",
        vector_store=store,
        embed_model=encoder or Given(),
        **{"mode": Mode.HYBRID, "top_k": TOP_K, **how},
    )
    fusion = CalibratedSum() if fusion is None else fusion
    return MultiModalFusionRetriever(
        [channel], fusion=fusion, top_k=TOP_K, **(of or {})
    )


def measured(store: Any, query: str, mode: Mode) -> dict[str, float]:
    """Return what one of the two scores all passages."""
    vector = vector_of(query) if mode == Mode.DEFAULT else None
    found = store.query(
        VectorStoreQuery(
            query_embedding=vector, query_str=query, mode=mode, similarity_top_k=N
        )
    )
    return dict(zip(found.ids, found.similarities, strict=True))


@pytest.mark.parametrize(
    ("weights", "n_by_words"),
    [
        ({}, 7),
        ({}, 3),
        ({"text (words)": 0.5}, 7),
        ({"text (words)": 0.0}, 7),
        ({"text (meaning)": 0.0}, 7),
        ({"text (meaning)": 1.0, "text (words)": 3.0}, 7),
    ],
)
def test_order_is_that_of_both_scores_computed_by_hand(weights, n_by_words, stores):
    n_alone = 0
    for query in QUERIES:
        near = measured(stores.edge, query, Mode.DEFAULT)
        bm25 = measured(stores.edge, query, Mode.SPARSE)
        by_hand = {
            node.node_id: np.dot(node.embedding, vector_of(query))
            for node in passages()
        }
        if stores.edge.distance == "cosine":
            lengths = {n.node_id: np.linalg.norm(n.embedding) for n in passages()}
            by_hand = {
                i: score / lengths[i] / np.linalg.norm(vector_of(query))
                for i, score in by_hand.items()
            }
        assert near == pytest.approx(by_hand, rel=1e-5)
        m, w = (weights.get(f"text ({half})", 1.0) for half in ("meaning", "words"))
        n_words = len(Bm25Encoder().documents([query])[0][0])
        w *= 0.02 if n_words < 5 else 0.1 / n_words
        first = sorted(near, key=lambda i: (-near[i], i))[:TOP_K]
        told = sorted(bm25, key=lambda i: (-bm25[i], i))[:n_by_words]
        both = {i: m * near[i] + w * bm25.get(i, 0) for i in {*first, *told}}
        expected = sorted(both, key=lambda i: (-both[i], i))[:TOP_K]
        n_alone += len({*expected} - {*first})
        for store in (stores.edge, stores.local):
            if store is stores.local and len(bm25) > n_by_words:
                continue  # it cuts equal scores by what was inserted first
            how = {"fusion": CalibratedSum(weights=weights), "sparse_top_k": n_by_words}
            found = retriever(store, **how).retrieve(query)
            places = [both[one.node.node_id] for one in found]
            assert places == pytest.approx([both[i] for i in expected], abs=1e-5)
            if len({round(both[i], 4) for i in expected}) == len(expected):
                assert [one.node.node_id for one in found] == expected
            for one in found:
                said = {c.route: c for c in why(one).contributions}
                node_id = one.node.node_id
                score = said[MEANING].raw_score
                assert score == pytest.approx(near[node_id], rel=1e-5)
                assert (WORDS in said) == (node_id in bm25)
                if WORDS in said:
                    raw = said[WORDS].raw_score
                    assert raw == pytest.approx(bm25[node_id], rel=1e-5)
    assert n_alone > 0 or weights.get("text (words)") == 0


def test_amounts_are_told_apart_by_what_each_measured_and_add_up(stores):
    for fusion in (CalibratedSum(), RRF(), RRF(weights={"text": 2.0})):
        results = retriever(stores.edge, fusion).retrieve("steel pipe AB0019")
        assert {one.node.embedding is None for one in results} == {True}
        for place, one in enumerate(results, start=1):
            said = why(one)
            assert said.requested == said.searched == (MEANING, WORDS)
            amounts = [c.amount for c in said.contributions]
            assert sum(amounts) == pytest.approx(one.score)
            assert amounts == sorted(amounts, reverse=True)
            parts = {
                c.route: c.raw_score * (0.02 if c.route == WORDS else 1)
                for c in said.contributions
            }
            for c in said.contributions:
                share = parts[c.route] / sum(parts.values())
                assert c.amount == pytest.approx(share * one.score)
                assert c.place == place
                assert c.weight == fusion.weights.get("text", 1.0)
        first = {c.route: c for c in why(results[0]).contributions}
        assert first[WORDS].rank == 1
        assert f"({WORDS}, rank 1, score" in why(results[0]).explain()


def test_texts_score_what_they_did_without_words(stores):
    # A place's score is the vectors', whatever text words have put there.
    for query in QUERIES:
        with_words, without = (
            [one.score for one in retriever(store, mode=mode).retrieve(query)]
            for store, mode in ((stores.edge, Mode.HYBRID), (stores.edge, Mode.DEFAULT))
        )
        assert with_words == pytest.approx(without, abs=1e-3)


def test_weights_say_what_each_counts_and_only_their_ratio_matters(local):
    def found(**weights: float) -> list[tuple[str, str, float, float]]:
        by_name = {f"text ({half})": weight for half, weight in weights.items()}
        results = retriever(local.edge, RRF(weights=by_name)).retrieve("copper pipe")
        return [
            (one.node.node_id, c.route, c.weight, round(c.amount, 9))
            for one in results
            for c in why(one).contributions
        ]

    assert found(words=2.0) == found(meaning=0.5)
    assert {row[1:3] for row in found(words=0.5)} == {(MEANING, 1.0), (WORDS, 0.5)}
    assert {row[3] for row in found(words=0.0) if row[1] == WORDS} <= {0.0}
    with pytest.raises(InvalidSetting, match=r"Weigh the channel itself with 0"):
        retriever(local.edge, RRF(weights={"text (words)": 0, "text (meaning)": 0}))


def test_store_without_words_has_one_route_and_no_weights_for_halves(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "plain", dim=DIM) as store:
        store.add(passages())
        results = retriever(store, mode=Mode.DEFAULT).retrieve("pump")
        assert why(results[0]).requested == ("text→text",)
        assert [c.place for c in why(results[0]).contributions] == [None]
        with pytest.raises(InvalidSetting, match=r"weighs \['text \(words\)'\]"):
            retriever(store, RRF(weights={"text (words)": 0.5}), mode=Mode.DEFAULT)


def test_stop_words_alone_have_no_words_route_and_that_is_no_degradation(stores):
    for store in (stores.edge, stores.local):
        results = retriever(store).retrieve("the of and")
        assert why(results[0]).requested == (MEANING,)
        assert why(results[0]).degraded == ()
        assert len(results) == TOP_K


@pytest.mark.parametrize("mode", [Mode.SPARSE, Mode.TEXT_SEARCH])
def test_by_words_alone_there_is_their_route_alone(mode, stores):
    for store in (stores.edge, stores.local):
        results = retriever(store, mode=mode).retrieve("steel pipe")
        assert why(results[0]).requested == (WORDS,)
        assert {c.route for one in results for c in why(one).contributions} == {WORDS}
        assert retriever(store, mode=mode).retrieve("the of") == []


def test_alpha_is_llamaindex_s_rule_with_both_routes(stores):
    for alpha in (0.0, 0.3, 1.0):
        theirs = stores.local.query(
            VectorStoreQuery(
                query_embedding=vector_of("red lamps"),
                query_str="red lamps",
                mode=Mode.HYBRID,
                similarity_top_k=TOP_K,
                sparse_top_k=N,
                hybrid_top_k=N + TOP_K,
                alpha=alpha,
            )
        )
        expected = dict(zip(theirs.ids, theirs.similarities, strict=True))
        for store in (stores.edge, stores.local):
            how: dict[str, Any] = {"alpha": alpha, "sparse_top_k": N}
            results = retriever(store, RRF(), **how).retrieve("red lamps")
            assert why(results[0]).requested == (MEANING, WORDS)
            scores = [expected[one.node.node_id] for one in results]
            assert scores == pytest.approx(theirs.similarities[:TOP_K], abs=1e-5)
            for one in results:
                amounts = [c.amount for c in why(one).contributions]
                assert sum(amounts) == pytest.approx(one.score)


def refusing(client: Any, refuses: Callable[[Any], bool], pause_s: float = 0) -> Any:
    """Return a client's search that fails, or takes long, for some requests."""
    search = type(client).query_batch_points

    def some(collection_name: str, requests: Sequence[Any], **how: Any) -> Any:
        if any(map(refuses, requests)):
            time.sleep(pause_s)
            if not pause_s:
                raise ConnectionError("the server refused")
        return search(client, collection_name, requests, **how)

    return some


def is_of(using: str) -> Callable[[Any], bool]:
    return lambda request: request.using == using


def both_ways(searches: MultiModalFusionRetriever, query: str) -> list[Any]:
    return [searches.retrieve(query), asyncio.run(searches.aretrieve(query))]


def test_words_that_cannot_be_searched_leave_what_vectors_find(local, monkeypatch):
    searches = retriever(local.local)
    dense = retriever(local.local, mode=Mode.DEFAULT).retrieve("steel pipe")
    for refuses in (
        is_of("text-sparse-new"),
        # That of what vectors alone have found.
        lambda request: request.using == "text-sparse-new" and request.filter,
    ):
        refused = refusing(local.client, refuses)
        monkeypatch.setattr(local.client, "query_batch_points", refused)
        for results in both_ways(searches, "steel pipe"):
            assert [one.node.node_id for one in results] == [
                one.node.node_id for one in dense
            ]
            (lost,) = why(results[0]).degraded
            assert (lost.channel, lost.route, lost.kind) == ("text", WORDS, "error")
            assert "refused" in lost.reason
            assert why(results[0]).searched == (MEANING,)
            assert {c.route for c in why(results[0]).contributions} == {MEANING}
        with pytest.raises(RouteFailed, match="refused"):
            retriever(local.local, of={"on_degraded": "raise"}).retrieve("steel pipe")


def test_vectors_that_cannot_be_searched_leave_what_words_find(local, monkeypatch):
    by_words = retriever(local.local, mode=Mode.SPARSE).retrieve("part AB0017")
    refused = refusing(local.client, is_of("text-dense"))
    monkeypatch.setattr(local.client, "query_batch_points", refused)
    for results in both_ways(retriever(local.local), "part AB0017"):
        assert "AB0017" in results[0].node.get_content()
        found = {one.node.node_id for one in results}
        assert found == {one.node.node_id for one in by_words}
        assert [lost.route for lost in why(results[0]).degraded] == [MEANING]
    with pytest.raises(AllRoutesFailed, match="All 1 routes"):
        retriever(local.local).retrieve("the of")


def test_encoder_that_fails_leaves_what_words_find(local):
    for store in (local.edge, local.local):
        searches = retriever(store, encoder=Given(fails=True))
        for results in both_ways(searches, "part AB0017"):
            assert "AB0017" in results[0].node.get_content()
            assert [lost.route for lost in why(results[0]).degraded] == [MEANING]


@pytest.mark.parametrize(
    ("late", "mode"), [(WORDS, Mode.SPARSE), (MEANING, Mode.DEFAULT)]
)
def test_half_that_is_late_is_not_waited_for(late, mode, local, monkeypatch):
    searches = retriever(local.edge, timeout_s=1.5)
    collection = searches._channels[0].collection
    search = collection.search

    def slow(query: Any, *keys: Any, **how: Any) -> Any:
        time.sleep(4 if query.mode == mode else 0)
        return search(query, *keys, **how)

    monkeypatch.setattr(collection, "search", slow)
    begun = time.monotonic()
    results = searches.retrieve("steel pipe AB0019")
    assert time.monotonic() - begun < 3.5
    (lost,) = why(results[0]).degraded
    assert (lost.route, lost.kind) == (late, "deadline")


def test_rest_is_asked_for_only_where_the_list_of_words_ends_before_it(
    local, monkeypatch
):
    asked: list[Mode] = []
    for n_by_words, modes in (
        (N, [Mode.DEFAULT, Mode.SPARSE]),
        (3, [Mode.DEFAULT, Mode.SPARSE, Mode.SPARSE]),
    ):
        searches = retriever(local.edge, sparse_top_k=n_by_words)
        collection = searches._channels[0].collection
        search = collection.search

        def watched(query: Any, *keys: Any, search: Any = search, **how: Any) -> Any:
            asked.append(query.mode)
            return search(query, *keys, **how)

        with monkeypatch.context() as patch:
            patch.setattr(collection, "search", watched)
            asked.clear()
            searches.retrieve("steel pipe")
        assert asked == modes


def test_threshold_is_of_what_both_make(local):
    scores = measured(local.edge, "steel pipe", Mode.DEFAULT).values()
    third = sorted(scores, reverse=True)[2]
    results = retriever(local.edge, score_threshold=third - 1e-5).retrieve("steel pipe")
    assert len(results) == 3
    assert "steel pipe" in results[0].node.get_content()


def test_fused_once_more_by_rrf_nothing_changes(stores):
    for how in ({}, {"alpha": 0.3}):
        results = retriever(stores.edge, RRF(), **how).retrieve("copper pipe AB0004")
        for again in (
            RRFPostprocessor().postprocess_nodes(results),
            RRFPostprocessor().postprocess_nodes(
                RRFPostprocessor().postprocess_nodes(results)
            ),
        ):
            assert [one.node.node_id for one in again] == [
                one.node.node_id for one in results
            ]
            for one, before in zip(again, results, strict=True):
                assert one.score == pytest.approx(before.score)
                assert why(one).requested == why(before).requested
                for c, known in zip(
                    why(one).contributions, why(before).contributions, strict=True
                ):
                    assert c._replace(amount=0) == known._replace(amount=0)
                    assert c.amount == pytest.approx(known.amount)


def test_provenance_is_kept_as_json(local):
    said = why(retriever(local.edge).retrieve("copper pipe")[0])
    assert Provenance.from_dict(said.to_dict()) == said
    assert {c["place"] for c in said.to_dict()["contributions"]} == {1}
