"""Which lines of a picture are words to search for."""

import pytest

from llama_index_mmrag.lettering import Line, confident, words_in

BOX = (0.0, 0.25, 0.5, 0.75)


def test_lines_of_enough_confidence_are_joined_in_their_order():
    lines = [Line("stem", BOX, 0.6), Line("noise", BOX, 0.59), Line("leaf", BOX, 1.0)]
    assert words_in(lines) == "stem\nleaf"
    assert confident(lines) == [lines[0], lines[2]]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], None),
        (["ab"], None),
        (["12,345.67 %", "(a)"], None),
        (["a", "b", "c"], "a\nb\nc"),
        (["水泵图"], "水泵图"),
        (["Ωμε"], "Ωμε"),
        (["AB-1234/5"], None),
        (["ABC-1234/5"], "ABC-1234/5"),
    ],
)
def test_fewer_than_three_letters_are_no_words(texts, words):
    assert words_in([Line(text, BOX, 0.9) for text in texts]) == words


def test_letters_of_lines_without_confidence_do_not_count():
    assert words_in([Line("abc", BOX, 0.5), Line("de", BOX, 0.9)]) is None
