"""Damage each file of a closed store, and see that it is noticed and repaired.

    python -m tests.campaigns.damage [--seeds 5] [--every 1] [--without-log]

Each case is a copy of one store with one file truncated, removed, or a page or a bit of
it changed. Silent: neither opening nor `check` says so. Lost: after `repair`, and after
inserting again where it says so, something is missing or other. Foreign: an error that
is none of ours. Ends with 1 if there is one of these. A store without `closed.json`, or
without the copy of its manifest, is one that was killed: counted apart. Without its
log, which has the last 32 MB of writes at least, it is as a large one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from llama_index.core.schema import BaseNode, Document, ImageNode

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.stores.checking import check_store
from llama_index_mmrag.stores.edge_layout import copy_sparse
from llama_index_mmrag.stores.edge_record import RECORD, crc32_of
from llama_index_mmrag.stores.manifest import PICTURES
from tests.support.indexes import COLOURS, contents, inline

PAGE = 4096
WRONG = ("silent", "lost", "foreign", "not repaired")
NOTES = {RECORD, PICTURES, "mmrag.copy.json"}
"""Without them a store is as one that was killed."""
LEFT_OUT = {".lock"}
"""It says who has the store open, and nothing of what is in it."""

ENCODER = ColourEncoder(modality_gap=0.75)


def truncate(file: Path, rng: random.Random) -> None:
    os.truncate(file, rng.randrange(file.stat().st_size))


def zero_a_page(file: Path, rng: random.Random) -> None:
    at = _somewhere(file, rng) // PAGE * PAGE
    _write(file, at, bytes(min(PAGE, file.stat().st_size - at)))


def flip_a_bit(file: Path, rng: random.Random) -> None:
    at = _somewhere(file, rng)
    with file.open("rb") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
    _write(file, at, bytes([byte ^ (1 << rng.randrange(8))]))


def remove(file: Path, _: random.Random) -> None:
    file.unlink()


DAMAGES: list[Callable[[Path, random.Random], None]] = [
    truncate,
    zero_a_page,
    flip_a_bit,
    remove,
]


def _somewhere(file: Path, rng: random.Random) -> int:
    """Return a place in a file, where it is not zeros if there is one."""
    data = file.read_bytes()
    written = [
        at for at in range(0, len(data), PAGE) if data[at : at + PAGE].strip(b"\0")
    ]
    start = rng.choice(written) if written else 0
    return start + rng.randrange(min(PAGE, len(data) - start))


def _write(file: Path, at: int, what: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(what)


def items(n: int) -> list[BaseNode]:
    texts = [Document(text=f"{COLOURS[i % 6]} text {i}", id_=f"d{i}") for i in range(n)]
    return [*texts, *(ImageNode(image=inline(c), id_=f"p-{c}") for c in COLOURS[:3])]


def make(root: Path, *, n: int) -> None:
    """Make a closed store of texts and pictures, in two sessions."""
    with MultiModalQdrantIndex.open(root, embed_model=ENCODER) as index:
        index.insert([*items(n), Document(text="a green text", id_="gone")])
        index.insert(Document(text="a red text before", id_="d1"))
    with MultiModalQdrantIndex.open(root, embed_model=ENCODER) as index:
        index.insert(items(n)[1])
        index.delete_ref_doc("gone")


def seen(root: Path) -> dict[str, object]:
    with MultiModalQdrantIndex.open(root, embed_model=ENCODER) as index:
        return dict(contents(index))


def tried(  # noqa: PLR0911 - one for each way that it ends
    root: Path, whole: dict[str, object], n: int
) -> list[str]:
    """Return how damage to a store was met."""
    try:
        if check_store(root).is_whole:
            return ["silent"]
    except MmragError:
        pass  # the manifest: nothing can be said of the rest
    except Exception as error:  # noqa: BLE001 - that is the question
        return [f"foreign: {type(error).__name__}: {error}"]
    try:
        done = repair_store(root, embed_model=ENCODER)
        if not (done.may_lack_points or done.insert_again):
            return ["all saved"] if seen(root) == whole else ["lost: not told"]
        with MultiModalQdrantIndex.open(root, embed_model=ENCODER) as index:
            index.insert(items(n))
        is_there = seen(root) == whole and check_store(root).is_whole
    except MmragError as error:
        return [f"not repaired: {error}"]
    except Exception as error:  # noqa: BLE001 - that is the question
        return [f"foreign: {type(error).__name__}: {error}"]
    told = f"{done.n_lost} {done.insert_again}"
    return [f"told what to insert again: {told}" if is_there else f"lost: {told}"]


def main() -> int:
    """Try all cases and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="try one case of so many")
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--without-log", action="store_true", help="it is lost, too")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        original, copy = Path(folder, "store"), Path(folder, "copy")
        make(original, n=asked.texts)
        whole = seen(original)
        names = [
            p.relative_to(original)
            for p in sorted(original.rglob("*"))
            if p.is_file() and p.name not in LEFT_OUT and p.stat().st_size
        ]
        cases = [(n, d, s) for s in range(asked.seeds) for n in names for d in DAMAGES]
        for number, (name, damage, seed) in enumerate(cases):
            if number % asked.every:
                continue
            copy_sparse(original, copy)
            before = crc32_of(copy / name)
            damage(copy / name, random.Random(f"{name} {seed}"))
            for log in copy.glob("*/shard-*/wal") if asked.without_log else ():
                shutil.rmtree(log)
            there = (copy / name).exists()
            if there and crc32_of(copy / name) == before:
                found = []  # it was all zeros
            elif (
                not (there or asked.without_log)
                and name.name in NOTES
                and seen(copy) == whole
            ):
                counts["as if killed"] += 1
                found = []
            else:
                counts["cases"] += 1
                found = tried(copy, whole, asked.texts)
            for each in found:
                counts[each.partition(":")[0]] += 1
                if each != "all saved":
                    print(f"{damage.__name__} {name} ({seed}): {each}", flush=True)
            shutil.rmtree(copy)
    print(dict(counts))
    return int(any(counts[each] for each in WRONG))


if __name__ == "__main__":
    sys.exit(main())
