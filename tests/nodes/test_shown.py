"""A node's picture and name, in whichever form the node has them."""

from __future__ import annotations

import base64

import pytest
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.shown import (
    has_picture,
    name_of,
    picture_of,
    source_of,
)

DATA = bytes(range(256))
BASE64 = base64.b64encode(DATA).decode()
WRAPPED = base64.encodebytes(DATA).decode()  # a line break after each 76 letters
URI = f"data:image/png;base64,{BASE64}"


@pytest.mark.parametrize(
    "node",
    [
        *(ImageNode(image=text) for text in (BASE64, WRAPPED, URI)),
        ImageNode(image_url=URI),
        ImageDocument(image=BASE64),
        Node(image_resource=MediaResource(data=DATA)),
        Node(image_resource=MediaResource(url=URI)),
    ],
)
def test_inline_picture_is_decoded_whatever_holds_it(node):
    assert has_picture(node)
    assert picture_of(node) == DATA


@pytest.mark.parametrize(
    "node",
    [
        ImageNode(image="bm90IHJlYWQ=", image_path="a/b.png"),
        Node(image_resource=MediaResource(data=DATA, path="a/b.png")),
    ],
)
def test_path_wins_over_inline_data(node):
    assert picture_of(node) == "a/b.png"


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (ImageNode(id_="n1"), "'n1' is an image without picture"),
        (ImageNode(id_="n1", image_url="https://example.com/a.png"), "not fetched"),
        (
            Node(id_="n1", image_resource=MediaResource(url="https://example.com/a")),
            "'n1' is only a URL, 'https://example.com/a'",
        ),
        (ImageNode(id_="n1", image="%%%"), "'n1' is no base64"),
        (ImageNode(id_="n1", image="größe"), "'n1' is no base64"),
    ],
)
def test_picture_that_cannot_be_had_is_named(node, reason):
    assert has_picture(node)
    with pytest.raises(ImageUnreadable, match=reason):
        picture_of(node)


def test_text_shows_no_picture():
    assert not has_picture(TextNode(text="a"))
    assert not has_picture(Node(text_resource=MediaResource(text="a")))


DOCUMENT = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
PAGE = {"file_path": "docs/page.md", "file_name": "other name"}


@pytest.mark.parametrize(
    ("node", "name", "source"),
    [
        (ImageNode(image_path="pix/a.png", metadata=PAGE), "a.png", "pix/a.png"),
        (
            Node(image_resource=MediaResource(path="pix/a.png"), metadata=PAGE),
            "a.png",
            "pix/a.png",
        ),
        (ImageNode(image=BASE64, metadata=PAGE), "page.md", "docs/page.md"),
        (TextNode(text="a", metadata=PAGE), "page.md", "docs/page.md"),
        (TextNode(id_="n", metadata={"file_name": "b.txt"}), "b.txt", "n"),
        (TextNode(id_="n", relationships=DOCUMENT), "n", "doc"),
        (TextNode(id_="n"), "n", "n"),
        (TextNode(id_="n", text="Tea is\nsteeped."), "Tea is steeped.", "n"),
        (
            TextNode(id_="n", text="word " * 20, metadata={"title": "Tea"}),
            "Tea, word word word word word word word word…",
            "n",
        ),
    ],
)
def test_node_goes_by_its_file_or_else_its_words(node, name, source):
    assert (name_of(node), source_of(node)) == (name, source)
