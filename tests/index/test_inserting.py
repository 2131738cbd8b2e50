"""Documents, nodes and pictures: put in, replaced, taken out."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion import ReadSettings

from ..support.indexes import (
    COLOURS,
    KINDS,
    all_of,
    contents,
    inline,
    painted,
    pictures,
    texts,
)


@KINDS
def test_documents_nodes_and_pictures_go_to_their_channels(kind, open_index, tmp_path):
    index = open_index(kind)
    report = index.insert(
        [
            Document(text="a red apple"),
            TextNode(text="a green pear"),
            ImageDocument(image_path=str(painted(tmp_path, "blue"))),
            ImageNode(image=inline("yellow"), text="a lemon"),
        ]
    )
    assert (report.n_documents, report.n_added, report.problems) == (4, 5, [])
    assert texts(index) == ["a green pear", "a lemon", "a red apple"]
    assert len(pictures(index)) == 2
    best = {
        colour: index.as_retriever(top_k=1).retrieve(colour)[0].node
        for colour in ("red", "green", "blue", "yellow")
    }
    assert [type(node).__name__ for node in best.values()] == [
        "ExplainedTextNode",
        "ExplainedTextNode",
        "CaptionedImageNode",
        "CaptionedImageNode",
    ]


@KINDS
def test_second_insert_adds_nothing_and_encodes_nothing(
    kind, open_index, tmp_path, encoder
):
    index = open_index(kind)

    def items() -> list[BaseNode]:
        return [
            Document(text="a red apple", metadata={"n": 1}),
            Document(text="blue", id_="mine"),
            TextNode(
                text="green", id_="not a uuid", metadata={"last_accessed_date": 1}
            ),
            TextNode(text="cyan", id_=str(uuid.uuid5(uuid.NAMESPACE_URL, "x"))),
            ImageDocument(image_path=str(painted(tmp_path, "blue")), text="sky"),
            ImageNode(image=inline("yellow"), text="a lemon"),
        ]

    first = index.insert(items())
    before = contents(index)
    encoder.taken()
    second = index.insert(items())
    assert second.n_added == second.n_removed == 0
    assert second.n_unchanged == first.n_added
    assert encoder.taken() == (0, 0)
    assert contents(index) == before


def test_document_without_id_made_anew_is_one_document(open_index):
    index = open_index()
    for _ in range(2):
        index.insert(Document(text="red"))
    assert (texts(index), len(index.ref_doc_ids())) == (["red"], 1)


@KINDS
def test_changed_document_replaces_what_was_stored_of_it(kind, open_index, encoder):
    index = open_index(kind)
    index.insert([Document(text="red", id_="a"), Document(text="blue", id_="b")])
    encoder.taken()
    report = index.insert([Document(text="green", id_="a")])
    assert (report.n_added, report.n_removed, encoder.taken()) == (1, 1, (1, 0))
    assert texts(index) == ["blue", "green"]


def test_changed_metadata_alone_replaces_too(open_index):
    index = open_index()
    index.insert(Document(text="red", id_="a", metadata={"price": 1}))
    report = index.insert(Document(text="red", id_="a", metadata={"price": 2}))
    assert (report.n_added, report.n_removed) == (1, 1)
    (node,) = all_of(index.channels[0])
    assert node.metadata["price"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "blue"},
        {"metadata": {"price": 2}},
        {"excluded_embed_metadata_keys": ["price"]},
        {"relationships": {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="other")}},
    ],
)
def test_changed_node_replaces_the_one_of_its_id(changed, open_index):
    index = open_index()
    same = {"text": "red", "metadata": {"price": 1}, "id_": "mine"}
    index.insert(TextNode(**same))
    assert index.insert(TextNode(**{**same, **changed})).n_added == 1
    fresh = open_index()
    fresh.insert(TextNode(**{**same, **changed}))
    assert contents(index) == contents(fresh)


def test_node_that_turns_into_a_picture_leaves_the_texts(open_index, tmp_path):
    read = ReadSettings(media_dir=tmp_path / "media")
    index, fresh = open_index(settings=read), open_index(settings=read)
    id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, "turning"))
    picture = ImageNode(id_=id_, image=inline("red"), text="red")
    index.insert(TextNode(id_=id_, text="red"))
    report = index.insert(picture)
    assert (report.n_added, report.n_removed) == (2, 1)
    fresh.insert(picture)
    assert contents(index) == contents(fresh)


@pytest.mark.parametrize("at_once", [True, False])
def test_document_replaces_the_nodes_given_for_it_before(at_once, open_index):
    index = open_index()
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    items = [
        TextNode(text="old", relationships=source),
        Document(text="new", id_="doc"),
        TextNode(text="added", relationships=source),
    ]
    for batch in [items] if at_once else [[item] for item in items]:
        index.insert(batch)
    assert texts(index) == ["added", "new"]


def test_nodes_of_one_document_count_as_one_document(open_index):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    nodes = [TextNode(text=colour, relationships=source) for colour in COLOURS]
    report = open_index().insert(nodes)
    assert (report.n_documents, report.ref_doc_ids) == (1, ["doc"])
    assert str(report) == "1 document: 6 nodes added, 0 unchanged, 0 removed"


def test_inline_pictures_are_files_of_the_store(open_index, tmp_path):
    index = open_index(path=tmp_path / "store")
    index.insert([ImageNode(image=inline("red")), ImageDocument(image=inline("red"))])
    (file,) = (tmp_path / "store" / "media").iterdir()
    stored = {
        (n.image_path, n.metadata["image_file"]) for n in all_of(index.channels[1])
    }
    assert stored == {(file.name, f"media/{file.name}")}
    shown = index.as_retriever().retrieve("red")
    assert {Path(result.node.image_path) for result in shown} == {file}
    assert base64.b64encode(file.read_bytes()).decode() == inline("red")


def test_inserting_nothing_does_nothing(open_index):
    index = open_index()
    assert str(index.insert([])) == "0 documents: 0 nodes added, 0 unchanged, 0 removed"
    assert index.as_retriever().retrieve("red") == []


@pytest.mark.parametrize("path", ["docs", Path("docs")])
def test_path_given_as_document_is_refused(path, open_index):
    with pytest.raises(InvalidSetting, match="insert_directory"):
        open_index().insert(path)


def test_given_documents_and_nodes_are_not_changed(open_index):
    items = [Document(text="red", metadata={"a": 1}), TextNode(text="blue")]
    before = [item.model_dump() for item in items]
    open_index().insert(items)
    assert [item.model_dump() for item in items] == before


@KINDS
def test_document_is_deleted_by_its_id_in_every_channel(kind, open_index, tmp_path):
    index = open_index(kind)
    picture = str(painted(tmp_path, "red"))
    index.insert(
        [
            ImageDocument(text="red", image_path=picture, id_="both"),
            Document(text="blue", id_="other"),
        ]
    )
    assert index.delete_ref_doc("both") == 2
    assert index.delete_ref_doc("both") == 0
    assert index.delete_ref_doc("never there") == 0
    assert (texts(index), pictures(index)) == (["blue"], [])
    assert index.ref_doc_ids() == ["other"]


def test_document_is_deleted_by_the_random_id_of_its_object(open_index):
    index = open_index()
    document = Document(text="red")
    index.insert([document, Document(text="blue")])
    assert index.delete_ref_doc(document.id_) == 1
    assert texts(index) == ["blue"]


def test_file_is_deleted_by_its_path(filled, folder):
    assert filled.delete_ref_doc(str(folder / "fruit.md")) == 2
    assert pictures(filled) == ["sky.png"]


def test_node_id_does_not_delete_the_whole_document(open_index):
    index = open_index()
    document = Document(text="red")
    info = {NodeRelationship.SOURCE: document.as_related_node_info()}
    nodes = [TextNode(text=colour, relationships=info) for colour in COLOURS]
    index.insert(nodes)
    assert index.delete_ref_doc(nodes[0].node_id) == 0
    assert index.delete_ref_doc(document.id_) == len(COLOURS)
