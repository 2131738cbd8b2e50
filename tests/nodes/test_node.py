"""Nodes with their provenance are what they were, to whoever compares them."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)
from llama_index.core.vector_stores.utils import (
    metadata_dict_to_node,
    node_to_metadata_dict,
)

from llama_index_mmrag import FusedNode, Provenance, provenance_of
from llama_index_mmrag.nodes.node import (
    PROVENANCE_KEY,
    CaptionedImageNode,
    with_provenance,
)
from llama_index_mmrag.provenance import Contribution, Degradation

from ..support.colours import ids_of, image_node, text_node
from ..support.retrievers import Scripted

PROVENANCE = Provenance("door", 1 / 61, "rrf(k=60)", ())


@pytest.fixture
def nodes(paint) -> list[BaseNode]:
    return [
        text_node("red door", author="facilities"),
        TextNode(text=""),
        image_node(paint("red"), author="facilities"),
        IndexNode(text="a table", index_id="table-1"),
    ]


def test_hash_does_not_know_of_the_provenance(nodes):
    hashes = [node.hash for node in nodes]
    explained = [with_provenance(node, PROVENANCE) for node in nodes]
    assert [node.hash for node in explained[:3]] == hashes[:3]
    assert [node.hash for node in nodes] == hashes
    assert len(set(hashes)) == len(hashes)


def test_hash_still_knows_of_text_and_metadata():
    texts = [text_node("red"), text_node("blue"), text_node("red", author="me")]
    assert len({with_provenance(node, PROVENANCE).hash for node in texts}) == 3


def test_content_and_class_name_are_those_of_the_node(nodes):
    for node in nodes:
        explained = with_provenance(node, PROVENANCE)
        assert explained.class_name() == node.class_name()
        assert isinstance(explained, type(node))
        vectors = {"embedding", "text_embedding"}
        bare = explained.model_dump(exclude={"metadata", *vectors})
        hidden = ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
        for keys in hidden:
            assert PROVENANCE_KEY in bare.pop(keys)
        assert bare == node.model_dump(exclude={"metadata", *vectors, *hidden})
        assert explained.metadata == {
            **node.metadata,
            PROVENANCE_KEY: PROVENANCE.to_dict(),
        }
        assert PROVENANCE_KEY not in node.metadata


def test_explained_node_is_stored_and_read_back_as_an_ordinary_one(nodes):
    for node in nodes:
        explained = with_provenance(node, PROVENANCE)
        stored = node_to_metadata_dict(explained, flat_metadata=False)
        back = metadata_dict_to_node(stored)
        assert type(back) is type(node)
        assert provenance_of(NodeWithScore(node=back)) == PROVENANCE


def test_multimodal_node_of_llamaindex_keeps_its_class_and_content():
    node = Node(text_resource={"text": "red"}, metadata={"author": "me"})
    explained = with_provenance(node, PROVENANCE)
    assert type(explained) is Node
    assert explained.get_content() == "red"


def test_picture_shows_its_metadata_caption_and_pixels_in_that_order(paint):
    node = image_node(paint("red"), author="facilities")
    node.text = "A red door."
    explained = with_provenance(node, PROVENANCE)
    meta, caption, picture = explained.get_content_blocks(MetadataMode.LLM)
    assert isinstance(meta, TextBlock)
    assert meta.text.strip() == "author: facilities"
    assert caption == TextBlock(text="A red door.")
    assert isinstance(picture, ImageBlock)
    plain = node.get_content_blocks(MetadataMode.NONE)
    assert len(plain) == 1, "LlamaIndex shows captions now: update the docs"


def test_node_that_we_and_another_retriever_find_is_one_node_to_llamaindex(paint):
    text, picture = text_node("red"), image_node(paint("red"))
    ours = Scripted([FusedNode.of(node, PROVENANCE) for node in (text, picture)])
    other = Scripted([NodeWithScore(node=text, score=0.5)])
    fusion = QueryFusionRetriever(
        [other, ours],
        llm=MockLLM(),
        mode=FUSION_MODES.RECIPROCAL_RANK,
        num_queries=1,
        use_async=False,
    )
    results = fusion.retrieve("red")
    assert ids_of(results) == [text.node_id, picture.node_id]
    assert [r.score for r in results] == [1 / 60 + 1 / 60, 1 / 61]
    assert [provenance_of(r) for r in results] == [PROVENANCE, PROVENANCE]


def test_inline_picture_is_shown_too():
    node = ImageNode(image="aGVsbG8=", text="greeting")
    explained = with_provenance(node, PROVENANCE)
    assert isinstance(explained, CaptionedImageNode)
    caption, picture = explained.get_content_blocks()
    assert caption.text == "greeting"
    assert picture.resolve_image().read() == b"hello"


def test_result_is_written_with_named_fields_and_read_back_the_same():
    hit = Contribution("image", "text→image", "n1", "image", 2, 0.25, 1.0, 1 / 62)
    lost = Degradation("text", "text→text", "error", "it is down")
    routes = ("text→image", "text→text")
    provenance = Provenance("n1", 1 / 62, "rrf(k=60)", (hit,), routes, (lost,))
    result = FusedNode.of(text_node("red"), provenance)
    data = json.loads(result.model_dump_json())["provenance"]
    assert data == json.loads(json.dumps(provenance.to_dict()))
    assert data["contributions"][0]["route"] == "text→image"
    assert result.to_dict()["provenance"] == provenance.to_dict()
    for given in (data, provenance, list(provenance)):
        back = FusedNode(node=result.node, score=result.score, provenance=given)
        assert back == result
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):  # noqa: S301
        assert again == result
        assert type(again.provenance) is Provenance


def test_fused_node_leaves_the_stores_node_as_it_was():
    node = TextNode(id_="t1", text="red", metadata={"page": 3})
    before = node.model_dump()
    fused = FusedNode.of(node, PROVENANCE)
    assert node.model_dump() == before
    assert fused.score == PROVENANCE.score
    assert fused.node.metadata["page"] == 3
    fused.node.metadata["page"] = 4
    assert node.metadata["page"] == 3


def test_provenance_survives_components_that_rebuild_results():
    fused = FusedNode.of(TextNode(id_="t1", text="red"), PROVENANCE)
    rebuilt = NodeWithScore(node=fused.node, score=0.5)
    assert fused.provenance == provenance_of(fused) == PROVENANCE
    assert provenance_of(rebuilt) == PROVENANCE
    assert provenance_of(NodeWithScore(node=TextNode(text="plain"), score=1.0)) is None


def test_provenance_is_shown_to_no_model():
    node = FusedNode.of(TextNode(text="red", metadata={"page": 3}), PROVENANCE).node
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert PROVENANCE_KEY not in node.get_content(mode)
        assert "page" in node.get_content(mode)
