"""RRF as a postprocessor: idempotent on our results, a fusion for everybody else's."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, TextNode

from llama_index_mmrag import (
    RRF,
    MultiModalFusionRetriever,
    MultiModalQuery,
    MultiModalSynthesizer,
    RRFPostprocessor,
)
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import stored_as

from ..support.colours import channel, dumped, image_node, retriever_of, text_node, why


def text(node_id: str, score: float | None, **metadata: str) -> NodeWithScore:
    node = TextNode(id_=node_id, text=f"text of {node_id}", metadata=metadata)
    return NodeWithScore(node=node, score=score)


def picture(node_id: str, score: float | None, **metadata: str) -> NodeWithScore:
    node = ImageNode(id_=node_id, image_path="x.png", metadata=metadata)
    return NodeWithScore(node=node, score=score)


def ranked(found: list[NodeWithScore]) -> list[tuple[str, float | None]]:
    return [(result.node.node_id, result.score) for result in found]


@pytest.fixture
def retriever(open_store, paint) -> MultiModalFusionRetriever:
    colours = ["red", "yellow", "blue", "green", "orange"]
    texts = [text_node(c, entity=c) for c in colours]
    pictures = [image_node(paint(c), entity=c) for c in (*colours[2:], "white")]
    return retriever_of(
        channel("text", open_store("local", texts)),
        channel("image", open_store("local", pictures)),
        fusion=RRF(k=3, weights={"text": 2.0}),
        top_k=4,
    )


# Our own results


def test_results_fused_by_the_retriever_come_out_as_they_went_in(retriever, paint):
    query = MultiModalQuery(
        "red and blue", images=[paint("orange")], part_weights={"image": 0.5}
    )
    found = retriever.retrieve(query)
    again = RRFPostprocessor(k=3).postprocess_nodes(found)
    assert len(found) > 4
    assert dumped(again) == dumped(found)


def test_the_retrievers_own_weights_named_again_are_not_multiplied(retriever):
    found = retriever.retrieve("red")
    again = RRFPostprocessor(k=3, weights={"text": 2.0}).postprocess_nodes(found)
    assert dumped(again) == dumped(found)


def test_provenance_in_metadata_is_enough_in_any_order(retriever):
    # CitationQueryEngine and LLMRerank make plain NodeWithScore of what they get.
    found = retriever.retrieve("green")
    rebuilt = [NodeWithScore(node=r.node, score=0.123) for r in found]
    assert dumped(RRFPostprocessor(k=3).postprocess_nodes(rebuilt)) == dumped(found)
    shuffled = random.Random(1).sample(rebuilt, len(rebuilt))
    again = RRFPostprocessor(k=3).postprocess_nodes(shuffled)
    assert [(why(r).entity_id, r.score) for r in again] == [
        (why(r).entity_id, r.score) for r in found
    ]


def test_other_weights_rank_our_results_anew_from_the_remembered_ranks(retriever):
    found = retriever.retrieve("red")
    fusing = RRFPostprocessor(k=3, weights={"text": 0.0})
    scores = {why(r).entity_id: r.score for r in fusing.postprocess_nodes(found)}
    for result in found:
        places = [c for c in why(result).contributions if c.channel == "image"]
        expected = 1 / (3 + places[0].rank) if places else 0.0
        assert scores[why(result).entity_id] == expected


# Other retrievers' results


def test_flat_list_is_fused_by_modality():
    # Cosines of different encoders: pictures' are far lower, and not comparable.
    flat = [text("t1", 0.9), text("t2", 0.8), picture("i1", 0.31), picture("i2", 0.30)]
    fused = RRFPostprocessor().postprocess_nodes(flat)
    places = {"t1": 1 / 61, "i1": 1 / 61, "t2": 1 / 62, "i2": 1 / 62}
    assert ranked(fused) == list(places.items())
    assert why(fused[1]).contributions[0].raw_score == 0.31
    assert why(fused[1]).requested == ("text", "image")


def test_shared_entities_add_up_and_count_once():
    flat = [
        text("t1", 0.9),
        text("caption", 0.8, entity_id="figure"),
        picture("other", 0.4),
        picture("photo", 0.3, entity_id="figure"),
    ]
    fused = RRFPostprocessor().postprocess_nodes(flat)
    figure = [("caption", 2 / 62), ("photo", 2 / 62)]
    assert ranked(fused) == [*figure, ("t1", 1 / 61), ("other", 1 / 61)]
    first = RRFPostprocessor(top_n=1).postprocess_nodes(flat)
    assert ranked(first) == ranked(fused)[:2]


def test_flat_list_is_fused_by_a_metadata_key():
    flat = [
        text("a", 9.0, engine="bm25"),
        text("b", 7.0, engine="bm25"),
        text("c", 0.9, engine="dense"),
        text("d", 0.1),
    ]
    fusing = RRFPostprocessor(
        k=1, group_by="engine", weights={"dense": 3.0, "text": 0.5}
    )
    # Without the key it goes by modality.
    scores = {"c": 3 / 2, "a": 1 / 2, "b": 1 / 3, "d": 0.5 / 2}
    assert ranked(fusing.postprocess_nodes(flat)) == list(scores.items())


def test_one_id_in_two_lists_is_two_nodes():
    flat = [text("1", 0.9), picture("1", 0.4), text("2", 0.3), picture("2", 0.2)]
    fused = RRFPostprocessor().postprocess_nodes(flat)
    assert [(*stored_as(r.node), r.score) for r in fused] == [
        (modality, id_, 1 / (60 + int(id_)))
        for id_ in "12"
        for modality in ("text", "image")
    ]
    assert len({r.node.node_id for r in fused}) == 4
    assert dumped(RRFPostprocessor().postprocess_nodes(fused)) == dumped(fused)


def test_results_without_scores_come_last_in_their_order():
    flat = [text("z", None), text("low", -5.0), text("best", 1e20), text("x", None)]
    fused = RRFPostprocessor(k=0).postprocess_nodes(flat)
    order = [("best", 1.0), ("low", 1 / 2), ("z", 1 / 3), ("x", 1 / 4)]
    assert ranked(fused) == order
    assert ranked(RRFPostprocessor(k=0).postprocess_nodes(fused)) == order


def test_score_that_is_no_number_is_refused():
    with pytest.raises(InvalidSetting, match="'odd'"):
        RRFPostprocessor().postprocess_nodes([text("odd", float("nan"))])


def test_nothing_stays_nothing():
    assert RRFPostprocessor().postprocess_nodes([]) == []


def test_our_results_and_others_fuse_together(retriever):
    ours = retriever.retrieve("red")
    fused = RRFPostprocessor(k=3).postprocess_nodes([*ours, text("bm25", 11.0)])
    scores = {why(r).entity_id: r.score for r in fused}
    assert scores["text:bm25"] == 1 / (3 + 1)
    for result in ours:
        assert scores[why(result).entity_id] == result.score


NODES: list[BaseNode] = [
    cls(
        id_=f"n{number}",
        metadata={"entity_id": f"e{number % 4}", "list": "abc"[number % 3]},
    )
    for number, cls in enumerate([TextNode, ImageNode] * 4)
]
RESULTS = st.lists(
    st.tuples(
        st.integers(0, len(NODES) - 1),
        st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    unique_by=lambda pair: pair[0],
).map(lambda pairs: [NodeWithScore(node=NODES[n], score=s) for n, s in pairs])


@given(
    RESULTS,
    st.sampled_from([0.0, 1.0, 60.0]),
    st.sampled_from([None, "list"]),
    st.dictionaries(
        st.sampled_from(["text", "image", "a", "b"]), st.sampled_from([0.0, 0.5, 2.0])
    ),
)
def test_fusing_twice_changes_nothing_and_the_input_neither(flat, k, group_by, weights):
    fusing = RRFPostprocessor(k=k, group_by=group_by, weights=weights)
    before = [result.model_dump() for result in flat]
    once = fusing.postprocess_nodes(flat)
    assert [result.model_dump() for result in flat] == before
    assert dumped(fusing.postprocess_nodes(once)) == dumped(once)
    # Without the weights too: the first fusion's are remembered.
    plain = RRFPostprocessor(k=k)
    assert dumped(plain.postprocess_nodes(once)) == dumped(once)


def test_second_fusion_breaks_ties_as_the_first_did():
    # Text's first and the pictures' second both have 1; the pictures' first leads.
    flat = [text("z", 0.9), picture("i1", 0.8), picture("a", 0.7)]
    fusing = RRFPostprocessor(k=0, weights={"image": 2.0})
    once = fusing.postprocess_nodes(flat)
    assert ranked(once) == [("i1", 2.0), ("z", 1.0), ("a", 1.0)]
    assert ranked(fusing.postprocess_nodes(once)) == ranked(once)


# As a LlamaIndex component


def test_settings_survive_serialisation():
    settings = {"k": 7, "weights": {"image": 2.0}, "group_by": "engine", "top_n": 3}
    fusing = RRFPostprocessor(**settings)
    data = json.loads(json.dumps(fusing.to_dict()))
    assert RRFPostprocessor.from_dict(data).to_dict() == fusing.to_dict()
    assert data.items() >= settings.items()
    assert data["class_name"] == "RRFPostprocessor"
    assert isinstance(fusing, BaseNodePostprocessor)


async def test_async_form_gives_the_same(retriever):
    found = retriever.retrieve("red")
    fusing = RRFPostprocessor(k=1, weights={"image": 3.0})
    assert dumped(await fusing.apostprocess_nodes(found)) == dumped(
        fusing.postprocess_nodes(found)
    )


@pytest.mark.parametrize("settings", [{"k": -1}, {"top_n": 0}])
def test_setting_out_of_range_is_refused(settings):
    with pytest.raises(InvalidSetting):
        RRFPostprocessor(**settings)


def test_weight_out_of_range_is_refused():
    with pytest.raises(InvalidSetting, match="'text'"):
        RRFPostprocessor(weights={"text": -1.0}).postprocess_nodes([text("a", 1.0)])


async def test_query_engine_answers_with_what_the_postprocessor_kept(retriever):
    engine = RetrieverQueryEngine(
        retriever,
        response_synthesizer=MultiModalSynthesizer(None),
        node_postprocessors=[RRFPostprocessor(k=3, top_n=1)],
    )
    kept = RRFPostprocessor(k=3, top_n=1).postprocess_nodes(retriever.retrieve("red"))
    for response in (engine.query("red"), await engine.aquery("red")):
        assert dumped(response.source_nodes) == dumped(kept)
        assert "[1]" in str(response)
