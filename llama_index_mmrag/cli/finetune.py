"""mmrag finetune: both encoders of a CLIP or SigLIP, trained on pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output


@app.command("finetune")
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
            parser=options.place,
            metavar="FILE",
            help='JSON Lines: {"image": "cat.jpg", "text": "A cat."}, paths relative '
            "to the file; text may be a list.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=options.place,
            metavar="DIR",
            help="Folder for the fine-tuned model. Run the same command again to go "
            "on after an interruption.",
        ),
    ],
    method: Annotated[
        Literal["lora", "last_blocks", "full"],
        typer.Option(
            help="lora: low-rank additions to both towers; last_blocks: their last "
            "blocks; full: all weights.",
        ),
    ] = "lora",
    contrastive: Annotated[
        float,
        typer.Option(min=0, help="Weight of retrieval: pairs must find each other."),
    ] = 1.0,
    captioning: Annotated[
        float, typer.Option(min=0, help="Weight of writing the text; 0 leaves it out.")
    ] = 0.5,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pairs.")] = 10,
    batch_size: Annotated[
        int,
        typer.Option(min=2, help="Pairs in a step: also how many negatives there are."),
    ] = 128,
    micro_batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pairs computed at once: less memory, more time, the same gradient. "
            "By default the whole batch.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="The highest, of the encoders. By default 2e-4 with lora, else 1e-5."
        ),
    ] = None,
    lora_rank: Annotated[
        int, typer.Option(min=1, help="With lora: columns of the additions.")
    ] = 16,
    blocks: Annotated[
        int, typer.Option(min=1, help="With last_blocks: how many of each tower.")
    ] = 2,
    held_out: Annotated[
        float,
        typer.Option(
            help="Share of the pictures that judges and is not learned from; 0: the "
            "learned ones judge."
        ),
    ] = 0.1,
    patience: Annotated[
        int, typer.Option(min=1, help="Epochs without a better figure before it stops.")
    ] = 3,
    checkpoint_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps between checkpoints. By default one after each epoch."
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(
            help="Of matrix products. auto: float32 on a CPU, else bfloat16 or "
            "float16.",
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="A torch device; auto: CUDA if there is one.")
    ] = "auto",
    augment: Annotated[
        bool, typer.Option("--augment", help="Cut off a little of each side at random.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides all that is drawn.")] = 0,
    strict: options.Strict = False,
    as_json: options.AsJson = False,
) -> None:
    """Train both encoders of a CLIP or SigLIP on pictures and their texts.

    Retrieval and captioning are learned together. What is written loads like any
    checkpoint: BatchedClipEmbedding(model_name=DIR).
    """
    from llama_index_mmrag.alignment.finetuning import FinetuneSettings, finetune
    from llama_index_mmrag.alignment.pair_files import read_pairs
    from llama_index_mmrag.checks import needs

    output = Output(as_json=as_json)
    settings = FinetuneSettings(
        method=method,
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
        precision=precision,
        augment=augment,
        seed=seed,
    )
    # Its bars for reading and writing files say nothing that ours does not.
    package = needs("transformers", extra="finetune", for_="finetune")
    package.utils.logging.disable_progress_bar()
    read = read_pairs(pairs, show_progress=output.shows_progress)
    for problem in read.problems:
        output.skip(f"{pairs}:{problem.line}: {problem.source}", problem.reason)
    with _logged(is_wanted=not as_json and not output.shows_progress):
        report = finetune(
            model,
            read.pairs,
            out=out,
            settings=settings,
            device=device,
            show_progress=output.shows_progress,
        )
    for pair in report.skipped:
        output.skip(pair.image, pair.reason)
    output.json({**asdict(report), "unread": read.problems})
    output.show(str(report))
    output.show(f'Use it: BatchedClipEmbedding(model_name="{out}")')
    if report.stopped == "not finite":
        raise typer.Exit(2)
    if strict and output.has_skipped:
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
