"""The retriever over real stores: routes, fusion, entities, queries, settings."""

from __future__ import annotations

import asyncio
import io
import math
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.image_retriever import BaseImageRetriever
from llama_index.core.schema import IndexNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.qdrant import QdrantVectorStore
from PIL import Image
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag import (
    RRF,
    MultiModalFusionRetriever,
    MultiModalQuery,
    WeightedSum,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.nodes.node import POSITION_KEY, FusedNode

from ..support.colours import (
    OpenStore,
    channel,
    dumped,
    ids_of,
    image_node,
    text_node,
    uid,
    why,
)
from ..support.stores import CachingStore, FaultyStore

KINDS = ["edge", "local"]
HALF = 1 / math.sqrt(2)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return str(request.param)


@pytest.fixture
def retriever(kind, open_store, paint, encoder) -> MultiModalFusionRetriever:
    """Return one over red, yellow and blue, each in a text and a picture."""
    texts = [
        text_node("red", entity="r"),
        text_node("yellow", entity="y"),
        text_node("blue", entity="b"),
    ]
    pictures = [
        image_node(paint("red"), entity="r"),
        image_node(paint("yellow"), entity="y"),
        image_node(paint("blue"), entity="b"),
    ]
    return MultiModalFusionRetriever(
        [
            channel("text", open_store(kind, texts), encoder),
            channel("image", open_store(kind, pictures), encoder),
        ]
    )


def only(store_nodes: list, open_store: OpenStore, encoder: ColourEncoder, **settings):
    """Return a retriever over one text channel in local mode."""
    store = open_store("local", store_nodes)
    return MultiModalFusionRetriever([channel("text", store, encoder)], **settings)


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
    found = retriever.retrieve(QueryBundle("", image_path=str(paint("yellow"))))
    assert ids_of(found) == [uid(f"image {c}") for c in ("yellow", "red", "blue")]
    assert [r.score for r in found] == [1 / 61, 1 / 62, 1 / 63]
    assert why(found[0]).requested == ("image→image",)
    # Both have the offset: (cosine + 0.75²) / (1 + 0.75²).
    raw = [why(r).contributions[0].raw_score for r in found]
    expected = [1.0, (HALF + 0.5625) / 1.5625, 0.5625 / 1.5625]
    assert raw == pytest.approx(expected, abs=1e-6)


def test_text_and_picture_are_both_searched_for(retriever, paint):
    found = retriever.retrieve(QueryBundle("red", image_path=str(paint("blue"))))
    assert why(found[0]).requested == ("text→text", "text→image", "image→image")
    # Red is first, first and tied second for the blue picture: with yellow nothing,
    # so both have the offset's cosine, and "r" is before "y".
    assert [(why(r).entity_id, r.score) for r in found[::2]] == [
        ("r", pytest.approx(1 / 61 + 1 / 61 + 1 / 62)),
        ("b", pytest.approx(1 / 63 + 1 / 63 + 1 / 61)),
        ("y", pytest.approx(1 / 62 + 1 / 62 + 1 / 63)),
    ]


def test_texts_can_be_searched_by_picture_when_asked_to(open_store, encoder, paint):
    store = open_store("local", [text_node("red"), text_node("blue")])
    both = frozenset({"text", "image"})
    retriever = MultiModalFusionRetriever(
        [channel("text", store, encoder, accepts=both)]
    )
    found = retriever.retrieve(QueryBundle("", image_path=str(paint("blue"))))
    assert ids_of(found) == [uid("text blue"), uid("text red")]
    assert why(found[0]).requested == ("image→text",)


def test_results_are_nodes_of_llamaindex_with_provenance(retriever):
    found = retriever.retrieve("red")
    assert all(isinstance(r, FusedNode) for r in found)
    assert [type(r.node).__name__ for r in found[:2]] == [
        "ExplainedTextNode",
        "CaptionedImageNode",
    ]
    assert isinstance(retriever, MultiModalRetriever)
    assert isinstance(retriever, BaseRetriever)
    assert isinstance(retriever, BaseImageRetriever)


def test_top_k_counts_entities(kind, retriever):
    one = MultiModalFusionRetriever(retriever.channels, top_k=1)
    assert dumped(one.retrieve("blue")) == dumped(retriever.retrieve("blue")[:2])


@pytest.mark.parametrize("own", [1, 10, 30])
async def test_channels_are_searched_as_deep_as_the_query_asks(
    own, kind, open_store, encoder
):
    nodes = [text_node("red", name=f"{n}") for n in range(25)]
    one = channel("text", open_store(kind, nodes), encoder, top_k=own)
    retriever = MultiModalFusionRetriever([one], top_k=20)
    assert len(retriever.retrieve("red")) == 20
    assert len(await retriever.with_top_k(24).aretrieve("red")) == 24
    assert len(retriever.with_top_k(3).retrieve("red")) == 3


def test_weights_by_channel_change_the_ranking(open_store, encoder, paint):
    texts = open_store("local", [text_node("red"), text_node("yellow")])
    pictures = open_store("local", [image_node(paint("red"))])
    in_fusion = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)],
        fusion=RRF(weights={"image": 3.0}),
    )
    found = in_fusion.retrieve("red")
    assert [(r.node.node_id, r.score) for r in found] == [
        (uid("image red"), 3 / 61),
        (uid("text red"), 1 / 61),
        (uid("text yellow"), 1 / 62),
    ]


def test_weighted_sum_uses_the_stores_scores(retriever):
    fusion = WeightedSum(weights={"text": 0.7, "image": 0.3}, normalizer="identity")
    summed = MultiModalFusionRetriever(retriever.channels, fusion=fusion)
    found = summed.retrieve("red")
    expected = [0.7 * 1.0 + 0.3 * 0.8, 0.7 * HALF + 0.3 * 0.8 * HALF, 0.0]
    assert [why(r).entity_id for r in found[::2]] == ["r", "y", "b"]
    assert [r.score for r in found[::2]] == pytest.approx(expected, abs=1e-6)


def test_channel_order_breaks_ties(kind, open_store, encoder, paint):
    texts = channel("text", open_store(kind, [text_node("red")]), encoder)
    pictures = channel("image", open_store(kind, [image_node(paint("red"))]), encoder)
    first = MultiModalFusionRetriever([texts, pictures]).retrieve("red")
    other = MultiModalFusionRetriever([pictures, texts]).retrieve("red")
    assert ids_of(first) == [uid("text red"), uid("image red")]
    assert ids_of(other) == [uid("image red"), uid("text red")]
    assert {r.score for r in (*first, *other)} == {1 / 61}


def test_ties_within_a_channel_break_by_entity(kind, open_store, encoder):
    nodes = [text_node("red", name=f"n{n}", entity=f"e{n}") for n in (3, 1, 4, 2)]
    retriever = MultiModalFusionRetriever(
        [channel("text", open_store(kind, nodes), encoder)]
    )
    found = retriever.retrieve("red")
    assert [why(r).entity_id for r in found] == ["e1", "e2", "e3", "e4"]


def test_empty_collection_finds_nothing(kind, open_store, encoder):
    node = text_node("red")
    store = open_store(kind, [node])
    store.delete_nodes([node.node_id])
    retriever = MultiModalFusionRetriever([channel("text", store, encoder)])
    assert retriever.retrieve("red") == []


def test_empty_collection_takes_nothing_from_the_other(
    kind, open_store, encoder, paint
):
    picture = image_node(paint("red"))
    emptied = open_store(kind, [picture])
    emptied.delete_nodes([picture.node_id])
    texts = channel("text", open_store(kind, [text_node("red")]), encoder)
    both = MultiModalFusionRetriever([texts, channel("image", emptied, encoder)])
    found = both.retrieve("red")
    assert [(r.node.node_id, r.score) for r in found] == [(uid("text red"), 1 / 61)]
    assert why(found[0]).degraded == ()


# Entities


def test_complete_entities_brings_the_sections_picture(
    kind, open_store, encoder, paint
):
    texts = open_store(kind, [text_node("red", entity="s1"), text_node("blue")])
    pictures = open_store(
        kind,
        [
            image_node(paint("green"), entity="s1", **{POSITION_KEY: 5}),
            image_node(paint("white"), entity="s1", **{POSITION_KEY: 2}),
            image_node(paint("cyan"), entity="s2"),
        ],
    )
    channels = [
        channel("text", texts, encoder),
        channel("image", pictures, encoder, accepts=frozenset({"image"})),
    ]
    plain = MultiModalFusionRetriever(channels, top_k=1)
    complete = MultiModalFusionRetriever(channels, top_k=1, complete_entities=True)
    assert ids_of(plain.retrieve("red")) == [uid("text red")]
    found = complete.retrieve("red")
    # The first picture of the section in document order, and only one.
    assert ids_of(found) == [uid("text red"), uid("image white")]
    assert [r.score for r in found] == [1 / 61, 1 / 61]
    assert why(found[1]).of_node(uid("image white")) == ()


def test_complete_entities_brings_the_pictures_section(
    kind, open_store, encoder, paint
):
    texts = open_store(kind, [text_node("red", entity="s1"), text_node("blue")])
    pictures = open_store(kind, [image_node(paint("green"), entity="s1")])
    retriever = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)],
        complete_entities=True,
    )
    found = retriever.retrieve(QueryBundle("", image_path=str(paint("cyan"))))
    assert ids_of(found) == [uid("image green"), uid("text red")]


def test_same_id_in_both_collections_is_one_result_that_both_support(
    kind, open_store, encoder, paint
):
    # LlamaIndex's own index stores a captioned picture so.
    caption = text_node("red", name="shared")
    picture = image_node(paint("red"), name="shared")
    retriever = MultiModalFusionRetriever(
        [
            channel("text", open_store(kind, [caption]), encoder),
            channel("image", open_store(kind, [picture]), encoder),
        ]
    )
    (found,) = retriever.retrieve("red")
    assert (found.node.node_id, found.score) == (uid("shared"), 2 / 61)
    assert [c.route for c in why(found).contributions] == ["text→text", "text→image"]
    # The first channel's copy, whatever the store.
    assert found.node.get_content() == "red"
    assert found.node.metadata["modality"] == "text"


# Filters


def where(key: str, value: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def test_filters_of_channel_and_retriever_both_hold(kind, open_store, encoder, paint):
    texts = [
        text_node("red", name=f"{shop}{year}", shop=shop, year=year)
        for shop in "AB"
        for year in ("25", "26")
    ]
    pictures = [image_node(paint("red"), name="pic", shop="A", year="25")]
    text_channel = channel(
        "text", open_store(kind, texts), encoder, filters=where("shop", "A")
    )
    image_channel = channel("image", open_store(kind, pictures), encoder)
    channels = [text_channel, image_channel]
    plain = MultiModalFusionRetriever(channels).retrieve("red")
    assert set(ids_of(plain)) == {uid("A25"), uid("A26"), uid("pic")}
    narrow = MultiModalFusionRetriever(channels, filters=where("year", "26"))
    assert ids_of(narrow.retrieve("red")) == [uid("A26")]


def test_completed_entities_obey_the_channels_filters(kind, open_store, encoder, paint):
    texts = open_store(kind, [text_node("red", entity="s1")])
    pictures = open_store(kind, [image_node(paint("green"), entity="s1", secret="yes")])
    hidden = channel(
        "image",
        pictures,
        encoder,
        accepts=frozenset({"image"}),
        filters=where("secret", "no"),
    )
    retriever = MultiModalFusionRetriever(
        [channel("text", texts, encoder), hidden], complete_entities=True
    )
    assert ids_of(retriever.retrieve("red")) == [uid("text red")]


def test_completed_entities_obey_the_retrievers_filters(
    kind, open_store, encoder, paint
):
    texts = open_store(kind, [text_node("red", entity="s1", secret="no")])
    pictures = open_store(kind, [image_node(paint("green"), entity="s1", secret="yes")])
    retriever = MultiModalFusionRetriever(
        [
            channel("text", texts, encoder),
            channel("image", pictures, encoder, accepts=frozenset({"image"})),
        ],
        complete_entities=True,
        filters=where("secret", "no"),
    )
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
    assert why(found[0]).requested == (
        "text→text",
        "text→image",
        "image→image",
        "image#2→image",
        "image#3→image",
        "image#4→image",
    )
    by_route = {c.route: c for c in why(found[0]).contributions}
    weights = {route: c.weight for route, c in by_route.items()}
    assert weights == {
        "text→text": 0.5,
        "text→image": 0.5,
        "image→image": 1.0,
        "image#2→image": 2.0,
        "image#3→image": 0.0,
        "image#4→image": 1.0,
    }
    # Blue: third for both texts, third for yellow, first for itself twice.
    assert why(found[0]).entity_id == "b"
    assert found[0].score == pytest.approx(2 * 0.5 / 63 + 1 / 63 + 2 / 61 + 1 / 61)


def test_image_path_counts_as_the_first_picture(retriever, paint):
    one = MultiModalQuery(image_path=str(paint("red")), images=[paint("blue")])
    two = MultiModalQuery(images=[paint("red"), paint("blue")])
    assert dumped(retriever.retrieve(one)) == dumped(retriever.retrieve(two))


@pytest.mark.parametrize("query", ["", "  \n", QueryBundle(""), MultiModalQuery()])
def test_query_without_words_or_picture_is_refused(query, open_store, encoder):
    with pytest.raises(InvalidQuery, match="neither words nor a picture"):
        only([text_node("red")], open_store, encoder).retrieve(query)


def test_picture_query_that_no_channel_takes_is_refused(open_store, paint):
    store = open_store("local", [text_node("red")])
    retriever = MultiModalFusionRetriever(
        [channel("text", store, MockEmbedding(embed_dim=4))]
    )
    with pytest.raises(InvalidQuery, match="no channel takes that"):
        retriever.retrieve(QueryBundle("", image_path=str(paint("red"))))


@pytest.mark.parametrize("content", [b"", b"no picture", None])
async def test_unreadable_picture_is_refused_before_any_search(
    content, open_store, encoder, tmp_path
):
    store = open_store(FaultyStore, [text_node("red")])
    retriever = MultiModalFusionRetriever([channel("image", store, encoder)])
    path = tmp_path / "query.png"
    if content is not None:
        path.write_bytes(content)
    query = QueryBundle("red", image_path=str(path))
    with pytest.raises(ImageUnreadable, match=r"query\.png"):
        retriever.retrieve(query)
    with pytest.raises(ImageUnreadable, match=r"query\.png"):
        await retriever.aretrieve(query)
    assert store._n_queries == 0


async def test_picture_that_breaks_off_is_an_error_of_the_query(
    retriever, paint, tmp_path
):
    whole = paint("red", size=(200, 200)).read_bytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: len(whole) // 2])
    query = QueryBundle("red", image_path=str(cut))
    with pytest.raises(ImageUnreadable, match=r"cut\.png"):
        retriever.retrieve(query)
    with pytest.raises(ImageUnreadable, match=r"cut\.png"):
        await retriever.aretrieve(query)


def test_precomputed_embedding_of_a_bundle_is_left_aside(retriever):
    told = QueryBundle("red", embedding=[0.0, 0.0, 1.0, 0.0])
    assert dumped(retriever.retrieve(told)) == dumped(retriever.retrieve("red"))


def test_query_and_stored_nodes_are_never_written_to(open_store, encoder, paint):
    texts = open_store(CachingStore, [text_node("red", entity="r")])
    pictures = open_store(CachingStore, [image_node(paint("red"), entity="r")])
    retriever = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)]
    )
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


# Sync and async


@pytest.fixture
def queries(paint) -> list[str | QueryBundle]:
    return [
        "red",
        "blue and yellow",
        QueryBundle("", image_path=str(paint("yellow"))),
        QueryBundle("red", image_path=str(paint("blue"))),
        MultiModalQuery("red", images=[paint("blue"), paint("green").read_bytes()]),
    ]


async def test_async_results_equal_sync_results(retriever, queries):
    complete = MultiModalFusionRetriever(retriever.channels, complete_entities=True)
    for one in (retriever, complete):
        for query in queries:
            assert dumped(await one.aretrieve(query)) == dumped(one.retrieve(query))


async def test_store_with_an_asynchronous_client_only_answers_the_same(
    open_store, encoder
):
    nodes = [text_node("red"), text_node("yellow"), text_node("blue")]
    aclient = AsyncQdrantClient(":memory:")
    store = QdrantVectorStore("texts", aclient=aclient)
    await store.async_add(deepcopy(nodes))
    over_async = MultiModalFusionRetriever([channel("text", store, encoder)])
    assert over_async.channels[0].way == "await"
    over_sync = only(nodes, open_store, encoder)
    found = dumped(await over_async.aretrieve("orange"))
    assert found == dumped(await over_sync.aretrieve("orange"))
    await aclient.close()


@pytest.mark.parametrize("secret", [None, "no", "yes"])
async def test_entities_are_completed_over_an_asynchronous_client_only(
    secret, open_store, encoder, paint
):
    texts = [text_node("red", entity="s1", secret="no"), text_node("blue")]
    pictures = [
        image_node(paint("green"), entity="s1", secret="no"),
        image_node(paint("cyan"), entity="s2", secret="no"),
    ]
    aclient = AsyncQdrantClient(":memory:")
    over_async, over_sync = [], []
    for name, nodes, accepts in (
        ("text", texts, frozenset({"text"})),
        ("image", pictures, frozenset({"image"})),
    ):
        store = QdrantVectorStore(name, aclient=aclient)
        await store.async_add(deepcopy(nodes))
        over_async.append(channel(name, store, encoder, accepts=accepts))
        same = open_store("local", nodes)
        over_sync.append(channel(name, same, encoder, accepts=accepts))
    settings: dict[str, Any] = {
        "top_k": 1,
        "complete_entities": True,
        "filters": where("secret", secret) if secret else None,
    }
    found = await MultiModalFusionRetriever(over_async, **settings).aretrieve("red")
    expected = await MultiModalFusionRetriever(over_sync, **settings).aretrieve("red")
    assert dumped(found) == dumped(expected)
    with_picture = [uid("text red"), uid("image green")]
    assert ids_of(found) == ([] if secret == "yes" else with_picture)
    await aclient.close()


def test_one_retriever_serves_many_threads(retriever, queries):
    expected = [dumped(retriever.retrieve(query)) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(retriever.retrieve, queries * 8))
    assert [dumped(one) for one in found] == expected * 8


async def test_two_collections_of_one_local_client_serve_threads_and_tasks(
    encoder, paint
):
    # Qdrant's local mode is not thread-safe; one client for both is what users have.
    client = QdrantClient(":memory:")
    texts, pictures = (QdrantVectorStore(name, client=client) for name in ("t", "i"))
    texts.add([text_node(c, entity=c) for c in ("red", "blue")])
    pictures.add([image_node(paint(c), entity=c) for c in ("red", "blue")])
    retriever = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)],
        complete_entities=True,
    )
    expected = dumped(retriever.retrieve("red"))
    assert [r[1] for r in expected] == [2 / 61, 2 / 61, 2 / 62, 2 / 62]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(retriever.retrieve, ["red"] * 40))
    found += await asyncio.gather(*(retriever.aretrieve("red") for _ in range(40)))
    assert [dumped(one) for one in found] == [expected] * 80
    client.close()


async def test_collection_that_was_never_made_is_reported_not_fatal(
    open_store, encoder
):
    retriever = MultiModalFusionRetriever(
        [
            channel("text", open_store("local", [text_node("red")]), encoder),
            channel("image", open_store("local"), encoder),
        ]
    )
    for found in (retriever.retrieve("red"), await retriever.aretrieve("red")):
        assert ids_of(found) == [uid("text red")]
        (failure,) = why(found[0]).degraded
        assert failure.route == "text→image"
        assert "not found" in failure.reason


# LlamaIndex's multi-modal interface


async def test_all_eleven_methods_of_the_interface_answer(retriever, paint):
    picture = str(paint("yellow"))
    words, shown = QueryBundle("red"), QueryBundle("", image_path=picture)
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


async def test_index_node_is_followed_to_its_object(kind, open_store, encoder):
    pointer = IndexNode(
        id_=uid("pointer"),
        text="red",
        index_id="table",
        embedding=encoder.get_text_embedding("red"),
    )
    target = TextNode(id_=uid("table"), text="all that is red")
    retriever = MultiModalFusionRetriever(
        [channel("text", open_store(kind, [pointer, text_node("blue")]), encoder)],
        object_map={"table": target},
    )
    assert ids_of(retriever.retrieve("red")) == [uid("table"), uid("text blue")]
    assert ids_of(await retriever.aretrieve("red")) == [uid("table"), uid("text blue")]


def test_pair_of_collections_makes_a_retriever(kind, open_store, encoder, paint):
    retriever = MultiModalFusionRetriever.from_vector_stores(
        text_store=open_store(kind, [text_node("red")]),
        image_store=open_store(kind, [image_node(paint("red"))]),
        text_embed=encoder,
        image_embed=encoder,
        top_k=1,
    )
    assert [c.name for c in retriever.channels] == ["text", "image"]
    assert ids_of(retriever.retrieve("red")) == [uid("text red")]


# Settings


def test_retriever_needs_a_channel():
    with pytest.raises(InvalidSetting, match="at least one channel"):
        MultiModalFusionRetriever([])


def test_two_channels_of_one_name_are_refused(retriever):
    with pytest.raises(InvalidSetting, match="'text'.*unique"):
        MultiModalFusionRetriever([*retriever.channels, retriever.channels[0]])


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(retriever, top_k):
    with pytest.raises(InvalidSetting, match=f"top_k is {top_k}"):
        MultiModalFusionRetriever(retriever.channels, top_k=top_k)


def test_weight_of_no_channel_is_refused(retriever):
    fusion = RRF(weights={"images": 2.0})
    with pytest.raises(InvalidSetting, match=r"'images'.*'text', 'image'"):
        MultiModalFusionRetriever(retriever.channels, fusion=fusion)
