"""Any LlamaIndex retriever as a channel: real BM25, other retrievers, no filters."""

from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_mmrag import RRF, MultiModalQuery, RetrieverChannel
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.retrieval.encodings import Encodings
from llama_index_mmrag.retrieval.query import parts_of
from llama_index_mmrag.retrieval.search import Search

from ..support.colours import channel, ids_of, retriever_of, text_node, uid, why
from ..support.patience import within
from ..support.retrievers import Scripted, scored


def asking(results: list[NodeWithScore], **settings: Any) -> RetrieverChannel:
    return RetrieverChannel("words", retriever=Scripted(results), **settings)


def test_bm25_beside_a_vector_channel_finds_the_exact_word(open_store):
    bm25 = pytest.importorskip(
        "llama_index.retrievers.bm25", reason="needs llama-index-retrievers-bm25"
    )
    nodes = [text_node(t) for t in ("red part 7741", "red part 9902", "blue part 15")]
    words = bm25.BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=3)
    # To the encoder both red parts are the same; only the words tell them apart.
    retriever = retriever_of(
        channel("text", open_store("edge", nodes)),
        RetrieverChannel("bm25", retriever=words),
        fusion=RRF(weights={"bm25": 2.0}),
        linked_by="id",
    )
    first = retriever.retrieve("red 9902")[0]
    assert first.node.get_content() == "red part 9902"
    assert {c.route for c in why(first).contributions} == {"text→text", "text→bm25"}


async def test_sync_and_async_give_the_same(retrieve):
    found = await retrieve(retriever_of(asking(scored(red=0.9, blue=0.4))), "x")
    assert ids_of(found) == [uid("text red"), uid("text blue")]
    assert [r.score for r in found] == [1 / 61, 1 / 62]


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
    found = retriever_of(asking(results)).retrieve("x")
    assert [r.node.get_content() for r in found] == ["red", "blue"]
    assert [why(r).contributions[0].raw_score for r in found] == [-1.0, -2.0]


def test_top_k_cuts_what_the_retriever_returns():
    one = asking(scored(red=3, blue=2, green=1), top_k=2)
    (part,) = parts_of("x")
    for depth, n_found in ((1, 2), (2, 2), (3, 3), (12, 3)):
        search = Search("x", part, one, Encodings(), depth)
        assert len(one.answer(search).ranked.hits) == n_found
    assert len(retriever_of(one, top_k=2).with_top_k(12).retrieve("x")) == 3


def test_equal_scores_keep_the_retrievers_order():
    one = asking(scored(red=0.9, green=0.5, blue=0.5, yellow=0.5))
    found = retriever_of(one).retrieve("x")
    texts = [r.node.get_content() for r in found]
    assert texts == ["red", "green", "blue", "yellow"]
    assert ids_of(found)[1:] != sorted(ids_of(found)[1:]), "else this says nothing"
    assert [why(r).contributions[0].rank for r in found] == [1, 2, 3, 4]


def test_late_retriever_costs_its_deadline_not_the_answer(open_store):
    slow = Scripted(scored(blue=1.0), delay_s=2.0)
    late = RetrieverChannel("words", retriever=slow, timeout_s=0.1)
    healthy = channel("text", open_store("edge", [text_node("red")]))
    with within(1.0):
        (found,) = retriever_of(healthy, late).retrieve("red")
    assert found.node.get_content() == "red"
    assert [d.kind for d in why(found).degraded] == ["deadline"]


def test_filters_that_a_retriever_cannot_apply_are_refused():
    filters = MetadataFilters(filters=[MetadataFilter(key="tenant", value="a")])
    with pytest.raises(InvalidSetting, match=r"\['words'\] cannot apply them"):
        retriever_of(asking([]), filters=filters)


def test_retriever_is_asked_with_the_words_and_the_transformed_strings():
    one = asking(scored(red=1.0))
    query = QueryBundle("short", custom_embedding_strs=["long form"])
    retriever_of(one).retrieve(query)
    (asked,) = one.retriever.asked
    assert (asked.query_str, asked.embedding_strs) == ("short", ["long form"])


def test_pictures_reach_a_retriever_by_path_only(paint):
    pictures = frozenset({"image"})
    one = asking(scored(red=1.0), modality="image", accepts=pictures)
    path = paint("red")
    retriever_of(one).retrieve(QueryBundle("", image_path=str(path)))
    assert one.retriever.asked[0].image_path == str(path)
    with pytest.raises(Exception, match="takes only paths"):
        retriever_of(one).retrieve(MultiModalQuery(images=[path.read_bytes()]))


@pytest.mark.parametrize(
    "setting",
    [{"name": ""}, {"top_k": 0}, {"timeout_s": 0.0}, {"accepts": {"words"}}],
)
def test_setting_out_of_range_is_refused(setting):
    with pytest.raises(InvalidSetting):
        RetrieverChannel(**{"name": "x", "retriever": Scripted([]), **setting})
