"""mmrag check: what of a store is damaged."""

from __future__ import annotations

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.store import check_exists


@app.command()
def check(store: options.Store, as_json: options.AsJson = False) -> None:
    """Read all files of a store and compare them with what they were.

    A store notes the size and checksum of its files when it is closed after it was
    written to. Where it was killed instead there is no such note: all points are read,
    which takes longer. Nothing is changed. Exits with 1 if something is damaged;
    `mmrag repair` saves what can be read.
    """
    from dataclasses import asdict

    from llama_index_mmrag.stores.checking import check_store

    output = Output(as_json=as_json)
    check_exists(store)
    found = check_store(store)
    output.json(asdict(found))
    for name, n_points in found.n_points.items():
        how = "all points read" if name in found.unrecorded else "all files compared"
        output.show(f"{name}: {n_points} points; {how}.")
    for name, damage in found.damaged.items():
        for each in damage:
            output.tell("Damaged:", f"{name}: {each}", style="red")
    if not found.is_whole:
        raise typer.Exit(1)
    output.show("No damage was found.")
