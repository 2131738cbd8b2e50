"""What a command prints, for people and for machines."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from llama_index_mmrag.report.plain import plain_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from llama_index_mmrag.alignment import FoundBothWays


class Output:
    """A command's result on stdout, for people or as JSON; all else on stderr.

    Args:
        as_json: Whether the result is for machines: what people are shown is then left
            out, and what machines are told otherwise.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.has_skipped = False

    @property
    def shows_progress(self) -> bool:
        """Whether somebody watches."""
        return not self.as_json and sys.stderr.isatty()

    def show(
        self, thing: RenderableType, *, style: str | None = None, wrap: bool = True
    ) -> None:
        """Print a part of the result for people.

        Args:
            thing: A text, a table, or another thing of rich's.
            style: Of a text.
            wrap: Whether to break lines where the terminal ends; a command that is to
                be copied stays whole.
        """
        if not self.as_json:
            _console().print(thing, style=style, soft_wrap=not wrap)

    def json(self, data: Any) -> None:
        """Print the whole result for machines, in characters that stdout can hold.

        What is no number is null: JSON has no NaN.
        """
        if not self.as_json:
            return
        from pydantic_core import to_jsonable_python

        plain = to_jsonable_python(data, inf_nan_mode="null")
        is_utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
        typer.echo(json.dumps(plain, ensure_ascii=not is_utf8, indent=2))

    def tell(self, heading: str, text: str = "", *, style: str = "yellow") -> None:
        """Print a line on stderr, its heading in a style."""
        from rich.text import Text

        said = Text.assemble((heading, style), f" {plain_text(text)}" if text else "")
        errors = _console(stderr=True)
        # In a file or a pipe, a line is a message.
        errors.print(said, soft_wrap=not errors.is_terminal)

    def skip(self, source: str, reason: str, *, heading: str = "Skipped") -> None:
        """Print that something was left out, and remember it for --strict."""
        self.has_skipped = True
        self.tell(heading, f"{source}: {reason}")

    def step(self, text: str) -> None:
        """Print what is done next, where somebody watches."""
        if self.shows_progress:
            _console(stderr=True).print(f"{text} ...", style="dim")


def found_table(rows: Mapping[str, FoundBothWays]) -> Table:
    """Return a table with a row for each way to place pictures among texts."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("pictures placed")
    for way in ("text to image", "image to text"):
        table.add_column(f"{way}\nR@1 / 5 / 10 %", justify="right")
        table.add_column("\nMRR", justify="right")
    for name, found in rows.items():
        cells = []
        for one in (found.text_to_image, found.image_to_text):
            shares = (one.recall_at_1, one.recall_at_5, one.recall_at_10)
            cells.append(" / ".join(f"{100 * share:.1f}" for share in shares))
            cells.append(f"{one.mrr:.3f}")
        table.add_row(name, *cells)
    return table


def _console(*, stderr: bool = False) -> Console:
    """Return a console that shows names and texts as they are.

    No markup, no :emoji: codes, no highlighting. Made for each use: a console takes the
    terminal's width when it is made.
    """
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
