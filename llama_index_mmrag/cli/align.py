"""mmrag align: pairs of pictures and texts into a head that brings them together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llama_index_mmrag.cli import encoders
from llama_index_mmrag.cli.align_report import check_out, figures_of, show
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.options import AsJson, Encoder, Strict, place
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.errors import InvalidSetting, MissingExtra

if TYPE_CHECKING:
    from llama_index.core.embeddings import MultiModalEmbedding

    from llama_index_mmrag.alignment import EncodedPairs, PairProblem, Transform


@app.command("align")
def align_command(  # noqa: PLR0913 - each argument is an option of the command
    *,
    pairs: Annotated[
        Path,
        typer.Option(
            "--pairs",
            "-p",
            parser=place,
            metavar="FILE",
            help='JSON Lines: {"image": "path", "text": "..."} a line.',
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=place, metavar="FILE", help="An .npz file to write."
        ),
    ],
    encoder: Encoder = None,
    method: Annotated[
        Literal["infonce", "triplet", "ridge", "procrustes"],
        typer.Option(help="Two losses to train with, two closed forms."),
    ] = "infonce",
    kind: Annotated[
        Literal["linear", "mlp"], typer.Option(help="Shape of a trained head.")
    ] = "linear",
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of mlp.")] = 512,
    dropout: Annotated[float, typer.Option(help="Of the head's inputs.")] = 0.5,
    start: Annotated[
        Literal["random", "ridge", "procrustes"],
        typer.Option(help="Where a trained linear head begins."),
    ] = "random",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 30,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs in a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 3e-3,
    ridge_penalty: Annotated[
        float | None,
        typer.Option(help="Of ridge: 1000 as the method, 100 as the start."),
    ] = None,
    mix_weight: Annotated[
        float | None,
        typer.Option(
            help="Share of the head beside the encoder's own vectors.  [default: 0.5]"
        ),
    ] = None,
    head_alone: Annotated[
        bool, typer.Option("--head-alone", help="Use the head without them.")
    ] = False,
    judge: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Pairs to judge by, instead of a share of --pairs."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of the pictures to judge by.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="What torch trains on.")] = "cpu",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Fit a head on pairs of pictures and texts, judge it, and save it.

    Vectors are kept beside --out, so that other settings need no encoding; a training
    that was interrupted goes on where it was. The texts' vectors stay as they are.
    """
    check_out(out)
    if head_alone and mix_weight is not None:
        msg = "--head-alone uses the head without a mixture; leave out --mix-weight."
        raise InvalidSetting(msg)
    from llama_index_mmrag.alignment import (
        Alignment,
        Fit,
        Head,
        PictureParts,
        TrainSettings,
        align,
    )
    from llama_index_mmrag.embeddings.space import space_of

    output = Output(as_json=as_json)
    is_trained = method in ("infonce", "triplet")
    penalty: dict[str, Any] = {}
    if ridge_penalty is not None:
        penalty["ridge_penalty"] = ridge_penalty
    mixture: dict[str, Any] = {}
    if head_alone or mix_weight is not None:
        mixture["mix_weight"] = mix_weight
    fit = Fit(
        method="trained" if is_trained else method,  # type: ignore[arg-type]
        head=Head(kind=kind, hidden=hidden, dropout=dropout),
        settings=TrainSettings(
            loss="triplet" if method == "triplet" else "info_nce",
            start=start,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            **penalty,
        ),
        held_out=held_out,
        **penalty,
        **mixture,
    )
    if is_trained:
        _check_device(device)
    name = encoders.OFFLINE if encoder is None else encoder
    base = encoders.base_encoder(name, with_features=True)
    space = space_of(base)  # loads a CLIP model: before all the pictures are opened
    vectors = out.with_suffix(".vectors.npz")
    encoded, skipped = _encoded(pairs, base, vectors, output)
    judged = None
    if judge is not None:
        judged, unread = _encoded(judge, base, vectors, output)
        skipped += unread
    started = time.perf_counter()
    checkpoint = out.with_suffix(".run.npz")
    aligned = align(
        encoded,
        parts=PictureParts.of(
            base, text_dim=encoded.texts.shape[1], image_dim=encoded.images.shape[1]
        ),
        fit=fit,
        judged=judged,
        baselines=_baselines(base),
        checkpoint=checkpoint if is_trained else None,
        device=device,
        show_progress=output.shows_progress,
    )
    figures = figures_of(aligned, fit, name, time.perf_counter() - started)
    Alignment(
        text=aligned.text,
        image=aligned.image,
        fitted_on=f"{len(encoded)} pairs of {pairs.name}",
        text_space=space,
        image_space=space,
        figures=figures,
    ).save(out)
    checkpoint.unlink(missing_ok=True)
    output.json({"out": out, **figures, "skipped": skipped})
    show(aligned, out, vectors, figures, output)
    if strict and output.has_skipped:
        raise typer.Exit(1)


def _check_device(device: str) -> None:
    # Before an hour of encoding, not after it.
    from llama_index_mmrag.alignment.train import check_device

    try:
        check_device(device)
    except MissingExtra as error:
        msg = f"{error}; or give --method ridge, which needs nothing more."
        raise MissingExtra(msg) from error


def _encoded(
    path: Path, base: MultiModalEmbedding, kept: Path, output: Output
) -> tuple[EncodedPairs, list[PairProblem]]:
    from llama_index_mmrag.alignment import encode_pairs, read_pairs

    read = read_pairs(path, show_progress=output.shows_progress)
    encoded = encode_pairs(read, base, kept=kept, show_progress=output.shows_progress)
    problems = [*read.problems, *encoded.problems]
    for problem in problems:
        where = f"{path.name} line {problem.line}, {problem.source}"
        output.skip(where, problem.reason)
    return encoded, problems


def _baselines(base: MultiModalEmbedding) -> dict[str, Transform]:
    """Return what else the head is compared with: the encoder without --alignment."""
    from llama_index_mmrag.alignment.shipped import shipped_head
    from llama_index_mmrag.embeddings import OfflineFeaturesEmbedding

    if not isinstance(base, OfflineFeaturesEmbedding):
        return {}
    return {"with the shipped head": shipped_head()}
