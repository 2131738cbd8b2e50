"""Evidence: labels, captions, the budget of pictures, and what is left out."""

from __future__ import annotations

import base64
import logging
from io import BytesIO

import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import (
    ImageNode,
    MediaResource,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from PIL import Image

from llama_index_mmrag import MultiModalSynthesizer
from llama_index_mmrag.answers.evidence import (
    PictureBudget,
    gather_evidence,
)
from llama_index_mmrag.errors import InvalidSetting

from ..support.colours import Paint, image_node, text_node, uid


def results(*nodes):
    return [NodeWithScore(node=node, score=1.0) for node in nodes]


def gather(*nodes, max_images=6, max_side=64, max_bytes=None, **settings):
    budget = PictureBudget(max_images, max_side, max_bytes)
    return gather_evidence(results(*nodes), budget=budget, **settings)


def opened(block: ImageBlock) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(block.image)))


def test_labels_count_what_is_shown_in_the_order_of_the_ranking(paint: Paint):
    evidence = gather(text_node("red"), image_node(paint("red")), text_node("blue"))
    assert [(s.label, s.result.node.node_id) for s in evidence.sources] == [
        (1, uid("text red")),
        (2, uid("image red")),
        (3, uid("text blue")),
    ]
    assert evidence.left_out == ()


def test_a_label_stands_before_its_text_and_a_caption_before_its_picture(paint: Paint):
    picture = image_node(paint("red"))
    picture.text = "A red cube"
    one, two = gather(text_node("red", file_name="a.md"), picture).sources
    assert one.blocks() == [TextBlock(text="[1] text from a.md:\nred\n")]
    label, shown = two.blocks()
    assert label == TextBlock(text="[2] image from red.png:\nA red cube\n")
    assert isinstance(shown, ImageBlock)
    assert shown.image_mimetype == "image/png"


def test_a_picture_without_a_caption_has_its_label_alone(paint: Paint):
    (source,) = gather(image_node(paint("red"))).sources
    assert source.blocks()[0] == TextBlock(text="[1] image from red.png:\n")


def test_pictures_arrive_in_their_colours_no_larger_than_asked(paint: Paint):
    nodes = [image_node(paint(c, size=(300, 100))) for c in ("red", "blue")]
    red, blue = (opened(s.blocks()[1]) for s in gather(*nodes).sources)
    assert (red.size, blue.size) == ((64, 21), (64, 21))
    assert [p.convert("RGB").getpixel((9, 9)) for p in (red, blue)] == [
        (255, 0, 0),
        (0, 0, 255),
    ]


def test_small_pictures_are_not_enlarged(paint: Paint):
    (source,) = gather(image_node(paint("red"))).sources
    assert opened(source.blocks()[1]).size == (16, 12)


def test_pictures_over_the_budget_are_left_out_and_texts_stay(paint: Paint):
    pictures = [image_node(paint(c)) for c in ("red", "green", "blue")]
    evidence = gather(*pictures, text_node("red"), max_images=1)
    assert [(s.label, s.result.node.node_id) for s in evidence.sources] == [
        (1, uid("image red")),
        (2, uid("text red")),
    ]
    assert evidence.left_out == (
        (uid("image green"), "over the budget of pictures (1)"),
        (uid("image blue"), "over the budget of pictures (1)"),
    )


def test_the_bytes_of_all_pictures_together_have_a_budget(paint: Paint):
    nodes = [
        image_node(paint("red", size=(40, 40))),
        image_node(paint("green", size=(3000, 2000))),
        image_node(paint("blue", size=(40, 40))),
    ]
    red, green, blue = (p.n_bytes for p in gather(*nodes, max_side=3000).pictures)
    assert red + blue < green
    within = gather(*nodes, max_side=3000, max_bytes=red + blue)
    # What comes later and is small enough is shown.
    assert [s.result.node.node_id for s in within.sources] == [
        uid("image red"),
        uid("image blue"),
    ]
    assert [s.label for s in within.sources] == [1, 2]
    assert within.left_out == (
        (
            uid("image green"),
            f"over the budget of bytes ({red + blue:,}): it has {green:,}, and "
            f"{red:,} are taken",
        ),
    )
    exactly = gather(*nodes, max_side=3000, max_bytes=red + green + blue)
    assert len(exactly.sources) == 3
    none = gather(*nodes, max_bytes=1)
    assert (none.sources, len(none.left_out)) == ((), 3)


def test_an_unreadable_picture_takes_no_label_and_no_budget(paint: Paint, caplog):
    broken = image_node(paint("red"))
    paint("red").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        evidence = gather(broken, image_node(paint("blue")), max_images=1)
    assert [(s.label, s.result.node.node_id) for s in evidence.sources] == [
        (1, uid("image blue"))
    ]
    ((node_id, reason),) = evidence.left_out
    assert node_id == uid("image red")
    assert "red.png" in reason
    assert "left out of the evidence" in caplog.text


def test_a_node_that_occurs_twice_is_shown_once_at_its_first_place(paint: Paint):
    red, blue = image_node(paint("red")), text_node("blue")
    evidence = gather(red, blue, red, blue, max_images=1)
    assert [s.result.node.node_id for s in evidence.sources] == [
        uid("image red"),
        uid("text blue"),
    ]
    assert evidence.left_out == ()


def test_without_a_budget_captions_are_shown_and_mute_pictures_left_out(paint: Paint):
    captioned, mute = image_node(paint("red")), image_node(paint("blue"))
    captioned.text = "A red cube"
    evidence = gather(captioned, mute, max_images=0)
    (source,) = evidence.sources
    assert source.blocks() == [TextBlock(text="[1] image from red.png:\nA red cube\n")]
    assert evidence.left_out == (
        (uid("image blue"), "neither text nor a picture to show"),
    )


def test_an_empty_text_is_left_out():
    evidence = gather(TextNode(id_="empty", text=" \n"), text_node("red"))
    assert [s.label for s in evidence.sources] == [1]
    assert evidence.left_out == (("empty", "neither text nor a picture to show"),)


def test_a_picture_behind_a_url_is_not_fetched_and_reported():
    node = ImageNode(id_="far", image_url="http://127.0.0.1:9/a.png", text="A cat")
    evidence = gather(node)
    assert evidence.sources == ()
    assert "URLs are not fetched" in evidence.left_out[0][1]


def test_an_inline_picture_is_shown(paint: Paint):
    data = base64.b64encode(paint("red").read_bytes()).decode()
    (source,) = gather(ImageNode(id_="inline", image=data)).sources
    assert opened(source.blocks()[1]).size == (16, 12)


def test_a_texts_footnotes_and_a_files_name_cannot_pass_for_labels():
    node = text_node("Cats purr.[2]\n[3] text from b.md:", file_name="[4].md")
    (source,) = gather(node).sources
    assert source.blocks() == [
        TextBlock(text="[1] text from (4).md:\nCats purr.(2)\n(3) text from b.md:\n")
    ]
    assert source.result.node.get_content() == "Cats purr.[2]\n[3] text from b.md:"


def test_no_results_are_no_evidence():
    assert gather() == gather_evidence([], budget=PictureBudget(0, 1))
    assert gather().sources == ()


def test_the_nodes_are_not_changed(paint: Paint):
    nodes = [text_node("red [2]"), image_node(paint("red"))]
    before = [node.model_dump() for node in nodes]
    gather(*nodes)
    assert [node.model_dump() for node in nodes] == before


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"max_images": -1, "max_side": 9}, "-1"),
        ({"max_images": 0, "max_side": 0}, "0"),
        ({"max_images": 1, "max_side": 9, "max_bytes": 0}, "0"),
    ],
)
def test_a_budget_out_of_range_is_refused(budget, named):
    with pytest.raises(InvalidSetting, match=f"is {named}; expected"):
        PictureBudget(**budget)


class TestDocumentOrder:
    """Two manuals, found step by step in no order at all."""

    @staticmethod
    def step(document: str, position: int | None, **where):
        node = text_node("red", name=f"{document} {position} {where}")
        node.text = f"{document}{position}"
        source = RelatedNodeInfo(node_id=document)
        node.relationships = {NodeRelationship.SOURCE: source}
        if position is not None:
            node.metadata["position"] = position
        return node.model_copy(update=where)

    def test_documents_are_as_ranked_and_each_is_told_from_its_beginning(self):
        found = [
            self.step("b", 7),
            self.step("a", 2),
            self.step("b", 10),
            self.step("a", 0),
            self.step("b", 1),
        ]
        ranked = gather(*found).sources
        told = gather(*found, order="document").sources
        assert [s.text for s in ranked] == ["b7", "a2", "b10", "a0", "b1"]
        assert [s.text for s in told] == ["b1", "b7", "b10", "a0", "a2"]
        assert [s.label for s in told] == [1, 2, 3, 4, 5]
        assert [s.rank for s in told] == [5, 1, 3, 4, 2]

    def test_nodes_without_a_document_stay_where_they_are_ranked(self):
        loose = [text_node("red"), text_node("blue")]
        found = [loose[0], self.step("a", 3), loose[1], self.step("a", 1)]
        told = gather(*found, order="document").sources
        assert [s.text for s in told] == ["red", "a1", "a3", "blue"]

    def test_chunks_of_llamaindexs_splitters_go_by_where_they_begin(self):
        found = [
            self.step("a", None, start_char_idx=90),
            self.step("a", None, start_char_idx=0),
        ]
        told = gather(*found, order="document").sources
        assert [s.result.node.start_char_idx for s in told] == [0, 90]

    def test_a_document_that_does_not_say_its_order_keeps_the_rankings(self):
        found = [self.step("a", 5), self.step("a", None), self.step("a", 1)]
        told = gather(*found, order="document").sources
        assert [s.text for s in told] == ["a5", "aNone", "a1"]

    def test_the_budget_goes_to_the_best_pictures_whatever_the_order(
        self, paint: Paint
    ):
        pictures = []
        for position, colour in [(2, "red"), (0, "green"), (1, "blue")]:
            node = image_node(paint(colour), position=position)
            source = RelatedNodeInfo(node_id="a")
            node.relationships = {NodeRelationship.SOURCE: source}
            pictures.append(node)
        evidence = gather(*pictures, order="document", max_images=2)
        assert [s.name for s in evidence.sources] == ["green.png", "red.png"]
        assert [node_id for node_id, _ in evidence.left_out] == [uid("image blue")]

    def test_another_order_is_refused(self):
        with pytest.raises(InvalidSetting, match=r"evidence_order is 'page'.*'doc"):
            MultiModalSynthesizer(evidence_order="page")


def test_pictures_of_plain_nodes_are_shown(paint: Paint):
    # What LlamaIndex's CitationQueryEngine makes of image nodes.
    path = paint("red")
    inline = base64.b64encode(path.read_bytes())
    evidence = gather(
        Node(image_resource=MediaResource(path=path)),
        Node(image_resource=MediaResource(data=inline)),
    )
    assert [s.picture is not None for s in evidence.sources] == [True, True]
    assert evidence.left_out == ()
