"""mmrag compress: the fewest bytes a vector that keep a promised recall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.place import Place, placed
from llama_index_mmrag.cli.store import existing
from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    from rich.table import Table

    from llama_index_mmrag.compression import Compression, IndexCompression


@app.command()
@placed
def compress(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    place: Place,
    min_recall: Annotated[
        float,
        typer.Option(
            help="The promise: this share of the exact nearest is still found, in "
            "(0, 1]."
        ),
    ] = 0.95,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, help="Nearest that recall is about.")
    ] = 10,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply",
            help="Build the picked setting beside the store, check it, and switch. "
            "Without it nothing is changed.",
        ),
    ] = False,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="A file with a question of your users on each line, at least 20; "
            "several hundred prove more. Otherwise what is stored is asked for."
        ),
    ] = None,
    smallest: Annotated[
        Literal["memory", "disk"],
        typer.Option(
            help="What is to be small: memory (originals may stay on disk) or disk."
        ),
    ] = "memory",
    autoencoder: Annotated[
        bool,
        typer.Option("--autoencoder", help="Try autoencoders too; slow, needs torch."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of samples and splits.")] = 0,
    encoder: options.Encoder = None,
    alignment: options.AlignmentFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure what makes a store's vectors smaller, and pick what keeps a recall.

    For each collection: fewer numbers (PCA, the first ones) with each of Qdrant's
    quantisations, built and searched in a temporary folder. Half of the queries
    choose; the other half say whether the promise holds. Bytes are for each vector:
    "memory" is what every search reads, "disk" all that is stored. Takes a minute or
    two for 10,000 vectors. Nothing is changed without --apply, nothing is encoded
    again, and the store is opened as before. Exits with 1 if nothing keeps the promise.
    """
    from llama_index_mmrag.compression import Candidates, CompressSettings

    output = Output(as_json=as_json)
    learned = ("autoencoder",) if autoencoder else ()
    settings = CompressSettings(
        min_recall=min_recall,
        top_k=top_k,
        candidates=Candidates(reductions=("pca", "truncate", *learned)),
        smallest=smallest,
        seed=seed,
    )
    asked = None if queries is None else _lines_of(queries)
    with existing(place, encoder=encoder, alignment=alignment) as index:
        done = index.compress(settings, queries=asked, apply=apply, on_step=output.step)
    output.json(
        {
            "collections": {k: v.as_dict() for k, v in done.reports.items()},
            "refused": dict(done.refused),
            "switched": done.switched,
        }
    )
    if not as_json:
        _show(done, output, can_apply=place.store is not None)
    if not any(report.chosen for report in done.reports.values()) or (
        apply and not done.switched
    ):
        raise typer.Exit(1)


def _show(done: IndexCompression, output: Output, *, can_apply: bool) -> None:
    for name, report in done.reports.items():
        output.show(f"{name}: {report.n_vectors} vectors; queries: {report.queries}")
        output.show(_table(report))
        output.show(" ".join(filter(None, (report.note, report.verdict()))))
        output.show("")
    for name, reason in done.refused.items():
        output.tell(f"The {name} collection stays as it is:", reason)
    if done.switched:
        output.show(f"Switched: {', '.join(done.switched)}. Open the store as before.")
    elif any(report.chosen for report in done.reports.values()):
        what = "--apply switches" if can_apply else "compress_collection leads"
        output.show(f"Nothing was changed; {what} to what was picked.")


def _table(report: Compression) -> Table:
    from rich.table import Table

    from llama_index_mmrag.compression.report import HEADINGS

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, heading in enumerate(HEADINGS):
        is_word = position in {0, len(HEADINGS) - 1}
        table.add_column(
            heading, justify="left" if is_word else "right", no_wrap=not is_word
        )
    for row, cells in zip(report.rows, report.cells(), strict=True):
        table.add_row(*cells, style="green" if row is report.chosen else None)
    return table


def _lines_of(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidSetting(
            f"--queries {str(file)!r} is not UTF-8: {error.reason}. Save it as UTF-8."
        ) from error
    return [line.strip() for line in lines if line.strip()]
