"""mmrag index: files into a store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.encoders import AlignmentFile, Encoder, chosen_encoder
from llama_index_mmrag.cli.options import (
    Alpha,
    AsJson,
    EarlyFusion,
    Store,
    composition_for,
    opened,
    place,
)
from llama_index_mmrag.cli.output import print_json, tell, terminal, told
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.paths import real_path


@app.command("index")
@told()
def index_command(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    directory: Annotated[
        Path,
        typer.Argument(
            parser=place,
            metavar="DIR",
            help="A folder, or one file.",
        ),
    ],
    store: Store,
    recursive: Annotated[bool, typer.Option(help="Read its folders too.")] = True,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Also remove files that are gone.")
    ] = False,
    early_fusion: EarlyFusion = None,
    alpha: Alpha = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything was skipped.")
    ] = False,
    encoder: Encoder = None,
    alignment: AlignmentFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a folder's texts, Markdown and pictures into a store; again to update it."""
    if refresh and not recursive:
        msg = "--refresh reads a folder's folders too; leave out --no-recursive."
        raise InvalidSetting(msg)
    real_path(directory)  # a mistyped folder must not leave an empty store behind
    show_progress = not as_json and sys.stderr.isatty()
    composition = composition_for(store, early_fusion, alpha)
    embed_model = chosen_encoder(encoder, alignment)
    with opened(store, embed_model, early_fusion=composition) as index:
        if refresh:
            report = index.refresh(directory, show_progress=show_progress)
        else:
            report = index.insert_directory(
                directory, recursive=recursive, show_progress=show_progress
            )
        stale = index.gone(directory, report)
    for problem in report.problems:
        heading = "Left out of" if problem.is_part else "Skipped"
        tell(heading, f"{problem.source}: {problem.reason}", style="yellow")
    if as_json:
        skipped = [
            {"source": p.source, "reason": p.reason, "is_part": p.is_part}
            for p in report.problems
        ]
        print_json(
            {
                "documents": report.n_documents,
                "added": report.n_added,
                "unchanged": report.n_unchanged,
                "removed": report.n_removed,
                "stale": stale,
                "skipped": skipped,
                "ignored": dict(report.ignored),
            }
        )
    else:
        terminal().print(str(report))
    if stale and not as_json:
        n = f"{len(stale)} file is" if len(stale) == 1 else f"{len(stale)} files are"
        said = f"{n} gone and still in the store, such as {stale[0]}; --refresh removes"
        tell("Stale:", f"{said} what is gone.", style="yellow")
    if strict and report.problems:
        raise typer.Exit(1)
