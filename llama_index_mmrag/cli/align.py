"""mmrag align: pairs of pictures and texts into a head that brings them together."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llama_index_mmrag.cli import encoders, options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output, found_table
from llama_index_mmrag.errors import InvalidSetting, MissingExtra
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.report.plain import plain_text

if TYPE_CHECKING:
    from llama_index.core.embeddings import MultiModalEmbedding

    from llama_index_mmrag.alignment import Aligned, EncodedPairs, Fit, PairProblem


FEW_JUDGED = 50
"""Recall over fewer pairs is known to a seventh at best (one standard error of 0.5)."""


@app.command("align")
def align_command(  # noqa: PLR0913 - each argument is an option of the command
    *,
    pairs: Annotated[
        Path,
        typer.Option(
            "--pairs",
            "-p",
            parser=options.place,
            metavar="FILE",
            help='JSON Lines: {"image": "path", "text": "..."} a line.',
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=options.place,
            metavar="FILE",
            help="An .npz file to write.",
        ),
    ],
    encoder: options.Encoder = None,
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
    strict: options.Strict = False,
    as_json: options.AsJson = False,
) -> None:
    """Fit a head on pairs of pictures and texts, judge it, and save it.

    Vectors are kept beside --out, so that other settings need no encoding; a training
    that was interrupted goes on where it was. The texts' vectors stay as they are.
    """
    _check_out(out)
    if head_alone and mix_weight is not None:
        raise InvalidSetting(
            "--head-alone uses the head without a mixture; leave out --mix-weight."
        )
    from llama_index_mmrag import alignment
    from llama_index_mmrag.alignment.shipped import shipped_head
    from llama_index_mmrag.embeddings import OfflineFeaturesEmbedding
    from llama_index_mmrag.embeddings.space import space_of

    output = Output(as_json=as_json)
    is_trained = method in ("infonce", "triplet")
    # What is left out has a default of its own in each class.
    penalty: dict[str, Any] = {}
    if ridge_penalty is not None:
        penalty["ridge_penalty"] = ridge_penalty
    mixture: dict[str, Any] = {}
    if head_alone or mix_weight is not None:
        mixture["mix_weight"] = mix_weight
    fit = alignment.Fit(
        method="trained" if is_trained else method,  # type: ignore[arg-type]
        head=alignment.Head(kind=kind, hidden=hidden, dropout=dropout),
        settings=alignment.TrainSettings(
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
        _check_device(device)  # before an hour of encoding, not after it
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
    baselines = {}  # what the encoder does without --alignment
    if isinstance(base, OfflineFeaturesEmbedding):
        baselines["with the shipped head"] = shipped_head()
    aligned = alignment.align(
        encoded,
        parts=alignment.PictureParts.of(
            base, text_dim=encoded.texts.shape[1], image_dim=encoded.images.shape[1]
        ),
        fit=fit,
        judged=judged,
        baselines=baselines,
        checkpoint=checkpoint if is_trained else None,
        device=device,
        show_progress=output.shows_progress,
    )
    figures = _figures_of(aligned, fit, name, time.perf_counter() - started)
    alignment.Alignment(
        text=aligned.text,
        image=aligned.image,
        fitted_on=f"{len(encoded)} pairs of {pairs.name}",
        text_space=space,
        image_space=space,
        figures=figures,
    ).save(out)
    checkpoint.unlink(missing_ok=True)
    output.json({"out": out, **figures, "skipped": skipped})
    _show(aligned, out, vectors, figures, output)
    if strict and output.has_skipped:
        raise typer.Exit(1)


def _check_device(device: str) -> None:
    from llama_index_mmrag.alignment.train import check_device

    try:
        check_device(device)
    except MissingExtra as error:
        raise MissingExtra(
            f"{error}; or give --method ridge, which needs nothing more."
        ) from error


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


def _check_out(out: Path) -> None:
    """Do nothing if a head may be written there, and its card beside it.

    Raises:
        InvalidSetting: Not an `.npz` file, or the card would replace a file that is
            none, such as the pairs themselves.
    """
    if out.suffix != ".npz":
        raise InvalidSetting(
            f"--out {str(out)!r} does not end in '.npz'. Give a name such as head.npz"
        )
    card = out.with_suffix(".json")
    if not card.exists():
        return
    try:
        is_card = "llama-index-mmrag" in read_json(card)["format"]
    except (ValueError, KeyError, TypeError):
        is_card = False
    if not is_card:
        raise InvalidSetting(
            f"--out {str(out)!r} would write its card to {str(card)!r}, which is a "
            f"file of something else. Give another name."
        )


def _figures_of(
    aligned: Aligned, fit: Fit, name: str, seconds: float
) -> dict[str, Any]:
    """Return what a head reached and how it was made, for its card and for --json."""
    training = None
    if (trained := aligned.trained) is not None:
        training = {"best_epoch": trained.best_epoch, "stopped": trained.stopped}
        training["epochs"] = len(trained.history) - 1
    return {
        "encoder": name,
        "pairs_fitted": aligned.n_fitted,
        "pairs_judged": aligned.n_judged,
        "pairs_judged_and_seen": aligned.n_seen,
        "before": {key: asdict(found) for key, found in aligned.before.items()},
        "after": asdict(aligned.after),
        "fit": asdict(fit),
        "training": training,
        "seconds": round(seconds, 1),
    }


def _show(
    aligned: Aligned, out: Path, vectors: Path, figures: dict[str, Any], output: Output
) -> None:
    """Print what the head reached, and how to use it."""
    how, training = "closed form", figures["training"]
    if training is not None:
        how = "epoch {best_epoch} of {epochs}, {stopped}".format(**training)
    output.show(
        f"Fitted on {aligned.n_fitted} pairs, judged on {aligned.n_judged} others "
        f"({how}, {figures['seconds']:.0f} s)"
    )
    beware = []
    if aligned.n_seen:
        beware.append(
            f"{aligned.n_seen} of {aligned.n_judged} judged pairs have pictures that "
            f"the head was fitted on: their figures are flattered. Judge by others."
        )
    if aligned.n_judged < FEW_JUDGED:
        beware.append(f"{aligned.n_judged} judged pairs prove little; give more pairs.")
    for said in beware:
        output.show(f"Beware: {said}", style="yellow", wrap=False)
    output.show(found_table({**aligned.before, "with the new head": aligned.after}))
    given = "" if figures["encoder"] == encoders.OFFLINE else ", text_encoder=..."
    for line in (
        f"Saved {out} and its card. Use it with: mmrag index DIR --store STORE "
        f"--alignment {out}",
        f"or in Python: TransformedEmbedding.from_alignment({str(out)!r}{given})",
        f"Vectors are kept in {vectors} for another fit; delete it when you are done.",
    ):
        output.show(plain_text(line), wrap=False)
