"""Results as a table: ranks by entity, sums that can be checked, names as they are."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from rich.console import Console

from llama_index_mmrag.report.plain import plain_line, plain_text
from llama_index_mmrag.report.table import ranking_table

from .world import results


def drawn(found: list[NodeWithScore], *, width: int = 100, **settings: Any) -> str:
    console = Console(file=StringIO(), width=width, **settings)
    console.print(ranking_table(found))
    return console.file.getvalue()


def cells(output: str) -> list[list[str]]:
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_entity_has_one_rank_and_its_parts_add_up_to_its_score():
    shown = cells(drawn(results()))
    assert [row[:3] for row in shown if row[2]] == [
        ["1", "0.7500", "text"],
        ["", "", "image"],
        ["2", "0.1250", "image"],
        ["", "", "text"],
    ]
    why = " ".join(row[4] for row in shown)
    assert "+0.5000 text→text (rank 1, similarity 0.500)" in why
    assert "+0.2500 text→image (rank 2, similarity 0.500)" in why
    assert "linked to the result above" in why


def test_line_stands_between_entities_not_between_their_nodes():
    assert drawn(results()).count("├─") == 1


def test_plain_results_of_llamaindex_are_shown_too():
    found = [NodeWithScore(node=TextNode(id_="n", text="plain"), score=0.5)]
    assert "0.5000" in drawn(found)
    assert "linked" not in drawn(found)


def test_result_without_a_score_is_shown():
    found = [NodeWithScore(node=TextNode(id_="n", text="plain"))]
    assert "plain" in drawn(found)


def test_no_results_are_a_table_without_rows():
    assert cells(drawn([])) == []


@pytest.mark.parametrize(
    "name", ["[red]x[/]", "[/]", "[bold", ":smile:", "grün 東京 🍵.md", "a[0].md"]
)
def test_names_and_texts_are_shown_as_they_are(name):
    node = TextNode(id_="n", text=f"about {name}", metadata={"file_name": name})
    output = drawn([NodeWithScore(node=node, score=1.0)], force_terminal=True)
    assert output.count(name) == 2


def test_line_breaks_and_terminal_codes_do_not_get_through():
    text = "one\r\ntwo\x1b[31m\x07\u202ethree"
    node = TextNode(id_="n", text=text, metadata={"file_name": "a\nb.md"})
    output = drawn([NodeWithScore(node=node, score=1.0)])
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(output)
    assert "a b.md" in output
    assert plain_text("one\ntwo\x1b") == "one\ntwo\N{REPLACEMENT CHARACTER}"
    assert plain_line("") == plain_text("") == ""


def test_long_text_is_cut_and_says_so():
    node = TextNode(id_="n", text="word " * 100)
    output = drawn([NodeWithScore(node=node, score=1.0)])
    assert "…" in output
    assert output.count("word") < 40


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table_keeps_to_its_width_and_loses_no_name(width):
    name = "a_rather_long_file_name_without_spaces.png"
    found = [
        *results(),
        NodeWithScore(node=ImageNode(id_="n", image_path=f"/x/{name}"), score=0.1),
    ]
    output = drawn(found, width=width)
    assert max(map(len, output.splitlines())) <= width
    column = "".join(row[3] for row in cells(output))
    assert name in column
