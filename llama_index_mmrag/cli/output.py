"""What a command prints, for people and for machines, and how it ends."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text as Styled

from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.events.degraded import collect_degradations
from llama_index_mmrag.report.table import plain_text


def terminal(*, stderr: bool = False) -> Console:
    """Return a console that shows names and texts as they are.

    No markup, no :emoji: codes, no highlighting. Made for each use: a console takes the
    terminal's width when it is made.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextmanager
def told() -> Iterator[None]:
    """Turn what a user can cause into a sentence on stderr and an exit code."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough; Typer ends the command quietly
    except (MmragError, OSError) as error:
        tell("Error:", str(error), style="red")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        tell("Interrupted.", "What was written stays.", style="red")
        raise typer.Exit(130) from None


@contextmanager
def warned() -> Iterator[None]:
    """Print a line for each route of a query that gave no answer."""
    with collect_degradations() as lost:
        yield
    for each in lost:
        warn(each.route, each.reason)


def warn(route: str, reason: str) -> None:
    """Print that a route gave no answer."""
    tell("No answer from", f"{route}: {reason}", style="yellow")


def tell(heading: str, text: str, *, style: str) -> None:
    """Print a line on stderr, its heading in a style."""
    said = Styled.assemble((heading, style), " ", plain_text(text))
    # In a file or a pipe, a line is a message.
    errors = terminal(stderr=True)
    errors.print(said, soft_wrap=not errors.is_terminal)


def print_json(data: Any) -> None:
    """Print JSON on stdout, in characters that it can hold."""
    is_utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    typer.echo(json.dumps(data, ensure_ascii=not is_utf8, indent=2))
