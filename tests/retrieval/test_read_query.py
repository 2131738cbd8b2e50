"""What stands in a query's picture is searched for as words, where asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    MultiModalQuery,
)
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting, RouteFailed
from llama_index_mmrag.nodes.node import lettering_of as lines_in
from llama_index_mmrag.retrieval.links import BY_ENTITY

from ..support.colours import (
    channel,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.lettered import ToldReader, lettering_of, lines_of

Over = Callable[..., MultiModalFusionRetriever]
READ = ("lettering of image→text", "lettering of image→lettering")


@pytest.fixture
def over(open_store, paint) -> Over:
    """Return a function from a reader to a retriever of texts, pictures, lettering."""
    pictures = [image_node(paint(colour)) for colour in ("green", "blue")]
    nodes = {
        "text": [text_node("red"), text_node("green")],
        "image": pictures,
        "lettering": [
            lettering_of(pictures[1], "red valve", "blue lid"),
            lettering_of(pictures[0], "green"),
        ],
    }
    known = {name: open_store("edge", held) for name, held in nodes.items()}

    def made(reader: object, **settings: object) -> MultiModalFusionRetriever:
        channels = [channel(name, store) for name, store in known.items()]
        return retriever_of(
            *channels, linked_by=BY_ENTITY, read_query_pictures=reader, **settings
        )

    return made


async def test_what_is_read_is_searched_for_in_texts_and_lettering(
    over, paint, retrieve
):
    label = paint("white")
    found = await retrieve(over(ToldReader(white="red valve")), label)
    assert why(found[0]).requested == ("image→image", *READ)
    assert why(found[0]).degraded == ()
    by_words = {
        r.node.node_id: [c.route for c in why(r).contributions if c.route in READ]
        for r in found
        if why(r).contributions[0].rank == 1
    }
    assert by_words[uid("text red")] == [READ[0]]
    assert by_words[uid("image blue")] == [READ[1]]
    (blue,) = [r for r in found if r.node.node_id == uid("image blue")]
    assert lines_in(blue) == tuple(lines_of("red valve", "blue lid")[:1])


async def test_lines_are_meant_by_words_and_by_what_was_read(over, paint, retrieve):
    query = MultiModalQuery(
        "blue", images=[paint("white")], part_weights={"image": 0.5}
    )
    found = await retrieve(over(ToldReader(white="red")), query)
    (blue,) = [r for r in found if r.node.node_id == uid("image blue")]
    assert lines_in(blue) == tuple(lines_of("red valve", "blue lid"))
    weights = {c.route: c.weight for r in found for c in why(r).contributions}
    assert weights[READ[0]] == weights["image→image"] == pytest.approx(0.5)
    assert weights["text→lettering"] == pytest.approx(1.0)


@pytest.mark.parametrize("said", ["", "a 1"])
async def test_a_picture_in_which_nothing_stands_has_no_such_route(
    over, paint, retrieve, said
):
    found = await retrieve(over(ToldReader(white=said)), paint("white"))
    assert why(found[0]).requested == ("image→image",)
    assert why(found[0]).degraded == ()


async def test_a_picture_that_cannot_be_read_costs_its_routes_alone(
    over, paint, retrieve
):
    reader = ToldReader(white=ImageUnreadable("the engine failed"))
    query = MultiModalQuery("red", images=[paint("white")])
    found = await retrieve(over(reader), query)
    assert uid("text red") in ids_of(found)
    (lost,) = why(found[0]).degraded
    assert (lost.route, lost.kind) == ("lettering of image", "error")
    assert "the engine failed" in lost.reason
    assert "image→image" in why(found[0]).searched
    assert "lettering of image" not in why(found[0]).searched
    with pytest.raises(RouteFailed, match="the engine failed"):
        await retrieve(over(reader, on_degraded="raise"), query)


async def test_an_engine_that_hangs_is_waited_for_until_the_deadline(
    over, paint, retrieve, stuck: threading.Event
):
    reader = ToldReader(white=stuck)
    found = await retrieve(over(reader, timeout_s=1.0), paint("white"))
    assert {uid("image green"), uid("image blue")} <= set(ids_of(found))
    (lost,) = why(found[0]).degraded
    assert (lost.route, lost.kind) == ("lettering of image", "deadline")
    (timeout_s,) = reader.timeouts
    assert timeout_s == pytest.approx(1.0, abs=0.5)


async def test_pictures_are_read_only_where_it_is_asked_for(over, paint, retrieve):
    reader = ToldReader(white="red")
    found = await retrieve(over(False), paint("white"))
    assert why(found[0]).requested == ("image→image",)
    over(reader).image_to_image_retrieve(str(paint("white")))
    over(reader).retrieve("red")
    assert reader.timeouts == []


@pytest.mark.parametrize("given", [True, "rapidocr", 7])
def test_what_does_not_read_is_refused(over, given):
    with pytest.raises(InvalidSetting, match="read_query_pictures"):
        over(given)


def test_an_index_without_a_reader_says_so(encoder):
    with (
        MultiModalQdrantIndex.open(":memory:", embed_model=encoder) as index,
        pytest.raises(InvalidSetting, match="nothing reads the pictures"),
    ):
        index.as_retriever(read_query_pictures=True)
