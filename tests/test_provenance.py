"""Provenance: JSON round trip, explanation, and survival of LlamaIndex's rebuilding."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, TextNode

from llama_index_mmrag.nodes.node import (
    PROVENANCE_KEY,
    CaptionedImageNode,
    FusedNode,
    provenance_of,
)
from llama_index_mmrag.provenance import Contribution, Degradation, Provenance

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(max_size=8)

CONTRIBUTIONS = st.builds(
    Contribution,
    channel=WORDS,
    route=WORDS,
    node_id=WORDS,
    modality=WORDS,
    rank=st.integers(1, 1000),
    raw_score=NUMBERS,
    weight=NUMBERS,
    amount=NUMBERS,
    calibrated_score=st.none() | NUMBERS,
)
DEGRADATIONS = st.builds(
    Degradation,
    channel=WORDS,
    route=WORDS,
    kind=st.sampled_from(["error", "deadline", "invalid"]),
    reason=WORDS,
)
PROVENANCES = st.builds(
    Provenance,
    entity_id=WORDS,
    score=NUMBERS,
    fusion=WORDS,
    contributions=st.lists(CONTRIBUTIONS, max_size=4).map(tuple),
    requested=st.lists(WORDS, max_size=3).map(tuple),
    degraded=st.lists(DEGRADATIONS, max_size=2).map(tuple),
)

TEXT_HIT = Contribution("text", "text→text", "t1", "text", 2, 0.8, 1.0, 1 / 62)
IMAGE_HIT = Contribution("image", "text→image", "i1", "image", 1, 0.3, 1.0, 1 / 61)
BOTH = Provenance(
    "figure",
    1 / 61 + 1 / 62,
    "rrf(k=60)",
    (IMAGE_HIT, TEXT_HIT),
    requested=("text→text", "text→image", "text→video"),
    degraded=(Degradation("video", "text→video", "deadline", "no answer within 2 s"),),
)


@given(PROVENANCES)
def test_json_round_trip_gives_an_equal_provenance(provenance):
    data = json.loads(json.dumps(provenance.to_dict()))
    assert Provenance.from_dict(data) == provenance
    assert Provenance.from_dict(provenance.to_dict()) == provenance


def test_unknown_field_is_refused():
    with pytest.raises(TypeError):
        Provenance.from_dict({**BOTH.to_dict(), "colour": "red"})


def test_missing_contributions_are_refused():
    with pytest.raises(KeyError):
        Provenance.from_dict({"entity_id": "e", "score": 0.0, "fusion": "rrf"})


def test_explanation_is_the_sum_with_each_term_named():
    assert BOTH.explain() == (
        "0.0325 = 0.0164 (text→image, rank 1, score 0.300)"
        " + 0.0161 (text→text, rank 2, score 0.800)"
    )


def test_modalities_come_largest_contribution_first_and_once():
    assert BOTH.modalities == ("image", "text")


def test_of_node_gives_what_that_node_added():
    assert BOTH.of_node("i1") == (IMAGE_HIT,)
    assert BOTH.of_node("kin") == ()


def test_fused_node_leaves_the_stores_node_as_it_was():
    node = TextNode(id_="t1", text="red", metadata={"page": 3})
    before = node.model_dump()
    fused = FusedNode.of(node, BOTH)
    assert node.model_dump() == before
    assert fused.score == BOTH.score
    assert fused.node.metadata["page"] == 3
    fused.node.metadata["page"] = 4
    assert node.metadata["page"] == 3


def test_provenance_survives_components_that_rebuild_results():
    fused = FusedNode.of(TextNode(id_="t1", text="red"), BOTH)
    rebuilt = NodeWithScore(node=fused.node, score=0.5)
    assert fused.provenance == provenance_of(fused) == BOTH
    assert provenance_of(rebuilt) == BOTH
    assert provenance_of(NodeWithScore(node=TextNode(text="plain"), score=1.0)) is None


def test_provenance_is_shown_to_no_model():
    node = FusedNode.of(TextNode(text="red", metadata={"page": 3}), BOTH).node
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert PROVENANCE_KEY not in node.get_content(mode)
        assert "page" in node.get_content(mode)


def test_image_node_comes_with_its_caption_in_its_content():
    node = ImageNode(
        id_="i1", image="aGk=", image_mimetype="image/png", text="a red cube"
    )
    fused = FusedNode.of(node, BOTH).node
    assert isinstance(fused, CaptionedImageNode)
    assert fused.class_name() == "ImageNode"
    blocks = fused.get_content_blocks(MetadataMode.NONE)
    assert [block.block_type for block in blocks] == ["text", "image"]
    assert blocks[0].text == "a red cube"
