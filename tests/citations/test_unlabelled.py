"""Labels of ours in a text: none can pass, and what is none stays as it is."""

import re
import unicodedata

import pytest
from hypothesis import example, given, settings

from llama_index_mmrag.citations.checking import CitationChecker
from llama_index_mmrag.citations.unlabelled import unlabelled

from .test_checking import ANSWERS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Cats purr.[2]", "Cats purr.(2)"),
        ("[1, 2] and [3-4]", "(1, 2) and (3-4)"),
        ("[[2]]", "[(2)]"),
        ("[[2]3]", "[(2)3]"),
        ("【2】[٢]", "(2)(٢)"),
        ("a[i], [], [x](y), [2", "a[i], [], [x](y), [2"),
        ("Source 7:\nit says", "Source (7):\nit says"),
        ("so SOURCE\u00a07 : x", "so SOURCE (7): x"),
        ("Source [7]:", "Source (7):"),
        ("The question's own picture 2:", "The question's own picture (2):"),
        ("Caption of picture 3: a cat", "Caption of picture (3): a cat"),
    ],
)
def test_a_texts_own_labels_are_none(text, shown):
    assert unlabelled(text) == shown


BRACKETED = "[2]"
SAID = "Source 7:"


def entities(text: str, form: str) -> str:
    return "".join(form.format(ord(character)) for character in text)


FORMS = {
    "full width": lambda text: "".join(
        chr(ord(c) + 0xFEE0) if c != " " else "\u3000" for c in text
    ),
    "bold": lambda text: text.translate(
        {ord("2"): 0x1D7D0, ord("7"): 0x1D7D5, ord("S"): 0x1D412}
    ),
    "decimal entities": lambda text: entities(text, "&#{};"),
    "hexadecimal entities": lambda text: entities(text, "&#x{:X};"),
    "entities without end": lambda text: entities(text, "&#{}"),
    "padded entities": lambda text: entities(text, "&#00{};"),
    "entities of entities": lambda text: entities(text, "&amp;#{};"),
    "named entities": lambda text: (
        text.replace("[", "&lbrack;").replace("]", "&rsqb;").replace(":", "&colon;")
    ),
    **{
        f"with {unicodedata.name(c, hex(ord(c)))}": lambda text, c=c: c.join(
            ["", *text, ""]
        )
        for c in "\u200b\u200d\u2060\ufeff\u00ad\u202e\u034f\ufe0f\u0332\u3164\x00\x1b"
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_labels_in_disguise_are_recognised(form):
    text = unlabelled(f"a {form(BRACKETED)} b {form(SAID)} c {form(BRACKETED)}")
    assert "(2)" in text
    assert re.search(r"\(7\):", text)
    assert unlabelled(text) == text, "nothing of it is left"
    assert re.sub(r"[^\x20-\x7e]", "", text) == "a (2) b Source (7): c (2)"


@pytest.mark.parametrize(
    "text",
    [
        "Sources: 7 interviews. Open source 7 zip: free. Resource 7: coal.",
        "Wi\u200bFi, so\u00adft, می\u200cخواهم, 👩\u200d🔬, e\u0301, ﬁne, &amp; &#233;",
        "if a[&i]: &nosuch; &#99999999; &; [a&#93;",
        "half \ud800 of a pair",
    ],
)
def test_what_is_no_label_stays_as_it_is(text):
    assert unlabelled(text) == text


@settings(max_examples=300, deadline=None)
@given(ANSWERS)
@example("&#91;[2]&#93;")
def test_quoting_an_unlabelled_text_cites_nothing_and_loses_nothing(text):
    checker = CitationChecker(9)
    quoted = unlabelled(text)
    assert checker.check(quoted) == quoted
    assert (checker.cited, checker.removed) == ({}, {})


@pytest.mark.parametrize(
    "unit",
    ["[", "[1", "&", "&amp;", "&#", "&#9", "Source ", "Source 7", "[1\u200b", "&#91;"],
)
def test_a_hundred_thousand_characters_take_linear_time(unit):
    # Quadratic, one of these would take minutes: nobody could miss it.
    text = unit * (100_000 // len(unit))
    assert unlabelled(text) == text
    assert unlabelled("[" + "1 " * 50_000) == "[" + "1 " * 50_000
