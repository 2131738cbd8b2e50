"""mmrag search: the best texts and pictures, each with its reasons."""

from __future__ import annotations

import typer

from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.encoders import AlignmentFile, Encoder, chosen_encoder
from llama_index_mmrag.cli.options import (
    AsJson,
    Fusion,
    Picture,
    Store,
    Text,
    TopK,
    existing,
    query_of,
    stage_for,
)
from llama_index_mmrag.cli.output import print_json, terminal, told, warned
from llama_index_mmrag.report.table import ranking_rows, ranking_table


@app.command()
@told()
def search(  # noqa: PLR0913 - each argument is an option of the command
    store: Store,
    text: Text = "",
    image: Picture = None,
    top_k: TopK = 5,
    fusion: Fusion = None,
    encoder: Encoder = None,
    alignment: AlignmentFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the best texts and pictures, and where each score came from."""
    embed_model = chosen_encoder(encoder, alignment)
    with existing(store, embed_model=embed_model) as index, warned():
        results = index.as_retriever(
            top_k=top_k, fusion_stage=stage_for(store, fusion)
        ).retrieve(query_of(text, image))
    if as_json:
        print_json(ranking_rows(results))
    elif results:
        terminal().print(ranking_table(results))
    else:
        terminal(stderr=True).print("Nothing was found.")
    if not results:
        raise typer.Exit(1)
