from __future__ import annotations

import base64
import uuid
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.utils import get_tokenizer
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.ingestion import (
    Problem,
    ReadSettings,
    document_id,
    read_document,
    read_documents,
    read_file,
)

STABLE = "11111111-1111-5111-8111-111111111111"
ON_THE_WEB = MediaResource(url="https://example.org/p.png")


def inline(data):
    return base64.b64encode(data).decode()


def lasting(record):
    """Return the record without the ids that LlamaIndex makes anew in each run."""
    for node in record.nodes:
        for key in ("given_id", "original_id"):
            node.metadata.pop(key, None)
    return replace(record, random_id=None)


def read_one(item, **how):
    (node,) = read_document(item, **how).nodes
    return node


def text_and_picture(data, **fields):
    words, shown = MediaResource(text="hi"), MediaResource(data=data)
    return Node(text_resource=words, image_resource=shown, **fields)


def test_document_without_id_has_the_same_nodes_in_every_run():
    one, two = (Document(text="hello", metadata={"a": 1}) for _ in range(2))
    assert one.doc_id != two.doc_id
    assert lasting(read_document(one)) == lasting(read_document(two))
    assert read_document(one).ref_doc_id == document_id(two)


def test_document_without_id_is_another_with_other_text_metadata_or_picture(picture):
    def image(colour):
        return MediaResource(data=picture(colour))

    documents = [
        Document(text="hello"),
        Document(text="hello!"),
        Document(text="hello", metadata={"a": 1}),
        Document(text="hello", image_resource=image("red")),
        Document(text="hello", image_resource=image("blue")),
    ]
    assert len({document_id(document) for document in documents}) == 5


def test_given_document_id_stays():
    record = read_document(Document(text="hello", id_="manual-7"))
    assert record.ref_doc_id == record.nodes[0].ref_doc_id == "manual-7"
    assert record.whole


def test_uuid4_stays_where_the_user_says_it_is_theirs():
    mine = ReadSettings(keep_uuid4=True)
    document = Document(text="hello")
    node = TextNode(text="hello")
    assert read_document(document, settings=mine).ref_doc_id == document.doc_id
    assert read_one(node, settings=mine).id_ == node.id_
    assert document_id(document, keep_uuid4=True) == document.doc_id


def test_file_dates_do_not_change_ids():
    one = Document(text="a", metadata={"last_modified_date": "2026-01-01"})
    two = Document(text="a", metadata={"last_modified_date": "2026-02-02"})
    assert read_one(one).id_ == read_one(two).id_


def test_reading_changes_neither_document_nor_node(picture):
    for item in (
        Document(text="hello", metadata={"doc_id": 1}),
        TextNode(text="hello", metadata={"doc_id": 1}, id_="x"),
        ImageNode(text="hello", image=inline(picture()), id_="x"),
        text_and_picture(picture()),
    ):
        before = item.model_dump_json()
        read_document(item)
        assert item.model_dump_json() == before


def test_long_document_is_split_and_its_metadata_counted():
    document = Document(text="The lake is deep. " * 300, metadata={"k": "word " * 60})
    shown = [n.get_content(MetadataMode.EMBED) for n in read_document(document).nodes]
    sizes = [len(get_tokenizer()(text)) for text in shown]
    assert max(sizes) <= 210
    assert len(sizes) > 5


def test_metadata_longer_than_a_chunk_still_leaves_room_for_text(capsys):
    document = Document(text="The lake is deep. " * 50, metadata={"k": "word " * 900})
    assert len(read_document(document).nodes) > 1
    assert capsys.readouterr().out == ""


def test_markdown_document_is_read_by_sections(write, picture):
    write("p.png", picture())
    path = write("a.md")
    document = Document(
        text="# A\n\none\n\n## B\n\n![pie](p.png)", metadata={"file_path": str(path)}
    )
    record = read_document(document)
    assert [node.text for node in record.nodes] == ["A\n\none", "A > B\n\npie", "pie"]
    assert len({node.metadata["entity_id"] for node in record.nodes[1:]}) == 1
    typed = Document(text="# A\n\none", metadata={"file_type": "text/markdown"})
    assert read_one(typed).text == "A\n\none"


def test_markdown_document_without_path_reports_its_pictures():
    document = Document(text="![x](p.png) one", metadata={"file_name": "a.md"})
    record = read_document(document)
    assert [node.text for node in record.nodes] == ["x one"]
    assert "file_path" in record.problems[0].reason


def test_document_with_picture_is_one_entity(write, picture):
    path = write("p.png", picture())
    document = ImageDocument(text="a red square", image_path=str(path))
    text, image = read_document(document).nodes
    assert text.metadata["entity_id"] == image.metadata["entity_id"]
    assert (image.text, image.image_path) == ("a red square", str(path))


def test_image_document_without_text_is_one_image_node(picture):
    node = read_one(ImageDocument(image=inline(picture())))
    assert base64.b64decode(node.image) == picture()
    assert node.image_mimetype == "image/png"


def test_entity_id_in_metadata_links_documents_and_nodes(picture):
    shared = {"entity_id": "sku-1"}
    given = [
        Document(text="a", metadata=shared),
        ImageDocument(image=inline(picture()), metadata=shared),
        TextNode(text="b", metadata=shared),
        text_and_picture(picture(), metadata=shared),
    ]
    nodes = [node for item in given for node in read_document(item).nodes]
    assert [node.metadata["entity_id"] for node in nodes] == ["sku-1"] * 5
    assert len({node.id_ for node in nodes}) == 5


def test_node_with_text_and_picture_is_two_nodes_of_one_entity(picture):
    record = read_document(text_and_picture(picture(), id_="n1"))
    text, image = record.nodes
    assert not record.whole
    assert record.ref_doc_id == text.ref_doc_id == image.ref_doc_id == "n1"
    assert text.metadata["entity_id"] == image.metadata["entity_id"]
    assert text.id_ != image.id_
    assert {n.metadata["original_id"] for n in (text, image)} == {"n1"}


def test_node_id_rules():
    assert read_one(TextNode(text="a", id_=STABLE)).id_ == STABLE
    named = read_one(TextNode(text="a", id_="sku"))
    assert uuid.UUID(named.id_).version == 5
    assert named.metadata["original_id"] == "sku"
    assert read_one(TextNode(text="b", id_="sku")).id_ == named.id_
    random = [read_one(TextNode(text="a")) for _ in range(2)]
    assert random[0].id_ == random[1].id_
    assert len({node.metadata["original_id"] for node in random}) == 2


def test_loose_node_without_document_is_its_own_document():
    record = read_document(TextNode(text="a", id_="sku"))
    assert record.ref_doc_id == record.nodes[0].ref_doc_id == "sku"
    anonymous = read_document(TextNode(text="a"))
    assert anonymous.ref_doc_id == anonymous.nodes[0].id_


def test_nodes_split_by_the_user_have_the_same_ids_in_every_run():
    def run():
        documents = [Document(text="The lake is deep. " * 50)]
        nodes = SentenceSplitter(chunk_size=60, chunk_overlap=0)(documents)
        return [lasting(read_document(node)) for node in nodes]

    first, second = run(), run()
    assert len(first) > 2
    assert first == second
    assert len({record.ref_doc_id for record in first}) == 1


def test_relationships_follow_the_ids():
    related = {
        NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc"),
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="c2"),
        NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id=str(uuid.uuid4())),
    }
    node = read_one(TextNode(text="a", id_="c1", relationships=related))
    after = read_one(TextNode(text="b", id_="c2"))
    assert node.ref_doc_id == "doc"
    assert node.next_node.node_id == after.id_
    assert node.prev_node is None


def test_stored_node_given_again_is_the_same_node(write, picture, tmp_path):
    write("p.png", picture())
    roots = {tmp_path.name: tmp_path}
    for node in read_file(write("a.md", "# A\n\n![x](p.png) one")).nodes:
        again = read_document(node, roots=roots).nodes[0]
        assert again.id_ == node.id_
        assert again.metadata == node.metadata
        assert again.ref_doc_id == node.ref_doc_id


def test_modality_of_a_node_is_the_users_word_and_of_a_document_is_renamed():
    node = read_one(TextNode(text="a", metadata={"modality": "video"}))
    assert node.metadata["modality"] == "video"
    split = read_one(Document(text="a", metadata={"modality": "oral"}))
    assert split.metadata["modality"] == "text"
    assert split.metadata["original_modality"] == "oral"


def test_subclass_of_text_node_stays_what_it_is():
    node = read_one(IndexNode(text="a", index_id="i"))
    assert isinstance(node, IndexNode)
    assert node.index_id == "i"


def test_picture_of_a_node_may_be_path_or_inline(write, picture, tmp_path):
    path = write("p.png", picture())
    by_path = read_one(ImageNode(image_path=str(path)))
    assert by_path.image_path == str(path)
    given = ImageNode(image=inline(picture()))
    saved = read_one(given, settings=ReadSettings(media_dir=tmp_path / "media"))
    assert saved.image is None
    assert (tmp_path / "media").samefile(saved.image_path.rpartition("/")[0])
    assert saved.id_ == read_one(given).id_


@pytest.mark.parametrize(
    ("node", "word"),
    [
        (ImageNode(image_url="https://example.org/p.png"), "not fetched"),
        (ImageNode(text="only a caption"), "without picture"),
        (ImageNode(image="!!"), "no base64"),
        (ImageNode(image=inline(b"text")), "Cannot read"),
        (ImageNode(image_path="missing.png"), "missing.png"),
        (Node(image_resource=ON_THE_WEB), "fetched"),
    ],
)
def test_picture_that_cannot_be_had_is_an_error(node, word):
    with pytest.raises(ImageUnreadable, match=word):
        read_document(node)


def test_text_goes_in_where_only_the_picture_is_bad():
    words = MediaResource(text="hi")
    node = Node(id_="n1", text_resource=words, image_resource=ON_THE_WEB)
    for item in (node, Document(id_="n1", **node.model_dump(exclude={"id_"}))):
        record = read_document(item)
        assert [part.text for part in record.nodes] == ["hi"]
        assert "not fetched" in record.problems[0].reason


def test_empty_document_is_a_record_without_nodes():
    record = read_document(Document(text="", id_="d"))
    assert (record.ref_doc_id, record.nodes, record.whole) == ("d", (), True)


def test_empty_node_is_reported():
    record = read_document(TextNode(text=" ", id_="x"))
    assert record.nodes == ()
    assert "neither text nor picture" in record.problems[0].reason


def test_metadata_becomes_json_and_keeps_its_names_findable():
    metadata = {"day": date(2026, 1, 2), "tags": {"b", "a"}, "document_id": 3}
    node = read_one(Document(text="a", metadata=metadata))
    assert node.metadata["day"] == "2026-01-02"
    assert node.metadata["tags"] == ["a", "b"]
    assert node.metadata["original_document_id"] == 3
    assert "document_id" not in node.metadata


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (Document(text="a", metadata={"k": object()}), "'k'"),
        (Document(text="a", metadata={"k": float("nan")}), "'k'"),
        (Document(text="a", metadata={"doc_id": 1, "original_doc_id": 2}), "Rename"),
        (Document(text="half \ud800"), "U\\+D800"),
        (TextNode(text="half \ud800"), "U\\+D800"),
        (NodeWithScore(node=TextNode(text="a")), "Expected a LlamaIndex Document"),
        ("a string", "'a string'"),
    ],
)
def test_what_cannot_be_stored_is_an_error_that_says_why(given, word):
    with pytest.raises(InvalidSetting, match=word):
        read_document(given)


def test_bad_document_in_a_batch_is_reported_and_the_rest_goes_on():
    batch = [Document(text="a"), ImageNode(id_="x", image_url="http://e.org"), "?"]
    record, bad, wrong = read_documents([*batch])
    assert record.nodes[0].text == "a"
    assert isinstance(bad, Problem)
    assert bad.source == "x"
    assert isinstance(wrong, Problem)


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({}, "item 2, # Kites"),
        ({"file_name": "kites.md"}, "item 2, kites.md"),
        ({"file_path": "/nowhere/kites.md"}, "/nowhere/kites.md"),
        ({"id_": "mine"}, "mine"),
    ],
)
def test_left_out_picture_names_a_document_as_people_do(about, name):
    """And not by the id that was made up for it."""
    own = {"id_": about.pop("id_")} if "id_" in about else {}
    page = Document(text="# Kites\n\n![red](gone.png)", **own)
    page.metadata = {"file_type": "text/markdown", **about}
    _, record = read_documents([Document(text="a"), page])
    (problem,) = record.problems
    assert problem.source.startswith(name)


MARKUP = st.text(
    st.sampled_from("ab \n\t#*_`~[]()!<>|-+.:1\"'\\&;/=ü語🍲{}%"), max_size=80
)


@given(text=st.lists(st.one_of(MARKUP, st.text(max_size=40))).map("\n".join))
@settings(max_examples=150, deadline=None)
@example(text="---\n:\n---\n![](%)")
@pytest.mark.parametrize("name", ["a.md", "a.txt"])
def test_any_text_is_read_the_same_way_twice(text, name):
    def read():
        document = Document(text=text, metadata={"file_name": name})
        return lasting(read_document(document))

    record = read()
    assert record == read()
    assert len({node.id_ for node in record.nodes}) == len(record.nodes)
    assert all(node.text.strip() for node in record.nodes)


LETTERS = st.characters(codec="utf-8", categories=["L"])


@given(st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=20))
@settings(max_examples=40, deadline=None)
def test_no_word_of_a_plain_text_is_lost(words):
    text = " ".join(words * 5)
    small = ReadSettings(chunk_size=32, chunk_overlap=4)
    nodes = read_document(Document(text=text), settings=small).nodes
    joined = "".join(node.text for node in nodes)
    assert all(word in joined for word in words)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_text_that_is_a_pictures_bytes_is_that_picture(kind, tmp_path):
    """So SimpleDirectoryReader reads it without llama-index-readers-file."""
    file = tmp_path / f"red.{kind.lower()}"
    Image.new("RGB", (16, 12), "red").save(file, kind)
    garbage = file.read_bytes().decode(errors="ignore")
    about = {"file_path": str(file), "file_type": f"image/{kind.lower()}"}
    read = Document(text=garbage, metadata=about)
    node = read_one(read)
    assert (node.image_path, node.text) == (str(file), "")
    shown = ImageDocument(image_path=str(file), metadata=about)
    assert document_id(read) == document_id(shown)
    lettering = Document(text="what was read off it", metadata=about)
    assert read_one(lettering).text == "what was read off it"
