"""Writers that are killed: what was acknowledged is there, once, and the store opens.

A process inserts, refreshes a changed folder, compresses and switches, builds a search
graph, or repairs a damaged store; it is killed at a random moment, or before its n-th
step (a file renamed or removed, a write to the engine), for every n that there is. Run
as a module, on a system that can fork; prints how many were killed where, and every
store that is not as it must be.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import TextIO

from llama_index.core import Document
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from tests.compression import test_live as live
from tests.support.colours import uid
from tests.support.damage import zero_the_vectors
from tests.support.killing import die_at

N_FILES = 40
N_BATCHES = 12
WAIT_S = 300

Work = Callable[[Path, TextIO], None]
Check = Callable[[Path, list[str]], Iterator[str]]


def opened(place: Path) -> MultiModalQdrantIndex:
    return MultiModalQdrantIndex.open(place / "store", embed_model=ColourEncoder())


def texts_of(index: MultiModalQdrantIndex) -> Counter[str]:
    nodes = index.channels[0].vector_store.get_nodes()
    return Counter(node.get_content() for node in nodes)


# Each action: what is there before, what is done, and what must be there afterwards.


def empty(place: Path) -> None:
    opened(place).close()


def inserting(place: Path, out: TextIO) -> None:
    with opened(place) as index:
        print("begun", file=out)
        for batch in range(N_BATCHES):
            names = [f"{batch}.{n}" for n in range(4)]
            index.insert([Document(text=f"red {n}", id_=n) for n in names])
            print(*names, sep="\n", file=out)


def inserted(place: Path, said: list[str]) -> Iterator[str]:
    with opened(place) as index:
        found = texts_of(index)
    yield from (f"{name} is lost" for name in said if f"red {name}" not in found)
    yield from (f"{text!r} is there {n} times" for text, n in found.items() if n > 1)


def write(place: Path, n: int, version: str) -> None:
    """Write a page, or a mail that says the same and has an attachment."""
    said = f"red {n} {version}"
    if n % 4:
        (place / "pages" / f"{n}.md").write_text(f"# Page {n}\n\n{said}\n")
        return
    mail = EmailMessage()
    mail["subject"] = f"Page {n}"
    mail.set_content(said)
    mail.add_attachment(f"attached, {said}", filename="a.txt")
    (place / "pages" / f"{n}.eml").write_bytes(bytes(mail))


def folder(place: Path) -> None:
    pages = place / "pages"
    pages.mkdir()
    for n in range(N_FILES):
        write(place, n, "old")
    with opened(place) as index:
        index.insert_directory(pages)


def refreshing(place: Path, out: TextIO) -> None:
    for n in range(0, N_FILES, 2):
        write(place, n, "new")
    with opened(place) as index:
        print("begun", file=out)
        index.refresh(place / "pages")
        print("done", file=out)


def refreshed(place: Path, said: list[str]) -> Iterator[str]:
    with opened(place) as index:
        found = texts_of(index)
    pages = [f"Page {n}\n\nred {n}" for n in range(N_FILES)]
    attached = {n: f"attached, red {n}" for n in range(0, N_FILES, 4)}
    for n, page in [*enumerate(pages), *attached.items()]:
        versions = {v: found[f"{page} {v}"] for v in ("old", "new")}
        if n % 2 or not said:
            is_right = sorted(versions.values()) == [0, 1] and (
                n % 2 == 0 or versions["old"]
            )
        else:
            is_right = versions == {"old": 0, "new": 1}
        if not is_right:
            yield f"{page!r} is there as {versions}"


def full(place: Path) -> None:
    with live.opened(place / "store") as index:
        index.insert(live.documents())


def compressing(place: Path, out: TextIO) -> None:
    with live.opened(place / "store") as index:
        print("begun", file=out)
        done = index.compress(live.PCA_INT8, apply=True)
        print("done", *done.switched, file=out)


def compressed(place: Path, said: list[str]) -> Iterator[str]:
    with live.opened(place / "store") as index:
        store = index.channels[0].vector_store
        found = Counter(node.get_content() for node in store.get_nodes())
        if found != Counter(f"document {n}" for n in range(live.N)):
            yield f"{found.total()} documents, {len(found)} different"
        if live.best(index, "document 7") != "document 7":
            yield "another document is found"
        if said and store.dim != 16:
            yield f"switched, and the vectors have {store.dim} numbers"
        index.insert(Document(text="one more"))
    places = sorted(p.name for p in (place / "store").iterdir() if p.is_dir())
    if len(places) != 2:
        yield f"left over: {places}"


NODES = [
    TextNode(
        id_=uid(f"node {n}"), text=f"text {n}", embedding=[1.0, n / 100, 0.0, n % 7]
    )
    for n in range(300)
]


def nodes(place: Path) -> None:
    with QdrantEdgeVectorStore.open(place / "store", dim=4) as store:
        store.add(NODES)


def building(place: Path, out: TextIO) -> None:
    with QdrantEdgeVectorStore.open(place / "store") as store:
        print("begun", file=out)
        store.build_index()
        print("done", file=out)


def built(place: Path, said: list[str]) -> Iterator[str]:
    with QdrantEdgeVectorStore.open(place / "store") as store:
        if sorted(store.ids_where()) != sorted(node.node_id for node in NODES):
            yield f"{store.count()} nodes"
        asked = VectorStoreQuery(NODES[7].embedding, similarity_top_k=1)
        if store.query(asked).ids != [NODES[7].node_id]:
            yield "another node is found"
        left = list((place / "store").glob("shard-*"))
    if len(left) != 1:
        yield f"left over: {[p.name for p in left]}"


def damaged(place: Path) -> None:
    with opened(place) as index:
        index.insert([Document(text=f"red {n}", id_=f"{n}") for n in range(N_FILES)])
    zero_the_vectors(next((place / "store" / "text").glob("shard-*")))
    (place / "store" / "mmrag.json").write_text("{")


def repairing(place: Path, out: TextIO) -> None:
    print("begun", file=out)
    repair_store(place / "store", embed_model=ColourEncoder())
    print("done", file=out)


def repaired(place: Path, said: list[str]) -> Iterator[str]:
    if not said:
        # Killed after its last step it has nothing left to do.
        with contextlib.suppress(InvalidSetting):
            repair_store(place / "store", embed_model=ColourEncoder())
    with opened(place) as index:
        if texts_of(index) != Counter(f"red {n}" for n in range(N_FILES)):
            yield f"{texts_of(index).total()} documents"
        if not index.check().is_whole:
            yield "it is damaged"
    kept = sorted(p.name for p in (place / "store").iterdir() if p.is_dir())
    if sum(not name.endswith(".damaged") for name in kept) != 2:
        yield f"left over: {kept}"


ACTIONS: dict[str, tuple[Callable[[Path], None], Work, Check]] = {
    "compress": (full, compressing, compressed),
    "build": (nodes, building, built),
    "refresh": (folder, refreshing, refreshed),
    "insert": (empty, inserting, inserted),
    "repair": (damaged, repairing, repaired),
}


def copied(source: Path, target: Path) -> None:
    """Copy a folder; holes stay holes, without a look at what they hold."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def in_a_process(
    work: Callable[[TextIO], None], *, at: int = -1, after_s: float | None = None
) -> tuple[list[str], int, float]:
    """Return what a forked process says, how it ended (-9: killed), and how long.

    Args:
        work: What it does; it says "begun" when it has opened what it works on.
        at: It is killed before this rename, removal or write, counted from 0.
        after_s: It is killed so many seconds after it has begun.
    """
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w", buffering=1) as out:
                if at >= 0:
                    die_at(at)
                work(out)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it is, it is not the parent's
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    said, begun, ends = b"", None, time.monotonic() + WAIT_S
    while True:
        ready, _, _ = select.select([reader], [], [], max(0, ends - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            ends = time.monotonic() + WAIT_S
            continue
        if not (piece := os.read(reader, 1 << 16)):
            break
        said += piece
        if begun is None and said.startswith(b"begun"):
            begun = time.monotonic()
            ends = begun + (WAIT_S if after_s is None else after_s)
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    took_s = time.monotonic() - (begun or time.monotonic())
    lines = said.decode().splitlines()[1:]
    return lines, os.waitstatus_to_exitcode(status), took_s


def prepared(folder: Path) -> dict[str, float]:
    """Return how long each action takes, of which `folder` then has what was before."""
    seconds: dict[str, float] = {}
    for action, (prepare, work, check) in ACTIONS.items():
        # Where it is killed later, too: documents are known by their files' paths.
        place = folder / "case"
        place.mkdir()
        in_a_process(lambda _, p=prepare, at=place: p(at))
        copied(place, folder / action)
        said, status, seconds[action] = in_a_process(
            lambda out, w=work, at=place: w(at, out)
        )
        wrong, checked = checked_in_a_process(check, place, said)
        if status or checked or wrong:
            sys.exit(f"{action} without a kill: {status}, {checked}, {wrong}")
        shutil.rmtree(place)
    return seconds


def checked_in_a_process(
    check: Check, place: Path, said: list[str]
) -> tuple[list[str], int]:
    """Return what is wrong with a store, and how opening it ended."""

    def checks(out: TextIO) -> None:
        print("begun", file=out)
        for wrong in check(place, said):
            print(wrong, file=out)

    return in_a_process(checks)[:2]


def main() -> int:
    """Return how many stores were not as they must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[*ACTIONS], nargs="+")
    given = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    rng = random.Random(given.seed)
    turns = ("compress", "build", "repair", "refresh", "compress", "build", "repair")
    turns += ("compress", "insert")
    if given.only:
        turns = tuple(given.only)
        for action in ACTIONS.keys() - turns:
            del ACTIONS[action]
    killed: Counter[tuple[str, str]] = Counter()
    next_step: Counter[str] = Counter()
    wrongs: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        seconds = prepared(Path(temporary))
        n = 0
        with contextlib.suppress(KeyboardInterrupt):  # what was found is told
            while killed.total() < given.kills and n < 3 * given.kills:
                action = turns[n % len(turns)]
                at_a_step = n // len(turns) % 4 != 3  # three of four rounds
                n += 1
                place = Path(temporary, "case")
                copied(Path(temporary, action), place)
                _, work, check = ACTIONS[action]
                after_s = None if at_a_step else rng.random() * seconds[action]
                said, status, _ = in_a_process(
                    lambda out, w=work, p=place: w(p, out),
                    at=next_step[action] if at_a_step else -1,
                    after_s=after_s,
                )
                where = f"step {next_step[action]}" if at_a_step else f"{after_s:.2f} s"
                if at_a_step:  # after the last there is, from the first again
                    next_step[action] = next_step[action] + 1 if status == -9 else 0
                if status == -9:
                    killed[action, "at a step" if at_a_step else "at random"] += 1
                elif status:
                    wrongs.append(f"{action}, {where}: ended with {status}")

                found, status = checked_in_a_process(check, place, said)
                if status:
                    found.append(f"opening it ended with {status}")
                wrongs += [f"{action}, {where}: {one}" for one in found]
                shutil.rmtree(place)
    for (action, how), n_killed in sorted(killed.items()):
        print(f"{action:9} killed {how:10} {n_killed:4} times")
    print(f"{killed.total()} kills, {len(wrongs)} wrong")
    print(*wrongs, sep="\n")
    return len(wrongs)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
