"""What a book says, in the order of its spine."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.epub import read
from llama_index_mmrag.readers.how import How

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/a book.opf"/></rootfiles></container>'
)
NCX = (
    '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" '
    '"http://www.daisy.org/z3986/2005/ncx-2005-1.dtd">'
    '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{}</navMap></ncx>'
)
LOCKED = (
    '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
    'xmlns:enc="http://www.w3.org/2001/04/xmlenc#">{}</encryption>'
)
IS_LOCKED = (
    '<enc:EncryptedData><enc:EncryptionMethod Algorithm="{}"/><enc:CipherData>'
    '<enc:CipherReference URI="{}"/></enc:CipherData></enc:EncryptedData>'
)
AES = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"


def png(colour: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (40, 40), colour).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def book(tmp_path):
    """Make a book: its spine, and other files below OEBPS/, or of the zip with "/"."""

    def make(spine: dict[str, str], *, metadata="", items="", toc="", **more) -> Path:
        files = {"META-INF/container.xml": CONTAINER}
        listed = items
        for n, (name, body) in enumerate(spine.items()):
            listed += f'<item id="s{n}" href="{name.replace(" ", "%20")}"/>'
            files[f"OEBPS/{name}"] = f"<html><head><title/></head><body>{body}</body>"
        refs = "".join(f'<itemref idref="s{n}"/>' for n in range(len(spine)))
        files["OEBPS/a book.opf"] = (
            '<package xmlns="http://www.idpf.org/2007/opf" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/" '
            f'xmlns:opf="http://www.idpf.org/2007/opf"><metadata>{metadata}</metadata>'
            f"<manifest>{listed}</manifest><spine{toc}>{refs}</spine></package>"
        )
        for name, data in more.pop("files", {}).items():
            files[name.removeprefix("/") if name[0] == "/" else f"OEBPS/{name}"] = data
        assert not more
        with zipfile.ZipFile(tmp_path / "a.epub", "w") as made:
            for name, data in files.items():
                made.writestr(name, data)
        return tmp_path / "a.epub"

    return make


def said(file: Path, how: How | None = None):
    page = read(file, how or How())
    sections = [(each.headings, each.text) for each in page.sections]
    return sections, [*page.problems]


def test_parts_come_in_the_order_of_the_spine_under_the_titles_of_the_nav(book):
    nav = (
        '<nav epub:type="landmarks"><ol><li><a href="z.xhtml">No</a></ol></nav>'
        '<nav epub:type="toc"><h1>Contents</h1><ol><li><span>Part I</span><ol>'
        '<li><a href="z.xhtml">Pie</a><ol><li><a href="z.xhtml#c">Crust</a></ol>'
        '<li><a href="text/a%20b.xhtml">Tea</a></ol></ol></nav>'
    )
    file = book(
        {
            "z.xhtml": "<h1>Pie</h1>One.<div id='c'>Two.<h2>Rim</h2>Three.</div>",
            "more.xhtml": "<p>Four.",
            "text/a b.xhtml": "<h1>TEA</h1><p>Five.",
        },
        metadata="<dc:title>Cakes</dc:title>",
        items='<item id="n" href="nav.xhtml" properties="nav"/>',
        files={"nav.xhtml": nav},
    )
    assert said(file) == (
        [
            (("Cakes", "Part I", "Pie"), "One."),
            (("Cakes", "Part I", "Pie", "Crust"), "Two."),
            (("Cakes", "Part I", "Pie", "Crust", "Rim"), "Three."),
            (("Cakes", "Part I", "Pie", "Crust"), "Four."),
            (("Cakes", "Part I", "Tea", "TEA"), "Five."),
        ],
        [],
    )
    assert len({section.name for section in read(file, How()).sections}) == 5


def test_older_book_has_its_titles_in_an_ncx(book):
    points = (
        "<navPoint><navLabel><text>I</text></navLabel><content src='a.html'/><navPoint>"
        "<navLabel><text>Ä</text></navLabel><content src='a.html#x'/></navPoint>"
        "</navPoint>"
    )
    file = book(
        {"a.html": "One.<p id='x'>Two."},
        items='<item id="t" href="toc.ncx"/>',
        toc=' toc="t"',
        files={"toc.ncx": NCX.format(points)},
    )
    assert said(file) == ([(("I",), "One."), (("I", "Ä"), "Two.")], [])


def test_metadata_are_the_books(book):
    metadata = (
        "<dc:title>Cakes</dc:title><dc:title>A subtitle</dc:title>"
        "<dc:creator>Ada</dc:creator><dc:creator>Bob</dc:creator>"
        "<dc:language>de</dc:language>"
        "<dc:date opf:event='modification'>2020</dc:date>"
        "<dc:date>May</dc:date><dc:date>1999-12-31</dc:date>"
    )
    page = read(book({"a.html": "x"}, metadata=metadata), How())
    assert page.metadata == {
        "title": "Cakes",
        "author": "Ada, Bob",
        "language": "de",
        "created_at": "1999-12-31",
    }


def test_pictures_are_those_of_the_zip_and_no_others(book):
    file = book(
        {
            "t/a.html": "<figure><img src='../pix/a%20b.png' alt=A><figcaption>F"
            "</figcaption></figure><img src=gone.png><img src=http://x.org/b.png>"
            "<img src=/etc/c.png><img src=../../../d.png>",
            "b.html": "<svg><image xlink:href='pix/a b.png'/></svg>",
        },
        items='<item id="c" href="cover.png" properties="cover-image"/>',
        metadata="<dc:title>T</dc:title>",
        files={"pix/a b.png": png(), "cover.png": png("blue")},
    )
    page = read(file, How())
    cover, first, second = page.sections
    assert (cover.headings, cover.pictures[0].data) == (("T",), png("blue"))
    (link,) = first.pictures
    assert (link.data, link.alt, link.figcaption) == (png(), "A", "F")
    assert [link.data for link in second.pictures] == [png()]
    web, lost = page.problems
    assert "t/a.html: 1 picture is on the web" in web
    assert "3 pictures are not in it, such as 'gone.png'" in lost


def test_cover_that_a_part_shows_is_there_once(book):
    file = book(
        {"a.html": "<img src=cover.png alt=Ours>"},
        metadata='<meta name="cover" content="c"/>',
        items='<item id="c" href="cover.png"/>',
        files={"cover.png": png()},
    )
    (section,) = read(file, How()).sections
    assert [link.alt for link in section.pictures] == ["Ours"]


def test_note_stands_behind_the_paragraph_that_names_it_and_once(book):
    file = book({
        "a.html": "<aside epub:type='footnote' id='n0'>0 Before.</aside>"
        "<p>One<a epub:type='noteref' href='#n1'>1</a> of"
        "<a href='a.html#n2'>2</a>.<p>Two<a href='#n0'>0</a>.<p>Three."
        "<aside epub:type='footnote' id='n1'><p>1 Said <i>so</i>.</aside>"
        "<div role='doc-footnote' id='n2'>2 So.</div>"
        "<aside epub:type='footnote' id='n3'>3 Unnamed.</aside>"
    })  # fmt: skip
    ((_, text),), _ = said(file)
    assert text.split("\n\n") == [
        "0 Before.", "One1 of2.", "1 Said so.", "2 So.", "Two0.", "Three.",
        "3 Unnamed.",
    ]  # fmt: skip


def test_elements_of_xhtml_that_end_where_they_begin_swallow_nothing(book):
    file = book({"a.html": "<script src='x'/><p>a<a id='x'/>b<span/>c</p><div/>d"})
    assert said(file) == ([((), "abc\n\nd")], [])


def test_part_that_is_damaged_or_gone_costs_itself(book):
    file = book({"a.html": "One.", "b.html": "Two " * 99, "c.html": "Three."})
    data = file.read_bytes()
    file.write_bytes(data.replace(b"Two Two", b"Two Bwo", 1))
    sections, (problem,) = said(file)
    assert [text for _, text in sections] == ["One.", "Three."]
    assert problem.startswith("OEBPS/b.html: ")
    assert "broken" in problem
    nav = '<item id="n" href="nav.xhtml" properties="nav"/>'
    sections, (problem,) = said(book({"a.html": "One."}, items=nav))
    assert [text for _, text in sections] == ["One."]
    assert "table of contents is not read" in problem


def test_locked_book_is_told_and_locked_fonts_are_none(book):
    spine = {"a.html": "One.", "b.html": "Two."}
    fonts = IS_LOCKED.format("http://www.idpf.org/2008/embedding", "OEBPS/f.otf")
    name = "/META-INF/encryption.xml"
    file = book(spine, files={name: LOCKED.format(fonts)})
    assert said(file)[1] == []
    one = IS_LOCKED.format(AES, "OEBPS/a.html")
    sections, (problem,) = said(book(spine, files={name: LOCKED.format(one)}))
    assert [text for _, text in sections] == ["Two."]
    assert "'OEBPS/a.html' in it is locked (DRM)" in problem
    both = one + IS_LOCKED.format(AES, "OEBPS/b.html")
    with pytest.raises(DocumentUnreadable, match=r"a\.epub.*locked \(DRM\)"):
        read(book(spine, files={name: LOCKED.format(both)}), How())


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"/META-INF/container.xml": "<container/>"}, "holds no ''"),
        ({"a book.opf": "<package/>"}, "holds no page"),
        ({"a book.opf": "<package"}, "broken"),
        ({"big.css": "0" * 1_000_000}, "unpacks to"),
    ],
)
def test_what_is_no_book_is_refused(book, files, told):
    with pytest.raises(DocumentUnreadable, match=told):
        read(book({"a.html": "x"}, files=files), How(unpacked_bytes=900_000))
