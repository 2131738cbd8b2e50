"""The application that commands register with, and how each of them ends."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llama_index_mmrag import __version__
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.errors import MmragError


class Commands(TyperGroup):
    """Commands whose errors are a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what a user can cause ends without a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has seen enough; Typer ends the command quietly
        except (MmragError, OSError) as error:
            Output().tell("Error:", str(error), style="red")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            Output().tell("Interrupted.", "What was written stays.", style="red")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    # An option that is not given is None, for which Typer (0.29) loads pydantic.
    context_settings={"default_map": {"help": False}},
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
