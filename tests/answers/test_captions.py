"""Captions stand beside their pictures where an engine would drop them."""

from __future__ import annotations

from llama_index.core.schema import ImageNode, MetadataMode, TextNode

from llama_index_mmrag import CaptionsAsText, FusedNode, Provenance, provenance_of
from llama_index_mmrag.nodes.node import BOOKKEEPING_KEYS

from ..support.colours import ids_of, ranked


def picture(name: str, caption: str = "", **metadata: str) -> ImageNode:
    return ImageNode(
        id_=name, image_path=f"{name}.png", text=caption, metadata=metadata
    )


def test_each_caption_follows_its_picture_under_the_pictures_number():
    results = [
        *ranked(picture("red", "A red door."), score=0.9),
        *ranked(TextNode(text="Leave by the red door."), score=0.8),
        *ranked(picture("blue"), score=0.7),
        *ranked(picture("green", "A green door."), score=None),
    ]
    shown = CaptionsAsText().postprocess_nodes(results)
    assert [(r.text, r.score) for r in shown] == [
        ("A red door.", 0.9),
        ("Caption of picture 1: A red door.", 0.9),
        ("Leave by the red door.", 0.8),
        ("", 0.7),
        ("A green door.", None),
        ("Caption of picture 3: A green door.", None),
    ]
    assert [r for r in shown if r in results] == results
    assert len(results) == 4


def test_caption_keeps_the_provenance_and_shows_no_bookkeeping():
    provenance = Provenance("door", 1 / 61, "rrf(k=60)", ())
    node = picture("red", "A red door.", author="me", entity_id="door")
    result = FusedNode.of(node, provenance)
    _, caption = CaptionsAsText().postprocess_nodes([result])
    assert isinstance(caption, FusedNode)
    assert (caption.score, provenance_of(caption)) == (1 / 61, provenance)
    assert provenance_of(*ranked(caption.node)) == provenance
    shown = caption.node.get_content(MetadataMode.LLM)
    assert shown == "author: me\n\nCaption of picture 1: A red door."
    assert not any(key in shown for key in BOOKKEEPING_KEYS)
    caption.node.metadata["author"] = "you"
    assert result.node.metadata["author"] == "me"


def test_twice_is_once_and_nothing_is_nothing():
    results = ranked(picture("red", "A red door."))
    once = CaptionsAsText().postprocess_nodes(results)
    twice = CaptionsAsText().postprocess_nodes(once)
    assert ids_of(twice) == ids_of(once)
    assert len(set(ids_of(once))) == 2
    assert CaptionsAsText().postprocess_nodes([]) == []


def test_postprocessor_survives_a_round_trip():
    data = CaptionsAsText().to_dict()
    assert data["class_name"] == "CaptionsAsText"
    assert isinstance(CaptionsAsText.from_dict(data), CaptionsAsText)
