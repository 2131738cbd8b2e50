"""Queries of words and picture as one vector, through channels that ask for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_mmrag import (
    RRF,
    Blend,
    Channel,
    Concatenate,
    MultiModalQuery,
    QdrantEdgeVectorStore,
    RetrieverChannel,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed, ImageUnreadable, InvalidSetting
from llama_index_mmrag.retrieval.composed_query import QueryComposer
from llama_index_mmrag.retrieval.encodings import Encodings, encode
from llama_index_mmrag.retrieval.query import composed_of, parts_of

from ..support.colours import (
    Paint,
    WatchedEncoder,
    channel,
    dumped,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.retrievers import Scripted, scored

COMPOSED = frozenset({"composed"})
SEEING = ColourEncoder(modality_gap=0.75)
COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "white")


@pytest.fixture
def pictures(open_store, paint) -> Any:
    """Return a function that opens a store of one picture for each colour."""
    nodes = [image_node(paint(colour)) for colour in COLOURS]
    return lambda kind="edge": open_store(kind, nodes)


@pytest.fixture
def blending(pictures) -> Any:
    """Return a function that makes a retriever over pictures that are asked blended."""
    return lambda alpha, kind="edge", **settings: retriever_of(
        channel("image", pictures(kind), composition=Blend(alpha)), **settings
    )


def routes_of(results: list[NodeWithScore]) -> tuple[str, ...]:
    return tuple(why(results[0]).requested)


def raw_scores(results: list[NodeWithScore]) -> list[float]:
    return [why(result).contributions[0].raw_score for result in results]


def both(paint: Paint, words: str, colour: str, **weights: float) -> MultiModalQuery:
    return MultiModalQuery(words, images=[str(paint(colour))], part_weights=weights)


# What the query's vector is


def test_blended_query_finds_what_is_between_its_words_and_its_picture(
    kind, blending, paint
):
    """Words red (1,0,0,0), picture green (0,.8,0,.6): their mean and yellow's picture.

    Yellow is (.8/√2, .8/√2, 0, .6). The sum's length is √2, since the two are
    orthogonal; so the cosine is (.8/√2 + .64/√2 + .36) / √2.
    """
    results = blending(0.5, kind, fusion=RRF()).retrieve(both(paint, "red", "green"))
    assert ids_of(results)[0] == uid("image yellow")
    (found,) = why(results[0]).contributions
    expected = (0.8 / math.sqrt(2) + 0.64 / math.sqrt(2) + 0.36) / math.sqrt(2)
    assert found.raw_score == pytest.approx(expected, abs=1e-5)
    assert (found.route, found.channel, found.rank) == ("composed→image", "image", 1)
    assert routes_of(results) == ("composed→image",)


@pytest.mark.parametrize(("alpha", "accepts"), [(1.0, "text"), (0.0, "image")])
@pytest.mark.parametrize("top_k", [3, 8])
def test_blend_at_its_ends_ranks_and_scores_as_the_single_route_does(
    kind, alpha, accepts, top_k, pictures, blending, paint
):
    query = both(paint, "red and a little orange", "cyan")
    early = blending(alpha, kind, top_k=top_k).retrieve(query)
    plain = channel("image", pictures(kind), accepts=frozenset({accepts}))
    single = retriever_of(plain, top_k=top_k).retrieve(query)
    assert ids_of(early) == ids_of(single)
    assert [r.score for r in early] == [r.score for r in single]
    assert raw_scores(early) == pytest.approx(raw_scores(single), abs=1e-6)


@pytest.mark.parametrize("accepts", ["text", "image"])
def test_query_of_one_part_is_this_part_alone(kind, accepts, pictures, blending, paint):
    picture = QueryBundle("", image_path=str(paint("red")))
    query = "red" if accepts == "text" else picture
    early = blending(0.3, kind).retrieve(query)
    plain = channel("image", pictures(kind), accepts=frozenset({accepts}))
    single = retriever_of(plain).retrieve(query)
    assert ids_of(early) == ids_of(single)
    assert routes_of(early) == routes_of(single) == (f"{accepts}→image",)
    assert [r.score for r in early] == [r.score for r in single]


def test_channel_that_takes_the_parts_and_both_searches_no_part_twice(pictures, paint):
    every = frozenset({"text", "image", "composed"})
    one = channel("image", pictures(), accepts=every, composition=Blend(0.5))
    assert routes_of(retriever_of(one).retrieve("red")) == ("text→image",)
    parts = ("text→image", "image→image")
    query = both(paint, "red", "green")
    assert routes_of(retriever_of(one).retrieve(query)) == (*parts, "composed→image")
    # A channel without a composition is asked as ever.
    plain = channel("image", pictures())
    assert routes_of(retriever_of(plain).retrieve(query)) == parts


@pytest.mark.parametrize(
    ("weights", "like"),
    [
        ({"text": 3.0, "image": 1.0}, 0.75),
        ({"text": 0.0}, 0.0),
        ({"image": 0.0}, 1.0),
        ({"text": 2.0, "image": 2.0}, 0.5),
    ],
)
def test_part_weights_are_factors_of_the_shares(weights, like, blending, paint):
    one = blending(0.5).retrieve(both(paint, "red", "green", **weights))
    other = blending(like).retrieve(both(paint, "red", "green"))
    assert ids_of(one) == ids_of(other)
    assert raw_scores(one) == pytest.approx(raw_scores(other), abs=1e-6)


def test_query_whose_parts_all_weigh_nothing_adds_nothing(blending, paint):
    query = both(paint, "red", "green", text=0.0, image=0.0)
    assert {result.score for result in blending(0.5).retrieve(query)} == {0.0}


def test_several_pictures_are_their_mean_and_weigh_as_one(blending, paint):
    """Red and green pictures: their mean points to yellow's."""
    retriever = blending(0.5)
    images = [str(paint("red")), str(paint("green"))]
    results = retriever.retrieve(MultiModalQuery(images=images))
    assert ids_of(results)[0] == uid("image yellow")
    assert routes_of(results) == ("composed→image",)
    weights = {"image": 5.0, "image#2": 0.5}
    weighed = MultiModalQuery(images=images, part_weights=weights)
    assert ids_of(retriever.retrieve(weighed))[0] == uid("image red")


def test_parts_are_encoded_once_for_late_and_early_fusion(open_store, pictures, paint):
    asked: list[str] = []
    encoder = WatchedEncoder(asked.append)
    store, query = pictures(), both(paint, "red", "green")
    retriever_of(
        channel("text", open_store("edge", [text_node("red")]), encoder),
        channel("image", store, encoder),
        channel("composed", store, encoder, composition=Blend(0.5)),
    ).retrieve(query)
    assert sorted(map(str, asked)) == sorted(["red", *query.images])


# Over two encoders


class Long(BaseEmbedding):
    """The colour encoder's texts with three zeros before: of another space, longer."""

    model_name: str = "long"

    @classmethod
    def class_name(cls) -> str:
        return "Long"

    def _get_text_embedding(self, text: str) -> list[float]:
        return [0.0] * 3 + ColourEncoder().get_text_embedding(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def concatenated(paint: Paint, pairs: list[tuple[str, str]], alpha: float) -> list[Any]:
    """Return a node for each text and colour, its vector [Long, ColourEncoder]."""
    nodes = []
    for words, colour in pairs:
        node = image_node(paint(colour), name=f"{words} {colour}")
        text = Long().get_text_embedding(words)
        (vector,) = Concatenate(alpha).compose([text], [node.embedding])
        nodes.append(node.model_copy(update={"embedding": vector.tolist()}))
    return nodes


def test_concatenation_compares_texts_with_texts_and_pictures_with_pictures(
    tmp_path, paint
):
    """Of "green" and a blue picture: cos(texts) · .36 + cos(pictures) · .64."""
    pairs = [("green", "red"), ("red", "blue"), ("green", "blue"), ("red", "red")]
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=11) as store:
        store.add(concatenated(paint, pairs, 0.36))
        retriever = retriever_of(
            channel(
                "pair",
                store,
                Long(),
                image_embed_model=SEEING,
                composition=Concatenate(0.36),
            )
        )
        results = retriever.retrieve(both(paint, "green", "blue"))
        # A red and a blue picture have cosine .36, by their gap alone.
        assert ids_of(results) == [
            uid(name) for name in ("green blue", "red blue", "green red", "red red")
        ]
        assert raw_scores(results) == pytest.approx(
            [1.0, 0.64, 0.36 + 0.64 * 0.36, 0.64 * 0.36], abs=1e-5
        )
        by_text = retriever.retrieve("green")
        assert set(ids_of(by_text)[:2]) == {uid("green blue"), uid("green red")}
        assert raw_scores(by_text)[0] == pytest.approx(0.6)
        by_picture = retriever.retrieve(QueryBundle("", image_path=str(paint("blue"))))
        assert raw_scores(by_picture)[0] == pytest.approx(0.8)


# What is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"accepts": COMPOSED}, "no composition.*Blend"),
        ({"image_embed_model": ColourEncoder()}, "no composition.*image_embed_model"),
        ({"embed_model": MockEmbedding(4), "composition": Blend()}, "accepts pictures"),
        (
            {
                "embed_model": Long(),
                "image_embed_model": SEEING,
                "composition": Blend(0.5),
            },
            r"Blend\(alpha=0.5\) got texts of the space 'Long:long'.*Concatenate",
        ),
        (
            {
                "image_embed_model": SEEING,
                "embed_model": ColourEncoder(),
                "composition": Blend(0.5),
            },
            "'colour-v1-gap0'.*'colour-v1-gap0.75'",
        ),
    ],
)
def test_composition_that_does_not_fit_is_refused(settings, said, pictures, encoder):
    given = {"vector_store": pictures(), "embed_model": encoder} | settings
    with pytest.raises(InvalidSetting, match=said):
        Channel("image", **given)


def test_part_without_a_direction_fails_its_route_and_is_not_left_out(pictures, paint):
    class Mute(ColourEncoder):
        def _get_query_embedding(self, query: str) -> list[float]:
            return [0.0] * 4

    one = channel("image", pictures(), Mute(), composition=Blend(0.5))
    with pytest.raises(AllRoutesFailed, match="without a direction"):
        retriever_of(one).retrieve(both(paint, "red", "green"))


def test_picture_that_cannot_be_decoded_is_the_querys_fault(blending, paint):
    broken = paint("red").read_bytes()[:40]
    with pytest.raises(ImageUnreadable):
        blending(0.5).retrieve(MultiModalQuery("red", images=[broken]))


# In a retriever


async def test_early_and_late_routes_add_up_the_same_awaited_or_not(
    kind, pictures, open_store, paint
):
    store = pictures(kind)
    retriever = retriever_of(
        channel("text", open_store(kind, [text_node("red")])),
        channel("image", store),
        channel("composed", store, composition=Blend(0.4)),
    )
    query = both(paint, "red", "green")
    results = retriever.retrieve(query)
    assert dumped(await retriever.aretrieve(query)) == dumped(results)
    assert routes_of(results)[-1] == "composed→composed"
    for result in results:
        provenance = why(result)
        amounts = math.fsum(c.amount for c in provenance.contributions)
        assert provenance.score == pytest.approx(amounts, abs=1e-9)
    assert "composed" in {c.channel for c in why(results[0]).contributions}


def test_filters_hold_for_composed_queries(kind, open_store, paint):
    nodes = [image_node(paint(colour), shelf=colour[0]) for colour in COLOURS]
    one = channel("image", open_store(kind, nodes), composition=Blend(0.5))
    filters = MetadataFilters(filters=[MetadataFilter(key="shelf", value="b")])
    results = retriever_of(one, filters=filters).retrieve(both(paint, "red", "green"))
    assert ids_of(results) == [uid("image blue")]


def test_query_is_not_written_to(blending, paint):
    query = QueryBundle("red", image_path=str(paint("green")))
    before = dict(vars(query))
    blending(0.5).retrieve(query)
    assert vars(query) == before


def test_deeper_retriever_composes_as_before(pictures, paint):
    one = channel("image", pictures(), composition=Blend(0.5), top_k=2)
    query = both(paint, "red", "green")
    few = retriever_of(one, top_k=2)
    many = few.with_top_k(6).retrieve(query)
    assert ids_of(many)[:2] == ids_of(few.retrieve(query))
    assert len(many) == 6


def test_retriever_channel_is_asked_with_words_and_picture_at_once(paint):
    scripted = Scripted(scored(red=1.0))
    one = RetrieverChannel("any", retriever=scripted, accepts=COMPOSED)
    retriever = retriever_of(one)
    results = retriever.retrieve(both(paint, "red", "green"))
    (asked,) = scripted.asked
    assert (asked.query_str, asked.image_path) == ("red", str(paint("green")))
    assert routes_of(results) == ("composed→any",)
    two = MultiModalQuery("red", images=[str(paint("green"))] * 2)
    with pytest.raises(AllRoutesFailed, match="2 pictures.*holds one"):
        retriever.retrieve(two)
    in_memory = MultiModalQuery("red", images=[paint("green").read_bytes()])
    with pytest.raises(AllRoutesFailed, match="leave 'composed' out"):
        retriever.retrieve(in_memory)


def test_composed_vectors_of_a_query_have_length_1(paint, encoder):
    part = composed_of(parts_of(both(paint, "red", "green")))
    assert part is not None
    for rule in (Blend(0.2), Concatenate(0.2)):
        composer = QueryComposer(rule, text_model=encoder, image_model=encoder)
        vector = composer.vector(part, Encodings())
        assert np.linalg.norm(vector) == pytest.approx(1.0)
    with pytest.raises(InvalidSetting, match="no encoder takes"):
        encode(part, encoder)
