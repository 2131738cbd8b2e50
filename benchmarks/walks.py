"""How far a reader walks from file to file: in a query, in an answer, with a page.

Counted are the calls and returns of the package's own functions, in every thread: how
many calls there are, in how many files, and how often the next event is in another file
than the last one of its thread. Each walk has been walked once before it is counted.
With the same of another checkout, such as the commit before, in front:

    python benchmarks/walks.py --before ../base
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from types import FrameType
from typing import Any

from llama_index.core.schema import Document, ImageNode
from page import RESULTS, facts, header, parser, table
from PIL import Image

import llama_index_mmrag
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder

ROOT = Path(__file__).parents[1]
PACKAGES = ["llama-index-core", "qdrant-edge-py", "qdrant-client"]
RETRIEVE = "`retrieve` over three nodes"
ENGINE = "`engine.query` over them, without a model"
INSERT = "inserting a page with two pictures"
PAGE = "A {0} kite.\n\n![A kite]({0}.png)\n\nA {1} boat.\n\n![A boat]({1}.png)\n"


class Walk:
    """What the package's functions call of each other, while it is counted."""

    def __init__(self) -> None:
        self._package = f"{Path(llama_index_mmrag.__file__).parent}{os.sep}"
        self._counts = False
        self._files: dict[int, list[str]] = {}
        self._calls: list[str] = []
        # A thread is watched from its start on, so that those of a pool are too.
        threading.setprofile(self._watch)
        sys.setprofile(self._watch)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what happens inside, and nothing from before."""
        self._files, self._calls, self._counts = {}, [], True
        yield
        self._counts = False

    def row(self) -> dict[str, Any]:
        """Return what was counted, and the calls as "file:function", in order."""
        by_thread = self._files.values()
        return {
            "n_calls": len(self._calls),
            "n_files": len({file for files in by_thread for file in files}),
            "n_changes": sum(a != b for files in by_thread for a, b in pairwise(files)),
            "calls": self._calls,
        }

    def _watch(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if not self._counts or not code.co_filename.startswith(self._package):
            return
        if event in {"call", "return"}:
            file = Path(code.co_filename.removeprefix(self._package)).as_posix()
            self._files.setdefault(threading.get_ident(), []).append(file)
            if event == "call":
                self._calls.append(f"{file}:{code.co_name}")


def paint(folder: Path, *colours: str) -> list[str]:
    folder.mkdir()
    for colour in colours:
        Image.new("RGB", (32, 24), colour).save(folder / f"{colour}.png")
    return [str(folder / f"{colour}.png") for colour in colours]


def count(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the counts of the three walks, in a new index in `folder`."""
    walk = Walk()
    rows = {}
    pictures = paint(folder / "pictures", "red", "blue")
    note = Document(text="A red kite.", doc_id="note")
    images = [ImageNode(image_path=picture) for picture in pictures]
    encoder = ColourEncoder()
    with MultiModalQdrantIndex.open(folder / "three", embed_model=encoder) as index:
        index.insert([note, *images])
        retriever, engine = index.as_retriever(), index.as_query_engine()
        retriever.retrieve("a red kite")
        counts = []
        for _ in range(3):
            with walk.counted():
                results = retriever.retrieve("a red kite")
            assert len(results) == 3
            counts.append(walk.row())
        # A sample that has grown a second old is read again, which is another walk.
        rows[RETRIEVE] = min(counts, key=itemgetter("n_changes"))
        engine.query("a red kite")
        with walk.counted():
            engine.query("a red kite")
        rows[ENGINE] = walk.row()
    with MultiModalQdrantIndex.open(folder / "pages", embed_model=encoder) as index:
        for name, colours in (("first", ("green", "white")), ("page", ("red", "blue"))):
            paint(folder / name, *colours)
            (folder / name / "page.md").write_text(PAGE.format(*colours))
            with walk.counted():
                report = index.insert_directory(folder / name)
            assert report.n_added == 3
        rows[INSERT] = walk.row()
    return rows


def counted_in(checkout: Path) -> dict[str, dict[str, Any]]:
    """Return the counts of the package in `checkout`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--json"],
        env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def markdown(sides: dict[str, dict[str, dict[str, Any]]]) -> str:
    walks = list(next(iter(sides.values())))
    lines = [
        "# Walks from file to file",
        "",
        *facts(header(*PACKAGES)),
        "",
        "Calls of the package's functions, the files they are in, and how often the"
        " next call or return is in another file than the last.",
        "",
        *table(
            ["walk", "side", "calls", "files", "changes of file"],
            (
                [walk, side, row["n_calls"], row["n_files"], row["n_changes"]]
                for walk in walks
                for side, rows in sides.items()
                for row in [rows[walk]]
            ),
        ),
        "",
        "## Files, by their first visit",
    ]
    for walk in walks:
        visited = dict.fromkeys(x.split(":")[0] for x in sides["now"][walk]["calls"])
        lines += ["", f"**{walk}**: {' · '.join(visited)}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--before", type=Path, help="a checkout to be counted first")
    asked.add_argument("--json", action="store_true", help="print this side's counts")
    args = asked.parse_args()
    if args.json:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(count(Path(folder))))
        return
    sides = {"before": counted_in(args.before)} if args.before else {}
    sides["now"] = counted_in(ROOT)
    text = markdown(sides)
    (RESULTS / "walks.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
