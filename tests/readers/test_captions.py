"""Which texts are captions, in the languages that are known."""

from __future__ import annotations

import pytest

from llama_index_mmrag.readers.captions import FIGURE_WORDS, TABLE_WORDS, captioned_by


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Figure 3.2: A pie", "figure"),
        ("Figure 3.2 A pie", "figure"),
        ("FIGURE 4", "figure"),
        ("Fig. 3. The pie", "figure"),
        ("Fig. 1a | Pies", "figure"),
        ("Figure S1. Pies", "figure"),
        ("Figure A-1 “Pie”", "figure"),
        ("Extended Data Fig. 1 | Pies", "figure"),
        ("Abb. 3:\xa0Kuchen", "figure"),
        ("Abbildung 1.2 Der Kuchen", "figure"),
        ("Рисунок 3 — Пирог", "figure"),
        ("3. ábra: pite", "figure"),
        ("图3-1：馅饼", "figure"),
        ("图一 馅饼", "figure"),
        ("図１　パイ", "figure"),
        ("الشكل 3: فطيرة", "figure"),
        ("Table 2. Men and women", "table"),
        ("Tab. IV Data", "table"),
        ("Tabelle 3.1: Zahlen", "table"),
        ("1. táblázat A pite", "table"),
        ("表 2：数", "table"),
        ("Figure 3.2 shows a pie", None),
        ("Figure 3.2, which shows a pie", None),
        ("Abbildung 1.2 zeigt den Kuchen", None),
        ("see Figure 3: it is there", None),
        ("figure 3: it is there", None),
        ("Figures 3 and 4 show pies", None),
        ("如图3.1所示", None),
        ("表2列出了", None),
        ("Table of contents", None),
        ("Map I saw", None),
        ("Figure 3.2: A pie ........ 14", None),
        ("Tableau vivant", None),
        ("", None),
    ],
)
def test_a_caption_is_a_word_a_number_and_what_ends_it(text, kind):
    assert captioned_by(text) == kind


@pytest.mark.parametrize(
    ("words", "kind"), [(FIGURE_WORDS, "figure"), (TABLE_WORDS, "table")]
)
def test_every_word_of_the_lists_begins_a_caption(words, kind):
    for word in " ".join(words.values()).split():
        # German "Tafel" may be either.
        assert captioned_by(f"{word} 3.2: X") in {kind, "figure"}
        assert captioned_by(f"{word} 3.2: X") is not None
