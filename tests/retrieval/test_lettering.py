"""Pictures that are found by what stands in them: shown as pictures, with the lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from llama_index.core.schema import BaseNode, ImageNode, TextNode

from llama_index_mmrag import MultiModalFusionRetriever, RRFPostprocessor
from llama_index_mmrag.nodes.node import FusedNode, is_lettering
from llama_index_mmrag.nodes.node import lettering_of as lines_in
from llama_index_mmrag.provenance import Provenance
from llama_index_mmrag.report.results import ResultCard
from llama_index_mmrag.retrieval.links import BY_ENTITY
from llama_index_mmrag.retrieval.words import lines_meant

from ..support.colours import (
    channel,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.lettered import lettering_of, lines_of

Over = Callable[..., MultiModalFusionRetriever]
LETTERED = ("Inlet of the red valve", "AB-1234/5", "Turn it by hand")


@pytest.fixture
def pictures(paint) -> list[ImageNode]:
    """Return three pictures, none of them red."""
    return [image_node(paint(colour)) for colour in ("white", "green", "blue")]


@pytest.fixture
def over(kind, open_store) -> Over:
    """Return a function from texts, pictures and lettering to a retriever of them."""

    def made(
        texts: Sequence[BaseNode],
        pictures: Sequence[BaseNode],
        lettering: Sequence[BaseNode],
        **settings: object,
    ) -> MultiModalFusionRetriever:
        nodes = {"text": texts, "image": pictures, "lettering": lettering}
        channels = [
            channel(name, open_store(kind, held), accepts={"text"})
            for name, held in nodes.items()
        ]
        known = {"complete_entities": True, "linked_by": BY_ENTITY, **settings}
        return retriever_of(*channels, **known)

    return made


async def test_picture_is_shown_once_with_the_lines_that_hold_a_word_of_the_query(
    over, pictures, retrieve
):
    read = [lettering_of(pictures[0], *LETTERED), lettering_of(pictures[1], "green")]
    found = await retrieve(over([text_node("blue")], pictures, read), "red valves")
    assert not any(is_lettering(r.node.metadata) for r in found)
    (white,) = [r for r in found if r.node.node_id == uid("image white")]
    assert isinstance(white, FusedNode)
    assert isinstance(white.node, ImageNode)
    assert white.node.text == ""  # lettering is no caption
    assert white.lettering == tuple(lines_of(*LETTERED)[:1])
    (hit,) = [c for c in why(white).contributions if c.channel == "lettering"]
    assert (hit.told, hit.words_of) == ("text→lettering", white.node.node_id)
    assert "(text→lettering “Inlet of the red valve”, rank 1" in why(white).explain()
    card = ResultCard.of(white).model_dump()
    assert card["lettering"] == [
        {"text": LETTERED[0], "box": [0.1, 0.0, 0.9, 0.1], "confidence": 0.9}
    ]
    assert "text→lettering" in [hit["route"] for hit in card["contributions"]]


async def test_lines_are_kept_as_data_and_when_results_are_fused_again(
    over, pictures, retrieve
):
    read = [lettering_of(pictures[0], *LETTERED)]
    texts = [text_node("blue")]
    found = await retrieve(over(texts, pictures, read), "red")
    known = {r.node.node_id: lines_in(r) for r in found}
    assert known.pop(uid("image white")) == tuple(lines_of(*LETTERED)[:1])
    assert set(known.values()) == {()}
    for result in found:
        assert Provenance.from_dict(why(result).to_dict()) == why(result)
    again = RRFPostprocessor().postprocess_nodes(found)
    assert list(map(lines_in, again)) == list(map(lines_in, found))


async def test_a_picture_without_lettering_is_scored_as_if_there_were_none(
    over, pictures, retrieve
):
    read = [lettering_of(pictures[0], "blue"), lettering_of(pictures[1], "blue")]
    texts = [text_node("cyan")]
    with_any = await retrieve(over(texts, pictures, read), "blue")
    with_none = await retrieve(over(texts, pictures, []), "blue")
    scores = [
        {r.node.node_id: r.score for r in found}[uid("image blue")]
        for found in (with_any, with_none)
    ]
    assert scores == [pytest.approx(1 / 61)] * 2
    (bare,) = [r for r in with_any if r.node.node_id == uid("image blue")]
    assert [c.route for c in why(bare).contributions] == ["text→image"]
    assert "text→lettering" in why(bare).searched


async def test_lettering_completes_no_entity_and_is_no_text(over, paint, retrieve):
    shown = image_node(paint("blue"), entity="s1")
    texts = [text_node("red", entity="s1"), text_node("green", entity="s2")]
    read = [
        lettering_of(shown, "cyan"),
        *(lettering_of(image_node(paint(c)), "red") for c in ("white", "yellow")),
    ]
    retriever = over(texts, [shown], read, top_k=1)
    found = await retrieve(retriever.with_top_k(1), "red")
    assert ids_of(found) == [uid("text red"), uid("image blue")]
    alone = retriever.with_top_k(9).text_retrieve("red")
    assert ids_of(alone) == [uid("text red"), uid("text green")]


async def test_of_a_sections_pictures_the_one_that_says_it_is_shown_with_its_text(
    over, paint, retrieve
):
    section = [image_node(paint(c), entity="s1") for c in ("green", "white", "blue")]
    read = [
        lettering_of(p, t)
        for p, t in zip(section, ("green", "red", "blue"), strict=True)
    ]
    texts = [text_node("cyan", entity="s1"), *(text_node(c) for c in ("blue", "white"))]
    found = await retrieve(over(texts, section, read, top_k=1), "red")
    best = {r.node.node_id: lines_in(r) for r in found}
    assert best[uid("image white")] == tuple(lines_of("red"))
    assert uid("text cyan") in best


async def test_pictures_that_are_found_by_lettering_count_as_pictures(
    over, pictures, retrieve
):
    texts = [text_node("red"), text_node("white")]
    settings = {"top_k": 1, "image_similarity_top_k": 1, "complete_entities": False}
    retriever = over(texts, pictures, [lettering_of(pictures[1], "red")], **settings)
    found = await retrieve(retriever, "red")
    assert ids_of(found) == [uid("image green"), uid("text red")]


async def test_what_was_read_in_a_picture_that_is_gone_is_shown_itself(
    over, pictures, retrieve
):
    read = [lettering_of(pictures[0], "red")]
    texts = [text_node("blue")]
    found = await retrieve(over(texts, pictures[1:], read), "red")
    (shown,) = [r.node for r in found if is_lettering(r.node.metadata)]
    assert isinstance(shown, TextNode)
    assert shown.text == "red"


@pytest.mark.parametrize(
    ("asked", "meant"),
    {
        "inlets": [0],  # by its stem
        "where is AB12345?": [1],  # a code, whatever joins it
        "hand-turned valve": [0, 2],
        "of the": [0, 1, 2],  # no words: found by what all of it means
        "lever": [0, 1, 2],
        "": [0, 1, 2],
    }.items(),
)
def test_lines_that_a_query_means(asked, meant):
    lines = lines_of(*LETTERED)
    read = {"lines": [line._asdict() for line in lines]}
    assert lines_meant(asked, read) == tuple(lines[row] for row in meant)


@pytest.mark.parametrize(
    "kept",
    [
        "a red one",
        [1],
        [{"text": "a red one"}],
        [{"text": "a red one", "box": [0, 0, 1], "confidence": 0.9}],
        [{"text": "a red one", "box": None, "confidence": 0.9}],
        [{"text": "a red one", "box": [0, 0, 1, 1], "confidence": "sure"}],
    ],
    ids=str,
)
def test_lines_that_others_wrote_otherwise_cost_no_query(kept):
    assert lines_meant("red", {"lines": kept}) == ()


def test_nothing_was_read():
    assert lines_meant("red", {}) == ()
