"""mmrag finetune: both encoders of a CLIP or SigLIP, trained on pairs."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from llama_index_mmrag.alignment.finetuning import (
    FinetuneReport,
    FinetuneSettings,
    finetune,
)
from llama_index_mmrag.alignment.pair_files import PairsRead, read_pairs
from llama_index_mmrag.checks import needs
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.options import AsJson, place
from llama_index_mmrag.cli.output import print_json, tell, terminal, told

_DEFAULT = FinetuneSettings()
# Typer evaluates annotations, and Python 3.10 has no `int | None` in Annotated there.
_WholeNumber = Optional[int]  # noqa: UP045
_Number = Optional[float]  # noqa: UP045


@app.command("finetune")
@told()
def finetune_command(  # noqa: PLR0913 - each argument is an option of the command
    *,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME_OR_DIR",
            help="A CLIP or SigLIP of transformers: its folder, or its name on the "
            "model hub.",
        ),
    ],
    pairs: Annotated[
        Path,
        typer.Option(
            parser=place,
            metavar="FILE",
            help='JSON Lines: {"image": "cat.jpg", "text": "A cat."}, paths relative '
            "to the file; text may be a list.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=place,
            metavar="DIR",
            help="Folder for the fine-tuned model. Run the same command again to go "
            "on after an interruption.",
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            metavar="lora|last_blocks|full",
            help="lora: low-rank additions to both towers; last_blocks: their last "
            "blocks; full: all weights.",
        ),
    ] = _DEFAULT.method,
    contrastive: Annotated[
        float, typer.Option(help="Weight of retrieval: pairs must find each other.")
    ] = _DEFAULT.weight("contrastive"),
    captioning: Annotated[
        float, typer.Option(help="Weight of writing the text; 0 leaves it out.")
    ] = _DEFAULT.weight("captioning"),
    epochs: Annotated[
        int, typer.Option(help="Passes over the pairs.")
    ] = _DEFAULT.epochs,
    batch_size: Annotated[
        int, typer.Option(help="Pairs in a step: also how many negatives there are.")
    ] = _DEFAULT.batch_size,
    micro_batch_size: Annotated[
        _WholeNumber,
        typer.Option(
            help="Pairs computed at once: less memory, more time, the same gradient. "
            "By default the whole batch."
        ),
    ] = None,
    learning_rate: Annotated[
        _Number,
        typer.Option(
            help="The highest, of the encoders. By default 2e-4 with lora, else 1e-5."
        ),
    ] = None,
    lora_rank: Annotated[
        int, typer.Option(help="With lora: columns of the additions.")
    ] = _DEFAULT.lora_rank,
    blocks: Annotated[
        int, typer.Option(help="With last_blocks: how many of each tower.")
    ] = _DEFAULT.n_blocks,
    held_out: Annotated[
        float,
        typer.Option(
            help="Share of the pictures that judges and is not learned from; 0: the "
            "learned ones judge."
        ),
    ] = _DEFAULT.held_out,
    patience: Annotated[
        int, typer.Option(help="Epochs without a better figure before it stops.")
    ] = _DEFAULT.patience,
    checkpoint_steps: Annotated[
        _WholeNumber,
        typer.Option(
            help="Steps between checkpoints. By default one after each epoch."
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="auto|float32|bfloat16|float16",
            help="Of matrix products. auto: float32 on a CPU, else bfloat16 or "
            "float16.",
        ),
    ] = _DEFAULT.precision,
    device: Annotated[
        str, typer.Option(help="A torch device; auto: CUDA if there is one.")
    ] = "auto",
    augment: Annotated[
        bool, typer.Option("--augment", help="Cut off a little of each side at random.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides all that is drawn.")] = 0,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 1 if any pair was skipped."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train both encoders of a CLIP or SigLIP on pictures and their texts.

    Retrieval and captioning are learned together. What is written loads like any
    checkpoint: BatchedClipEmbedding(model_name=DIR).
    """
    settings = FinetuneSettings(
        method=method,  # type: ignore[arg-type]  # checked there
        tasks={"contrastive": contrastive, "captioning": captioning},
        epochs=epochs,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        learning_rate=learning_rate,
        lora_rank=lora_rank,
        n_blocks=blocks,
        held_out=held_out,
        patience=patience,
        checkpoint_steps=checkpoint_steps,
        precision=precision,  # type: ignore[arg-type]  # checked there
        augment=augment,
        seed=seed,
    )
    # Its bars for reading and writing files say nothing that ours does not.
    package = needs("transformers", extra="finetune", for_="finetune")
    package.utils.logging.disable_progress_bar()
    show_progress = not as_json and sys.stderr.isatty()
    read = read_pairs(pairs, show_progress=show_progress)
    for problem in read.problems:
        reason = f"{pairs}:{problem.line}: {problem.source}: {problem.reason}"
        tell("Skipped", reason, style="yellow")
    with _logged(is_wanted=not as_json and not show_progress):
        report = finetune(
            model,
            read.pairs,
            out=out,
            settings=settings,
            device=device,
            show_progress=show_progress,
        )
    for pair in report.skipped:
        tell("Skipped", f"{pair.image}: {pair.reason}", style="yellow")
    if as_json:
        print_json(_as_json(report, read))
    else:
        terminal().print(str(report))
        terminal().print(f'Use it: BatchedClipEmbedding(model_name="{out}")')
    if report.stopped == "not finite":
        raise typer.Exit(2)
    if strict and (read.problems or report.skipped):
        raise typer.Exit(1)


@contextmanager
def _logged(*, is_wanted: bool) -> Iterator[None]:
    """Write a line for each epoch on stderr, where no bar shows how far it is."""
    log = logging.getLogger("llama_index_mmrag.alignment.finetuning")
    handler, level = logging.StreamHandler(), log.level
    if is_wanted:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _as_json(report: FinetuneReport, read: PairsRead) -> dict[str, Any]:
    unread = [dataclasses.asdict(problem) for problem in read.problems]
    plain = dataclasses.asdict(report)
    return {**plain, "folder": str(report.folder), "unread": unread}
