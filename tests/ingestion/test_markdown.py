from __future__ import annotations

import pytest

from llama_index_mmrag.ingestion import DocumentUnreadable
from llama_index_mmrag.ingestion.html import read_html
from llama_index_mmrag.ingestion.links import PictureLink, caption_of
from llama_index_mmrag.ingestion.markdown import parse_markdown


def pictures(text: str) -> list[PictureLink]:
    return [
        link for passage in parse_markdown(text).passages for link in passage.pictures
    ]


@pytest.mark.parametrize(
    ("source", "passages"),
    [
        (
            "# A\n\none\n\n### B\n\ntwo\n\n## C\n\nthree\n\n# D\n\nfour",
            ["A: one", "A > B: two", "A > C: three", "D: four"],
        ),
        ("Title\n=====\n\nPart\n----\n\ntext", ["Title > Part: text"]),
        ("intro\n\n# A\n\none", [": intro", "A: one"]),
        ("# A\n\n## B\n\n<!-- nothing -->\n\n## C", ["A > B: ", "A > C: "]),
        ("# A\n\n# A\n\none\n\n## \n\n#", ["A: one", "A: "]),
        ("---\ntitle: Pie\n---\n", ["Pie: "]),
        (
            "---\ntitle: Pie\n---\n# Pie\n\none\n\n## Crust\n\ntwo",
            ["Pie: one", "Pie > Crust: two"],
        ),
        ("# A\n\n> # no section\n\ntext", ["A: no section\n\ntext"]),
        ("one\ntwo  \nthree", [": one two\nthree"]),
    ],
    ids=[
        "headings nest, and a higher one closes the lower",
        "setext headings are headings",
        "text before the first heading has none",
        "a heading with nothing below it is a passage, one with headings below is not",
        "a heading that is said by the next one is not said twice",
        "a title alone is a passage",
        "front matter's title is the outermost heading, not repeated",
        "a heading inside a quote is text",
        "wrapped lines are joined, hard breaks kept",
    ],
)
def test_passages_stand_under_their_headings(source, passages):
    found = parse_markdown(source).passages
    assert [f"{' > '.join(p.headings)}: {p.text}" for p in found] == passages


def test_equal_headings_are_told_apart_by_their_ordinal():
    page = parse_markdown("# A\n\none\n\n# A\n\ntwo\n\n# B\n\nthree")
    found = [(passage.headings, passage.ordinal) for passage in page.passages]
    assert found == [(("A",), 0), (("A",), 1), (("B",), 0)]


def test_front_matter_keeps_flat_values_as_json():
    page = parse_markdown(
        "---\ntitle: Pie\ndate: 2021-05-13\ntags: [a, b]\ndeep: {x: 1}\n---\ntext"
    )
    tags = ["a", "b"]
    assert page.front_matter == {"title": "Pie", "date": "2021-05-13", "tags": tags}


@pytest.mark.parametrize(
    "broken",
    ["title: [a", "title:\t\t'a", "- just\n- a list", "day: 2021-02-31", "x: .nan"],
)
def test_broken_front_matter_is_reported_and_the_text_kept(broken):
    page = parse_markdown(f"---\n{broken}\n---\ntext")
    assert page.front_matter == {}
    assert page.front_matter_error
    assert [s.text for s in page.passages] == ["text"]


def test_rule_without_end_is_no_front_matter():
    page = parse_markdown("---\n\ntext")
    assert page.front_matter_error is None
    assert [s.text for s in page.passages] == ["text"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('![a pie](p.png "My pie")', PictureLink("p.png", "a pie", "My pie")),
        ("![**a** `pie`](p.png)", PictureLink("p.png", "a pie", "")),
        ("![a][ref]\n\n[ref]: p.png 'T'", PictureLink("p.png", "a", "T")),
        ("![ref]\n\n[ref]: p.png", PictureLink("p.png", "ref", "")),
        ("[![a](p.png)](https://x.org)", PictureLink("p.png", "a", "")),
        ("- item ![a](p.png)", PictureLink("p.png", "a", "")),
        ("| a |\n|---|\n| ![a](p.png) |", PictureLink("p.png", "a", "")),
        ("> ![a](p.png)", PictureLink("p.png", "a", "")),
        ("# ![a](p.png)", PictureLink("p.png", "a", "")),
        ("words <img src=p.png alt='a'> words", PictureLink("p.png", "a", "")),
        ('<p><IMG alt="a&amp;b"\n src="p.png"/></p>', PictureLink("p.png", "a&b", "")),
    ],
)
def test_picture_is_found_wherever_it_stands(source, expected):
    assert pictures(source) == [expected]


@pytest.mark.parametrize(
    "source",
    [
        "```\n![a](p.png)\n```",
        "    ![a](p.png)",
        "`![a](p.png)`",
        "<!-- ![a](p.png) <img src=p.png> -->",
        "<script>\nx = '<img src=p.png>'\n</script>",
        r"\![a](p.png)",
        "![a][missing]",
    ],
)
def test_picture_in_code_comment_or_escape_is_none(source):
    assert pictures(source) == []


def test_text_is_plain_and_pictures_are_their_alt_text():
    page = parse_markdown(
        "A **bold** [link](u) and ![a pie](p.png).\n\n"
        "1. one\n2. two\n   - deep\n\n| h | i |\n|---|---|\n| 1 | 2 |\n\n"
        "```py\nx = 1\n```\n\n> said\n\n<div>kept <b>words</b></div>\n"
    )
    assert page.passages[0].text == (
        "A bold link and a pie.\n\n"
        "1. one\n2. two\n   - deep\n\nh | i\n1 | 2\n\n"
        "x = 1\n\nsaid\n\nkept words"
    )


def test_caption_is_alt_and_title_and_not_the_same_twice():
    assert caption_of([PictureLink("p", "a pie", "Ready")]) == "a pie. Ready"
    assert caption_of([PictureLink("p", "a pie", "a pie")]) == "a pie"
    assert caption_of([PictureLink("p", "", "Ready")]) == "Ready"
    assert caption_of([PictureLink("p", "", "")]) == ""
    twice = [PictureLink("p", "a pie", "Ready"), PictureLink("p", "a pie", "Cold")]
    assert caption_of(twice) == "a pie. Ready. Cold"


def test_deeply_nested_lists_keep_their_text():
    source = "".join("  " * level + f"- item{level}\n" for level in range(20))
    text = parse_markdown(source).passages[0].text
    assert all(f"item{level}" in text for level in range(20))


def test_markup_nested_thousands_deep_is_an_error_of_ours():
    with pytest.raises(DocumentUnreadable, match="thousands deep"):
        parse_markdown("*" * 5000 + "a" + "*" * 5000)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<div>\n<![foo[x]]>\n</div>", ""),
        ("<div>\n<![endif-->\n</div>", ""),
        ("<div><!x[</div>", ""),
        ("text <![foo[ x ]]> y", "text <![foo[ x ]]> y"),
        ("<div>\n<!-- 1 > 0 --> a\n</div>", "a"),
        ("<div>\n1 < 2, a <b\n</div>", "1 < 2, a <b"),
        ("<div>\n<script>if (a<b) '<img src=x.png>'</script>c\n</div>", "c"),
        ("<div title=it's>\nd</div>", "d"),
        ("<div title='>'>\ne &amp;amp; f</div>", "e &amp; f"),
    ],
)
def test_odd_html_is_read(html, text):
    page = parse_markdown(f"# A\n\nbefore\n\n{html}\n")
    (passage,) = page.passages
    assert passage.text == f"before\n\n{text}".strip()
    assert passage.pictures == ()


@pytest.mark.parametrize(
    "piece", ["<a ", "<!--", "<![CDATA[", "<?", "<!", '<a "', "<a '\">'", "<a>", "</"]
)
def test_html_is_read_in_linear_time(piece):
    # Quadratic, forty thousand pieces would take minutes: nobody could miss it.
    assert read_html(piece * 40_000 + ">") == read_html(piece * 40_000 + ">")
