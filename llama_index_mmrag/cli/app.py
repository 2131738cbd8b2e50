"""The application that commands register with."""

from __future__ import annotations

from typing import Annotated

import typer

from llama_index_mmrag import __version__

app = typer.Typer(
    help="Search texts and pictures together, and answer with citations.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which one."
        ),
    ] = False,
) -> None:
    """Search texts and pictures together, and answer with citations."""
