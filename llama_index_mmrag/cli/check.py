"""mmrag check: what of a store is damaged."""

from __future__ import annotations

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.place import Place, placed


@app.command()
@placed
def check(place: Place, as_json: options.AsJson = False) -> None:
    """Read all files of a store and compare them with what they were.

    A store notes the size and checksum of its files when it is closed after it was
    written to. Where it was killed instead there is no such note: all points are read,
    which takes longer. Nothing is changed. Exits with 1 if something is damaged;
    `mmrag repair` saves what can be read. A server's points are counted, and the server
    asked whether its collections are whole.
    """
    from dataclasses import asdict

    from llama_index_mmrag.stores.checking import check_store
    from llama_index_mmrag.stores.server_check import check_server

    output = Output(as_json=as_json)
    if place.store is not None:
        place.check_exists()
        found = check_store(place.store)
    else:
        with place.server() as (client, names):
            found = check_server(client, names)
    output.json(asdict(found))
    for name, n_points in found.n_points.items():
        how = "all points read" if name in found.unrecorded else "all files compared"
        how = "counted by the server" if place.store is None else how
        output.show(f"{name}: {n_points} points; {how}.")
    for name, damage in found.damaged.items():
        for each in damage:
            output.tell("Damaged:", f"{name}: {each}", style="red")
    if not found.is_whole:
        raise typer.Exit(1)
    output.show("No damage was found.")
