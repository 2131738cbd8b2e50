"""The command line: mmrag index, search and ask.

Exit codes: 0 done; 1 nothing was found, or files were skipped under --strict; 2 wrong
use or an error, told in a sentence; 130 interrupted.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from llama_index.core.schema import QueryBundle
from rich.console import Console
from rich.text import Text as Styled

from llama_index_mmrag import __version__
from llama_index_mmrag.errors import InvalidSetting, MmragError, StoreUnusable
from llama_index_mmrag.events import collect_degradations
from llama_index_mmrag.index import MultiModalQdrantIndex
from llama_index_mmrag.ingestion.paths import real_path
from llama_index_mmrag.report.table import plain_text, ranking_rows, ranking_table
from llama_index_mmrag.synthesizer import describe_sources

app = typer.Typer(
    help="Search texts and pictures together, and answer with citations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _place(given: str) -> Path:
    if not given.strip():
        raise typer.BadParameter("the path is empty; name a folder.")
    return Path(given)


Store = Annotated[
    Path,
    typer.Option(
        "--store",
        "-s",
        parser=_place,
        metavar="DIR",
        help="Folder of the embedded store.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="Results at most.")]
Text = Annotated[str, typer.Argument(help="Words; may be left out with --image.")]
# Typer evaluates annotations, and Python 3.10 has no `Path | None` in Annotated there.
Picture = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--image", "-i", help="A picture to search by."),
]

# Names and texts are shown as they are: no markup, no :emoji: codes, no highlighting.


def _console(*, stderr: bool = False) -> Console:
    # Made for each use: a console takes the terminal's width when it is made.
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can cause into a sentence on stderr and an exit code."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough; Typer ends the command quietly
    except (MmragError, OSError) as error:
        _tell("Error:", str(error), style="red")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        _tell("Interrupted.", "What was written stays.", style="red")
        raise typer.Exit(130) from None


@contextmanager
def _warned() -> Iterator[None]:
    """Print a line for each route of a query that gave no answer."""
    with collect_degradations() as lost:
        yield
    for each in lost:
        _warn(each.route, each.reason)


def _warn(route: str, reason: str) -> None:
    _tell("No answer from", f"{route}: {reason}", style="yellow")


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


@app.command("index")
@_told()
def index_command(  # noqa: PLR0913 - each argument is an option of the command
    directory: Annotated[
        Path,
        typer.Argument(
            parser=_place,
            metavar="DIR",
            help="A folder, or one file.",
        ),
    ],
    store: Store,
    recursive: Annotated[bool, typer.Option(help="Read its folders too.")] = True,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Also remove files that are gone.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything was skipped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a folder's texts, Markdown and pictures into a store; again to update it."""
    if refresh and not recursive:
        msg = "--refresh reads a folder's folders too; leave out --no-recursive."
        raise InvalidSetting(msg)
    real_path(directory)  # a mistyped folder must not leave an empty store behind
    show_progress = not as_json and sys.stderr.isatty()
    with MultiModalQdrantIndex.open(store) as index:
        if refresh:
            report = index.refresh(directory, show_progress=show_progress)
        else:
            report = index.insert_directory(
                directory, recursive=recursive, show_progress=show_progress
            )
    for problem in report.problems:
        heading = "Left out of" if problem.is_part else "Skipped"
        _tell(heading, f"{problem.source}: {problem.reason}", style="yellow")
    if as_json:
        skipped = [
            {"source": p.source, "reason": p.reason, "is_part": p.is_part}
            for p in report.problems
        ]
        _print_json(
            {
                "documents": report.n_documents,
                "added": report.n_added,
                "unchanged": report.n_unchanged,
                "removed": report.n_removed,
                "skipped": skipped,
                "ignored": dict(report.ignored),
            }
        )
    else:
        _console().print(str(report))
    if strict and report.problems:
        raise typer.Exit(1)


@app.command()
@_told()
def search(
    store: Store,
    text: Text = "",
    image: Picture = None,
    top_k: TopK = 5,
    as_json: AsJson = False,
) -> None:
    """Show the best texts and pictures, and where each score came from."""
    with _existing(store) as index, _warned():
        results = index.as_retriever(top_k=top_k).retrieve(_query(text, image))
    if as_json:
        _print_json(ranking_rows(results))
    elif results:
        _console().print(ranking_table(results))
    else:
        _console(stderr=True).print("Nothing was found.")
    if not results:
        raise typer.Exit(1)


@app.command()
@_told()
def ask(
    store: Store,
    text: Text = "",
    image: Picture = None,
    top_k: TopK = 5,
    as_json: AsJson = False,
) -> None:
    """Answer from the store's own sentences and pictures, with citations."""
    with _existing(store) as index:
        response = index.as_query_engine(top_k=top_k).query(_query(text, image))
    metadata = response.metadata or {}
    for lost in metadata.get("degraded", []):
        _warn(lost["route"], lost["reason"])
    if as_json:
        _print_json(
            {
                "answer": str(response),
                "cited": metadata.get("cited", {}),
                "citations": metadata.get("citations", {}),
                "degraded": metadata.get("degraded", []),
            }
        )
    else:
        console = _console()
        console.print(plain_text(str(response)))
        console.print()
        console.print(plain_text(describe_sources(response)), style="dim")
        cards = metadata.get("citations", {})
        for label in metadata.get("cited", {}):
            card = cards[label]
            console.print(plain_text(f"[{label}] {_cited(card)}"), style="dim")
    if not metadata.get("citations"):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    # What is skipped or degraded is in the output already.
    logging.getLogger("llama_index_mmrag").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character still gets the rest.
            stream.reconfigure(errors="backslashreplace")
    app()


def _existing(store: Path) -> MultiModalQdrantIndex:
    if not (store / "mmrag.json").exists():
        msg = (
            f"There is no store in {str(store)!r}. Make one with: "
            f"mmrag index DIR --store {store}"
        )
        raise StoreUnusable(msg)
    return MultiModalQdrantIndex.open(store)


def _tell(heading: str, text: str, *, style: str) -> None:
    said = Styled.assemble((heading, style), " ", plain_text(text))
    # In a file or a pipe, a line is a message.
    errors = _console(stderr=True)
    errors.print(said, soft_wrap=not errors.is_terminal)


def _query(text: str, image: Path | None) -> QueryBundle:
    return QueryBundle(text, image_path=None if image is None else str(image))


def _cited(card: dict[str, Any]) -> str:
    routes = ", ".join(
        f"{found['route']} rank {found['rank']}" for found in card["found_by"]
    )
    return f"{card['modality']} {card['name']} ({routes or 'linked'})"


def _print_json(data: Any) -> None:
    is_utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    typer.echo(json.dumps(data, ensure_ascii=not is_utf8, indent=2))


if __name__ == "__main__":
    main()
