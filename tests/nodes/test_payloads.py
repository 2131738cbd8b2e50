"""Payloads that LlamaIndex did not write become nodes by their keys."""

from __future__ import annotations

import os

import pytest
from llama_index.core.schema import ImageNode, TextNode

from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.nodes.node import modality_of
from llama_index_mmrag.nodes.payloads import (
    PayloadKeys,
    Unread,
    check_found,
    checked_keys,
    node_of,
    value_at,
    with_picture,
)
from llama_index_mmrag.nodes.shown import picture_of

LANGCHAIN = {"page_content": "A kite.", "metadata": {"source": "kites.md", "page": 3}}
HAYSTACK = {
    "id": "4f1c",
    "content": "A kite.",
    "blob": None,
    "meta": {"file_path": "kites.md"},
    "score": None,
    "embedding": None,
}
FASTEMBED = {"document": "A kite.", "source": "kites.md"}


@pytest.mark.parametrize(
    ("key", "payload", "metadata"),
    [
        ("page_content", LANGCHAIN, {"metadata": LANGCHAIN["metadata"]}),
        ("content", HAYSTACK, {"id": "4f1c", "meta": HAYSTACK["meta"]}),
        ("document", FASTEMBED, {"source": "kites.md"}),
        ("a.b", {"a": {"b": "A kite.", "c": 1}}, {"a": {"c": 1}}),
        ("a.b", {"a.b": "A kite.", "a": 1}, {"a": 1}),
    ],
    ids=["LangChain", "Haystack", "fastembed", "in an object", "a key with a point"],
)
def test_a_text_is_its_key_and_metadata_are_the_rest(key, payload, metadata):
    before = repr(payload)
    node = node_of(PayloadKeys(text_key=key), "7", payload, pictures=False)
    assert type(node) is TextNode
    assert (node.node_id, node.text, node.metadata) == ("7", "A kite.", metadata)
    assert repr(payload) == before


@pytest.mark.parametrize("value", [None, "", " \n", ["A kite."], {"a": 1}, True])
def test_what_is_no_text_is_none(value):
    keys = PayloadKeys(text_key="text")
    node = node_of(keys, "7", {"text": value}, pictures=False)
    assert isinstance(node, Unread)
    assert node.metadata == {"lacks": "a text under 'text'"}


def test_a_number_is_a_text():
    keys = PayloadKeys(text_key="isbn")
    node = node_of(keys, "7", {"isbn": 9780262}, pictures=False)
    assert node.get_content() == "9780262"


def test_all_that_is_known_of_a_picture_is_in_its_node():
    keys = PayloadKeys(
        text_key="alt",
        image_path_key="file.path",
        image_url_key="url",
        image_base64_key="data",
    )
    payload = {
        "alt": "A kite.",
        "file": {"path": "/pix/kite.png"},
        "url": "https://example.org/kite.png",
        "data": "aGVsbG8=",
    }
    node = node_of(keys, "7", payload, pictures=True)
    assert isinstance(node, ImageNode)
    assert (node.text, node.image_path) == ("A kite.", "/pix/kite.png")
    assert (node.image_url, node.image) == (payload["url"], "aGVsbG8=")
    assert node.metadata == {k: payload[k] for k in ("file", "url")}


@pytest.mark.parametrize(
    ("key", "value", "picture"),
    [
        ("image_base64_key", "aGVsbG8=", b"hello"),
        ("image_base64_key", "data:image/png;base64,aGVsbG8=", b"hello"),
        ("image_url_key", "data:image/png;base64,aGVsbG8=", b"hello"),
    ],
)
def test_an_inline_picture_is_read(key, value, picture):
    node = node_of(PayloadKeys(**{key: "p"}), "7", {"p": value}, pictures=True)
    assert picture_of(node) == picture


def test_a_picture_without_a_caption_is_a_picture():
    keys = PayloadKeys(text_key="caption", image_path_key="path")
    node = node_of(keys, "7", {"path": "/pix/kite.png"}, pictures=True)
    assert (type(node), node.text) == (ImageNode, "")


@pytest.mark.parametrize("value", [None, "", 7, ["a.png"], {}])
def test_what_is_no_picture_is_said(value):
    keys = PayloadKeys(text_key="caption", image_path_key="p", image_url_key="u")
    node = node_of(keys, "7", {"caption": "A kite.", "p": value}, pictures=True)
    assert node.metadata == {"lacks": "a picture under 'p' or 'u'"}


ROOT = os.path.abspath(os.sep + "pix")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a.png", "a.png"),
        ("./b/../a.png", "a.png"),
        ("..a.png", "..a.png"),
        ("b/c/a.png", os.path.join("b", "c", "a.png")),
    ],
)
def test_a_relative_path_stands_below_the_root(value, path):
    keys = PayloadKeys(image_path_key="p", image_root=ROOT)
    node = node_of(keys, "7", {"p": value}, pictures=True)
    assert node.image_path == os.path.join(ROOT, path)
    assert node.metadata == {"p": value}, "as it is stored, for filters"


@pytest.mark.parametrize("value", ["../a.png", "b/../../pix2/a.png", "..", ".", "b/.."])
def test_no_relative_path_leaves_the_root(value):
    keys = PayloadKeys(image_path_key="p", image_root=ROOT)
    node = node_of(keys, "7", {"p": value}, pictures=True)
    assert node.metadata == {"lacks": "a path under 'p' that stays in image_root"}


def test_an_absolute_path_is_itself_and_without_a_root_a_folder_is_the_present_one():
    rooted = PayloadKeys(image_path_key="p", image_root=ROOT)
    given = {"p": os.path.abspath(os.sep + os.path.join("other", "a.png"))}
    assert node_of(rooted, "7", given, pictures=True).image_path == given["p"]
    bare = node_of(PayloadKeys(image_path_key="p"), "7", {"p": "a.png"}, pictures=True)
    assert bare.image_path == os.path.abspath("a.png")


def test_a_path_beside_an_image_file_of_theirs_is_no_root_of_ours():
    keys = PayloadKeys(image_path_key="image_file")
    node = node_of(keys, "7", {"image_file": "pix/a.png"}, pictures=True)
    assert picture_of(node) == os.path.abspath("pix/a.png")


def test_a_modality_of_theirs_is_not_the_nodes():
    payload = {"text": "A scan.", "path": "/a.png", "modality": "CT"}
    keys = PayloadKeys(text_key="text", image_path_key="path")
    read = [node_of(keys, "7", payload, pictures=shown) for shown in (False, True)]
    assert [modality_of(node) for node in read] == ["text", "image"]
    assert {node.metadata["original_modality"] for node in read} == {"CT"}


def test_a_written_text_of_which_the_payload_names_a_picture_shows_it():
    keys = PayloadKeys(image_path_key="path")
    node = TextNode(id_="n", text="A kite.", metadata={"path": "/a.png"})
    shown = with_picture(keys, node, {"path": "/a.png"})
    assert isinstance(shown, ImageNode)
    assert (shown.node_id, shown.text, shown.image_path) == ("n", "A kite.", "/a.png")
    assert with_picture(keys, node, {}) is node
    picture = ImageNode(image_path="/b.png")
    assert with_picture(keys, picture, {"path": "/a.png"}) is picture


def test_values_lie_in_objects():
    assert value_at({"a": {"b": {"c": 0}}}, "a.b.c") == 0
    assert value_at({"a": [{"b": 1}]}, "a.b") is None
    assert value_at({"a": {"b": 1}}, "a.") is None


@pytest.mark.parametrize(
    ("keys", "modality", "message"),
    [
        ({"text_key": ""}, "text", "text_key is empty"),
        ({"text_key": 7}, "text", "text_key is 7; expected str"),
        ({"image_path_key": "p"}, "text", "one of texts, and has image_path_key"),
        ({"image_root": "."}, "image", "beside image_path_key="),
        (
            {"image_root": "no such folder", "image_path_key": "p"},
            "image",
            "image_root is 'no such folder'; expected a folder that is there",
        ),
    ],
)
def test_keys_are_checked(keys, modality, message):
    with pytest.raises(InvalidSetting, match=message):
        checked_keys(PayloadKeys(**keys), "Channel 'a'", modality)


def test_a_key_that_no_payload_has_is_told_with_those_there_are():
    payloads = [LANGCHAIN, {"page_content": "B"}]
    keys = PayloadKeys(text_key="text")
    with pytest.raises(CollectionMismatch, match="'text', its text_key.*2 points") as e:
        check_found(keys, payloads, pictures=False, of="Collection 'c'")
    assert "['metadata', 'metadata.page', 'metadata.source', 'page_content']" in str(
        e.value
    )
    for found in ("page_content", "metadata.page"):
        check_found(PayloadKeys(text_key=found), payloads, pictures=False, of="c")
    check_found(keys, [], pictures=True, of="Collection 'c'")


def test_pictures_that_nothing_leads_to_are_told():
    with pytest.raises(CollectionMismatch, match=r"where their pictures.*\['path'\]"):
        check_found(PayloadKeys(), [{"path": "a.png"}], pictures=True, of="c")
