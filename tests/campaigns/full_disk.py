"""An index on a disk that fills up: `StoreFull`, no process ends, nothing is lost.

Disks in memory and loop-mounted ext4 of several sizes, which only root can mount. On
each a process inserts until there is no room, closes the index or is killed; then the
last byte is taken, and the index is opened, read and written to; then room is made, and
all that was acknowledged must be there, what was to be deleted and refused too. Run as
a module; prints what came of each step by kind of disk, and every step that came to
something else.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.indexes import end, start_child

SIZES_MB = (60, 66, 74, 82, 90, 102, 114, 130, 150, 180)
BALLAST_MB = 180
"""Taken away when room is made; on a disk in memory an index has 110 MB of holes."""
KINDS = ("tmpfs", "ext4")
CANNOT = "nothing can be mounted here"

CHILD = """
import os, sys, uuid
from llama_index.core.schema import Document
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import StoreFull

def documents():
    kinds = ("embed", "llm")
    unread = {f"excluded_{kind}_metadata_keys": ["b"] for kind in kinds}
    return [
        Document(
            id_=str(uuid.uuid4()),
            text="red " + os.urandom(8).hex(),
            metadata={"b": os.urandom(40_000).hex()},
            **unread,
        )
        for _ in range(8)
    ]

def step(name, do):
    try:
        done = do()
        print(name, "done", flush=True)
        return done
    except StoreFull:
        print(name, "StoreFull", flush=True)

def connect():
    return MultiModalQdrantIndex.open(sys.argv[1], embed_model=ColourEncoder())
"""

FILL = """
if index := step("create", connect):
    while True:
        try:
            for acknowledged in index.insert(documents()).ref_doc_ids:
                print("+", acknowledged, flush=True)
        except StoreFull:
            break
    print("insert StoreFull", flush=True)
    step("build", index.channels[0].vector_store.build_index)
    if sys.argv[2] == "killed":
        sys.stdin.read()
    index.close()
"""

READ = """
known = sys.stdin.read().split()
if index := step("open", connect):
    lost = set(known) - set(index.ref_doc_ids())
    print("lost", len(lost), flush=True)
    step("write", lambda: index.insert(documents()))
    step("remove", lambda: index.delete_ref_doc(known[0]))
    index.close()
"""

GOOD = {
    "create": {"done", "StoreFull"},
    "insert": {"StoreFull"},
    "build": {"done", "StoreFull"},
    "open": {"done", "StoreFull"},
    "open with room": {"done"},
    "write": {"StoreFull"},
    "write with room": {"done"},
    "remove": {"StoreFull"},
    "remove with room": {"done"},
    "lost": {"0"},
    "exit": {"0", "killed"},
}


@contextlib.contextmanager
def disk(kind: str, size_mb: int, beside: Path) -> Iterator[Path]:
    """Mount a disk; `OSError` where that cannot be done."""
    place = beside / "disk"
    place.mkdir(exist_ok=True)
    if kind == "tmpfs":
        asked = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs"]
    else:
        image = beside / "image"
        with image.open("wb") as file:
            file.truncate(size_mb << 20)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["mkfs.ext4", "-q", "-m0", str(image)], check=False)
        asked = ["mount", "-o", "loop", str(image)]
    done = subprocess.run([*asked, str(place)], check=False, capture_output=True)
    if done.returncode:
        raise OSError(done.stderr.decode().strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def take(folder: Path, n_bytes: int | None = None) -> None:
    """Take room on a disk; None takes all that there is."""
    if n_bytes is not None:
        with (folder / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        return
    with contextlib.suppress(OSError), (folder / "rest").open("wb", 0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def run(code: str, store: Path, known: list[str], suffix: str) -> Iterator[str]:
    """Yield what a process says of its steps, and how it ended."""
    child = start_child(code, store, before=CHILD)
    said, _ = child.communicate("\n".join(known), timeout=300)
    for line in said.splitlines():
        step, _, outcome = line.partition(" ")
        yield f"{step}{'' if step == 'lost' else suffix}: {outcome}"
    yield f"exit: {child.returncode}"


def filled(store: Path, ending: str) -> tuple[list[str], list[str]]:
    """Return what a process that fills the disk says, and what it acknowledged."""
    child = start_child(FILL, store, ending, before=CHILD)
    said, acknowledged = [], []
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("+"):
            acknowledged.append(line.split()[1])
            continue
        said.append(": ".join(line.split()))
        if line.startswith("build") and ending == "killed":
            end(child)
            return [*said, "exit: killed"], acknowledged
    return [*said, f"exit: {child.wait(60)}"], acknowledged


def tried(kind: str, size_mb: int, ending: str, beside: Path) -> tuple[list[str], int]:
    """Return the outcomes of a disk's steps, and how many documents went in."""
    with disk(kind, size_mb + BALLAST_MB, beside) as folder:
        store = folder / "store"
        take(folder, BALLAST_MB << 20)
        said, known = filled(store, ending)
        if known:
            take(folder)
            said += run(READ, store, known, "")
            (folder / "ballast").unlink()
            said += run(READ, store, known, " with room")
        return said, len(known)


def main() -> int:
    """Return how many steps came to what they must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try each n-th size")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    given = parser.parse_args()
    wrongs: list[str] = []
    n_disks = 0
    for kind in given.kinds:
        counts: Counter[str] = Counter()
        n_documents = 0
        for size_mb in SIZES_MB[:: given.every]:
            for ending in ("closed", "killed"):
                with tempfile.TemporaryDirectory() as beside:
                    try:
                        said, n = tried(kind, size_mb, ending, Path(beside))
                    except OSError as error:
                        print(f"{kind}: {CANNOT}: {error}")
                        break
                n_disks += 1
                n_documents += n
                counts.update(said)
                wrongs += [
                    f"{kind} of {size_mb} MB, {ending}: {one}"
                    for one in said
                    if one.partition(": ")[2] not in GOOD[one.partition(": ")[0]]
                ]
        print(f"{kind}: {n_documents} documents", dict(sorted(counts.items())))
    print(f"{n_disks} disks, {len(wrongs)} wrong")
    print(*wrongs, sep="\n")
    return len(wrongs)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
