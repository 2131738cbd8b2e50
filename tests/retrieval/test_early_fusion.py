"""Queries of words and picture as one vector, through channels that ask for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_mmrag import (
    RRF,
    Blend,
    Channel,
    Concatenate,
    MultiModalFusionRetriever,
    MultiModalQuery,
    RetrieverChannel,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed, ImageUnreadable, InvalidSetting

from ..support.colours import (
    GAP,
    Paint,
    channel,
    dumped,
    ids_of,
    image_node,
    text_node,
    uid,
    why,
)

KINDS = pytest.mark.parametrize("kind", ["edge", "local"])
COMPOSED = frozenset({"composed"})
COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "white")


@pytest.fixture
def pictures(open_store, paint) -> Any:
    """Return a function that opens a store of one picture for each colour."""
    nodes = [image_node(paint(colour)) for colour in COLOURS]
    return lambda kind="edge": open_store(kind, nodes)


def routes_of(results: list[NodeWithScore]) -> tuple[str, ...]:
    return tuple(why(results[0]).requested)


def both(paint: Paint, words: str, colour: str, **weights: float) -> MultiModalQuery:
    return MultiModalQuery(words, images=[str(paint(colour))], part_weights=weights)


# What the query's vector is


@KINDS
def test_blended_query_finds_what_is_between_its_words_and_its_picture(
    kind, pictures, paint, encoder
):
    """Words red (1,0,0,0), picture green (0,.8,0,.6): their mean and yellow's picture.

    Yellow is (.8/√2, .8/√2, 0, .6). The sum's length is √2, since the two are
    orthogonal; so the cosine is (.8/√2 + .64/√2 + .36) / √2.
    """
    one = channel("image", pictures(kind), encoder, composition=Blend(0.5), top_k=8)
    results = MultiModalFusionRetriever([one], fusion=RRF()).retrieve(
        both(paint, "red", "green")
    )
    assert ids_of(results)[0] == uid("image yellow")
    (found,) = why(results[0]).contributions
    expected = (0.8 / math.sqrt(2) + 0.64 / math.sqrt(2) + 0.36) / math.sqrt(2)
    assert found.raw_score == pytest.approx(expected, abs=1e-5)
    assert (found.route, found.channel, found.rank) == ("composed→image", "image", 1)
    assert routes_of(results) == ("composed→image",)


@KINDS
@pytest.mark.parametrize(("alpha", "accepts"), [(1.0, "text"), (0.0, "image")])
@pytest.mark.parametrize("top_k", [3, 8])
def test_blend_at_its_ends_ranks_and_scores_as_the_single_route_does(
    kind, alpha, accepts, top_k, pictures, paint, encoder
):
    store = pictures(kind)
    query = both(paint, "red and a little orange", "cyan")
    early, single = (
        MultiModalFusionRetriever([one], top_k=top_k).retrieve(query)
        for one in (
            channel("image", store, encoder, composition=Blend(alpha)),
            channel("image", store, encoder, accepts=frozenset({accepts})),
        )
    )
    assert ids_of(early) == ids_of(single)
    assert [r.score for r in early] == [r.score for r in single]
    for one, other in zip(early, single, strict=True):
        ours, theirs = why(one).contributions, why(other).contributions
        assert [c.raw_score for c in ours] == pytest.approx(
            [c.raw_score for c in theirs], abs=1e-6
        )


@KINDS
@pytest.mark.parametrize(("query", "accepts"), [("red", "text"), ("picture", "image")])
def test_query_of_one_part_is_this_part_alone(
    kind, query, accepts, pictures, paint, encoder
):
    store = pictures(kind)
    asked = (
        query if accepts == "text" else QueryBundle("", image_path=str(paint("red")))
    )
    early, single = (
        MultiModalFusionRetriever([one]).retrieve(asked)
        for one in (
            channel("image", store, encoder, composition=Blend(0.3)),
            channel("image", store, encoder, accepts=frozenset({accepts})),
        )
    )
    assert ids_of(early) == ids_of(single)
    assert routes_of(early) == routes_of(single) == (f"{accepts}→image",)
    assert [r.score for r in early] == [r.score for r in single]


def test_channel_that_takes_the_parts_and_both_searches_no_part_twice(
    pictures, paint, encoder
):
    every = frozenset({"text", "image", "composed"})
    one = channel("image", pictures(), encoder, accepts=every, composition=Blend(0.5))
    retriever = MultiModalFusionRetriever([one])
    assert routes_of(retriever.retrieve("red")) == ("text→image",)
    assert routes_of(retriever.retrieve(both(paint, "red", "green"))) == (
        "text→image",
        "image→image",
        "composed→image",
    )


def test_channels_without_composition_are_asked_as_ever(pictures, paint, encoder):
    plain = channel("image", pictures(), encoder)
    results = MultiModalFusionRetriever([plain]).retrieve(both(paint, "red", "green"))
    assert routes_of(results) == ("text→image", "image→image")


@pytest.mark.parametrize(
    ("weights", "like"),
    [
        ({"text": 3.0, "image": 1.0}, 0.75),
        ({"text": 0.0}, 0.0),
        ({"image": 0.0}, 1.0),
        ({"text": 2.0, "image": 2.0}, 0.5),
    ],
)
def test_part_weights_are_factors_of_the_shares(
    weights, like, pictures, paint, encoder
):
    store = pictures()
    one, other = (
        MultiModalFusionRetriever(
            [channel("image", store, encoder, composition=Blend(alpha))]
        ).retrieve(both(paint, "red", "green", **given))
        for alpha, given in ((0.5, weights), (like, {}))
    )
    assert ids_of(one) == ids_of(other)
    for ours, theirs in zip(one, other, strict=True):
        assert why(ours).contributions[0].raw_score == pytest.approx(
            why(theirs).contributions[0].raw_score, abs=1e-6
        )


def test_query_whose_parts_all_weigh_nothing_adds_nothing(pictures, paint, encoder):
    one = channel("image", pictures(), encoder, composition=Blend(0.5))
    results = MultiModalFusionRetriever([one]).retrieve(
        both(paint, "red", "green", text=0.0, image=0.0)
    )
    assert {result.score for result in results} == {0.0}


def test_several_pictures_are_their_mean_and_weigh_as_one(pictures, paint, encoder):
    """Red and green pictures: their mean points to yellow's."""
    one = channel("image", pictures(), encoder, composition=Blend(0.5))
    query = MultiModalQuery(images=[str(paint("red")), str(paint("green"))])
    results = MultiModalFusionRetriever([one]).retrieve(query)
    assert ids_of(results)[0] == uid("image yellow")
    assert routes_of(results) == ("composed→image",)
    weighed = MultiModalQuery(
        images=[str(paint("red")), str(paint("green"))],
        part_weights={"image": 5.0, "image#2": 0.5},
    )
    (best, *_) = MultiModalFusionRetriever([one]).retrieve(weighed)
    assert best.node.node_id == uid("image red")


class Counting(ColourEncoder):
    """The colour encoder, and what it was asked for."""

    _asked: list[str] = PrivateAttr(default_factory=list)

    def _get_query_embedding(self, query: str) -> list[float]:
        self._asked.append(query)
        return super()._get_query_embedding(query)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        self._asked.append("picture")
        return super()._get_image_embedding(img_file_path)


def test_parts_are_encoded_once_for_late_and_early_fusion(open_store, pictures, paint):
    encoder = Counting(modality_gap=GAP)
    store = pictures()
    texts = open_store("edge", [text_node("red")])
    retriever = MultiModalFusionRetriever(
        [
            channel("text", texts, encoder),
            channel("image", store, encoder),
            channel("composed", store, encoder, composition=Blend(0.5)),
        ]
    )
    retriever.retrieve(both(paint, "red", "green"))
    assert sorted(encoder._asked) == ["picture", "red"]


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
    tmp_path, paint, encoder
):
    """Of "green" and a blue picture: cos(texts) · .36 + cos(pictures) · .64."""
    from llama_index_mmrag import QdrantEdgeVectorStore

    pairs = [("green", "red"), ("red", "blue"), ("green", "blue"), ("red", "red")]
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=11) as store:
        store.add(concatenated(paint, pairs, 0.36))
        one = Channel(
            "pair",
            vector_store=store,
            embed_model=encoder,
            text_embed_model=Long(),
            composition=Concatenate(0.36),
        )
        retriever = MultiModalFusionRetriever([one])
        results = retriever.retrieve(both(paint, "green", "blue"))
        scores = [why(r).contributions[0].raw_score for r in results]
        # A red and a blue picture have cosine .36, by their gap alone.
        assert ids_of(results) == [
            uid(name) for name in ("green blue", "red blue", "green red", "red red")
        ]
        assert scores == pytest.approx(
            [1.0, 0.64, 0.36 + 0.64 * 0.36, 0.64 * 0.36], abs=1e-5
        )
        by_text = retriever.retrieve("green")
        assert {r.node.node_id for r in by_text[:2]} == {
            uid("green blue"),
            uid("green red"),
        }
        assert why(by_text[0]).contributions[0].raw_score == pytest.approx(0.6)
        by_picture = retriever.retrieve(QueryBundle("", image_path=str(paint("blue"))))
        assert why(by_picture[0]).contributions[0].raw_score == pytest.approx(0.8)


# What is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"accepts": COMPOSED}, "no composition.*Blend"),
        ({"text_embed_model": ColourEncoder()}, "no composition.*text_embed_model"),
        ({"embed_model": MockEmbedding(4), "composition": Blend()}, "accepts pictures"),
        (
            {"text_embed_model": Long(), "composition": Blend(0.5)},
            r"Blend\(alpha=0.5\) got texts of the space 'Long:long'.*Concatenate",
        ),
        (
            {"text_embed_model": ColourEncoder(), "composition": Blend(0.5)},
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
        MultiModalFusionRetriever([one]).retrieve(both(paint, "red", "green"))


def test_picture_that_cannot_be_decoded_is_the_querys_fault(pictures, paint, encoder):
    one = channel("image", pictures(), encoder, composition=Blend(0.5))
    broken = paint("red").read_bytes()[:40]
    with pytest.raises(ImageUnreadable):
        MultiModalFusionRetriever([one]).retrieve(
            MultiModalQuery("red", images=[broken])
        )


# In a retriever


@KINDS
async def test_sync_and_async_give_the_same(kind, pictures, open_store, paint, encoder):
    retriever = MultiModalFusionRetriever(
        [
            channel("text", open_store(kind, [text_node("red")]), encoder),
            channel("image", pictures(kind), encoder, composition=Blend(0.4)),
        ]
    )
    query = both(paint, "red", "green")
    assert dumped(await retriever.aretrieve(query)) == dumped(retriever.retrieve(query))


@KINDS
def test_contributions_of_early_and_late_routes_add_up(
    kind, pictures, open_store, paint, encoder
):
    store = pictures(kind)
    retriever = MultiModalFusionRetriever(
        [
            channel("text", open_store(kind, [text_node("red")]), encoder),
            channel("image", store, encoder),
            channel("composed", store, encoder, composition=Blend(0.4)),
        ]
    )
    results = retriever.retrieve(both(paint, "red", "green"))
    assert routes_of(results)[-1] == "composed→composed"
    for result in results:
        provenance = why(result)
        amounts = math.fsum(c.amount for c in provenance.contributions)
        assert provenance.score == pytest.approx(amounts, abs=1e-9)
    assert "composed" in {c.channel for c in why(results[0]).contributions}


@KINDS
def test_filters_hold_for_composed_queries(kind, open_store, paint, encoder):
    nodes = [image_node(paint(colour), shelf=colour[0]) for colour in COLOURS]
    one = channel("image", open_store(kind, nodes), encoder, composition=Blend(0.5))
    filters = MetadataFilters(filters=[MetadataFilter(key="shelf", value="b")])
    results = MultiModalFusionRetriever([one], filters=filters).retrieve(
        both(paint, "red", "green")
    )
    assert ids_of(results) == [uid("image blue")]


def test_query_is_not_written_to(pictures, paint, encoder):
    one = channel("image", pictures(), encoder, composition=Blend(0.5))
    query = QueryBundle("red", image_path=str(paint("green")))
    before = dict(vars(query))
    MultiModalFusionRetriever([one]).retrieve(query)
    assert vars(query) == before


def test_deeper_retriever_composes_as_before(pictures, paint, encoder):
    one = channel("image", pictures(), encoder, composition=Blend(0.5), top_k=2)
    query = both(paint, "red", "green")
    few = MultiModalFusionRetriever([one], top_k=2)
    many = few.with_top_k(6)
    assert ids_of(many.retrieve(query))[:2] == ids_of(few.retrieve(query))
    assert len(many.retrieve(query)) == 6


class Scripted(BaseRetriever):
    """A LlamaIndex retriever that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[QueryBundle] = []
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle)
        return [NodeWithScore(node=TextNode(text="red", id_=uid("x")), score=1.0)]


def test_retriever_channel_is_asked_with_words_and_picture_at_once(paint):
    scripted = Scripted()
    one = RetrieverChannel("any", retriever=scripted, accepts=COMPOSED)
    retriever = MultiModalFusionRetriever([one])
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


def test_composed_vectors_of_a_query_have_length_1(paint):
    from llama_index_mmrag.retrieval.composed_query import QueryComposer
    from llama_index_mmrag.retrieval.encodings import Encodings, encode
    from llama_index_mmrag.retrieval.query import composed_of, parts_of

    encoder = ColourEncoder(modality_gap=GAP)
    part = composed_of(parts_of(both(paint, "red", "green")))
    assert part is not None
    for rule in (Blend(0.2), Concatenate(0.2)):
        composer = QueryComposer(rule, text_model=encoder, image_model=encoder)
        vector = composer.vector(part, Encodings())
        assert np.linalg.norm(vector) == pytest.approx(1.0)
    with pytest.raises(InvalidSetting, match="no encoder takes"):
        encode(part, encoder)
