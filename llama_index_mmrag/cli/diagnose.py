"""mmrag diagnose: how far texts and pictures lie apart; nothing is changed."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.encoders import (
    OFFLINE,
    AlignmentFile,
    Encoder,
    base_encoder,
    chosen_encoder,
)
from llama_index_mmrag.cli.found_table import found_table
from llama_index_mmrag.cli.options import AsJson, check_exists, place
from llama_index_mmrag.cli.output import print_json, tell, terminal, told
from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    from llama_index_mmrag.alignment import Diagnosis, FoundBothWays, PairProblem


@app.command("diagnose")
@told()
def diagnose_command(
    *,
    store: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--store", "-s", parser=place, metavar="DIR", help="A store to look into."
        ),
    ] = None,
    pairs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--pairs",
            "-p",
            parser=place,
            metavar="FILE",
            help='JSON Lines to encode: {"image": "path", "text": "..."} a line.',
        ),
    ] = None,
    encoder: Encoder = None,
    alignment: AlignmentFile = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Vectors of each collection that are read.")
    ] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Measure the gap between texts and pictures, as it is and with means subtracted.

    Of a store (its vectors, no encoder needed), or of pairs: then also how well texts
    and pictures find each other. Nothing is changed.
    """
    found: FoundBothWays | None = None
    skipped: tuple[PairProblem, ...] = ()
    if store is not None and pairs is None:
        if encoder is not None or alignment is not None:
            msg = (
                "--store reads vectors that are stored; leave out --encoder and "
                "--alignment, or give --pairs."
            )
            raise InvalidSetting(msg)
        seen = _of_store(store, sample)
    elif pairs is not None and store is None:
        progress = not as_json and sys.stderr.isatty()
        seen, found, skipped = _of_pairs(pairs, encoder, alignment, progress)
    else:
        msg = "Give either --store (vectors that are stored) or --pairs (to encode)."
        raise InvalidSetting(msg)
    for problem in skipped:
        where = f"line {problem.line}, {problem.source}"
        tell("Skipped", f"{where}: {problem.reason}", style="yellow")
    if as_json:
        print_json(_as_json(seen, found, skipped))
        return
    console = terminal()
    console.print(str(seen))
    if found is not None:
        console.print(found_table({"as it is": found}))


def _of_store(store: Path, n_vectors: int) -> Diagnosis:
    from llama_index_mmrag.alignment import diagnose
    from llama_index_mmrag.stores import QdrantEdgeVectorStore

    check_exists(store)
    vectors = {}
    for name in ("text", "image"):
        with QdrantEdgeVectorStore.open(store / name) as opened:
            vectors[name] = opened.sample_vectors(n_vectors)
    empty = [name for name, rows in vectors.items() if not len(rows)]
    if empty:
        msg = (
            f"The store {str(store)!r} has no vectors in its {' and '.join(empty)} "
            f"collection; expected some in both. Index texts and pictures first."
        )
        raise InvalidSetting(msg)
    return diagnose(vectors["text"], vectors["image"])


def _of_pairs(
    pairs: Path, encoder: str | None, alignment: Path | None, show_progress: bool
) -> tuple[Diagnosis, FoundBothWays, tuple[PairProblem, ...]]:
    from llama_index_mmrag.alignment import (
        diagnose,
        encode_pairs,
        found_both_ways,
        read_pairs,
    )

    model = chosen_encoder(encoder, alignment) or base_encoder(OFFLINE)
    read = read_pairs(pairs, show_progress=show_progress)
    encoded = encode_pairs(read, model, show_progress=show_progress)
    seen = diagnose(encoded.texts, encoded.images, paired=True)
    found = found_both_ways(
        encoded.texts, encoded.images, encoded.groups, encoded.pictures
    )
    return seen, found, (*read.problems, *encoded.problems)


def _as_json(
    seen: Diagnosis, found: FoundBothWays | None, skipped: tuple[PairProblem, ...]
) -> dict[str, Any]:
    gap: dict[str, Any] = _without_nan(asdict(seen))
    if found is None:
        return {"gap": gap}
    problems = [asdict(problem) for problem in skipped]
    return {"gap": gap, "found": asdict(found), "skipped": problems}


def _without_nan(value: Any) -> Any:
    """Return it with null for what is no number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
