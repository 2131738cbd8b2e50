"""Documents that attack who reads them: each a line of the report, the rest goes in.

Each lies in a folder of its own beside a page that is well, and all in one folder
again; then files that are rewritten or removed while they are read, and a disk that is
full when their pictures are kept. Run as a module; prints a table of what came of each:
seconds, those of CPU (children, opening and closing with them), the most memory of all
processes that is their own, what is said; and every one that came to what it must not:
no problem that says so, its words not in, more than 5 CPU s or 500 MB.
"""

from __future__ import annotations

import argparse
import base64
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import StoreFull
from llama_index_mmrag.ingestion import ReadLimits, ReadSettings
from tests.campaigns.full_disk import CANNOT, disk, take
from tests.support.hostile_documents import CASES, SECRET, make_all, of_epub

MOST_S, MOST_MB = 5.0, 500.0
WELL, PAGE = "well.md", "# Well\n\nA red kite."


class Watched:
    """The most memory of this process and its children, while it is watched."""

    def __init__(self) -> None:
        self.most_mb = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            taken = sum(map(anonymous, family(os.getpid())))
            self.most_mb = max(self.most_mb, taken / 1e6)


def family(process: int) -> Iterator[int]:
    """Yield a process and those that it started."""
    yield process
    try:
        tasks = [*Path(f"/proc/{process}/task").iterdir()]
        listed = " ".join((task / "children").read_text() for task in tasks)
    except OSError:
        return
    for child in listed.split():
        yield from family(int(child))


def anonymous(process: int) -> int:
    """Return the bytes that are a process's own; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+)", status)
    return int(found[1]) << 10 if found else 0


def indexed(folder: Path, limits: dict[str, Any]) -> dict[str, Any]:
    """Return what a new index makes of a folder."""
    settings = ReadSettings(limits=ReadLimits(**limits))
    used = sum(os.times()[:4])
    with (
        tempfile.TemporaryDirectory() as store,
        MultiModalQdrantIndex.open(
            store, embed_model=ColourEncoder(), settings=settings
        ) as index,
    ):
        started = time.monotonic()
        with Watched() as watched:
            report = index.insert_directory(folder)
        took_s = time.monotonic() - started
        nodes = index.channels[0].collection.nodes_where(None)
        texts = [node.get_content() for node in nodes]
        known = sorted(index.ref_doc_ids())
    return {
        "s": took_s,
        "cpu_s": sum(os.times()[:4]) - used,
        "mb": watched.most_mb,
        "documents": known,
        "problems": [(one.source, one.reason) for one in report.problems],
        "has_secret": any(SECRET in said or "root:" in said for said in texts),
    }


def outcome(name: str, came: dict[str, Any]) -> tuple[bool, list[str]]:
    """Return whether a file is in, and what is said of it."""
    # As it is said of a name that is no UTF-8.
    printed = name.encode("utf-8", "backslashreplace").decode()
    is_read = any(known.endswith(name) for known in came["documents"])
    return is_read, [
        reason
        for source, reason in came["problems"]
        if any(f"{its}#" in f"{source}#" for its in (name, printed))
    ]


def wrong_with(name: str, came: dict[str, Any]) -> list[str]:
    """Return what must not have come of a case."""
    wants = CASES[name].wants
    is_read, said = outcome(name, came)
    wrong = []
    if not any(known.endswith(WELL) for known in came["documents"]):
        wrong.append("what is well beside it is not in")
    if "read" in wants and "or" not in wants and not is_read:
        wrong.append("it is not in")
    if "told" in wants and "or" not in wants and not said:
        wrong.append("nothing is said")
    if "or" in wants and not (is_read or said):
        wrong.append("neither in nor told")
    if len(said) > 1:  # a line a file, however much is wrong with it
        wrong.append(f"{len(said)} lines")
    if came["has_secret"]:
        wrong.append("it read what it must not")
    # The machine may be busy with others; what only waits is on the clock.
    if came["cpu_s"] > MOST_S or came["s"] > 4 * MOST_S:
        wrong.append(f"{came['s']:.1f} s, {came['cpu_s']:.1f} of them of CPU")
    if came["mb"] > MOST_MB:
        wrong.append(f"{came['mb']:.0f} MB")
    return wrong


def main() -> int:
    """Return how many cases came to what they must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names that contain this")
    parser.add_argument("--every", type=int, default=1, help="try each n-th case")
    parser.add_argument("--rounds", type=int, default=20, help="files that change")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = [n for n in CASES if not given.only or any(o in n for o in given.only)]
    names = names[:: given.every]
    if given.make:
        make_all(given.make, names)
        return 0
    logging.disable()  # problems are in the report
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary, "made")
        # In another process, whose memory is not ours.
        asked = ["--make", str(made), "--every", str(given.every)]
        asked += ["--only", *given.only] if given.only else []
        subprocess.run([sys.executable, "-m", __spec__.name, *asked], check=True)
        wrongs = tried(names, made, Path(temporary, "together"))
        wrongs += moved(Path(temporary, "moved"), random.Random(0), given.rounds)
        if sys.platform == "linux":
            wrongs += full(Path(temporary))
    print(f"{len(names)} cases, {len(wrongs)} wrong", *wrongs, sep="\n")
    return len(wrongs)


def tried(names: list[str], made: Path, together: Path) -> list[str]:
    """Print what comes of each case and of all of them; return what must not."""
    wrongs: list[str] = []
    together.mkdir()
    (together / WELL).write_text(PAGE)
    print("| file | s | CPU s | MB | in | what is said |\n|---|---|---|---|---|---|")
    places = sorted(place for place in made.iterdir() if place.name.isdigit())
    for name, place in zip(names, places, strict=True):
        if not CASES[name].limits:  # its own would be the others' too
            shutil.copytree(place, together / place.name, True, copy_function=_copy)
        (place / WELL).write_text(PAGE)
        came = indexed(place, dict(CASES[name].limits))
        print(row(name, came), flush=True)
        wrongs += [f"{name!r}: {one}" for one in wrong_with(name, came)]
    came = indexed(together, {})
    print(f"together {came['s']:.1f} s, {came['mb']:.0f} MB at most")
    for name in (name for name in names if not CASES[name].limits):
        one = {**came, "s": 0.0, "cpu_s": 0.0, "mb": 0.0}
        wrongs += [f"together, {name!r}: {it}" for it in wrong_with(name, one)]
    return wrongs


def book(word: str, n: int = 4000) -> bytes:
    """Return a book that takes a moment to read."""
    return of_epub(f"<p>{word} kites are in the air.</p>" * n)


def moved(folder: Path, rng: random.Random, rounds: int) -> list[str]:
    """Return what is wrong after files changed, or went, while they were read.

    When they lie still again, the next run has what is there, and nothing else.
    """
    folder.mkdir()
    (folder / WELL).write_text("Well.")
    wrongs, file, other = [], folder / "book.epub", folder / "other"
    for turn in range(rounds):
        file.write_bytes(book("Red"))
        is_removed = turn % 3 == 2
        with (
            tempfile.TemporaryDirectory() as store,
            MultiModalQdrantIndex.open(store, embed_model=ColourEncoder()) as index,
        ):
            inserting = threading.Thread(target=index.insert_directory, args=(folder,))
            inserting.start()
            time.sleep(rng.random() * 0.6)
            if is_removed:
                file.unlink()
            elif turn % 3:
                file.write_bytes(book("Blue"))  # in place: half of it may be read
            else:
                other.write_bytes(book("Blue"))
                other.replace(file)
            inserting.join()
            index.refresh(folder)
            nodes = index.channels[0].collection.nodes_where(None)
            words = {node.get_content().split()[0] for node in nodes}
            if words != ({"Well."} if is_removed else {"Well.", "Blue"}):
                wrongs.append(f"moved, turn {turn}: {sorted(words)} is in the index")
    print(f"{rounds} files that changed while they were read")
    return wrongs


def full(beside: Path) -> list[str]:
    """Return what is wrong with an index whose disk has no room for pictures.

    With room, the next run has all of them.
    """
    folder = beside / "pictures"
    folder.mkdir()
    for n in range(30):
        picture = BytesIO()
        noise = [Image.effect_noise((900, 900), 90 + n) for _ in "RGB"]
        Image.merge("RGB", noise).save(picture, "PNG")
        data = base64.b64encode(picture.getvalue()).decode()
        (folder / f"{n}.html").write_text(
            f"<p>Red {n}<img src='data:image/png;base64,{data}'>"
        )
    wrongs: list[str] = []
    try:
        with disk("tmpfs", 210, beside) as place:
            take(place, 130 << 20)
            store, encoder = place / "store", ColourEncoder()
            with MultiModalQdrantIndex.open(store, embed_model=encoder) as index:
                try:
                    index.insert_directory(folder)
                    wrongs.append("full: nothing is said")
                except StoreFull:
                    print(f"full: {len(list(index.ref_doc_ids()))} of 30 are in")
                (place / "ballast").unlink()
                index.insert_directory(folder)
                if (n := len(list(index.ref_doc_ids()))) != 30:
                    wrongs.append(f"full: {n} of 30 are in when there is room")
    except OSError as error:
        print(f"full: {CANNOT}: {error}")
    return wrongs


def _copy(source: str, target: str) -> None:
    """Copy a file, or make another such pipe."""
    if Path(source).is_file():
        os.link(source, target)
    else:
        os.mkfifo(target)


def row(name: str, came: dict[str, Any]) -> str:
    is_read, said = outcome(name, came)
    first = " ".join(said[0].split())[:200].replace("|", "\\|") if said else ""
    cells = repr(name), f"{came['s']:.1f}", f"{came['cpu_s']:.1f}"
    cells = *cells, f"{came['mb']:.0f}"
    return f"| {' | '.join(cells)} | {'yes' if is_read else 'no'} | {first} |"


if __name__ == "__main__":
    sys.exit(min(main(), 1))
