"""The same words in two collections count once; different evidence adds up."""

from __future__ import annotations

import pytest
from llama_index.core.schema import QueryBundle, TextNode

from llama_index_mmrag import RetrieverChannel, RRFPostprocessor
from llama_index_mmrag.errors import RouteFailed

from ..support.colours import (
    channel,
    dumped,
    image_node,
    ranked,
    retriever_of,
    text_node,
    why,
)
from ..support.retrievers import Scripted
from ..support.stores import FaultyEdge


def amounts_of(result) -> dict[str, float]:
    return {c.route: c.amount for c in why(result).contributions}


@pytest.fixture
def pair(open_store, paint):
    """Return a function that makes a retriever over "red" twice, under one id."""

    def made(kind, caption: str, top_k: int = 1, **settings):
        words = text_node("red", name="one", entity="e")
        picture = image_node(paint("red"), name="one", entity="e")
        picture.text = caption
        others = [text_node("orange"), text_node("blue")]
        return retriever_of(
            channel("text", open_store(kind, [words, *others])),
            channel("image", open_store(kind, [picture, image_node(paint("blue"))])),
            top_k=top_k,
            **settings,
        )

    return made


async def test_same_words_count_once_and_stand_there_twice(kind, pair, retrieve):
    best = (await retrieve(pair(kind, "red"), "red"))[0]
    assert best.score == 1 / 61
    assert amounts_of(best) == {"text→text": 1 / 61, "text→image": 0.0}
    assert [c.counts for c in why(best).contributions] == [True, False]


async def test_another_text_under_one_id_adds_up(kind, pair, retrieve):
    best = (await retrieve(pair(kind, "a red door"), "red"))[0]
    assert best.score == 2 / 61
    assert amounts_of(best) == {"text→text": 1 / 61, "text→image": 1 / 61}


def test_a_picture_without_words_is_evidence_of_its_own(kind, pair):
    assert pair(kind, "").retrieve("red")[0].score == 2 / 61


def test_parts_of_a_query_are_evidence_of_their_own(kind, pair, paint):
    query = QueryBundle("red", image_path=str(paint("red")))
    (best, *_) = pair(kind, "red").retrieve(query)
    assert amounts_of(best) == {
        "text→text": 1 / 61,
        "text→image": 0.0,
        "image→image": 1 / 61,
    }


def test_fusing_twice_counts_once_too(kind, pair):
    found = pair(kind, "red", top_k=5).retrieve("red")
    assert dumped(RRFPostprocessor().postprocess_nodes(found)) == dumped(found)


UUID = "a34b2c1d-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "ids", [[UUID] * 3, [UUID.upper(), UUID.replace("-", ""), UUID]]
)
@pytest.mark.parametrize("texts", ["xxy", "xyx", "yxx", "xxx", "xyz"])
def test_of_three_channels_those_with_the_same_words_count_once(ids, texts):
    retriever = retriever_of(
        *(
            RetrieverChannel(name, retriever=Scripted(ranked(node)))
            for name, node in zip(
                "abc",
                [TextNode(id_=i, text=t) for i, t in zip(ids, texts, strict=True)],
                strict=True,
            )
        ),
        linked_by="id",
    )
    found = retriever.retrieve("red")
    (score,) = {result.score for result in found}
    assert score == pytest.approx(len(set(texts)) / 61)
    assert len(found) == 1, "one id, one modality"
    assert dumped(RRFPostprocessor().postprocess_nodes(found)) == dumped(found)


def test_words_that_cannot_be_read_are_reported(pair):
    retriever = pair(FaultyEdge, "red", on_degraded="raise")
    for one in retriever.channels[1:]:
        one.vector_store._in_lookups = True
        one.vector_store._error = OSError("gone")
    with pytest.raises(RouteFailed, match="fetch image"):
        retriever.retrieve("red")
