"""Provenance: JSON round trip, explanation, what each node added."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index_mmrag.provenance import (
    Contribution,
    Degradation,
    Line,
    Provenance,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(max_size=8)

LINES = st.builds(
    Line,
    text=WORDS,
    box=st.tuples(*[st.floats(0, 1)] * 4),
    confidence=st.floats(0, 1),
)
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
    lettering=st.lists(LINES, max_size=2).map(tuple),
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


def test_unknown_and_missing_fields_are_refused():
    with pytest.raises(TypeError):
        Provenance.from_dict({**BOTH.to_dict(), "colour": "red"})
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
