"""Filters of every kind in retrievers: joined with all others; tenants apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import ImageNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient
from qdrant_client.http import models

from llama_index_mmrag import (
    MultiModalQdrantIndex,
    MultiModalRetrieverTool,
    RetrieverChannel,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidQuery, InvalidSetting
from llama_index_mmrag.fusion import RRF, CalibratedSum
from llama_index_mmrag.stores import QdrantEdgeVectorStore, Quantisation

from ..support.colours import (
    channel,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.indexes import painted
from ..support.retrievers import Scripted

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


def is_(key: str, value: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


A = models.Filter(must=[is_("shop", "A")])
NATIVE_OR_NOT = pytest.mark.parametrize(
    "of_shop_a",
    [
        {"shop": "A"},
        A,
        MetadataFilters(filters=[MetadataFilter(key="shop", value="A")]),
        [{"shop": "A"}, models.Filter(must_not=[is_("shop", "B")])],
    ],
    ids=["dict", "native", "MetadataFilters", "list"],
)


@NATIVE_OR_NOT
async def test_filters_hold_in_searches_lookups_and_beside_others(
    kind, open_store, encoder, paint, retrieve, of_shop_a
):
    texts = [
        text_node(f"red {shop} {year}", entity=f"e{year}", shop=shop, year=year)
        for shop in "AB"
        for year in (2024, 2025)
    ]
    picture = paint("blue")
    pictures = [
        image_node(
            picture,
            name=f"image {shop} {year}",
            entity=f"e{year}",
            shop=shop,
            year=year,
        )
        for shop in "AB"
        for year in (2024, 2025)
    ]
    late = models.Filter(
        must=[models.FieldCondition(key="year", range=models.Range(gt=2024))]
    )
    retriever = retriever_of(
        channel("text", open_store(kind, texts), encoder, filters=late),
        # Is searched for nothing: its nodes come along in lookups.
        channel("image", open_store(kind, pictures), encoder, accepts=frozenset()),
        complete_entities=True,
    )
    everything = await retrieve(retriever, "red")
    assert set(ids_of(everything)) >= {uid("text red B 2025")}
    for narrowed in (
        retriever.with_filters(of_shop_a),
        retriever_of(*retriever.channels, filters=of_shop_a, complete_entities=True),
        retriever_of(
            *retriever.channels, query_filter=of_shop_a, complete_entities=True
        ),
    ):
        found = await retrieve(narrowed, "red")
        assert ids_of(found) == [uid("text red A 2025"), uid("image A 2025")]
        # Conditions add up, whatever their kind.
        assert await retrieve(narrowed.with_filters({"shop": "B"}), "red") == []
        assert (
            await retrieve(narrowed.with_filters(models.Filter(must_not=A)), "red")
            == []
        )


def test_wrong_filters_are_refused_where_they_are_given(open_store, encoder):
    edge, local = (open_store(kind, [text_node("red")]) for kind in ("edge", "local"))
    half = models.Filter(must=[models.FieldCondition(key="n")])
    retriever_of(channel("text", local, encoder), filters=half)
    with pytest.raises(InvalidQuery, match="compares with nothing"):
        channel("text", edge, encoder, filters=half)
    with pytest.raises(InvalidQuery, match="compares with nothing"):
        retriever_of(channel("text", edge, encoder), filters=half)
    late = MetadataFilters(
        filters=[MetadataFilter(key="n", value="late", operator=">")]
    )
    for store in (edge, local):
        one = channel("text", store, encoder)
        for refused in (
            lambda one=one: retriever_of(one, filters=late),
            lambda one=one: retriever_of(one).with_filters(late),
            lambda store=store: channel("text", store, encoder, filters=late),
        ):
            with pytest.raises(InvalidQuery, match="'n' > 'late' cannot be built"):
                refused()
        with pytest.raises(InvalidSetting, match="Retriever: filters is 'A'; expected"):
            retriever_of(one, filters="A")
        with pytest.raises(InvalidSetting, match="Channel 'text': filters is 'A'"):
            channel("text", store, encoder, filters="A")
        with pytest.raises(InvalidSetting, match="one argument, and both were given"):
            retriever_of(one, filters=A, query_filter=A)
        with pytest.raises(InvalidSetting, match="one argument, and both were given"):
            channel("text", store, encoder, filters=A, query_filter=A)
    assert channel("text", edge, encoder, query_filter=A).filters is not None


def test_native_filters_are_refused_for_stores_that_are_not_qdrants(encoder):
    said = "SimpleVectorStore cannot apply a models.Filter.*Use MetadataFilters"
    with pytest.raises(InvalidSetting, match=said):
        channel("text", SimpleVectorStore(), encoder, filters=A)
    plain = channel("text", SimpleVectorStore(), encoder, filters={"shop": "A"})
    with pytest.raises(InvalidSetting, match=said):
        retriever_of(plain, filters=A)
    with pytest.raises(InvalidSetting, match=said):
        retriever_of(plain).with_filters([{"shop": "A"}, A])
    with pytest.raises(InvalidSetting, match="cannot apply them"):
        retriever_of(RetrieverChannel("a", retriever=Scripted([])), filters=A)


# Tenants


def shops_in(results: Any) -> set[str]:
    return {result.node.metadata["shop"] for result in results}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """An index of two shops, with texts and pictures alike."""
    folder = tmp_path_factory.mktemp("pictures")
    place = tmp_path_factory.mktemp("index") / "store"
    with MultiModalQdrantIndex.open(place, embed_model=ColourEncoder()) as index:
        for shop in "AB":
            index.insert(
                [
                    *(
                        Document(
                            text=f"A {colour} kite of shop {shop}.",
                            metadata={"shop": shop},
                        )
                        for colour in ("red", "green", "blue")
                    ),
                    *(
                        ImageNode(
                            image_path=str(
                                painted(folder, colour, name=f"{shop}-{colour}.png")
                            ),
                            metadata={"shop": shop},
                        )
                        for colour in ("red", "blue")
                    ),
                ]
            )
        yield index


@NATIVE_OR_NOT
async def test_no_node_of_another_tenant_is_shown_anywhere(shared, of_shop_a):
    retriever = shared.as_retriever(filters=of_shop_a, top_k=20)
    everything = shared.as_retriever(top_k=20).retrieve("a red kite")
    assert shops_in(everything) == {"A", "B"}

    assert shops_in(retriever.retrieve("a red kite")) == {"A"}
    assert shops_in(await retriever.aretrieve("a red kite of shop B")) == {"A"}
    engine = shared.as_query_engine(filters=of_shop_a, top_k=20)
    answer = engine.query("a red kite of shop B")
    assert shops_in(answer.source_nodes) == {"A"}
    assert "shop B" not in str(answer)
    chat = ContextChatEngine.from_defaults(
        retriever, llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults()
    )
    for said in ("a red kite", "and of shop B?"):
        assert shops_in(chat.chat(said).source_nodes) == {"A"}
    tool = MultiModalRetrieverTool(retriever, filter_keys=["shop"])
    for filters in (None, [{"key": "shop", "operator": "!=", "value": "A"}]):
        output = tool.call(query="a red kite", top_k=20, filters=filters)
        assert shops_in(output.raw_output) == ({"A"} if filters is None else set())


# Scores and search parameters of a channel


async def test_scores_below_the_threshold_are_absent(
    kind, open_store, encoder, retrieve
):
    store = open_store(
        kind, [text_node("red"), text_node("blue"), text_node("red blue")]
    )
    for least, n_found in ((None, 3), (-1, 3), (0.5, 2), (0.99, 1), (1.5, 0)):
        one = channel("text", store, encoder, score_threshold=least)
        assert len(await retrieve(retriever_of(one), "red")) == n_found


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
async def test_asynchronous_client_alone_obeys_all_of_it(encoder):
    aclient = AsyncQdrantClient(":memory:")
    store = QdrantVectorStore("c", aclient=aclient)
    nodes = [
        text_node(f"red{more}", shop=s)
        for s, more in zip("AAB", ("", " blue", " green"), strict=True)
    ]
    await store.async_add(nodes)
    how = {"filters": {"shop": "A"}, "search_params": {"exact": True}}
    for least, n_found in ((None, 2), (0.9, 1)):
        one = channel("text", store, encoder, score_threshold=least, **how)
        for fusion in (RRF(), CalibratedSum()):
            narrowed = retriever_of(one, filters=A, fusion=fusion)
            assert len(await narrowed.aretrieve("red")) == n_found
    await aclient.close()


def test_channel_can_be_made_anew_from_another(open_store, encoder):
    one = channel("text", open_store("edge"), encoder, query_filter=A)
    deeper = replace(one, top_k=3)
    assert deeper.filters == one.filters
    assert deeper.filters is not None


@pytest.mark.parametrize("wrong", ["0.5", float("nan"), True, []])
def test_threshold_that_is_no_number_is_refused(open_store, encoder, wrong):
    with pytest.raises(InvalidSetting, match="Channel 'text': score_threshold is"):
        channel("text", open_store("edge"), encoder, score_threshold=wrong)


async def test_search_params_reach_the_engine(encoder, retrieve, tmp_path):
    binary = Quantisation("binary", 1.0)
    nodes = [text_node("red"), text_node("red blue"), text_node("green")]
    with QdrantEdgeVectorStore.open(
        tmp_path / "s", dim=4, quantisation=binary
    ) as store:
        store.add(nodes)
        store.build_index()

        async def scores(**how: Any) -> list[float]:
            one = channel("text", store, encoder, search_params=how or None)
            found = await retrieve(retriever_of(one), "red")
            return [why(result).contributions[0].raw_score for result in found]

        right = [1.0, pytest.approx(0.5**0.5, abs=1e-6), pytest.approx(0, abs=1e-6)]
        assert await scores() == right
        assert await scores(exact=True) == right
        assert await scores(quantization={"rescore": False}) != right
        assert await scores(quantization={"ignore": True}) == right


def test_search_params_are_refused_where_they_mean_nothing(open_store, encoder):
    with pytest.raises(InvalidSetting, match="are Qdrant's, and the store is none"):
        channel("text", SimpleVectorStore(), encoder, search_params={"exact": True})
    with pytest.raises(InvalidSetting, match="Channel 'text': search_params is 'x'"):
        channel("text", open_store("edge"), encoder, search_params="x")


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("limit", "top_k"),
        ("similarity_top_k", "top_k"),
        ("using", r"dense_vector_name=\)"),
        ("with_payload", "Leave it out"),
        ("with_vectors", "Leave it out"),
        ("timeout", "timeout_s"),
        ("offset", "top_k"),
        ("prefetch", "fuses several channels"),
        ("collection_name", "vector_store="),
    ],
)
def test_words_of_qdrants_query_are_answered_with_ours(open_store, encoder, word, ours):
    said = rf"Channel\(\) takes no '{word}'.*{ours}"
    with pytest.raises(InvalidSetting, match=said):
        channel("text", open_store("edge"), encoder, **{word: 3})


def test_retriever_says_where_a_threshold_belongs(open_store, encoder):
    one = channel("text", open_store("edge"), encoder)
    with pytest.raises(InvalidSetting, match="SimilarityPostprocessor"):
        retriever_of(one, score_threshold=0.5)
    with pytest.raises(InvalidSetting, match=r"Channel\(search_params=\)"):
        retriever_of(one, search_params={"exact": True})
