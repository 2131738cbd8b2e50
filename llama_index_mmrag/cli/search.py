"""mmrag search: the best texts and pictures, each with its reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.place import Place, placed
from llama_index_mmrag.cli.store import existing, query_of
from llama_index_mmrag.errors import InvalidSetting


@app.command()
@placed
def search(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    place: Place,
    text: options.Text = "",
    image: options.Picture = None,
    top_k: options.TopK = 5,
    search: options.Search = None,
    mode: options.Mode = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the meaning under --mode hybrid; words have the rest.",
        ),
    ] = None,
    read_query: Annotated[
        bool,
        typer.Option(
            "--read-query",
            help="Also search for what stands in the picture of --image, as words. For "
            "a store that was made with --read-pictures.",
        ),
    ] = False,
    root: options.Roots = None,
    catalogue: options.Catalogue = None,
    encoder: options.Encoder = None,
    alignment: options.AlignmentFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the best texts and pictures, and where each score came from."""
    from llama_index_mmrag.events import collect_routes
    from llama_index_mmrag.report.results import ResultCard
    from llama_index_mmrag.report.table import ranking_table

    if alpha is not None and mode != "hybrid":
        raise InvalidSetting(
            f"--alpha {alpha} is for a hybrid search. Add --mode hybrid."
        )
    if read_query and image is None:
        raise InvalidSetting("--read-query reads a picture. Add --image FILE.")
    output = Output(as_json=as_json)
    with (
        existing(
            place,
            encoder=encoder,
            alignment=alignment,
            search=search,
            roots=root,
            catalogue=catalogue,
        ) as index,
        collect_routes() as routes,
    ):
        retriever = index.as_retriever(
            top_k=top_k,
            search=search,
            vector_store_query_mode=mode,
            alpha=alpha,
            read_query_pictures=read_query,
        )
        results = retriever.retrieve(query_of(text, image))
    for lost in routes.degraded:
        output.tell("No answer from", f"{lost.route}: {lost.reason}")
    for said in routes.warnings:
        output.tell("Warning:", said)
    output.json([ResultCard.of(result) for result in results])
    if results:
        output.show(ranking_table(results))
        return
    if not as_json:
        output.tell("Nothing was found.")
    raise typer.Exit(1)
