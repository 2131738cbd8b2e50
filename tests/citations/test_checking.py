import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_index_mmrag.citations.checking import CitationChecker

# Written apart from the package's own: any bracket with numbers, in any script.
LABEL = re.compile(
    r"[\[【［][\s,;，；、]*\d+(?:[\s,;，；、‐‑‒–—−-]+\d+)*[\s,;，；、]*[\]】］]"
)

MARKUP = st.text(st.sampled_from("[[[]]]【】［］0129٣٩ ,;-–、ab.\n(\t"), max_size=40)
ANSWERS = st.one_of(
    MARKUP,
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["[1]", "[9]", "[1, 9]", " [2-4]", "[", "]", " ", "a", "0", "7"]
        )
    ).map("".join),
)


def invalid_labels(shown: str, n_sources: int) -> list[str]:
    valid = {f"[{label}]" for label in range(1, n_sources + 1)}
    return [found for found in LABEL.findall(shown) if found not in valid]


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {len(text)})
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@settings(max_examples=600, deadline=None)
@given(ANSWERS, st.lists(st.integers(0, 200), max_size=12), st.integers(0, 4))
def test_streamed_output_equals_whole_output(answer, places, n_sources):
    whole, streamed = CitationChecker(n_sources), CitationChecker(n_sources)
    expected = whole.check(answer)
    assert "".join(streamed.check_stream(cut(answer, places))) == expected
    assert (streamed.cited, streamed.removed) == (whole.cited, whole.removed)


@settings(max_examples=600, deadline=None)
@given(ANSWERS, st.integers(0, 4))
def test_no_label_outside_the_sources_comes_out_and_counts_are_what_came_out(
    answer, n_sources
):
    checker = CitationChecker(n_sources)
    shown = checker.check(answer)
    assert invalid_labels(shown, n_sources) == []
    assert checker.cited == Counter(int(x) for x in re.findall(r"\[([0-9]+)\]", shown))
    assert not set(checker.removed) & set(range(1, n_sources + 1))


@settings(max_examples=300, deadline=None)
@given(ANSWERS, st.integers(0, 4))
def test_an_answer_that_was_checked_is_not_changed_by_a_second_check(answer, n_sources):
    shown = CitationChecker(n_sources).check(answer)
    again = CitationChecker(n_sources)
    assert again.check(shown) == shown
    assert again.removed == {}


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="[]【】［］"), max_size=60))
def test_text_without_brackets_passes_unchanged(text):
    assert CitationChecker(3).check(text) == text


TO_100 = range(3, 101)


@pytest.mark.parametrize(
    ("answer", "shown", "cited", "removed"),
    [
        ("", "", {}, {}),
        ("Brew [1].", "Brew [1].", {1: 1}, {}),
        ("Brew [3].", "Brew.", {}, {3: 1}),
        ("Brew [0].", "Brew.", {}, {0: 1}),
        ("Brew [01].", "Brew [1].", {1: 1}, {}),
        ("Brew [2, 9, 1].", "Brew [2][1].", {2: 1, 1: 1}, {9: 1}),
        ("Brew [1,1,1].", "Brew [1].", {1: 1}, {}),
        ("Brew [1;2].", "Brew [1][2].", {1: 1, 2: 1}, {}),
        ("Brew [1 2].", "Brew [1][2].", {1: 1, 2: 1}, {}),
        ("Brew [1, ].", "Brew [1].", {1: 1}, {}),
        ("Brew [1-3].", "Brew [1][2].", {1: 1, 2: 1}, {3: 1}),
        ("Brew [1–2].", "Brew [1][2].", {1: 1, 2: 1}, {}),
        ("Brew [2-1].", "Brew [2][1].", {2: 1, 1: 1}, {}),
        ("Brew [1-3-4].", "Brew [1][2].", {1: 1, 2: 1}, {3: 1, 4: 1}),
        ("Brew [1-100].", "Brew [1][2].", {1: 1, 2: 1}, dict.fromkeys(TO_100, 1)),
        ("Brew [1-101].", "Brew [1].", {1: 1}, {101: 1}),
        ("In [2024] so.", "In so.", {}, {2024: 1}),
        ("[1](https://a.b/c)", "[1](https://a.b/c)", {1: 1}, {}),
        ("[9](https://a.b/c)", "(https://a.b/c)", {}, {9: 1}),
        ("[[1]]", "[[1]]", {1: 1}, {}),
        ("[[9]]", "[]", {}, {9: 1}),
        ("[[9]8]", "", {}, {9: 1, 8: 1}),
        ("[1[9]2]", "", {}, {9: 1, 12: 1}),
        ("[] [a] [1a] [-1] [1-] [,]", "[] [a] [1a] [-1] [1-] [,]", {}, {}),
        ("the last one, x[-1]", "the last one, x[-1]", {}, {}),
        ("An open [1", "An open [1", {}, {}),
        ("An open [9, ", "An open [9, ", {}, {}),
        ("A closed 1]", "A closed 1]", {}, {}),
        ("Arabic [٢] and [٩]", "Arabic [2] and", {2: 1}, {9: 1}),
        ("冲泡【1】、磨粉［9］。", "冲泡[1]、磨粉。", {1: 1}, {9: 1}),
        ("[\n1\n]", "[1]", {1: 1}, {}),
        (f"Brew [{'9' * 5000}].", "Brew.", {}, {10**9: 1}),
        (f"Brew [{'0' * 5000}1].", "Brew [1].", {1: 1}, {}),
        (f"Brew [1-{'9' * 5000}].", "Brew [1].", {1: 1}, {10**9: 1}),
        ("[1] [1][2]. [1]", "[1] [1][2]. [1]", {1: 3, 2: 1}, {}),
    ],
)
def test_worked_examples_with_two_sources(answer, shown, cited, removed):
    for pieces in ([answer], list(answer)):
        checker = CitationChecker(2)
        assert "".join(checker.check_stream(pieces)) == shown
        assert (checker.cited, checker.removed) == (cited, removed)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("brew [9]. Then", "brew. Then"),
        ("brew [9] then", "brew then"),
        ("brew [9][1] then", "brew [1] then"),
        ("brew [8] [9] then", "brew then"),
        ("brew [8][9]then", "brew then"),
        ("**brew [9]** then", "**brew** then"),
        ("brew  [9]\nthen", "brew\nthen"),
        ("brew [9] ", "brew "),
        ("brew ", "brew "),
    ],
)
def test_the_space_before_a_removed_label_goes_where_it_parts_nothing(answer, shown):
    for pieces in ([answer], list(answer)):
        assert "".join(CitationChecker(2).check_stream(pieces)) == shown


def test_text_is_held_back_no_longer_than_it_may_be_a_citation():
    checker = CitationChecker(2)
    assert checker.feed("Brew") == "Brew"
    assert checker.feed(" ") == ""
    assert checker.feed("it [") == " it"
    assert checker.feed("1") == ""
    assert checker.feed("a") == " [1a"
    assert checker.finish() == ""


def test_a_finished_checker_starts_anew_and_without_sources_nothing_comes_out():
    checker = CitationChecker(1)
    assert checker.check("A [1] [") == "A [1] ["
    assert checker.check("1] B [1]") == "1] B [1]"
    assert checker.cited == {1: 2}
    without = CitationChecker(0)
    assert without.check("A [1], B [2].") == "A, B."
    assert without.removed == {1: 1, 2: 1}


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 100_000,
        "[" * 50_000 + "9" + "]" * 50_000,
        "[1" * 50_000,
        "[" + "1," * 50_000 + "x",
        "[" + "1-" * 50_000 + "]",
        "[1" + " " * 100_000 + "x",
        "[" + "1" * 100_000 + "]",
    ],
    ids=["open", "nested", "half", "list", "dashes", "spaces", "digits"],
)
def test_a_hundred_thousand_characters_are_checked_in_linear_time(answer):
    # Quadratic, one of these would take minutes: nobody could miss it.
    whole = CitationChecker(2).check(answer)
    streamed = "".join(CitationChecker(2).check_stream(list(answer)))
    assert streamed == whole


@pytest.mark.parametrize("answer", ["【0;-0】", "[9,-8]", "[9 - - 8]", "[9;;–8]"])
def test_odd_separators_hide_no_invalid_label(answer):
    checker = CitationChecker(2)
    assert checker.check(answer) == ""
    assert set(checker.removed) <= {0, 8, 9}
