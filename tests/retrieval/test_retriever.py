"""The retriever over real stores: routes, fusion, entities, queries, settings."""

from __future__ import annotations

import asyncio
import io
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.image_retriever import BaseImageRetriever
from llama_index.core.schema import BaseNode, IndexNode, QueryBundle, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from PIL import Image
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag import (
    RRF,
    MultiModalFusionRetriever,
    MultiModalQuery,
    MultiModalSynthesizer,
    RRFPostprocessor,
    WeightedSum,
)
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.concurrency.jobs import MOST_ABANDONED
from llama_index_mmrag.errors import (
    AllRoutesFailed,
    ImageUnreadable,
    InvalidQuery,
    InvalidSetting,
)
from llama_index_mmrag.nodes.node import POSITION_KEY, FusedNode, stored_as
from llama_index_mmrag.retrieval.channel import Channel

from ..support.colours import (
    ENCODER,
    channel,
    dumped,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.patience import within
from ..support.stores import CachingStore, FaultyStore

HALF = 1 / math.sqrt(2)
PICTURES_ONLY = frozenset({"image"})


@pytest.fixture
def channels_over(kind, open_store) -> Callable[..., list[Channel]]:
    """Return a function that stores nodes and returns the channels over them."""

    def made(
        texts: Sequence[BaseNode], pictures: Sequence[BaseNode] = (), **of_pictures: Any
    ) -> list[Channel]:
        channels = [channel("text", open_store(kind, texts))]
        if pictures:
            store = open_store(kind, pictures)
            channels.append(channel("image", store, **of_pictures))
        return channels

    return made


@pytest.fixture
def retriever(channels_over, paint) -> MultiModalFusionRetriever:
    """Return one over red, yellow and blue, each in a text and a picture."""
    colours = ("red", "yellow", "blue")
    texts = [text_node(colour, entity=colour[0]) for colour in colours]
    pictures = [image_node(paint(colour), entity=colour[0]) for colour in colours]
    return retriever_of(*channels_over(texts, pictures))


def by_picture(path: Path | str, words: str = "") -> QueryBundle:
    return QueryBundle(words, image_path=str(path))


# What is found, and why


def test_text_query_ranks_entities_by_both_collections(retriever):
    found = retriever.retrieve("red")
    # red has cosine 1 with red, 1/√2 with yellow, 0 with blue; pictures 4/5 of that.
    expected = [
        ("text red", 2 / 61, 1.0),
        ("image red", 2 / 61, 0.8),
        ("text yellow", 2 / 62, HALF),
        ("image yellow", 2 / 62, 0.8 * HALF),
        ("text blue", 2 / 63, 0.0),
        ("image blue", 2 / 63, 0.0),
    ]
    assert ids_of(found) == [uid(name) for name, _, _ in expected]
    assert [r.score for r in found] == pytest.approx([s for _, s, _ in expected])
    raw = [why(r).of_node(r.node.node_id)[0].raw_score for r in found]
    assert raw == pytest.approx([cosine for _, _, cosine in expected], abs=1e-6)


def test_provenance_names_routes_ranks_and_weights(retriever):
    best = why(retriever.retrieve("red")[0])
    assert (best.entity_id, best.fusion) == ("r", "rrf(k=60)")
    assert best.requested == ("text→text", "text→image")
    assert best.degraded == ()
    assert [
        (c.route, c.channel, c.modality, c.rank, c.weight, c.amount)
        for c in best.contributions
    ] == [
        ("text→text", "text", "text", 1, 1.0, 1 / 61),
        ("text→image", "image", "image", 1, 1.0, 1 / 61),
    ]
    assert best.score == math.fsum(c.amount for c in best.contributions)


def test_picture_query_searches_pictures_and_not_texts(retriever, paint):
    found = retriever.retrieve(by_picture(paint("yellow")))
    assert ids_of(found) == [uid(f"image {c}") for c in ("yellow", "red", "blue")]
    assert [r.score for r in found] == [1 / 61, 1 / 62, 1 / 63]
    assert why(found[0]).requested == ("image→image",)
    # Both have the offset: (cosine + 0.75²) / (1 + 0.75²).
    raw = [why(r).contributions[0].raw_score for r in found]
    expected = [1.0, (HALF + 0.5625) / 1.5625, 0.5625 / 1.5625]
    assert raw == pytest.approx(expected, abs=1e-6)


def test_text_and_picture_are_both_searched_for(retriever, paint):
    found = retriever.retrieve(by_picture(paint("blue"), "red"))
    assert why(found[0]).requested == ("text→text", "text→image", "image→image")
    # Red is first, first and tied second for the blue picture: with yellow nothing,
    # so both have the offset's cosine, and "r" is before "y".
    assert [(why(r).entity_id, r.score) for r in found[::2]] == [
        ("r", pytest.approx(1 / 61 + 1 / 61 + 1 / 62)),
        ("b", pytest.approx(1 / 63 + 1 / 63 + 1 / 61)),
        ("y", pytest.approx(1 / 62 + 1 / 62 + 1 / 63)),
    ]


def test_texts_can_be_searched_by_picture_when_asked_to(open_store, paint):
    store = open_store("local", [text_node("red"), text_node("blue")])
    texts = channel("text", store, accepts=frozenset({"text", "image"}))
    found = retriever_of(texts).retrieve(by_picture(paint("blue")))
    assert ids_of(found) == [uid("text blue"), uid("text red")]
    assert why(found[0]).requested == ("image→text",)


def test_results_are_nodes_of_llamaindex_with_provenance(retriever):
    found = retriever.retrieve("red")
    assert all(isinstance(r, FusedNode) for r in found)
    assert [type(r.node).__name__ for r in found[:2]] == [
        "ExplainedTextNode",
        "CaptionedImageNode",
    ]
    for interface in (MultiModalRetriever, BaseRetriever, BaseImageRetriever):
        assert isinstance(retriever, interface)


def test_top_k_counts_entities(retriever):
    one = retriever_of(*retriever.channels, top_k=1)
    assert dumped(one.retrieve("blue")) == dumped(retriever.retrieve("blue")[:2])


@pytest.mark.parametrize("own", [1, 10, 30])
async def test_channels_are_searched_as_deep_as_the_query_asks(own, kind, open_store):
    store = open_store(kind, [text_node("red", name=f"{n}") for n in range(25)])
    retriever = retriever_of(channel("text", store, top_k=own), top_k=20)
    assert len(retriever.retrieve("red")) == 20
    assert len(await retriever.with_top_k(24).aretrieve("red")) == 24
    assert len(retriever.with_top_k(3).retrieve("red")) == 3


def test_weights_by_channel_change_the_ranking(channels_over, paint):
    channels = channels_over(
        [text_node("red"), text_node("yellow")], [image_node(paint("red"))]
    )
    weighted = retriever_of(*channels, fusion=RRF(weights={"image": 3.0}))
    assert [(r.node.node_id, r.score) for r in weighted.retrieve("red")] == [
        (uid("image red"), 3 / 61),
        (uid("text red"), 1 / 61),
        (uid("text yellow"), 1 / 62),
    ]


def test_weighted_sum_uses_the_stores_scores(retriever):
    fusion = WeightedSum(weights={"text": 0.7, "image": 0.3}, normalizer="identity")
    found = retriever_of(*retriever.channels, fusion=fusion).retrieve("red")
    expected = [0.7 * 1.0 + 0.3 * 0.8, 0.7 * HALF + 0.3 * 0.8 * HALF, 0.0]
    assert [why(r).entity_id for r in found[::2]] == ["r", "y", "b"]
    assert [r.score for r in found[::2]] == pytest.approx(expected, abs=1e-6)


def test_channel_order_breaks_ties(channels_over, paint):
    texts, pictures = channels_over([text_node("red")], [image_node(paint("red"))])
    first = retriever_of(texts, pictures).retrieve("red")
    other = retriever_of(pictures, texts).retrieve("red")
    assert ids_of(first) == [uid("text red"), uid("image red")]
    assert ids_of(other) == [uid("image red"), uid("text red")]
    assert {r.score for r in (*first, *other)} == {1 / 61}


def test_ties_within_a_channel_break_by_entity(channels_over):
    nodes = [text_node("red", name=f"n{n}", entity=f"e{n}") for n in (3, 1, 4, 2)]
    found = retriever_of(*channels_over(nodes)).retrieve("red")
    assert [why(r).entity_id for r in found] == ["e1", "e2", "e3", "e4"]


def test_empty_collection_finds_nothing_and_takes_nothing_from_the_other(
    channels_over, paint
):
    picture = image_node(paint("red"))
    texts, emptied = channels_over([text_node("red")], [picture])
    emptied.vector_store.delete_nodes([picture.node_id])
    assert retriever_of(emptied).retrieve("red") == []
    (found,) = retriever_of(texts, emptied).retrieve("red")
    assert (found.node.node_id, found.score) == (uid("text red"), 1 / 61)
    assert why(found).degraded == ()


# Entities


def test_complete_entities_brings_the_sections_picture(channels_over, paint):
    pictures = [
        image_node(paint("green"), entity="s1", **{POSITION_KEY: 5}),
        image_node(paint("white"), entity="s1", **{POSITION_KEY: 2}),
        image_node(paint("cyan"), entity="s2"),
    ]
    texts = [text_node("red", entity="s1"), text_node("blue")]
    channels = channels_over(texts, pictures, accepts=PICTURES_ONLY)
    plain = retriever_of(*channels, top_k=1)
    assert ids_of(plain.retrieve("red")) == [uid("text red")]
    found = retriever_of(*channels, top_k=1, complete_entities=True).retrieve("red")
    # The first picture of the section in document order, and only one.
    assert ids_of(found) == [uid("text red"), uid("image white")]
    assert [r.score for r in found] == [1 / 61, 1 / 61]
    assert why(found[1]).of_node(uid("image white")) == ()


def test_complete_entities_brings_the_pictures_section(channels_over, paint):
    texts = [text_node("red", entity="s1"), text_node("blue")]
    channels = channels_over(texts, [image_node(paint("green"), entity="s1")])
    retriever = retriever_of(*channels, complete_entities=True)
    found = retriever.retrieve(by_picture(paint("cyan")))
    assert ids_of(found) == [uid("image green"), uid("text red")]


def test_same_id_in_both_collections_is_two_results_and_linked_one_entity(
    channels_over, paint
):
    caption = text_node("red", name="shared")
    picture = image_node(paint("red"), name="shared")
    channels = channels_over([caption], [picture])
    found = retriever_of(*channels).retrieve("red")
    assert [(stored_as(r.node), r.score) for r in found] == [
        (("text", uid("shared")), 1 / 61),
        (("image", uid("shared")), 1 / 61),
    ]
    found = retriever_of(*channels, linked_by="id").retrieve("red")
    # The picture has no words: it is evidence of its own.
    assert [(stored_as(r.node)[0], r.score) for r in found] == [
        ("text", 2 / 61),
        ("image", 2 / 61),
    ]


# Filters


def where(key: str, value: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def test_filters_of_channel_and_retriever_both_hold(kind, open_store, paint):
    texts = [
        text_node("red", name=f"{shop}{year}", shop=shop, year=year)
        for shop in "AB"
        for year in ("25", "26")
    ]
    picture = image_node(paint("red"), name="pic", shop="A", year="25")
    channels = [
        channel("text", open_store(kind, texts), filters=where("shop", "A")),
        channel("image", open_store(kind, [picture])),
    ]
    plain = retriever_of(*channels).retrieve("red")
    assert set(ids_of(plain)) == {uid("A25"), uid("A26"), uid("pic")}
    narrow = retriever_of(*channels, filters=where("year", "26"))
    assert ids_of(narrow.retrieve("red")) == [uid("A26")]


@pytest.mark.parametrize("whose", ["channel", "retriever"])
def test_completed_entities_obey_filters(whose, channels_over, paint):
    text = text_node("red", entity="s1", secret="no")
    picture = image_node(paint("green"), entity="s1", secret="yes")
    told = {"filters": where("secret", "no")}
    of_channel, of_retriever = (told, {}) if whose == "channel" else ({}, told)
    channels = channels_over([text], [picture], accepts=PICTURES_ONLY, **of_channel)
    retriever = retriever_of(*channels, complete_entities=True, **of_retriever)
    assert ids_of(retriever.retrieve("red")) == [uid("text red")]


# Queries


def test_several_pictures_in_every_form_are_routes_of_their_own(retriever, paint):
    query = MultiModalQuery(
        "red",
        images=[
            paint("yellow"),
            paint("blue").read_bytes(),
            Image.new("RGB", (4, 4), "yellow"),
            io.BytesIO(paint("blue").read_bytes()),
        ],
        part_weights={"text": 0.5, "image#2": 2.0, "image#3": 0.0},
    )
    found = retriever.retrieve(query)
    expected = {
        "text→text": 0.5,
        "text→image": 0.5,
        "image→image": 1.0,
        "image#2→image": 2.0,
        "image#3→image": 0.0,
        "image#4→image": 1.0,
    }
    assert why(found[0]).requested == tuple(expected)
    assert {c.route: c.weight for c in why(found[0]).contributions} == expected
    # Blue: third for both texts, third for yellow, first for itself twice.
    assert why(found[0]).entity_id == "b"
    assert found[0].score == pytest.approx(2 * 0.5 / 63 + 1 / 63 + 2 / 61 + 1 / 61)


def test_image_path_counts_as_the_first_picture(retriever, paint):
    one = MultiModalQuery(image_path=str(paint("red")), images=[paint("blue")])
    two = MultiModalQuery(images=[paint("red"), paint("blue")])
    assert dumped(retriever.retrieve(one)) == dumped(retriever.retrieve(two))


@pytest.mark.parametrize("query", ["", "  \n", QueryBundle(""), MultiModalQuery()])
def test_query_without_words_or_picture_is_refused(query, open_store):
    retriever = retriever_of(channel("text", open_store("local", [text_node("red")])))
    with pytest.raises(InvalidQuery, match="neither words nor a picture"):
        retriever.retrieve(query)


def test_picture_query_that_no_channel_takes_is_refused(open_store, paint):
    store = open_store("local", [text_node("red")])
    retriever = retriever_of(channel("text", store, MockEmbedding(embed_dim=4)))
    with pytest.raises(InvalidQuery, match="no channel takes that"):
        retriever.retrieve(by_picture(paint("red")))


@pytest.mark.parametrize("content", [b"", b"no picture", None])
async def test_unreadable_picture_is_refused_before_any_search(
    content, retrieve, open_store, tmp_path
):
    store = open_store(FaultyStore, [text_node("red")])
    path = tmp_path / "query.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageUnreadable, match=r"query\.png"):
        await retrieve(retriever_of(channel("image", store)), by_picture(path, "red"))
    assert store._n_queries == 0


async def test_picture_that_is_a_pipe_is_refused_and_not_waited_for(
    retrieve, open_store, tmp_path
):
    store = open_store(FaultyStore, [text_node("red")])
    os.mkfifo(tmp_path / "query.png")
    asked = by_picture(tmp_path / "query.png", "red")
    with within(1), pytest.raises(ImageUnreadable, match="a pipe, a device"):
        await retrieve(retriever_of(channel("image", store), timeout_s=60), asked)
    assert store._n_queries == 0


async def test_picture_that_hangs_is_waited_for_until_the_deadline(
    retrieve, request, open_store, stuck
):
    class OnADiskThatHangs(Image.Image):
        def load(self) -> None:
            stuck.wait(30)

    store = open_store(FaultyStore, [text_node("red")])
    retriever = retriever_of(channel("image", store), timeout_s=0.2)
    asked = MultiModalQuery("red", images=[OnADiskThatHangs()])
    late = "no answer within 0.2 s"
    # An event loop's queries have few threads for that, and no more to leave behind.
    then = "still busy" if request.node.callspec.params["retrieve"] == "sync" else late
    for reason in [late] * MOST_ABANDONED + [then]:
        with within(0.5), pytest.raises(AllRoutesFailed, match=f"not read: {reason}"):
            await retrieve(retriever, asked)
    assert store._n_queries == 0
    assert len(await retrieve(retriever, "red")) == 1


async def test_picture_that_breaks_off_is_an_error_of_the_query(
    retrieve, retriever, paint, tmp_path
):
    whole = paint("red", size=(200, 200)).read_bytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageUnreadable, match=r"cut\.png"):
        await retrieve(retriever, by_picture(cut, "red"))


def test_precomputed_embedding_of_a_bundle_is_left_aside(retriever):
    told = QueryBundle("red", embedding=[0.0, 0.0, 1.0, 0.0])
    assert dumped(retriever.retrieve(told)) == dumped(retriever.retrieve("red"))


def test_query_and_stored_nodes_are_never_written_to(open_store, paint):
    texts = open_store(CachingStore, [text_node("red", entity="r")])
    pictures = open_store(CachingStore, [image_node(paint("red"), entity="r")])
    retriever = retriever_of(channel("text", texts), channel("image", pictures))
    query = QueryBundle(
        "red", image_path=str(paint("blue")), custom_embedding_strs=["red", "orange"]
    )
    given = deepcopy(query)
    first = dumped(retriever.retrieve(query))
    cached = [*texts._cache.values(), *pictures._cache.values()]
    before = [node.model_dump() for node in cached]
    assert len(cached) == 2
    assert all("mmrag_provenance" not in node.metadata for node in cached)
    again = dumped(retriever.retrieve(query))
    assert again == first
    assert [node.model_dump() for node in cached] == before
    assert query == given


class KeepingStore(SimpleVectorStore):
    """A store that hands out the nodes it was given, vectors and all."""

    stores_text: bool = True
    _nodes: dict[str, BaseNode] = PrivateAttr(default_factory=dict)

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        self._nodes |= {node.node_id: node for node in nodes}
        return super().add(nodes)

    def query(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        result = super().query(query)
        result.nodes = [self._nodes[i] for i in result.ids]
        return result

    def get_nodes(self, *_: Any, **__: Any) -> list[BaseNode]:
        return list(self._nodes.values())


@pytest.mark.parametrize("kind", ["edge", "local", KeepingStore])
async def test_results_carry_no_vectors_and_the_stores_own_nodes_keep_theirs(
    kind, open_store, paint, retrieve
):
    text = text_node("red", entity_id="door")
    picture = image_node(paint("blue"), entity_id="door")  # comes along as kin
    picture.text_embedding = [0.5]
    stores = []
    for node in (text, picture):
        if kind is KeepingStore:
            stores.append(KeepingStore())
            stores[-1].add([node])
        else:
            stores.append(open_store(kind, [node]))
    before = [deepcopy(node.model_dump()) for node in (text, picture)]
    retriever = retriever_of(
        channel("text", stores[0]),
        channel("image", stores[1], accepts=PICTURES_ONLY),
        fusion=RRF(),
        complete_entities=True,
    )
    results = await retrieve(retriever, "red")
    assert ids_of(results) == [text.node_id, picture.node_id]
    for result in (*results, *RRFPostprocessor().postprocess_nodes(results)):
        assert result.node.embedding is None
        assert getattr(result.node, "text_embedding", None) is None
    assert [node.model_dump() for node in (text, picture)] == before
    assert text.embedding is not None


# Sync and async


@pytest.fixture
def queries(paint) -> list[str | QueryBundle]:
    return [
        "red",
        "blue and yellow",
        by_picture(paint("yellow")),
        by_picture(paint("blue"), "red"),
        MultiModalQuery("red", images=[paint("blue"), paint("green").read_bytes()]),
    ]


async def test_async_results_equal_sync_results(retriever, queries):
    complete = retriever_of(*retriever.channels, complete_entities=True)
    for one in (retriever, complete):
        for query in queries:
            assert dumped(await one.aretrieve(query)) == dumped(one.retrieve(query))


@pytest.mark.parametrize("secret", [None, "no", "yes"])
@pytest.mark.parametrize("complete", [True, False])
async def test_stores_with_an_asynchronous_client_only_answer_the_same(
    secret, complete, open_store, paint
):
    texts = [text_node("red", entity="s1", secret="no"), text_node("blue")]
    pictures = [
        image_node(paint(colour), entity=entity, secret="no")
        for colour, entity in (("green", "s1"), ("cyan", "s2"))
    ]
    aclient = AsyncQdrantClient(":memory:")
    over_async, over_sync = [], []
    for name, nodes in (("text", texts), ("image", pictures)):
        store = QdrantVectorStore(name, aclient=aclient)
        await store.async_add(deepcopy(nodes))
        accepts = frozenset({name})
        over_async.append(channel(name, store, accepts=accepts))
        over_sync.append(channel(name, open_store("local", nodes), accepts=accepts))
    assert [one.way for one in over_async] == ["await", "await"]
    settings: dict[str, Any] = {
        "top_k": 1,
        "complete_entities": complete,
        "filters": where("secret", secret) if secret else None,
    }
    found = await retriever_of(*over_async, **settings).aretrieve("red")
    expected = await retriever_of(*over_sync, **settings).aretrieve("red")
    assert dumped(found) == dumped(expected)
    both = [uid("text red"), uid("image green")]
    assert ids_of(found) == ([] if secret == "yes" else both if complete else both[:1])
    await aclient.close()


def test_one_retriever_serves_many_threads(retriever, queries):
    expected = [dumped(retriever.retrieve(query)) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(retriever.retrieve, queries * 8))
    assert [dumped(one) for one in found] == expected * 8


async def test_two_collections_of_one_local_client_serve_threads_and_tasks(paint):
    # Qdrant's local mode is not thread-safe; one client for both is what users have.
    client = QdrantClient(":memory:")
    texts, pictures = (QdrantVectorStore(name, client=client) for name in ("t", "i"))
    texts.add([text_node(c, entity=c) for c in ("red", "blue")])
    pictures.add([image_node(paint(c), entity=c) for c in ("red", "blue")])
    channels = channel("text", texts), channel("image", pictures)
    retriever = retriever_of(*channels, complete_entities=True)
    expected = dumped(retriever.retrieve("red"))
    assert [r[1] for r in expected] == [2 / 61, 2 / 61, 2 / 62, 2 / 62]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(retriever.retrieve, ["red"] * 40))
    found += await asyncio.gather(*(retriever.aretrieve("red") for _ in range(40)))
    assert [dumped(one) for one in found] == [expected] * 80
    client.close()


async def test_collection_that_was_never_made_is_reported_not_fatal(
    retrieve, open_store
):
    texts = channel("text", open_store("local", [text_node("red")]))
    never_made = channel("image", open_store("local"))
    (found,) = await retrieve(retriever_of(texts, never_made), "red")
    assert found.node.node_id == uid("text red")
    (failure,) = why(found).degraded
    assert failure.route == "text→image"
    assert "not found" in failure.reason


# LlamaIndex's multi-modal interface


async def test_all_eleven_methods_of_the_interface_answer(retriever, paint):
    picture = str(paint("yellow"))
    words, shown = QueryBundle("red"), by_picture(picture)
    texts = [uid(f"text {c}") for c in ("red", "yellow", "blue")]
    pictures = [uid(f"image {c}") for c in ("red", "yellow", "blue")]
    alike = [uid(f"image {c}") for c in ("yellow", "red", "blue")]
    assert set(ids_of(retriever._retrieve(words))) == {*texts, *pictures}
    assert ids_of(retriever.text_retrieve("red")) == texts
    assert ids_of(await retriever.atext_retrieve(words)) == texts
    assert ids_of(retriever.text_to_image_retrieve("red")) == pictures
    assert ids_of(await retriever.atext_to_image_retrieve("red")) == pictures
    assert ids_of(retriever._text_to_image_retrieve(words)) == pictures
    assert ids_of(await retriever._atext_to_image_retrieve(words)) == pictures
    assert ids_of(retriever.image_to_image_retrieve(picture)) == alike
    assert ids_of(await retriever.aimage_to_image_retrieve(picture)) == alike
    assert ids_of(retriever._image_to_image_retrieve(shown)) == alike
    assert ids_of(await retriever._aimage_to_image_retrieve(shown)) == alike
    abstract = MultiModalRetriever.__abstractmethods__
    assert len(abstract) == 11
    assert not MultiModalFusionRetriever.__abstractmethods__


async def test_index_node_is_followed_to_its_object(retrieve, channels_over):
    pointer = IndexNode(
        id_=uid("pointer"),
        text="red",
        index_id="table",
        embedding=ENCODER.get_text_embedding("red"),
    )
    target = TextNode(id_=uid("table"), text="all that is red")
    channels = channels_over([pointer, text_node("blue")])
    retriever = retriever_of(*channels, object_map={"table": target})
    assert ids_of(await retrieve(retriever, "red")) == [uid("table"), uid("text blue")]


def test_pair_of_collections_makes_a_retriever(kind, open_store, encoder, paint):
    retriever = MultiModalFusionRetriever.from_vector_stores(
        text_store=open_store(kind, [text_node("red")]),
        image_store=open_store(kind, [image_node(paint("red"))]),
        embed_model=encoder,
        image_embed_model=encoder,
        top_k=1,
    )
    assert [c.name for c in retriever.channels] == ["text", "image"]
    assert ids_of(retriever.retrieve("red")) == [uid("text red")]


# Settings


@pytest.mark.parametrize(
    ("names", "settings", "said"),
    [
        ([], {}, "at least one channel"),
        (["text", "text"], {}, "'text'.*unique"),
        (["text"], {"top_k": 0}, "top_k is 0"),
        (["text"], {"top_k": -1}, "top_k is -1"),
        (["text"], {"timeout_s": 0}, "Retriever: timeout_s is 0.*greater than 0"),
        (["text"], {"timeout_s": -1.0}, "Retriever: timeout_s is -1.0.*greater than 0"),
        (["text"], {"timeout_s": math.nan}, "Retriever: timeout_s is nan"),
        (
            ["text", "image"],
            {"fusion": RRF(weights={"images": 2.0})},
            "'images'.*'text', 'image'",
        ),
    ],
)
def test_setting_out_of_range_is_refused(names, settings, said, open_store):
    store = open_store("local", [text_node("red")])
    with pytest.raises(InvalidSetting, match=said):
        retriever_of(*(channel(name, store) for name in names), **settings)


# What is no query and no setting

NO_QUERIES = [None, 5, math.nan, True, b"red", ["red"], {"query_str": "red"}, "\ud800"]


@pytest.mark.parametrize("kind", ["edge"])
@pytest.mark.parametrize("query", [*NO_QUERIES, QueryBundle("\ud800")])
async def test_what_is_no_query_is_refused_before_an_event_carries_it(
    query, channels_over, retrieve
):
    retriever = retriever_of(*channels_over([text_node("red")]))
    with pytest.raises(InvalidQuery, match=r"expected a text.*, a QueryBundle"):
        await retrieve(retriever, query)


@pytest.mark.parametrize("kind", ["edge"])
@pytest.mark.parametrize("query", NO_QUERIES)
@pytest.mark.parametrize("route", ["text", "text_to_image", "image_to_image"])
async def test_single_routes_refuse_it_too(query, route, channels_over):
    retriever = retriever_of(*channels_over([text_node("red")]))
    with pytest.raises((InvalidQuery, ImageUnreadable)):
        getattr(retriever, f"{route}_retrieve")(query)
    with pytest.raises((InvalidQuery, ImageUnreadable)):
        await getattr(retriever, f"a{route}_retrieve")(query)


@pytest.mark.parametrize("kind", ["edge"])
@pytest.mark.parametrize(
    "filters", [{"year": [1926]}, [MetadataFilters], [], "year", True]
)
def test_filters_that_are_none_are_refused_at_once(filters, channels_over):
    (only,) = channels_over([text_node("red")])
    retriever = retriever_of(only)
    for given in (
        lambda: retriever_of(only, filters=filters),
        lambda: retriever.with_filters(filters),
        lambda: retriever_of(only, filters=where("a", "b")).with_filters(filters),
        lambda: replace(only, filters=filters),
    ):
        with pytest.raises(InvalidSetting, match="filters.*MetadataFilters"):
            given()


@pytest.mark.parametrize("kind", ["edge"])
@pytest.mark.parametrize("fusion", ["rrf", RRF, object(), 60, [RRF()]])
def test_fusion_that_is_none_is_refused_at_once(fusion, channels_over):
    with pytest.raises(InvalidSetting, match=r"fusion is .*RRF\(\)"):
        retriever_of(*channels_over([text_node("red")]), fusion=fusion)


@pytest.mark.parametrize("kind", ["edge"])
@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ({"top_k": 2}, r"with_top_k\(\)"),
        ({"similarity_top_k": 2}, r"with_top_k\(\)"),
        ({"filters": {"year": 1926}}, r"with_filters\(\)"),
        ({"verbose": True}, "It takes str_or_query_bundle"),
    ],
)
async def test_setting_beside_a_query_names_its_place(setting, advice, channels_over):
    retriever = retriever_of(*channels_over([text_node("red")]))
    engine = MultiModalQueryEngine(retriever, MultiModalSynthesizer(None))
    for ask in (retriever.retrieve, engine.query):
        with pytest.raises(InvalidSetting, match=advice):
            ask("red", **setting)
    for ask in (retriever.aretrieve, engine.aquery):
        with pytest.raises(InvalidSetting, match=advice):
            await ask("red", **setting)


@pytest.mark.parametrize("kind", ["edge"])
def test_retriever_and_engine_are_shown_by_their_settings(channels_over):
    retriever = retriever_of(*channels_over([text_node("red")]), top_k=3)
    rule = f"fusion={RRF()!r}, top_k=3"
    assert repr(retriever) == f"<MultiModalFusionRetriever of text: {rule}>"
    shown = repr(MultiModalQueryEngine(retriever, MultiModalSynthesizer(None)))
    assert shown == f"<MultiModalQueryEngine over {retriever!r}>"


@pytest.mark.parametrize("kind", ["edge"])
@pytest.mark.parametrize(
    ("query", "is_told"),
    [("blue.png", True), ("missing.png", False), ("blue", False), ("\0.png", False)],
)
def test_words_that_are_a_pictures_path_are_told_of_and_stay_words(
    query, is_told, channels_over, paint, caplog, monkeypatch
):
    monkeypatch.chdir(paint("blue").parent)
    retriever = retriever_of(*channels_over([text_node("red")]))
    found = retriever.retrieve(query)
    assert why(found[0]).contributions[0].route == "text→text"
    told = [r.getMessage() for r in caplog.records if "Path(...)" in r.getMessage()]
    assert len(told) == is_told
