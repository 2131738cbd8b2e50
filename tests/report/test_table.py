"""Results as a table: ranks by entity, sums that can be checked, names as they are."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from rich.console import Console

from llama_index_mmrag.report.plain import plain_line, plain_text
from llama_index_mmrag.report.table import ranking_table

from ..support.colours import ranked
from .world import results


def drawn(found: list[NodeWithScore], *, width: int = 100, **settings: Any) -> str:
    console = Console(file=StringIO(), width=width, **settings)
    console.print(ranking_table(found))
    return console.file.getvalue()


def plain(text: str, score: float | None = 1.0, **metadata: str) -> list[NodeWithScore]:
    """Return a plain result of LlamaIndex's."""
    return ranked(TextNode(id_="n", text=text, metadata=metadata), score=score)


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


def test_plain_results_of_llamaindex_are_shown_too_with_a_score_or_without():
    output = drawn(plain("plain", 0.5))
    assert "0.5000" in output
    assert "linked" not in output
    assert "plain" in drawn(plain("plain", None))


def test_no_results_are_a_table_without_rows():
    assert cells(drawn([])) == []


@pytest.mark.parametrize(
    "name", ["[red]x[/]", "[/]", "[bold", ":smile:", "grün 東京 🍵.md", "a[0].md"]
)
def test_names_and_texts_are_shown_as_they_are(name):
    output = drawn(plain(f"about {name}", file_name=name), force_terminal=True)
    assert output.count(name) == 2


def test_line_breaks_and_terminal_codes_do_not_get_through():
    output = drawn(plain("one\r\ntwo\x1b[31m\x07\u202ethree", file_name="a\nb.md"))
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(output)
    assert "a b.md" in output
    assert plain_text("one\ntwo\x1b") == "one\ntwo\N{REPLACEMENT CHARACTER}"
    assert plain_line("") == plain_text("") == ""


def test_long_text_is_cut_and_says_so():
    output = drawn(plain("word " * 100))
    assert "…" in output
    assert output.count("word") < 50


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table_keeps_to_its_width_and_loses_no_name(width):
    name = "a_rather_long_file_name_without_spaces.png"
    long = ranked(ImageNode(id_="n", image_path=f"/x/{name}"))
    output = drawn([*results(), *long], width=width)
    assert max(map(len, output.splitlines())) <= width
    column = "".join(row[3] for row in cells(output))
    assert name in column
