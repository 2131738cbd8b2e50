"""Any LlamaIndex retriever as a channel: real BM25, other retrievers, no filters."""

import time

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_mmrag import (
    RRF,
    Channel,
    MultiModalFusionRetriever,
    MultiModalQuery,
    RetrieverChannel,
    provenance_of,
)
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.retrieval.encodings import Encodings
from llama_index_mmrag.retrieval.query import parts_of
from llama_index_mmrag.retrieval.search import Search

from ..support.colours import text_node, uid
from ..support.patience import within


class Scripted(BaseRetriever):
    """Returns what it was given, whatever it is asked, and keeps the question."""

    def __init__(self, results: list[NodeWithScore], delay_s: float = 0.0) -> None:
        self.results = results
        self.delay_s = delay_s
        self.asked: list[QueryBundle] = []
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle)
        time.sleep(self.delay_s)
        return self.results


def scored(**scores: float | None) -> list[NodeWithScore]:
    return [NodeWithScore(node=text_node(t), score=s) for t, s in scores.items()]


def test_bm25_beside_a_vector_channel_finds_the_exact_word(open_store, encoder):
    bm25 = pytest.importorskip(
        "llama_index.retrievers.bm25", reason="needs llama-index-retrievers-bm25"
    )
    nodes = [text_node(t) for t in ("red part 7741", "red part 9902", "blue part 15")]
    words = bm25.BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=3)
    store = open_store("edge", nodes)
    vectors = Channel("text", vector_store=store, embed_model=encoder)
    # To the encoder both red parts are the same; only the words tell them apart.
    terms = RetrieverChannel("bm25", retriever=words)
    fusion = RRF(weights={"bm25": 2.0})
    retriever = MultiModalFusionRetriever([vectors, terms], fusion=fusion)
    first = retriever.retrieve("red 9902")[0]
    assert first.node.get_content() == "red part 9902"
    routes = {c.route for c in provenance_of(first).contributions}
    assert routes == {"text→text", "text→bm25"}


async def test_sync_and_async_give_the_same(encoder):
    channel = RetrieverChannel("words", retriever=Scripted(scored(red=0.9, blue=0.4)))
    retriever = MultiModalFusionRetriever([channel])
    blocking, awaited = retriever.retrieve("x"), await retriever.aretrieve("x")
    assert [r.node.node_id for r in blocking] == [uid("text red"), uid("text blue")]
    assert [(r.node.node_id, r.score) for r in awaited] == [
        (r.node.node_id, r.score) for r in blocking
    ]


@pytest.mark.parametrize(
    "results",
    [
        scored(red=None, blue=None),
        scored(red=0.1, blue=0.9),  # a reranker's order, the first stage's scores
        scored(red=0.5, blue=None),
    ],
    ids=["no scores", "scores against the order", "some scores"],
)
def test_order_wins_where_scores_do_not_tell_it(results):
    channel = RetrieverChannel("words", retriever=Scripted(results))
    found = MultiModalFusionRetriever([channel]).retrieve("x")
    assert [r.node.get_content() for r in found] == ["red", "blue"]
    raw = [provenance_of(r).contributions[0].raw_score for r in found]
    assert raw == [-1.0, -2.0]


def test_top_k_cuts_what_the_retriever_returns():
    channel = RetrieverChannel(
        "words", retriever=Scripted(scored(red=3, blue=2, green=1)), top_k=2
    )
    (part,) = parts_of("x")
    for depth, n_found in ((1, 2), (2, 2), (3, 3), (12, 3)):
        search = Search("x", part, channel, Encodings(), depth)
        assert len(channel.answer(search).found) == n_found
    retriever = MultiModalFusionRetriever([channel], top_k=2)
    assert len(retriever.with_top_k(12).retrieve("x")) == 3


def test_equal_scores_keep_the_retrievers_order():
    channel = RetrieverChannel(
        "words", retriever=Scripted(scored(red=0.9, green=0.5, blue=0.5, yellow=0.5))
    )
    found = MultiModalFusionRetriever([channel]).retrieve("x")
    texts = [r.node.get_content() for r in found]
    assert texts == ["red", "green", "blue", "yellow"]
    ids = [r.node.node_id for r in found]
    assert ids[1:] != sorted(ids[1:]), "else this says nothing"
    assert [provenance_of(r).contributions[0].rank for r in found] == [1, 2, 3, 4]


def test_late_retriever_costs_its_deadline_not_the_answer(open_store, encoder):
    late = RetrieverChannel(
        "words", retriever=Scripted(scored(blue=1.0), delay_s=2.0), timeout_s=0.1
    )
    store = open_store("edge", [text_node("red")])
    healthy = Channel("text", vector_store=store, embed_model=encoder)
    with within(1.0):
        (found,) = MultiModalFusionRetriever([healthy, late]).retrieve("red")
    assert found.node.get_content() == "red"
    assert [d.kind for d in provenance_of(found).degraded] == ["deadline"]


def test_filters_that_a_retriever_cannot_apply_are_refused():
    channel = RetrieverChannel("words", retriever=Scripted([]))
    filters = MetadataFilters(filters=[MetadataFilter(key="tenant", value="a")])
    with pytest.raises(InvalidSetting, match=r"\['words'\] cannot apply them"):
        MultiModalFusionRetriever([channel], filters=filters)


def test_retriever_is_asked_with_the_words_and_the_transformed_strings():
    scripted = Scripted(scored(red=1.0))
    retriever = MultiModalFusionRetriever(
        [RetrieverChannel("words", retriever=scripted)]
    )
    retriever.retrieve(QueryBundle("short", custom_embedding_strs=["long form"]))
    (asked,) = scripted.asked
    assert (asked.query_str, asked.embedding_strs) == ("short", ["long form"])


def test_pictures_reach_a_retriever_by_path_only(paint):
    scripted = Scripted(scored(red=1.0))
    channel = RetrieverChannel(
        "seen", retriever=scripted, modality="image", accepts=frozenset({"image"})
    )
    retriever = MultiModalFusionRetriever([channel])
    path = paint("red")
    retriever.retrieve(QueryBundle("", image_path=str(path)))
    assert scripted.asked[0].image_path == str(path)
    with pytest.raises(Exception, match="takes only paths"):
        retriever.retrieve(MultiModalQuery(images=[path.read_bytes()]))


@pytest.mark.parametrize(
    "setting",
    [{"name": ""}, {"top_k": 0}, {"timeout_s": 0.0}, {"accepts": {"words"}}],
)
def test_setting_out_of_range_is_refused(setting):
    with pytest.raises(InvalidSetting):
        RetrieverChannel(**{"name": "x", "retriever": Scripted([]), **setting})
