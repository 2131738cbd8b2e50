"""mmrag repair: a damaged store, rebuilt from what can be read of it."""

from __future__ import annotations

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.encoders import chosen_encoder
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.place import Place, placed
from llama_index_mmrag.errors import InvalidSetting


@app.command()
@placed
def repair(
    place: Place,
    encoder: options.Encoder = None,
    alignment: options.AlignmentFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Rebuild the damaged collections of a store from what can be read of them.

    Points that are whole are copied, those whose vector is lost are encoded anew, and
    documents that lost more are listed: index their folder again, which encodes only
    what is missing. The new collections are built beside the damaged ones, checked, and
    switched to in one step; the damaged ones are kept, as NAME.damaged. Exits with 1 if
    something was lost.
    """
    from dataclasses import asdict

    from llama_index_mmrag.index.repairing import repair_store

    output = Output(as_json=as_json)
    if place.store is None:
        raise InvalidSetting(
            "repair is for a folder; a server keeps its collections whole itself. "
            "mmrag index adds what is missing there, and encodes nothing else."
        )
    place.check_exists()
    embed_model = chosen_encoder(encoder, alignment)
    done = repair_store(place.store, embed_model=embed_model, on_step=output.step)
    output.json(asdict(done))
    for name, n_copied in done.n_copied.items():
        n_encoded, n_lost = done.n_encoded.get(name, 0), done.n_lost[name]
        lost = "nobody knows how many" if n_lost is None else n_lost
        said = f"{n_copied} points copied, {n_encoded} encoded anew, {lost} lost."
        output.show(f"{name}: {said}")
    for each in done.kept_aside:
        output.show(f"Kept: {each}")
    for each in done.insert_again:
        output.tell("Insert again:", each)
    if done.may_lack_points or done.insert_again:
        if done.may_lack_points:
            advice = "mmrag index DIR --store NAME adds what is missing."
            output.tell("Points are or may be lost, maybe of other documents.", advice)
        raise typer.Exit(1)
