"""mmrag align: pairs of pictures and texts into a head that brings them together."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from llama_index_mmrag.cli.align_report import check_out, figures_of, save, show
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.encoders import OFFLINE, Encoder, base_encoder
from llama_index_mmrag.cli.options import AsJson, place
from llama_index_mmrag.cli.output import print_json, tell, told
from llama_index_mmrag.errors import InvalidSetting, MissingExtra

if TYPE_CHECKING:
    from llama_index.core.embeddings import MultiModalEmbedding

    from llama_index_mmrag.alignment import (
        EncodedPairs,
        Fit,
        PairProblem,
        Transform,
    )


class Method(str, Enum):
    """How a head is fitted."""

    infonce = "infonce"
    triplet = "triplet"
    ridge = "ridge"
    procrustes = "procrustes"


class Kind(str, Enum):
    """The shape of a head that is trained."""

    linear = "linear"
    mlp = "mlp"


class Start(str, Enum):
    """Where a linear head begins."""

    random = "random"
    ridge = "ridge"
    procrustes = "procrustes"


PairsFile = Annotated[
    Path,
    typer.Option(
        "--pairs",
        "-p",
        parser=place,
        metavar="FILE",
        help='JSON Lines: {"image": "path", "text": "..."} a line.',
    ),
]


@app.command("align")
@told()
def align_command(  # noqa: PLR0913 - each argument is an option of the command
    *,
    pairs: PairsFile,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=place, metavar="FILE", help="An .npz file to write."
        ),
    ],
    encoder: Encoder = None,
    method: Annotated[
        Method, typer.Option(help="Two losses to train with, two closed forms.")
    ] = Method.infonce,
    kind: Annotated[Kind, typer.Option(help="Shape of a trained head.")] = Kind.linear,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of mlp.")] = 512,
    dropout: Annotated[float, typer.Option(help="Of the head's inputs.")] = 0.5,
    start: Annotated[
        Start, typer.Option(help="Where a trained linear head begins.")
    ] = Start.random,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 30,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs in a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 3e-3,
    ridge_penalty: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Of ridge: 1000 as the method, 100 as the start."),
    ] = None,
    mix_weight: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            help="Share of the head beside the encoder's own vectors.  [default: 0.5]"
        ),
    ] = None,
    head_alone: Annotated[
        bool, typer.Option("--head-alone", help="Use the head without them.")
    ] = False,
    judge: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE", help="Pairs to judge by, instead of a share of --pairs."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of the pictures to judge by.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="What torch trains on.")] = "cpu",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything was skipped.")
    ] = False,
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
    from llama_index_mmrag.alignment import align
    from llama_index_mmrag.alignment.align import MIX_WEIGHT, RIDGE_PENALTY
    from llama_index_mmrag.embeddings.space import space_of

    fit = _fit(
        method,
        head={"kind": kind.value, "hidden": hidden, "dropout": dropout},
        settings={
            "start": start.value,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "ridge_penalty": 100.0 if ridge_penalty is None else ridge_penalty,
        },
        mix_weight=None if head_alone else _given(mix_weight, MIX_WEIGHT),
        ridge_penalty=_given(ridge_penalty, RIDGE_PENALTY),
        held_out=held_out,
    )
    _check_training(method, device)
    name = OFFLINE if encoder is None else encoder
    base = base_encoder(name, with_features=True)
    space_of(base)  # loads a CLIP model: before thousands of pictures are opened
    show_progress = not as_json and sys.stderr.isatty()
    vectors = out.with_suffix(".vectors.npz")
    problems: list[PairProblem] = []
    encoded = _encoded(pairs, base, vectors, problems, show_progress)
    judged = None
    if judge is not None:
        judged = _encoded(judge, base, vectors, problems, show_progress)
    started = time.perf_counter()
    checkpoint = out.with_suffix(".run.npz")
    aligned = align(
        encoded,
        parts=_parts(base, encoded),
        fit=fit,
        judged=judged,
        baselines=_baselines(base),
        checkpoint=checkpoint if fit.method == "trained" else None,
        device=device,
        show_progress=show_progress,
    )
    seconds = time.perf_counter() - started
    figures = figures_of(aligned, fit, name, seconds)
    save(aligned, base, out, f"{len(encoded)} pairs of {pairs.name}", figures)
    checkpoint.unlink(missing_ok=True)
    if as_json:
        skipped = [asdict(problem) for problem in problems]
        print_json({"out": str(out), **figures, "skipped": skipped})
    else:
        show(aligned, out, vectors, figures)
    if strict and problems:
        raise typer.Exit(1)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _fit(
    method: Method, *, head: dict[str, Any], settings: dict[str, Any], **others: Any
) -> Fit:
    from llama_index_mmrag.alignment import Fit, Head, TrainSettings

    is_trained = method in (Method.infonce, Method.triplet)
    settings["loss"] = "triplet" if method is Method.triplet else "info_nce"
    return Fit(
        method="trained" if is_trained else method.value,  # type: ignore[arg-type]
        head=Head(**head),
        settings=TrainSettings(**settings),
        **others,
    )


def _check_training(method: Method, device: str) -> None:
    # Before an hour of encoding, not after it.
    if method in (Method.infonce, Method.triplet):
        from llama_index_mmrag.alignment.train import check_device

        try:
            check_device(device)
        except MissingExtra as error:
            msg = f"{error}; or give --method ridge, which needs nothing more."
            raise MissingExtra(msg) from error


def _encoded(
    path: Path,
    base: MultiModalEmbedding,
    kept: Path,
    problems: list[PairProblem],
    show_progress: bool,
) -> EncodedPairs:
    from llama_index_mmrag.alignment import encode_pairs, read_pairs

    read = read_pairs(path, show_progress=show_progress)
    encoded = encode_pairs(read, base, kept=kept, show_progress=show_progress)
    for problem in (*read.problems, *encoded.problems):
        where = f"{path.name} line {problem.line}"
        tell("Skipped", f"{where}, {problem.source}: {problem.reason}", style="yellow")
        problems.append(problem)
    return encoded


def _parts(base: MultiModalEmbedding, encoded: EncodedPairs) -> Any:
    from llama_index_mmrag.alignment import PictureParts

    return PictureParts.of(
        base, text_dim=encoded.texts.shape[1], image_dim=encoded.images.shape[1]
    )


def _baselines(base: MultiModalEmbedding) -> dict[str, Transform]:
    """Return what else the head is compared with: the encoder without --alignment."""
    from llama_index_mmrag.alignment.shipped import shipped_head
    from llama_index_mmrag.embeddings import OfflineFeaturesEmbedding

    if not isinstance(base, OfflineFeaturesEmbedding):
        return {}
    return {"with the shipped head": shipped_head()}
