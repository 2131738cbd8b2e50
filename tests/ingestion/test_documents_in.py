"""Files of many kinds in a folder: read, told, within limits, or read by one's own."""

from __future__ import annotations

import sys
import time

import pytest
from llama_index.core.schema import ImageNode
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import DocumentUnreadable, InvalidSetting, MissingExtra
from llama_index_mmrag.ingestion import (
    Page,
    PictureLink,
    Problem,
    ReadLimits,
    ReadSettings,
    Section,
    read_directory,
    read_file,
    survey,
)
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.readers import kinds
from llama_index_mmrag.readers.kinds import ADVICE, CHILD_READERS, NAMED_OTHERWISE


def open_one(place, **how):
    return MultiModalQdrantIndex.open(place, embed_model=ColourEncoder(), **how)


def said(record):
    return [(type(node).__name__, node.text) for node in record.nodes]


def test_web_page_is_sections_with_their_pictures(write, picture):
    write("pix/p.png", picture(side=40))
    write("pix/small.png", picture(side=20))
    page = write(
        "a.html",
        "<title>Pies</title><h1>Pie</h1><figure><img src=pix/p.png alt=Warm>"
        "<figcaption>Fig. 1</figcaption></figure><img src=pix/small.png>"
        "<h2>Crust</h2><p>Flour.<img src=http://x.org/a.png><img src=gone.png>"
        "<img src=../../../../../../etc/x.png><img src=file:///etc/x.png>",
    )
    record = read_file(page, root=page.parent)
    assert said(record) == [
        ("TextNode", "Pie\n\nWarm\n\nFig. 1"),
        ("CaptionedImageNode", "Warm. Fig. 1"),
        ("TextNode", "Pie > Crust\n\nFlour."),
    ]
    text, image, other = record.nodes
    assert text.metadata["entity_id"] == image.metadata["entity_id"]
    assert other.metadata["entity_id"] != text.metadata["entity_id"]
    assert text.metadata["title"] == "Pies"
    told = [problem.reason for problem in record.problems]
    for one, expected in zip(
        told,
        ("1 picture is on the web", "was not found", "not found", "place on a machine"),
        strict=True,
    ):
        assert expected in one


def test_pictures_of_web_pages_are_not_indexed_twice(write, tmp_path, picture):
    write("p.png", picture(side=40))
    write("a.html", "<img src=p.png alt=A>")
    records = list(read_directory(tmp_path))
    assert [len(record.nodes) for record in records] == [2, 0]


def test_web_pages_follow_as_they_change_and_go(write, tmp_path, tmp_path_factory):
    page = write("a.html", "<p>A red kite.")
    write("b.txt", "A blue boat.")
    with open_one(tmp_path_factory.mktemp("store")) as index:
        assert index.insert_directory(tmp_path).n_added == 2
        assert index.insert_directory(tmp_path).n_unchanged == 2
        page.write_text("<p>A green hill and more.")
        changed = index.refresh(tmp_path)
        assert (changed.n_added, changed.n_removed) == (1, 1)
        page.unlink()
        assert index.refresh(tmp_path).n_removed == 1


@pytest.mark.parametrize("name", ["a.mdx", "a.adoc", "a.org", "a.tex"])
def test_other_texts_are_read_as_they_are(name, write):
    assert read_file(write(name, "One")).nodes[0].text == "One"


@pytest.mark.parametrize("name", ["p.jfif", *["p.avif"] * (".avif" in IMAGE_SUFFIXES)])
def test_more_pictures_are_read(name, write, tmp_path):
    kind = "JPEG" if name == "p.jfif" else "AVIF"
    path = tmp_path / name
    Image.new("RGB", (40, 40), "red").save(path, format=kind)
    (node,) = read_file(path).nodes
    assert isinstance(node, ImageNode)
    assert node.image_mimetype == f"image/{kind.lower()}"
    data = path.read_bytes()
    for length in (0, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="picture"):
            read_file(path)


def test_what_is_not_read_is_told_with_what_to_do(write, tmp_path):
    for name in ("a.doc", "b.DOC", "c.mp4", "d.xyz", "e"):
        write(name, "x")
    found = survey(tmp_path)
    assert found.ignored == {"": 1, ".doc": 2, ".mp4": 1, ".xyz": 1}
    with open_one(tmp_path / "store") as index:
        report = index.insert_directory(tmp_path)
    assert [line.partition(":")[0] for line in report.advice] == [".doc 2", ".mp4 1"]
    assert "soffice --headless --convert-to docx" in report.advice[0]
    with pytest.raises(DocumentUnreadable, match="soffice --headless"):
        read_file(tmp_path / "a.doc")


def test_every_kind_is_read_or_told_and_none_is_both():
    assert not ADVICE.keys() & (CHILD_READERS.keys() - NAMED_OTHERWISE)
    assert ADVICE.keys() >= NAMED_OTHERWISE


def test_page_that_a_server_named_otherwise_is_read_as_html_and_said(
    write, tmp_path, caplog
):
    write("a.doc", "\n<!DOCTYPE html><p>One")
    write("b.doc", b"\xd0\xcf\x11\xe0 Word")
    (record,) = read_directory(tmp_path)
    assert [node.text for node in record.nodes] == ["One"]
    assert "a.doc is HTML" in caplog.text


def test_picture_named_html_is_read_as_one_and_said(write, picture, caplog):
    (node,) = read_file(write("a.html", picture())).nodes
    assert isinstance(node, ImageNode)
    assert "a.html is a picture" in caplog.text


@pytest.mark.parametrize(
    ("data", "kind"), [(b"%PDF-1.7", "PDF"), (b"PK\3\4", "zip archive")]
)
def test_other_content_named_html_is_told(data, kind, write):
    with pytest.raises(DocumentUnreadable, match=f"it is a {kind}"):
        read_file(write("a.html", data))


def test_missing_extra_is_told_once_a_kind(write, tmp_path, monkeypatch):
    write("a.html", "<p>a")
    write("b.html", "<p>b")
    write("c.txt", "c")
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    with open_one(tmp_path / "store") as index:
        report = index.insert_directory(tmp_path)
    assert (report.n_documents, dict(report.ignored)) == (1, {".html": 2})
    (advice,) = report.advice
    assert advice.startswith(".html 2: ")
    assert 'pip install "llama-index-mmrag[documents]"' in advice
    with pytest.raises(MissingExtra, match="documents"):
        read_file(tmp_path / "a.html")


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("a.txt", {"text_bytes": 9}),
        ("a.md", {"text_bytes": 9}),
        ("a.html", {"text_bytes": 9}),
        ("p.png", {"file_bytes": 9}),
        ("p.png", {"pixels": 99}),
        ("m.md", {"pixels": 99}),
        ("h.html", {"pixels": 99}),
    ],
)
def test_file_beyond_a_limit_costs_itself(name, limit, write, tmp_path, picture):
    write("pictures/q.png", picture(side=40))
    write("a.txt", "0123456789")
    write("a.md", "0123456789")
    write("a.html", "0123456789")
    write("m.md", "![q](pictures/q.png)")
    write("h.html", "<img src=pictures/q.png>")
    write("p.png", picture())
    settings = ReadSettings(limits=ReadLimits(**limit))
    items = list(read_directory(tmp_path, recursive=False, settings=settings))
    told = [item.source for item in items if isinstance(item, Problem)] + [
        problem.source for item in items for problem in getattr(item, "problems", ())
    ]
    assert (tmp_path / name).as_posix() in told
    assert len(items) == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"file_bytes": 0}, {"text_bytes": 1.5}, {"pixels": 89_478_486}, {"file_s": 0},
        {"file_s": float("nan")}, {"memory_bytes": 1 << 20}, {"pages": 0},
        {"page_s": 0}, {"unpacked_bytes": 0}, {"unpacked_ratio": 1.5},
    ],
)  # fmt: skip
def test_limit_out_of_its_range_is_refused(wrong):
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        ReadLimits(**wrong)


def test_reader_of_ones_own_reads_other_files_and_is_followed(
    write, tmp_path, picture, tmp_path_factory
):
    write("pix/p.png", picture(side=40))
    file = write("a.xyz", "one|two")

    def read(path):
        cells = path.read_text().split("|")
        link = (PictureLink("pix/p.png", "A pie"),)
        return Page(tuple(Section(cell, link, name=("cell", cell)) for cell in cells))

    settings = ReadSettings(file_extractor={".xyz": read})
    record = read_file(file, settings=settings)
    assert [text for _, text in said(record)] == ["one", "A pie", "two", "A pie"]
    place = tmp_path_factory.mktemp("store")
    with open_one(place, settings=settings) as index:
        assert index.insert_directory(tmp_path).n_added == 4
        assert index.insert_directory(tmp_path).n_unchanged == 4
        file.unlink()
        assert index.refresh(tmp_path).n_removed == 4


def _raises(path):
    raise RuntimeError("unheard of")


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        (_raises, "your reader raised RuntimeError"),
        (lambda path: None, "returned NoneType; expected a Page"),
        (lambda path: time.sleep(20), r"took longer than 0\.2 s"),
    ],
)
def test_reader_of_ones_own_that_fails_costs_its_file(reader, told, write, tmp_path):
    write("a.xyz", "x")
    write("b.txt", "b")
    limits = ReadLimits(file_s=0.2)
    settings = ReadSettings(file_extractor={".xyz": reader}, limits=limits)
    problem, record = sorted(
        read_directory(tmp_path, settings=settings),
        key=lambda one: hasattr(one, "nodes"),
    )
    assert record.nodes[0].text == "b"
    with pytest.raises(DocumentUnreadable, match=told):
        read_file(tmp_path / "a.xyz", settings=settings)
    assert problem.source.endswith("a.xyz")


@pytest.mark.parametrize("extractor", [{"xyz": len}, {".XYZ": len}, {".xyz": "read"}])
def test_what_is_no_reader_is_refused(extractor):
    with pytest.raises(InvalidSetting, match="file_extractor"):
        ReadSettings(file_extractor=extractor)


def test_own_reader_comes_before_ours_and_needs_no_package(
    write, tmp_path, monkeypatch
):
    write("a.doc", "no page")
    write("b.html", "<p>b")
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    own = dict.fromkeys((".doc", ".html"), lambda file: Page((Section(file.name),)))
    settings = ReadSettings(file_extractor=own)
    records = list(read_directory(tmp_path, settings=settings))
    assert [said(record) for record in records] == [
        [("TextNode", "a.doc")],
        [("TextNode", "b.html")],
    ]
    assert read_file(tmp_path / "a.doc", settings=settings).nodes


def test_xml_of_old_office_is_no_web_page(write, tmp_path):
    write("a.xls", '<?xml version="1.0"?><Workbook><Cell>1</Cell></Workbook>')
    write("b.xls", '<?xml version="1.0"?><html><p>1</p></html>')
    assert [file.name for file in survey(tmp_path).files] == ["b.xls"]


def test_what_an_import_hook_refuses_is_not_installed(write, tmp_path, monkeypatch):
    class Refuses:
        def find_spec(self, name, path=None, target=None):
            if name == "selectolax":
                raise ModuleNotFoundError(name)

    write("a.html", "<p>a")
    kinds.find_spec.cache_clear()
    monkeypatch.delitem(sys.modules, "selectolax", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    try:
        assert survey(tmp_path).ignored == {".html": 1}
    finally:
        kinds.find_spec.cache_clear()


def test_picture_that_stands_a_thousand_times_is_opened_once(write, picture):
    write("p.png", picture(side=40))
    page = write("a.html", "<img src=p.png alt=A title=T>" * 5_000)
    began = time.process_time()
    nodes = read_file(page).nodes
    assert time.process_time() - began < 5
    assert [node.text for node in nodes if isinstance(node, ImageNode)] == ["A. T"]
