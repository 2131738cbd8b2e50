from __future__ import annotations

import base64
import hashlib
import os
import time
from io import BytesIO

import pytest
from llama_index.core.schema import ImageNode, MetadataMode
from llama_index.core.utils import get_tokenizer
from llama_index.core.vector_stores.utils import (
    metadata_dict_to_node,
    node_to_metadata_dict,
)
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting, MmragError
from llama_index_mmrag.ingestion import DocumentUnreadable, ReadSettings, read_file


def images(record):
    return [node for node in record.nodes if isinstance(node, ImageNode)]


def texts(record):
    return [node.text for node in record.nodes if not isinstance(node, ImageNode)]


def ids(record):
    return [node.id_ for node in record.nodes]


def test_picture_and_text_of_a_section_are_one_entity(write, picture):
    write("p.png", picture())
    record = read_file(write("a.md", "# A\n\none\n\n## B\n\n![pie](p.png)\n\ntwo"))
    first, text, image = record.nodes
    assert text.metadata["entity_id"] == image.metadata["entity_id"]
    assert first.metadata["entity_id"] != text.metadata["entity_id"]
    modalities = [node.metadata["modality"] for node in record.nodes]
    assert modalities == ["text", "text", "image"]
    assert [node.metadata["position"] for node in record.nodes] == [0, 1, 2]
    assert text.text == "A > B\n\npie\n\ntwo"
    assert (image.text, image.metadata["section"]) == ("pie", "A > B")


def test_every_node_names_its_document(write, picture):
    write("p.png", picture())
    path = write("a.md", "![pie](p.png) one")
    record = read_file(path)
    assert record.ref_doc_id == f"{path.parent.name}/a.md"
    assert record.whole
    for node in record.nodes:
        assert node.ref_doc_id == record.ref_doc_id
        assert node.metadata["file_name"] == "a.md"
        assert node.metadata["file_path"] == path.as_posix()


def test_bookkeeping_and_paths_are_not_embedded(write):
    record = read_file(write("a.md", "---\ntitle: T\ntags: [x]\n---\n## B\n\none"))
    assert record.nodes[0].get_content(MetadataMode.EMBED) == "T > B\n\none"
    shown = record.nodes[0].get_content(MetadataMode.LLM)
    assert shown == "file_name: a.md\n\nT > B\n\none"


def test_image_node_knows_file_and_real_mimetype(write, picture):
    path = write("p.jpg", picture(format="PNG"))
    (node,) = read_file(path).nodes
    assert node.image_path == str(path)
    assert node.image_mimetype == "image/png"
    assert node.text == ""
    assert node.metadata["entity_id"] == node.id_
    expected = hashlib.sha256(b"\0" + path.read_bytes()).hexdigest()
    assert node.metadata["content_hash"] == expected


def test_reading_twice_gives_equal_records_whatever_the_clock_says(write, picture):
    image = write("p.png", picture())
    path = write("a.md", "# A\n\n![pie](p.png) one\n\n# A\n\none")
    before = read_file(path)
    for file in (image, path):
        os.utime(file, (time.time() - 1e6, time.time() - 1e6))
    assert read_file(path) == before
    assert len(set(ids(before))) == 3


def test_other_bytes_or_another_name_make_another_picture_node(write, picture):
    write("p.png", picture("red"))
    write("q.png", picture("red"))
    before = [images(read_file(write("a.md", f"![x]({n}.png)")))[0].id_ for n in "pq"]
    write("p.png", picture("#fe0000"))
    after = images(read_file(write("a.md", "![x](p.png)")))[0].id_
    assert len({*before, after}) == 3


def test_editing_one_section_leaves_the_other_entities_alone(write):
    def entities(text):
        nodes = read_file(write("a.md", text)).nodes
        return {node.metadata["section"]: node.metadata["entity_id"] for node in nodes}

    before = entities("# A\n\none\n\n# B\n\ntwo")
    after = entities("# New\n\nzero\n\n# A\n\none, edited\n\n# B\n\ntwo")
    assert {key: after[key] for key in before} == before


def test_two_sections_with_one_heading_are_two_entities(write):
    record = read_file(write("a.md", "# A\n\nsame\n\n# A\n\nsame"))
    assert len({node.metadata["entity_id"] for node in record.nodes}) == 2
    assert len(set(ids(record))) == 2


@pytest.mark.parametrize(
    ("page", "words", "captions"),
    [
        ("# A\n\n![x](p.png)\n\n# B\n\n![x](p.png)", ["A\n\nx", "B\n\nx"], ["x", "x"]),
        ("![first](p.png) ![again](./p.png)", ["first again"], ["first. again"]),
        ("# Pies\n\n![Apple pie](p.png)", ["Pies\n\nApple pie"], ["Apple pie"]),
        ("# Pies\n\n![](p.png)", ["Pies"], ["Pies"]),
        ("![](p.png)", [], [""]),
    ],
    ids=[
        "shown in two sections it belongs to both",
        "shown twice in one section it counts once",
        "a section of a picture alone is found by its words",
        "without words it takes the heading as caption",
        "without any words it is only a picture",
    ],
)
def test_picture_is_shown_with_its_words(page, words, captions, write, picture):
    write("p.png", picture())
    record = read_file(write("a.md", page))
    assert texts(record) == words
    assert [node.text for node in images(record)] == captions
    entities = {node.metadata["entity_id"] for node in record.nodes}
    assert len(entities) == len({n.metadata["entity_id"] for n in images(record)})
    assert len(entities) == len(captions)


@pytest.mark.parametrize(
    ("link", "file"),
    [
        ("../img/p.png", "img/p.png"),
        ("my%20p.png", "doc/my p.png"),
        ("<my p.png>", "doc/my p.png"),
        ("p%2520q.png", "doc/p%20q.png"),
        ("p.png?raw=true", "doc/p.png"),
        ("größe.png", "doc/größe.png"),
        ("P.PNG", "doc/P.PNG"),
        ("/pix/p.png", "pix/p.png"),
        ("/pix/p.png", "static/pix/p.png"),
        ("/pix/p.png", "public/pix/p.png"),
        ("/pix/p.png", "assets/pix/p.png"),
        ("pix/p.png", "static/pix/p.png"),
    ],
)
@pytest.mark.parametrize("root", [None, ""])
def test_link_is_resolved(write, picture, tmp_path, link, file, root):
    path = write(file, picture())
    root = None if root is None else tmp_path / root
    record = read_file(write("doc/a.md", f"![x]({link})"), root=root)
    assert record.problems == ()
    assert [node.image_path for node in images(record)] == [str(path)]


@pytest.mark.parametrize("site_folder", ["static", "public", "assets"])
def test_site_folder_beside_the_root_belongs_to_the_site(
    write, picture, tmp_path, site_folder
):
    path = write(f"{site_folder}/pix/p.png", picture())
    page = write("content/a.md", "![x](/pix/p.png)")
    record = read_file(page, root=tmp_path / "content")
    assert [node.image_path for node in images(record)] == [str(path)]


@pytest.mark.parametrize("link", ["../img/p.png", "/img/p.png", "../../{up}/img/p.png"])
def test_link_out_of_the_root_is_not_followed(write, picture, tmp_path, link):
    write("img/p.png", picture())
    page = write("doc/a.md", f"one ![x]({link.format(up=tmp_path.name)})")
    record = read_file(page, root=tmp_path / "doc")
    (problem,) = record.problems
    assert "points outside" in problem.reason
    assert (images(record), texts(record)) == ([], ["one x"])


def test_page_read_alone_takes_no_picture_from_above_the_folders_tried(
    write, picture, tmp_path
):
    write("img/p.png", picture())
    near = read_file(write("a/b/c/a.md", "![x](../../../img/p.png)"))
    far = read_file(write("a/b/c/d/a.md", "![x](../../../../img/p.png)"))
    assert (len(images(near)), len(images(far))) == (1, 0)
    assert "points outside" in far.problems[0].reason


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ("https://example.org/p.png", "not fetched"),
        ("//example.org/p.png", "not fetched"),
        ("missing.png", "was not found"),
        ("empty.png", "empty file"),
        ("drawing.svg", "suffix '.svg'"),
        ("data:image/png;base64,AAAA", "Cannot read the picture"),
        ("x" * 5000 + ".png", "was not found"),
    ],
)
def test_picture_that_cannot_be_had_is_reported_and_the_text_goes_in(write, link, word):
    write("empty.png")
    write("drawing.svg", "<svg/>")
    record = read_file(write("a.md", f"one ![two]({link}) three"))
    assert texts(record) == ["one two three"]
    (problem,) = record.problems
    assert problem.source == record.nodes[0].metadata["file_path"]
    assert word in problem.reason


def test_data_uri_is_an_inline_picture(write, picture, tmp_path):
    data = picture()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    path = write("a.md", f"![x]({uri})")
    (inline,) = images(read_file(path))
    assert base64.b64decode(inline.image) == data
    saved = read_file(path, settings=ReadSettings(media_dir=tmp_path / "media"))
    (node,) = images(saved)
    name = f"{hashlib.sha256(data).hexdigest()}.png"
    assert node.image_path == str(tmp_path / "media" / name)
    assert (tmp_path / "media" / name).read_bytes() == data
    assert node.id_ == inline.id_


def test_long_section_is_split_under_its_heading_into_one_entity(write):
    items = "\n".join(f"{n}. Stir the pot for {n} minutes." for n in range(1, 200))
    record = read_file(write("a.md", f"# Soup\n\n## Steps\n\n{items}"))
    assert len(record.nodes) > 5
    count = get_tokenizer()
    for node in record.nodes:
        assert node.text.startswith("Soup > Steps\n\n")
        assert len(count(node.text)) <= 200
        assert node.text.endswith("minutes.")
    assert len({node.metadata["entity_id"] for node in record.nodes}) == 1
    joined = "\n".join(texts(record))
    assert all(f"{n}. Stir" in joined for n in range(1, 200))


def test_chunks_of_plain_text_are_their_own_entities(write):
    paragraph = "The lake is deep. " * 20
    text = "\n\n".join([paragraph] * 12)
    record = read_file(write("a.txt", text))
    assert len(record.nodes) > 3
    assert all(node.metadata["entity_id"] == node.id_ for node in record.nodes)
    assert len(set(ids(record))) == len(record.nodes)


def test_line_without_spaces_is_split_too(write):
    record = read_file(write("a.txt", "x" * 20_000))
    assert sum(len(node.text) for node in record.nodes) >= 20_000


def test_heading_that_stands_alone_is_a_text(write):
    record = read_file(write("a.md", "# Ideas\n\n## Buy a boat\n\n## Learn Greek\n"))
    assert texts(record) == ["Ideas > Buy a boat", "Ideas > Learn Greek"]
    assert texts(read_file(write("b.md", "# Closed on Mondays"))) == [
        "Closed on Mondays"
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst"])
@pytest.mark.parametrize("content", ["", " \n\n\t", "\ufeff"])
def test_empty_file_is_a_record_without_nodes(write, name, content):
    record = read_file(write(name, content))
    assert (record.nodes, record.whole, record.problems) == ((), True, ())


@pytest.mark.parametrize(
    "data",
    [
        "# Ä\r\n\r\none".encode(),
        "# Ä\r\rone".encode(),
        "# Ä\n\none".encode("utf-8-sig"),
        "# Ä\n\none".encode("utf-16"),
        "---\r\ntitle: Ä\r\n---\r\none\r\n".encode(),
    ],
)
def test_line_ends_and_byte_order_marks_do_not_show(write, data):
    assert texts(read_file(write("a.md", data))) == ["Ä\n\none"]


def test_other_encoding_is_an_error_until_it_is_named(write):
    path = write("a.txt", "Käse".encode("latin-1"))
    with pytest.raises(DocumentUnreadable, match="byte 1 is 0xe4"):
        read_file(path)
    assert texts(read_file(path, settings=ReadSettings(encoding="cp1252"))) == ["Käse"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_truncated_picture_is_refused(write, picture, format, share):
    data = picture(format=format, side=200)
    path = write(f"p.{format.lower()}", data[: int(len(data) * share)])
    with pytest.raises(ImageUnreadable, match="p\\."):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "format", "mimetype"),
    [
        ("p.bmp", "BMP", "image/bmp"),
        ("p.tif", "TIFF", "image/tiff"),
        ("p.TIFF", "TIFF", "image/tiff"),
    ],
)
def test_picture_that_can_be_asked_with_can_be_inserted(
    write, picture, name, format, mimetype
):
    path = write(name, picture(format=format))
    (alone,) = read_file(path).nodes
    (shown,) = images(read_file(write("a.md", f"![]({name})")))
    assert alone.image_path == shown.image_path == str(path)
    assert alone.image_mimetype == mimetype


@pytest.mark.parametrize(
    ("name", "data", "error", "said"),
    [
        ("a.txt", b"GIF\0\0\1", DocumentUnreadable, "NUL"),
        ("p.png", "<html>", ImageUnreadable, "Expected a whole JPEG"),
        ("a.odt", "x", DocumentUnreadable, "suffix"),
        ("Makefile", "x", DocumentUnreadable, "suffix"),
        ("a.md", None, MmragError, "no file"),
    ],
    ids=["binary text", "text as picture", "unknown kind", "no suffix", "missing"],
)
def test_what_is_no_such_file_is_refused(name, data, error, said, write, tmp_path):
    path = tmp_path / name if data is None else write(name, data)
    with pytest.raises(error, match=said):
        read_file(path)


def test_front_matter_may_name_the_entity_and_reserved_keys_survive(write):
    record = read_file(write("a.md", "---\nentity_id: pie\ndoc_id: 7\n---\none"))
    assert record.nodes[0].metadata["entity_id"] == "pie"
    assert record.nodes[0].metadata["original_doc_id"] == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk_size": 0},
        {"chunk_overlap": -1},
        {"chunk_overlap": 150},
        {"encoding": "x"},
    ],
)
def test_setting_out_of_range_is_refused(wrong):
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        ReadSettings(**wrong)


def test_phone_jpeg_with_two_pictures_is_a_jpeg(write):
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    buffer = BytesIO()
    first.save(buffer, format="MPO", save_all=True, append_images=[second])
    (node,) = read_file(write("p.jpg", buffer.getvalue())).nodes
    assert node.image_mimetype == "image/jpeg"


def test_stored_form_gives_back_the_same_node(write, picture):
    write("p.png", picture())
    for node in read_file(write("a.md", "# A\n\n![pie](p.png) one")).nodes:
        back = metadata_dict_to_node(node_to_metadata_dict(node))
        assert back.id_ == node.id_
        assert back.metadata == node.metadata
        assert back.text == node.text
        assert back.ref_doc_id == node.ref_doc_id
        shown = node.get_content(MetadataMode.EMBED)
        assert back.get_content(MetadataMode.EMBED) == shown
        assert getattr(back, "image_path", None) == getattr(node, "image_path", None)
