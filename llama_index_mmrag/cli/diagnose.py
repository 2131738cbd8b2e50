"""mmrag diagnose: how far texts and pictures lie apart; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llama_index_mmrag.cli import encoders, options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output, found_table
from llama_index_mmrag.cli.place import Place, placed
from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    from llama_index_mmrag.alignment import Diagnosis, FoundBothWays, PairProblem


@app.command("diagnose")
@placed
def diagnose_command(
    *,
    place: Place | None = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            "-p",
            parser=options.place,
            metavar="FILE",
            help='JSON Lines to encode: {"image": "path", "text": "..."} a line.',
        ),
    ] = None,
    encoder: options.Encoder = None,
    alignment: options.AlignmentFile = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Vectors of each collection that are read.")
    ] = 10_000,
    as_json: options.AsJson = False,
) -> None:
    """Measure the gap between texts and pictures, as it is and with means subtracted.

    Of a store (its vectors, no encoder needed), or of pairs: then also how well texts
    and pictures find each other. Nothing is changed.
    """
    output = Output(as_json=as_json)
    if place is not None and pairs is None:
        if encoder is not None or alignment is not None:
            raise InvalidSetting(
                "--store and --url read vectors that are stored; leave out --encoder "
                "and --alignment, or give --pairs."
            )
        seen = _of_store(place, sample)
        output.json({"gap": seen})
        output.show(str(seen))
    elif pairs is not None and place is None:
        seen, found, skipped = _of_pairs(pairs, encoder, alignment, output)
        for problem in skipped:
            output.skip(f"line {problem.line}, {problem.source}", problem.reason)
        output.json({"gap": seen, "found": found, "skipped": skipped})
        output.show(str(seen))
        output.show(found_table({"as it is": found}))
    else:
        raise InvalidSetting(
            "Give either --store or --url (vectors that are stored) or --pairs (to "
            "encode)."
        )


def _of_store(place: Place, n_vectors: int) -> Diagnosis:
    from llama_index_mmrag.alignment import diagnose
    from llama_index_mmrag.stores import QdrantEdgeVectorStore
    from llama_index_mmrag.stores.server_check import sampled_on_server

    place.check_exists()
    vectors = {}
    if place.store is None:
        with place.server() as (client, names):
            for name in ("text", "image"):
                vectors[name] = sampled_on_server(client, names[name], n_vectors)
    else:
        for name in ("text", "image"):
            with QdrantEdgeVectorStore.open(place.store / name) as opened:
                vectors[name] = opened.sample_vectors(n_vectors)
    empty = [name for name, rows in vectors.items() if not len(rows)]
    if empty:
        raise InvalidSetting(
            f"The store of {place} has no vectors in its {' and '.join(empty)} "
            f"collection; expected some in both. Index texts and pictures first."
        )
    return diagnose(vectors["text"], vectors["image"])


def _of_pairs(
    pairs: Path, encoder: str | None, alignment: Path | None, output: Output
) -> tuple[Diagnosis, FoundBothWays, tuple[PairProblem, ...]]:
    from llama_index_mmrag.alignment import (
        diagnose,
        encode_pairs,
        found_both_ways,
        read_pairs,
    )

    chosen = encoders.chosen_encoder(encoder, alignment)
    model = encoders.seeing(chosen or encoders.base_encoder(encoders.OFFLINE))
    read = read_pairs(pairs, show_progress=output.shows_progress)
    encoded = encode_pairs(read, model, show_progress=output.shows_progress)
    seen = diagnose(encoded.texts, encoded.images, paired=True)
    found = found_both_ways(
        encoded.texts, encoded.images, encoded.groups, encoded.pictures
    )
    return seen, found, (*read.problems, *encoded.problems)
