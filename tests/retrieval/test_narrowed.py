"""Searches narrowed to documents and nodes, as LlamaIndex's retrievers are."""

from __future__ import annotations

import uuid

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo
from llama_index.core.vector_stores import SimpleVectorStore
from qdrant_client import models

from llama_index_mmrag.errors import InvalidSetting

from ..support.colours import channel, ids_of, image_node, retriever_of, text_node, uid

COLOURS = ("red", "green", "blue")


@pytest.fixture
def channels(kind, open_store, paint):
    texts = [text_node(colour) for colour in COLOURS]
    for node in texts:
        source = RelatedNodeInfo(node_id=node.text)
        node.relationships = {NodeRelationship.SOURCE: source}
    pictures = [image_node(paint(c)) for c in COLOURS]
    return [
        channel("text", open_store(kind, texts)),
        channel("image", open_store(kind, pictures)),
    ]


@pytest.mark.parametrize("spell", [str, str.upper, lambda id_: uuid.UUID(id_).hex])
async def test_nodes_alone_are_shown_in_every_channel(spell, channels, retrieve):
    wanted = [uid("text red"), uid("image blue")]
    retriever = retriever_of(*channels, node_ids=[spell(id_) for id_ in wanted])
    assert sorted(ids_of(await retrieve(retriever, "red"))) == sorted(wanted)


async def test_documents_alone_are_shown(channels, retrieve):
    retriever = retriever_of(*channels, doc_ids=["red", "blue"])
    found = await retrieve(retriever, "red")
    assert {result.node.ref_doc_id for result in found} == {"red", "blue"}
    narrower = retriever.with_filters({"modality": "text"})
    assert len(await retrieve(narrower, "red")) == 2
    assert await retrieve(retriever.with_filters({"modality": "image"}), "red") == []


def test_filter_of_qdrants_under_llama_indexs_name_is_obeyed(channels):
    only = models.Filter(
        must=[models.FieldCondition(key="doc_id", match=models.MatchValue(value="red"))]
    )
    retriever = retriever_of(*channels, vector_store_kwargs={"qdrant_filters": only})
    assert [r.node.ref_doc_id for r in retriever.retrieve("red")] == ["red"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"doc_ids": []}, "doc_ids is empty"),
        ({"node_ids": "red"}, "node_ids is 'red'"),
        ({"vector_store_kwargs": {"shard": 1}}, "has 'shard'"),
        ({"vector_store_kwargs": []}, "vector_store_kwargs is"),
    ],
)
def test_what_narrows_nothing_is_refused(settings, said, channels):
    with pytest.raises(InvalidSetting, match=said):
        retriever_of(*channels, **settings)


def test_stores_of_others_are_not_narrowed(encoder):
    store = channel("text", SimpleVectorStore(stores_text=True), encoder)
    with pytest.raises(InvalidSetting, match="SimpleVectorStore cannot apply"):
        retriever_of(store, doc_ids=["red"])
