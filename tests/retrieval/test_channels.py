"""Channels: what they accept, what they refuse, and stores that cannot serve them."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from llama_index_mmrag import Channel
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed, InvalidSetting
from llama_index_mmrag.nodes.node import ENTITY_KEY
from llama_index_mmrag.retrieval.channel import both_filters

from ..support.colours import channel, retriever_of, text_node, uid


def make(name: str = "image", **settings: Any) -> Channel:
    settings.setdefault("embed_model", ColourEncoder())
    return Channel(name, vector_store=SimpleVectorStore(), **settings)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"name": "image"}, {"text", "image"}),
        ({"name": "video"}, {"text", "image"}),
        ({"name": "text"}, {"text"}),
        ({"name": "notes", "modality": "text"}, {"text"}),
        ({"name": "text", "modality": "image"}, {"text", "image"}),
        ({"name": "image", "embed_model": MockEmbedding(embed_dim=4)}, {"text"}),
        ({"name": "text", "accepts": None}, {"text"}),
        ({"name": "text", "accepts": frozenset({"image"})}, {"image"}),
        ({"name": "text", "accepts": frozenset()}, set()),
    ],
)
def test_pictures_are_taken_where_the_encoder_sees_and_nodes_are_no_texts(
    settings, kinds
):
    assert make(**settings).accepts == kinds


def test_modality_is_the_name_unless_given():
    assert make("video").modality == "video"
    assert make("faces", modality="image").modality == "image"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "empty name"),
        ({"top_k": 0}, "top_k is 0"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": -1.5}, "timeout_s is -1.5"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"top_k": True}, "top_k is True"),
        ({"n_retries": -1}, "n_retries is -1"),
        ({"n_retries": 1.5}, "n_retries is 1.5"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"mode": "psychic"}, "mode is 'psychic'"),
        ({"accepts": {"words"}}, "accepts is 'words'"),
        ({"accepts": {"composed"}}, "no composition"),
    ],
)
def test_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(InvalidSetting, match=message):
        make(**settings)


def test_pictures_for_an_encoder_without_eyes_are_refused():
    blind = MockEmbedding(embed_dim=4)
    with pytest.raises(InvalidSetting, match="MockEmbedding is no MultiModalEmbedding"):
        make(embed_model=blind, accepts=frozenset({"text", "image"}))


def test_store_that_keeps_no_nodes_is_told_so():
    # SimpleVectorStore keeps vectors only: its texts live in LlamaIndex's docstore.
    store = SimpleVectorStore()
    store.add([text_node("red")])
    said = r"0 nodes and 1 similarities.*stores_text"
    with pytest.raises(AllRoutesFailed, match=said):
        retriever_of(channel("text", store)).retrieve("red")


def test_search_brings_ids_entities_and_scores_best_first(kind, open_store, encoder):
    nodes = [text_node("red", entity="r"), text_node("blue")]
    one = channel("text", open_store(kind, nodes), encoder)
    vector = encoder.get_text_embedding("red")
    found = one.collection.search(
        VectorStoreQuery(query_embedding=vector, similarity_top_k=5)
    )
    assert [(f.node_id, f.said.get(ENTITY_KEY)) for f in found] == [
        (uid("text red"), "r"),
        (uid("text blue"), None),
    ]
    assert [f.score for f in found] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert all((f.node is None) == (one.fetch is not None) for f in found)
    assert (one.fetch is not None) == (kind == "edge")
    nearest = VectorStoreQuery(query_embedding=vector, similarity_top_k=1)
    assert len(one.collection.search(nearest)) == 1


def test_nodes_leave_out_ids_that_are_gone(kind, open_store, encoder):
    one = channel("text", open_store(kind, [text_node("red")]), encoder)
    (found,) = one.collection.nodes([uid("text red"), uid("never stored")])
    assert (found.node_id, found.get_content()) == (uid("text red"), "red")
    assert one.collection.nodes([]) == []
    assert one.of_entities([]) == []


def test_both_filters_hold_where_both_are_given():
    one = MetadataFilters(filters=[MetadataFilter(key="a", value="1")])
    either = [MetadataFilter(key=key, value="2") for key in "bc"]
    other = MetadataFilters(filters=either, condition=FilterCondition.OR)
    assert both_filters(None, None) is None
    assert both_filters(one, None) is one
    assert both_filters(None, other) is other
    assert both_filters(one, other) == MetadataFilters(filters=[one, other])
