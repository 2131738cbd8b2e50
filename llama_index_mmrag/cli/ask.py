"""mmrag ask: an answer with citations."""

from __future__ import annotations

from typing import Any

import typer

from llama_index_mmrag.answers.synthesizer import describe_sources
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
from llama_index_mmrag.cli.output import print_json, terminal, told, warn
from llama_index_mmrag.report.table import plain_text


@app.command()
@told()
def ask(  # noqa: PLR0913 - each argument is an option of the command
    store: Store,
    text: Text = "",
    image: Picture = None,
    top_k: TopK = 5,
    fusion: Fusion = None,
    encoder: Encoder = None,
    alignment: AlignmentFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer from the store's own sentences and pictures, with citations."""
    embed_model = chosen_encoder(encoder, alignment)
    with existing(store, embed_model=embed_model) as index:
        response = index.as_query_engine(
            top_k=top_k, fusion_stage=stage_for(store, fusion)
        ).query(query_of(text, image))
    metadata = response.metadata or {}
    for lost in metadata.get("degraded", []):
        warn(lost["route"], lost["reason"])
    if as_json:
        print_json(
            {
                "answer": str(response),
                "cited": metadata.get("cited", {}),
                "citations": metadata.get("citations", {}),
                "degraded": metadata.get("degraded", []),
            }
        )
    else:
        console = terminal()
        console.print(plain_text(str(response)))
        console.print()
        console.print(plain_text(describe_sources(response)), style="dim")
        cards = metadata.get("citations", {})
        for label in metadata.get("cited", {}):
            card = cards[label]
            console.print(plain_text(f"[{label}] {_cited(card)}"), style="dim")
    if not metadata.get("citations"):
        raise typer.Exit(1)


def _cited(card: dict[str, Any]) -> str:
    routes = ", ".join(
        f"{found['route']} rank {found['rank']}" for found in card["found_by"]
    )
    return f"{card['modality']} {card['name']} ({routes or 'linked'})"
