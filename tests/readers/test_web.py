"""What a web page says, and what of it is no content."""

from __future__ import annotations

import base64
import time
from io import BytesIO

import pytest
from PIL import Image

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.cpu import ENDED
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.web.document import decoded, web_page


def texts(html: str) -> list[str]:
    return [section.text for section in web_page(html).sections]


def pictures(html: str) -> list[tuple[str, str, str]]:
    sections = web_page(html).sections
    links = (link for section in sections for link in section.pictures)
    return [(link.src, link.alt, link.figcaption) for link in links]


def test_sections_stand_under_their_headings_and_have_names_of_their_own():
    page = web_page(
        "<title>Pies of Kent</title><h1>Pie</h1><p>One.<h2>Crust</h2><p>Two."
        "<div><h3>Cold</h3>Three.</div><h2>Crust</h2>Four.<h2>Last</h2>"
    )
    assert [(s.headings, s.text, s.name[2]) for s in page.sections] == [
        (("Pie",), "One.", 0),
        (("Pie", "Crust"), "Two.", 0),
        (("Pie", "Crust", "Cold"), "Three.", 0),
        (("Pie", "Crust"), "Four.", 1),
        (("Pie", "Last"), "", 0),
    ]


def test_title_stands_above_where_there_is_no_first_heading():
    page = web_page(
        "<html lang=de><title>Pies</title><meta name=author content=Ada>Yes"
    )
    assert [section.headings for section in page.sections] == [("Pies",)]
    assert page.metadata == {"title": "Pies", "language": "de", "author": "Ada"}


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<header>a</header><main>b</main><footer>c</footer>", ["b"]),
        ("<p>a<article>b</article><aside>c</aside><article>d</article>", ["b\n\nd"]),
        ("<nav>a</nav><header>b</header><p>c<footer>d</footer><aside>e</aside>", ["c"]),
        ("<section><header>a</header>b</section>", ["a\n\nb"]),
        ("<div role=navigation>a</div><div role=banner>b</div>c", ["c"]),
        ("<p hidden>a<p style='display: none'>b<p aria-hidden=true>c<p>d", ["d"]),
        ("<main hidden>a</main><p>b", ["b"]),
        ("<main></main><p>b", ["b"]),
        ("<script>a</script><style>b</style><template>c</template>d<!-- e -->", ["d"]),
        ("<body><noscript>Switch it on</noscript>a", ["a"]),
    ],
)  # fmt: skip
def test_only_what_is_shown_as_content_is_read(html, said):
    assert texts(html) == said


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<p>a <b>b</b>c\n d<br>e&nbsp;f&shy;g", "a bc d\ne fg"),
        ("<ul><li>a<ul><li>b</ul><li><p>c</ul>", "- a\n  - b\n- c"),
        ("<ol start=3><li>a<li>b</ol>c", "3. a\n4. b\n\nc"),
        ("<dl><dt>a<dd>b<dd>c<dt>d<dd>e</dl>", "- a\n  b\n  c\n- d\n  e"),
        ("<details><summary>a</summary>b<p>c</details>", "a\n\nb\n\nc"),
        ("<ruby>漢<rp>(<rt>kan<rp>)</rp>字<rt>ji</ruby>", "漢(kan)字(ji)"),
        ("<p>" + "=" * 500 + "<p>" + "=" * 100, "=" * 100 + "\n\n" + "=" * 100),
        ("<pre>  a\n   b</pre>", "  a\n   b"),
        ("<table><tr><td>only</table>", "only"),
        ("<table><tr><td><h2></h2>a<td>b</table>", "a\n\nb"),
        ("<table><tr><th>A<th>B|C<tr><td>1<br>2<td>3</table>",
         "| A | B\\|C |\n| --- | --- |\n| 1 2 | 3 |"),
        ("<table><caption>T 1</caption><tr><th>A<th colspan=2>B<tr><td rowspan=2>1<td>2"
         "<td>3<tr><td>4<td>5</table>",
         "T 1\n\n| A | B |  |\n| --- | --- | --- |\n| 1 | 2 | 3 |\n|  | 4 | 5 |"),
        ("<table><tr><td colspan=1000000000 rowspan=0>A<td>B<tr><td>c</table>", None),
    ],
)  # fmt: skip
def test_text_keeps_its_lines_lists_and_tables(html, said):
    (text,) = texts(html)
    assert text == said if said is not None else "A" in text and "B" in text


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("<figure><img src=a.png alt=A><img src=b.png><figcaption>Fig <i>1</i>",
         [("a.png", "A", "Fig 1"), ("b.png", "", "Fig 1")]),
        ("<figure><figcaption>Above</figcaption><img src=a.png></figure>"
         "<img src=b.png>",
         [("a.png", "", "Above"), ("b.png", "", "")]),
        ("<figure><figure><img src=a.png><figcaption>In</figcaption></figure>"
         "<figcaption>Out", [("a.png", "", "In. Out")]),
        ("<p><img src=a.png alt=A></p><p>Figure 1.1: Pie</p><p>Fig. 2: Tea",
         [("a.png", "A", "Figure 1.1: Pie")]),
        ("<div><img src=a.png alt='A b'><img src=b.png></div><p><img src=c.png alt=C>"
         "</p><p>Abb. 3: Zwei</p>Text",
         [("a.png", "A b", "Abb. 3: Zwei"), ("b.png", "", "Abb. 3: Zwei"),
          ("c.png", "C", "Abb. 3: Zwei")]),
        ("<figure><figcaption>Fig. 1. A</figcaption><img src=a.png></figure>"
         "<img src=b.png>", [("a.png", "", "Fig. 1. A"), ("b.png", "", "")]),
        ("<img src=a.png alt=pix/a.png>b.png", [("a.png", "", "")]),
        ("<p>Fig. 2. Up</p><img src=a.png alt=A><p>Figure 2 shows it.",
         [("a.png", "A", "Fig. 2. Up")]),
        ("<img src=a.png alt=A><br>Figure 1: A<p><img src=b.png alt=B>",
         [("a.png", "A", "Figure 1: A"), ("b.png", "B", "")]),
        ("<p>See <img src=a.png alt=A> now<p>Table 1: B<p><img src=b.png>",
         [("a.png", "A", ""), ("b.png", "", "")]),
        ("<img src='data:image/gif;base64,R0lGOD' data-src=a.png>",
         [("a.png", "", "")]),
        ("<img alt=''><noscript>no<img src=a.png alt=A></noscript>",
         [("a.png", "A", "")]),
        ("<img srcset='s.png 100w, l.png 800w'>", [("l.png", "", "")]),
        ("<picture><source srcset='a.webp 1x, b.webp 2x'><img alt=A></picture>",
         [("b.webp", "A", "")]),
        ("<base href=pix/><img src=a.png>", [("pix/a.png", "", "")]),
        ("<img src=http://x.org/a.png srcset='a.png 2x'>", [("a.png", "", "")]),
        ("<img src=file:///etc/a.png>", [("file:///etc/a.png", "", "")]),
        ("<img src=a.png width=1 height=1><img src=b.png width=31px>", []),
        ("<table><tr><td><img src=a.png alt=A><td>b<tr><td>c<td>d</table>",
         [("a.png", "A", "")]),
    ],
)  # fmt: skip
def test_picture_has_its_caption_and_its_place(html, shown):
    assert pictures(html) == shown


def test_pictures_on_the_web_are_counted_and_told_once():
    page = web_page("<base href=https://x.org/><img src=a.png><img src=//y.org/b.png>")
    (problem,) = page.problems
    assert "2 pictures are on the web, such as 'https://x.org/a.png'" in problem
    assert page.sections == ()


def test_picture_in_the_page_itself_is_its_bytes():
    buffer = BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, format="PNG")
    coded = base64.b64encode(buffer.getvalue()).decode()
    page = web_page(
        f"<img alt=A src='data:image/png;base64,{coded}'>"
        "<img src='data:image/svg+xml,<svg/>'>"
    )
    (link,) = page.sections[0].pictures
    assert (link.src, link.alt, link.data) == ("", "A", buffer.getvalue())
    assert "1 picture in the page itself cannot be read (SVG" in page.problems[0]


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        ("ä".encode(), "utf-8", "ä"),
        ("\ufeffä".encode(), "cp1252", "ä"),
        ("ä".encode("utf-16"), "utf-8", "ä"),
        ("<meta charset=latin1>€".encode("cp1252"), "utf-8", "<meta charset=latin1>€"),
        ('<?xml version="1.0" encoding="cp1251"?>я'.encode("cp1251"), "utf-8",
         '<?xml version="1.0" encoding="cp1251"?>я'),
        ("ä".encode("cp1252"), "cp1252", "ä"),
        ("<meta charset=shift_jis>①".encode("cp932"), "utf-8",
         "<meta charset=shift_jis>①"),
    ],
)  # fmt: skip
def test_encoding_is_by_mark_then_by_what_the_page_says_then_as_given(
    data, encoding, said
):
    assert decoded(data, encoding) == said


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xe4", "byte 0 is 0xe4, which is not utf-8"),
        (b"<meta charset=utf-7>+ADw-", "'utf-7', which no page may be in"),
        (b"<meta charset=klingon>", "'klingon', which no page may be in"),
        (b"<meta charset=hex>41", "'hex', which no page may be in"),
        (b"a\0b", "NUL"),
    ],
)
def test_what_is_in_no_encoding_of_a_page_is_told(data, told):
    with pytest.raises(ValueError, match=told):
        decoded(data)


@pytest.mark.skipif(ENDED is None, reason="needs a timer of processor time")
@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 200_000,
        "<section><div>" * 100_000,
        "<rt><div>" * 100_000,
        "<table><tr><td>" * 70_000,
        "<ul><li>x" * 100_000,
        "<p " + " ".join(f"a{i}=1" for i in range(100_000)) + ">",
        "<main>" * 25_000,
    ],
    ids=["div", "section", "ruby", "table", "list", "attributes", "main"],
)
def test_html_against_its_parser_ends_soon_and_the_next_file_is_read(tmp_path, html):
    (tmp_path / "a.html").write_text(html + "x")
    (tmp_path / "b.html").write_text("b")
    how = How(file_s=75)  # .5 s and as much for a megabyte
    child = Child(file_s=75, memory_bytes=768 << 20, file_bytes=1 << 20)
    began = time.monotonic()
    with pytest.raises(DocumentUnreadable, match=r"a\.html'?: it takes far more"):
        child.page(tmp_path / "a.html", "web.document", how)
    assert time.monotonic() - began < 20
    assert child.page(tmp_path / "b.html", "web.document", how).sections[0].text == "b"
    child.close()


@pytest.mark.parametrize(
    ("html", "n_chars"),
    [
        ("<!--" * 500_000 + "x-->y", 1),
        ("<p>a b c d" * 100_000, 900_000 - 2),
        ("<" * 2_000_000, 100),
        ("<div>" * 10_000 + "x", 1),
        ("<ul><li>x" * 5_000, 5_000 * 24),
        ("<svg>" + "<path d='M0 0'/>" * 20_000 + "</svg><p>a", 1),
        ("<script>" + "s += '<div>';" * 20_000 + "</script><p>a", 1),
    ],
    ids=["comments", "paragraphs", "lt", "deep", "lists", "svg", "script"],
)
def test_html_that_is_only_odd_is_read_in_time(html, n_chars):
    began = time.process_time()
    (text,) = texts(html)
    assert n_chars * 0.9 < len(text) <= n_chars * 1.1
    assert time.process_time() - began < 5


def test_heading_that_is_a_book_is_a_paragraph():
    long = "a " * 1_000
    page = web_page(f"<html lang={'x' * 2_000}><title>{long}</title><h1>{long}</h1>b")
    (section,) = page.sections
    assert (section.headings, section.text) == ((), f"{long.strip()}\n\nb")
    assert page.metadata == {}
