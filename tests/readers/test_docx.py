"""What a Word file says, and what python-docx would leave out of it."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import docx
import pytest
from lxml import etree
from PIL import Image

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion import read_file
from llama_index_mmrag.readers.docx.document import read
from llama_index_mmrag.readers.docx.math import linear
from llama_index_mmrag.readers.how import How

SPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wp="urn:wp" xmlns:a="urn:a" xmlns:pic="urn:pic" xmlns:v="urn:v" '
    'xmlns:o="urn:o" xmlns:m="urn:m" xmlns:c="urn:c" xmlns:dgm="urn:dgm"'
)
TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
STYLES = """
<w:docDefaults><w:rPrDefault><w:rPr><w:lang w:val="de-DE"/></w:rPr></w:rPrDefault>
</w:docDefaults>
<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="Eigene"><w:name w:val="Eigene"/><w:basedOn w:val="Zwei"/></w:style>
<w:style w:styleId="Zwei"><w:name w:val="Zwei"/><w:basedOn w:val="Eigene"/>
 <w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:styleId="Beschriftung"><w:name w:val="caption"/></w:style>
<w:style w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style>
"""
NUMBERS = """
<w:abstractNum w:abstractNumId="7">
 <w:lvl w:ilvl="0"><w:numFmt w:val="upperRoman"/><w:lvlText w:val="%1."/></w:lvl>
 <w:lvl w:ilvl="1"><w:start w:val="2"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
</w:abstractNum>
<w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>
<w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num>
"""  # noqa: E501
NOTES = """
<w:footnote w:id="-1" w:type="separator"><w:p><w:r><w:t>never</w:t></w:r></w:p></w:footnote>
<w:footnote w:id="1"><w:p><w:r><w:footnoteRef/></w:r><w:r><w:t> First note.</w:t></w:r></w:p></w:footnote>
<w:footnote w:id="2"><w:p><w:r><w:t>* By hand.</w:t></w:r></w:p></w:footnote>
"""  # noqa: E501
CORE = """<cp:coreProperties xmlns:cp="urn:cp" xmlns:dc="urn:dc" xmlns:dt="urn:dt">
<dc:title>Pies of Kent</dc:title><dc:creator> Ada  L. </dc:creator>
<dt:created>2024-02-03T04:05:06Z</dt:created></cp:coreProperties>"""


def p(text="", style="", inner="", properties=""):
    run = f"<w:r><w:t>{text}</w:t></w:r>" if text else ""
    styled = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{styled}{properties}</w:pPr>{run}{inner}</w:p>"


def shown(id_="pic", alt="", inner="", pic=""):
    return (
        f'<w:r><w:drawing><wp:inline><wp:docPr descr="{alt}" title="T"/><a:graphic>'
        f'<pic:pic><pic:nvPicPr><pic:cNvPr descr="{pic}"/></pic:nvPicPr><pic:blipFill>'
        f'<a:blip r:embed="{id_}"/>{inner}</pic:blipFill></pic:pic></a:graphic>'
        f"</wp:inline></w:drawing></w:r>"
    )


def tbl(*rows):
    cells = "".join(
        "<w:tr>" + "".join(f"<w:tc>{cell}</w:tc>" for cell in row) + "</w:tr>"
        for row in rows
    )
    return f"<w:tbl>{cells}</w:tbl>"


def picture(kind="PNG", size=(40, 40)):
    made = BytesIO()
    drawn = Image.new("RGB", size, "red")
    drawn.paste("blue", (0, 0, size[0] // 2, size[1]))
    drawn.save(made, kind)
    return made.getvalue()


@pytest.fixture
def word(tmp_path):
    def made(body, *, core="", parts=(), outside=(), root="document"):
        def part(name, inner):
            return f'<?xml version="1.0"?><w:{name} {SPACES}>{inner}</w:{name}>'

        held = {
            "word/styles.xml": part("styles", STYLES),
            "word/numbering.xml": part("numbering", NUMBERS),
            "word/footnotes.xml": part("footnotes", NOTES),
            "word/media/p.png": picture(),
            **dict(parts),
        }
        ids = {"styles": "styles.xml", "numbering": "numbering.xml"}
        ids |= {"footnotes": "footnotes.xml", "pic": "media/p.png"}
        ids |= {name.rpartition("/")[2]: f"/{name}" for name, _ in parts}
        inside = "".join(
            f'<Relationship Id="{id_}" Type="{TYPE}{id_}" Target="{at}"/>'
            for id_, at in ids.items()
        )
        out = "".join(
            f'<Relationship Id="{id_}" Type="{TYPE}image" Target="{at}" '
            f'TargetMode="External"/>'
            for id_, at in outside
        )
        file = tmp_path / "a.docx"
        with ZipFile(file, "w") as packed:
            packed.writestr(
                "_rels/.rels",
                f'<Relationships><Relationship Id="a" Type="{TYPE}officeDocument" '
                f'Target="word/document.xml"/><Relationship Id="b" Type='
                f'"{TYPE}core-properties" Target="core.xml"/></Relationships>',
            )
            rels = f"<Relationships>{inside}{out}</Relationships>"
            packed.writestr("word/_rels/document.xml.rels", rels)
            whole = part(root, f"<w:body>{body}</w:body>")
            packed.writestr("word/document.xml", whole)
            if core:
                packed.writestr("core.xml", core)
            for name, data in held.items():
                packed.writestr(name, data)
        return file

    return made


@pytest.fixture
def texts(word):
    def of(body, **more):
        page = read(word(body, **more), How())
        return [section.text for section in page.sections]

    return of


@pytest.fixture
def captions(word):
    def of(body, **more):
        page = read(word(body, **more), How())
        links = [link for section in page.sections for link in section.pictures]
        assert all(link.data and link.about == {"kind": "figure"} for link in links)
        return [(link.alt, link.figcaption) for link in links]

    return of


def test_headings_are_told_by_name_by_level_and_by_what_a_style_is_based_on(word):
    page = read(
        word(
            p("Before")
            + p("Book", "Titel")
            + p("A", "berschrift1")
            + p("A ....... 3", "Verzeichnis1")
            + p("One.")
            + p("B", "Eigene")
            + p("Two.")
            + p("C", properties='<w:outlineLvl w:val="2"/>')
            + p("no heading", "berschrift1", properties='<w:outlineLvl w:val="9"/>')
            + p("", "berschrift1")
            + p("D", "berschrift1"),
            core=CORE,
        ),
        How(),
    )
    assert [(section.headings, section.text) for section in page.sections] == [
        (("Pies of Kent",), "Before"),
        (("Book", "A"), "One."),
        (("Book", "A", "B"), "Two."),
        (("Book", "A", "B", "C"), "no heading"),
        (("Book", "D"), ""),
    ]
    assert page.metadata == {
        "title": "Pies of Kent",
        "author": "Ada L.",
        "created_at": "2024-02-03T04:05:06Z",
        "language": "de-DE",
    }


def test_a_title_alone_is_no_section(word):
    (section,) = read(word(p("A", "berschrift1"), core=CORE), How()).sections
    assert section.headings == ("A",)


def test_insertions_and_controls_are_kept_and_deletions_and_comments_are_not(texts):
    def run(text):
        return f"<w:r><w:t>{text}</w:t></w:r>"

    inner = (
        f"<w:ins>{run(' kept')}</w:ins><w:moveTo>{run(' moved')}</w:moveTo>"
        f"<w:del><w:r><w:delText>no</w:delText></w:r></w:del>"
        f"<w:moveFrom>{run('no')}</w:moveFrom><w:sdt><w:sdtPr>{run('no')}</w:sdtPr>"
        f"<w:sdtContent>{run(' chosen')}</w:sdtContent></w:sdt>"
        f"<w:r><w:rPr><w:vanish/></w:rPr><w:t>no</w:t></w:r><w:hyperlink>"
        f"{run(' link')}</w:hyperlink><w:r><w:commentReference/></w:r>"
        f'<w:fldSimple w:instr="PAGE">{run(" 7")}</w:fldSimple><w:r><w:instrText>no'
        f"</w:instrText><w:noBreakHyphen/><w:t>8</w:t><w:br/><w:t>9</w:t></w:r>"
    )
    control = f"<w:sdt><w:sdtContent>{p('Whole.')}</w:sdtContent></w:sdt>"
    body = p("Text", inner=inner) + control + f"<w:del>{p('no')}</w:del>"
    assert texts(body) == ["Text kept moved chosen link 7-8\n9\n\nWhole."]


def test_a_large_initial_belongs_to_its_word(texts):
    body = p("O", properties='<w:framePr w:dropCap="drop"/>') + p("nce upon a time")
    assert texts(body + p("Then.")) == ["Once upon a time\n\nThen."]


def test_text_boxes_stand_once_where_they_hang(texts):
    def box(text):
        its = f"<w:txbxContent>{p(text, 'berschrift1')}</w:txbxContent>"
        return (
            f"<w:r><mc:AlternateContent><mc:Choice><w:drawing>{its}</w:drawing>"
            f"</mc:Choice><mc:Fallback><w:pict><v:textbox>{its}</v:textbox></w:pict>"
            f"</mc:Fallback></mc:AlternateContent></w:r>"
        )

    assert texts(
        p(inner=box("First.") + "<w:r><w:t>Text.</w:t></w:r>" + box("Last."))
    ) == ["First.\n\nText.\n\nLast."]


def test_notes_stand_behind_their_paragraph_or_table(texts):
    def note(id_, more=""):
        return f'<w:r><w:footnoteReference w:id="{id_}" {more}/></w:r>'

    by_hand = note(2, 'w:customMarkFollows="1"')
    body = p("One.", inner=note(1)) + p("Two", inner=by_hand + note(9))
    assert texts(body) == ["One.¹\n\n¹ First note.\n\nTwo ²\n\n* By hand."]
    grid = tbl([p("a"), p("b")], [p("c", inner=note(1)), p("d")])
    table = "| a | b |\n| --- | --- |\n| c ¹ | d |"
    assert texts(grid + p("After")) == [f"{table}\n\n¹ First note.\n\nAfter"]


def test_lists_have_their_marks(texts):
    def item(text, id_, level=0):
        its = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{id_}"/></w:numPr>'
        return p(text, properties=its)

    body = item("a", 1) + item("b", 1, 1) + item("c", 1, 1) + item("d", 1)
    body += p("Text") + item("e", 1) + item("f", 3) + item("g", 2) + item("h", 0)
    assert texts(body) == [
        "I. a\n  I.b) b\n  I.c) c\nII. d\n\nText\n\nIII. e\nI. f\n- g\n\nh"
    ]


def test_spanned_cells_are_written_once(texts):
    def cell(text, its=""):
        return f"<w:tcPr>{its}</w:tcPr>{p(text)}"

    row = "<w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p/></w:tc></w:tr>"
    body = tbl(
        [cell("a", '<w:gridSpan w:val="2"/>'), cell("b|c")],
        [cell("d", '<w:vMerge w:val="restart"/>'), cell("e"), p("f") + p("g")],
        [cell("no", "<w:vMerge/>"), cell("h"), cell("")],
    ).replace("</w:tbl>", f"<w:sdt><w:sdtContent>{row}</w:sdtContent></w:sdt></w:tbl>")
    assert texts(body) == [
        "| a |  | b\\|c |\n| --- | --- | --- |\n| d | e | f g |\n|  | h |  |"
    ]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (p(inner=shown(alt="A")) + p("Bild 1", "Beschriftung"), [("A", "Bild 1")]),
        (p("Bild 1", "Beschriftung") + p(inner=shown(pic="A")), [("A", "Bild 1")]),
        (
            p(inner=shown()) + p()
            + p(inner="<w:r><w:instrText> S</w:instrText></w:r><w:r><w:instrText>EQ Obr"
            "</w:instrText><w:t>Obr. 1</w:t></w:r>") + p(inner=shown()),
            [("", "Obr. 1"), ("", "")],
        ),
        (
            p(inner=shown(alt="A") + shown(alt="B")) + p("x", "Beschriftung"),
            [("A", "x"), ("B", "x")],
        ),
        (
            p(inner=shown(alt="A")) + p("(a)", inner=shown(alt="B"))
            + p("x", "Beschriftung") + p("y", "Beschriftung") + p(inner=shown(alt="C")),
            [("A", "x"), ("B", "x"), ("C", "y")],
        ),
        (
            p(inner=shown(alt="A")) + p("Tabelle 1", "Beschriftung")
            + tbl([p("a"), p("b")], [p("c"), p("d")]),
            [("A", "")],
        ),
        (
            p("Table 1", "Beschriftung") + tbl([p("a"), p("b")], [p("c"), p("d")])
            + p(inner=shown(alt="A")) + p("Figure 1", "Beschriftung"),
            [("A", "Figure 1")],
        ),
        (p("Table 1", "Beschriftung") + p(inner=shown(alt="A")), [("A", "Table 1")]),
        (p(inner=shown(alt="A")) + p("图 1：馅饼"), [("A", "图 1：馅饼")]),
        (p(inner=shown(alt="A")) + p("Figure 1 shows it."), [("A", "")]),
        (
            tbl([p(inner=shown(alt="A")), p(inner=shown(alt="B"))],
                [p("a", "Beschriftung"), p("b", "Beschriftung")]),
            [("A", "a"), ("B", "b")],
        ),
        (
            tbl([p(inner=shown(alt="A")), p(inner=shown(alt="B"))])
            + p("x", "Beschriftung"),
            [("A", "x"), ("B", "x")],
        ),
        (
            tbl([p(inner=shown(alt="A")) + p("a", "Beschriftung"),
                 p(inner=shown(alt="B")) + p("b", "Beschriftung")]),
            [("A", "a"), ("B", "b")],
        ),
    ],
)  # fmt: skip
def test_captions_belong_to_what_is_beside_them(body, wanted, captions):
    assert captions(p("Text before.") + body + p("Text behind.")) == wanted


def test_a_picture_as_fall_back_is_used_and_no_other_told(word):
    def versions(choice):
        return p(
            inner=f"<w:r><mc:AlternateContent><mc:Choice>{choice}</mc:Choice>"
            f"<mc:Fallback><w:pict><v:shape alt='A'><v:imagedata r:id='pic'/></v:shape>"
            f"</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
        )

    drawn = shown("x.emf", alt="no")
    boxed = f"<w:drawing><w:txbxContent>{p('Words.')}</w:txbxContent></w:drawing>"
    body = versions("") + versions(drawn) + versions(boxed) + versions(shown(alt="B"))
    page = read(word(body, parts=[("word/x.emf", b"\1\0\0\0x")]), How())
    (section,) = page.sections
    assert [link.alt for link in section.pictures] == ["A", "A", "A", "B"]
    assert section.text == "A\n\nA\n\nWords.\n\nA\n\nB"
    assert page.problems == []


def test_what_is_left_out_is_told_once_with_its_number(word):
    ole = (
        '<w:r><w:object><v:shape><v:imagedata r:id="pic"/></v:shape><o:OLEObject '
        'r:id="x.bin"/></w:object></w:r>'
    )
    body = p(inner=shown("web") + shown("file") + shown("x.emf") + shown("gone") + ole)
    outside = [("web", "http://127.0.0.1:9/a.png"), ("file", "file:///etc/hostname")]
    parts = [("word/x.emf", b"\1\0\0\0x"), ("word/x.bin", b"x")]
    page = read(word(body, outside=outside, parts=parts), How())
    (section,) = page.sections
    assert len(section.pictures) == 1
    assert [problem.partition(",")[0] for problem in page.problems] == [
        "2 pictures are linked and not in the file",
        "1 picture is EMF",
        "1 object of other programs (OLE) is not read",
    ]


def test_a_picture_is_shown_as_it_was_cropped(word):
    for kind in ("PNG", "JPEG"):
        crop = '<a:srcRect l="60000" b="50%"/>'
        parts = [("word/media/p.png", picture(kind))]
        page = read(word(p(inner=shown(inner=crop)), parts=parts), How())
        (link,) = next(iter(page.sections)).pictures
        opened = Image.open(BytesIO(link.data))
        assert (opened.format, opened.size) == (kind, (16, 20))
        assert opened.convert("RGB").getpixel((1, 1))[0] > 200
    parts = [("word/media/p.png", b"no picture")]
    page = read(word(p(inner=shown(inner=crop)), parts=parts), How())
    assert next(iter(page.sections)).pictures[0].data == b"no picture"


def test_an_ornament_is_shown_no_more_than_twenty_times(captions):
    assert len(captions(p(inner=shown()) * 50)) == 20


def test_charts_and_diagrams_are_words(texts):
    def cached(name, *values):
        points = "".join(
            f'<c:pt idx="{n}"><c:v>{value}</c:v></c:pt>' for n, value in values
        )
        held = f"<c:strRef><c:strCache>{points}</c:strCache></c:strRef>"
        return f"<c:{name}>{held}</c:{name}>"

    years = cached("cat", (0, "2023"), (2, "2025"))
    chart = (
        f"<c:chartSpace {SPACES}><c:chart><c:title><a:t>Pies</a:t></c:title><c:ser>"
        f"{cached('tx', (0, 'Kent'))}{years}{cached('val', (0, '4.2999999999999998'))}"
        f"</c:ser><c:ser>{cached('tx', (0, 'York'))}{years}"
        f"{cached('val', (1, '2'), (10**9, '3'))}</c:ser></c:chart></c:chartSpace>"
    )
    art = f"<dgm:dataModel {SPACES}><a:p><a:t>Mix</a:t></a:p><a:p/><a:p><a:t>Ba</a:t>"
    art += "<a:t>ke</a:t></a:p></dgm:dataModel>"
    body = p(inner='<w:r><w:drawing><c:chart r:id="c.xml"/></w:drawing></w:r>')
    body += p(inner='<w:r><w:drawing><dgm:relIds r:dm="d.xml"/></w:drawing></w:r>')
    (text,) = texts(body, parts=[("word/c.xml", chart), ("word/d.xml", art)])
    assert text.startswith(
        "Pies\n\n|  | Kent | York |\n| --- | --- | --- |\n| 2023 | 4.3 |  |\n"
        "|  |  | 2 |\n| 2025 |  |  |"
    )
    assert text.endswith("- Mix\n- Bake")


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        ("<f><num><r><t>a+b</t></r></num><den><r><t>c</t></r></den></f>", "(a+b)/c"),
        ("<sSup><e><r><t>x</t></r></e><sup><r><t>2</t></r></sup></sSup>", "x^2"),
        ("<sSub><e><r><t>x</t></r></e><sub><r><t>i+1</t></r></sub></sSub>", "x_(i+1)"),
        ("<rad><radPr/><deg/><e><r><t>2x</t></r></e></rad>", "√2x"),
        ("<rad><deg><r><t>3</t></r></deg><e><r><t>x</t></r></e></rad>", "√(3&x)"),
        (
            "<nary><naryPr><chr val='∑'/></naryPr><sub><r><t>i=0</t></r></sub><sup><r>"
            "<t>n</t></r></sup><e><r><t>i</t></r></e></nary>",
            "∑_(i=0)^n i",
        ),
        ("<d><e><r><t>x</t></r></e></d>", "(x)"),
        (
            "<d><dPr><begChr val='{'/><endChr val=''/></dPr><e><r><t>x</t></r></e></d>",
            "{x",
        ),
        ("<m><mr><e><r><t>1</t></r></e><e><r><t>2</t></r></e></mr><mr><e/><e/></mr></m>",
         "[1, 2;, ]"),
        ("<acc><e><r><t>x</t></r></e></acc>", "x̂"),
        ("<func><fName><r><t>ln</t></r></fName><e><r><t>x</t></r></e></func>", "ln x"),
    ],
)  # fmt: skip
def test_formulas_are_said_in_a_line(formula, wanted, texts):
    assert linear(etree.fromstring(formula)) == wanted
    deep = etree.fromstring("<d><e>" * 60 + "<r><t>x</t></r>" + "</e></d>" * 60)
    assert linear(deep) == "(" * 60 + "x" + ")" * 60  # not twice as long for each


def test_a_formula_stands_in_its_sentence(texts):
    formula = "<m:oMath><m:r><m:t>x=1</m:t></m:r></m:oMath>"
    assert texts(p("Let", inner=f"{formula}<w:r><w:t>.</w:t></w:r>")) == ["Let x=1 ."]


def test_a_file_of_the_strict_kind_is_read(word):
    file = word(p("One.", "berschrift1") + p("Two."))
    with ZipFile(file) as packed:
        held = {name: packed.read(name) for name in packed.namelist()}
    was = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    with ZipFile(file, "w") as packed:
        for name, data in held.items():
            now = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
            packed.writestr(name, data.replace(was, now))
    (section,) = read(file, How()).sections
    assert (section.headings, section.text) == (("One.",), "Two.")


def test_what_comes_before_a_file_broke_is_kept(word):
    file = word(p("A", "berschrift1") + p("One.") * 2000)
    with ZipFile(file) as packed:
        held = {name: packed.read(name) for name in packed.namelist()}
    held["word/document.xml"] = held["word/document.xml"][:-60_000]
    with ZipFile(file, "w") as packed:
        for name, data in held.items():
            packed.writestr(name, data)
    page = read(file, How())
    (section,) = page.sections
    assert section.text.startswith("One.\n\nOne.")
    assert "'word/document.xml' in it is broken" in page.problems[0]
    assert "What comes before it in the file went in." in page.problems[0]


def test_bad_files_are_each_told(word, tmp_path):
    file = word("", root="presentation")
    with pytest.raises(DocumentUnreadable, match="a zip, and no Word document"):
        read(file, How())
    file = word("", parts=[("word/styles.xml", "<!DOCTYPE a><a/>")])
    with pytest.raises(DocumentUnreadable, match=r"styles.xml' .* document type"):
        read(file, How())
    with ZipFile(file, "w") as packed:
        packed.writestr("a", "")
    with pytest.raises(DocumentUnreadable, match="a zip, and no Word document"):
        read(file, How())
    for data, told in (
        (b"<html><p>Hello", "it is a web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "or one with a password"),
        (b"PK\3\4" + bytes(99), "no whole zip"),
        (b"", "no whole zip"),
    ):
        file.write_bytes(data)
        with pytest.raises(DocumentUnreadable, match=told):
            read_file(file)


def test_a_file_of_words_own_library_becomes_nodes(tmp_path):
    made = docx.Document()
    made.add_heading("Pie", 1)
    made.add_paragraph("Flour and salt.")
    made.add_picture(BytesIO(picture(size=(90, 60))))
    made.inline_shapes[0]._inline.docPr.set("descr", "A red pie")
    made.add_paragraph("Figure 1: The pie", "Caption")
    made.save(tmp_path / "a.docx")
    record = read_file(tmp_path / "a.docx")
    text, image, *_ = record.nodes
    assert (text.text, image.text) == (
        "Pie\n\nFlour and salt.\n\nA red pie\n\nFigure 1: The pie",
        "A red pie. Figure 1: The pie",
    )
    assert len({node.metadata["entity_id"] for node in (text, image)}) == 1
