"""What completes an entity: of each modality, what is nearest to the query."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from llama_index.core.schema import BaseNode, QueryBundle, TextNode

from llama_index_mmrag import MultiModalFusionRetriever, MultiModalQuery
from llama_index_mmrag.nodes.node import KIND_KEY, POSITION_KEY, WORDS, WORDS_OF_KEY
from llama_index_mmrag.retrieval.channel import Channel

from ..support.colours import (
    channel,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.stores import FaultyStore, open_client


def words_of(picture: BaseNode, text: str) -> TextNode:
    """Return a picture's words as they are stored beside its section."""
    more = {KIND_KEY: WORDS, "words": "caption", WORDS_OF_KEY: picture.node_id}
    known = {**picture.metadata, **more, "modality": "text"}
    return text_node(text, name=f"words {text}", **known)


def completing(*channels: Channel) -> MultiModalFusionRetriever:
    """Return a retriever of the one best entity; of equal ones the texts' is first."""
    return retriever_of(*channels, complete_entities=True, top_k=1)


@pytest.fixture
def section(paint) -> list[BaseNode]:
    """Return one section's pictures, in document order; none of them is red."""
    return [
        image_node(paint(colour), entity="s1", **{POSITION_KEY: position})
        for position, colour in enumerate(("blue", "cyan", "orange", "green"))
    ]


@pytest.fixture
def over(kind, open_store, paint):
    """Return a function from texts and pictures to channels over them.

    Pictures of their own hide the section's from searches for the one best.
    """

    def made(texts: Sequence[BaseNode], pictures: Sequence[BaseNode]) -> list[Channel]:
        hiding = [image_node(paint(colour)) for colour in ("red", "white")]
        stores = open_store(kind, texts), open_store(kind, [*pictures, *hiding])
        return [
            channel(name, store, top_k=1)
            for name, store in zip(("text", "image"), stores, strict=True)
        ]

    return made


async def test_a_text_brings_the_picture_nearest_to_the_query(over, section, retrieve):
    channels = over([text_node("red", entity="s1"), text_node("blue")], section)
    retriever = completing(*channels)
    found = await retrieve(retriever, "red")
    assert ids_of(found) == [uid("text red"), uid("image orange")]
    assert [one.node.embedding for one in found] == [None] * len(found)


async def test_a_picture_is_as_near_as_its_words(over, section, retrieve):
    worded = [words_of(section[3], "red red orange"), words_of(section[2], "blue")]
    others = [text_node("blue", name=f"other {n}") for n in range(9)]
    texts = [text_node("red", entity="s1"), *worded, *others]
    retriever = completing(*over(texts, section))
    found = await retrieve(retriever, "red")
    # The words of the green one say red; its own look says nothing of it.
    assert ids_of(found) == [uid("text red"), uid("image green")]


async def test_words_that_were_found_are_shown_as_their_picture_beside_a_text(
    over, section, retrieve
):
    texts = [
        text_node("green", entity="s1", **{POSITION_KEY: 0}),
        text_node("yellow", entity="s1", **{POSITION_KEY: 9}),
        words_of(section[0], "red"),
    ]
    retriever = completing(*over(texts, section))
    found = await retrieve(retriever, "red")
    # Its caption found it. The text is the nearest, not the first, and no caption.
    assert ids_of(found) == [uid("image blue"), uid("text yellow")]
    assert [hit.node_id for hit in why(found[0]).contributions] == [uid("words red")]


async def test_by_a_picture_the_nearest_picture_and_without_vectors_the_first(
    over, section, paint, retrieve
):
    texts = [
        text_node("red", entity="s1", **{POSITION_KEY: 5}),
        text_node("blue", entity="s1", **{POSITION_KEY: 2}),
    ]
    retriever = completing(*over(texts, section))
    query = QueryBundle("", image_path=str(paint("cyan")))
    found = await retrieve(retriever, query)
    # No picture is searched for among texts: nothing tells which is nearer.
    assert ids_of(found) == [uid("image cyan"), uid("text blue")]


async def test_parts_of_weight_nothing_do_not_choose(over, section, paint, retrieve):
    texts = [text_node("red", entity="s1"), text_node("blue")]
    retriever = completing(*over(texts, section))
    query = MultiModalQuery("red", images=[paint("white")], part_weights={"image": 0.0})
    # The cyan one is nearest to white, and the orange one to red.
    assert ids_of(await retrieve(retriever, query)) == [
        uid("text red"),
        uid("image orange"),
    ]


async def test_a_store_that_reads_its_nodes_itself_is_asked_in_document_order(
    section, paint, retrieve
):
    with open_client("local") as client:
        stores = [FaultyStore(name, client=client) for name in ("text", "image")]
        stores[0].add([text_node("red", entity="s1")])
        stores[1].add([*section, image_node(paint("red"))])
        channels = [
            channel(name, store, top_k=1)
            for name, store in zip(("text", "image"), stores, strict=True)
        ]
        retriever = completing(*channels)
        found = await retrieve(retriever, "red")
    assert ids_of(found) == [uid("text red"), uid("image blue")]


async def test_words_show_their_picture_also_where_entities_are_not_completed(
    over, section, retrieve
):
    found = await retrieve(
        retriever_of(*over([words_of(section[0], "red")], section), top_k=1), "red"
    )
    assert ids_of(found) == [uid("image blue")]
    assert found[0].node.text == "red"


@pytest.mark.parametrize("completes", [True, False])
async def test_words_do_not_show_a_picture_that_a_filter_hides(
    completes, over, section, retrieve
):
    text, pictures = over([words_of(section[0], "red")], section)
    hiding = replace(pictures, filters={"position": 3})
    retriever = retriever_of(text, hiding, complete_entities=completes, top_k=1)
    assert uid("image blue") not in ids_of(await retrieve(retriever, "red"))
