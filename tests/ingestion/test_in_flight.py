"""A writer that is killed leaves each document in one version, whenever it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.ingestion.in_flight import IN_FLIGHT

from ..support.indexes import contents, painted

KILLED = """
import os, sys
from pathlib import Path
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.edge_collection import EdgeCollection
from llama_index_mmrag.ingestion.in_flight import InFlight

left = int(sys.argv[3])

def counted(owner, name):
    # Killed between any two of the writer's steps: before it, and after it.
    step = getattr(owner, name)
    def stepped(*args, **kwargs):
        killed_at_zero()
        done = step(*args, **kwargs)
        killed_at_zero()
        return done
    setattr(owner, name, stepped)

def killed_at_zero():
    global left
    left -= 1
    if left < 0:
        os._exit(9)

index = MultiModalQdrantIndex.open(sys.argv[1], embed_model=ColourEncoder())
for owner, name in (
    (Collection, "add"), (Collection, "remove"), (InFlight, "begin"), (InFlight, "end")
):
    counted(owner, name)
index.refresh(Path(sys.argv[2]))
index.close()
"""


def written(folder: Path, version: str) -> None:
    (folder / "page.md").write_text(
        f"# Fruit\n\nA red one, {version}.\n\n![it](apple.png)\n\n## Both\n\nGreen."
    )
    (folder / f"{version}.txt").write_text(f"blue, of {version}")


def opened(store: Path) -> MultiModalQdrantIndex:
    return MultiModalQdrantIndex.open(store, embed_model=ColourEncoder())


def of_documents(index: MultiModalQdrantIndex) -> dict[str, list[object]]:
    """Return what there is of each document, by its file's name."""
    found: dict[str, list[object]] = {}
    for channel, nodes in contents(index).items():
        for node_id, node in sorted(nodes.items()):
            name = Path(node["document"]).name
            found.setdefault(name, []).append((channel, node_id, node))
    return found


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "docs"
    painted(folder, "red", name="apple.png")
    written(folder, "old")
    return folder


def test_killed_at_any_step_each_document_is_in_one_version(folder, tmp_path):
    first, fresh = tmp_path / "first", tmp_path / "fresh"
    with opened(first) as index:
        index.insert_directory(folder)
        before = of_documents(index)
    (folder / "old.txt").unlink()
    written(folder, "new")
    with opened(fresh) as index:
        index.insert_directory(folder)
        after = of_documents(index)
    assert before["page.md"] != after["page.md"]
    seen = set()
    for n_steps in range(40):
        store = tmp_path / f"killed at {n_steps}"
        shutil.copytree(first, store)
        command = [sys.executable, "-c", KILLED, store, folder, str(n_steps)]
        code = subprocess.run(command, check=False, timeout=120).returncode
        with opened(store) as index:
            assert not (store / IN_FLIGHT).exists()
            there = of_documents(index)
            for name in before.keys() | after.keys() | there.keys():
                versions = (before.get(name), after.get(name))
                assert there.get(name) in versions, (n_steps, name)
            seen.add(there["page.md"] == after["page.md"])
        if code == 0:
            break
    else:
        pytest.fail("it was never through")
    assert seen == {False, True}
    assert n_steps > 6
    with opened(tmp_path / "killed at 3") as index:
        index.refresh(folder)
        assert of_documents(index) == after


def test_note_that_cannot_be_read_says_what_to_do(folder, tmp_path):
    store = tmp_path / "store"
    with opened(store) as index:
        index.insert_directory(folder)
        whole = contents(index)
    for damage in ("", "{", "[1]", '{"a": {"text": [1]}}'):
        (store / IN_FLIGHT).write_text(damage)
        with pytest.raises(StoreUnusable, match="Remove the file"):
            opened(store)
    (store / IN_FLIGHT).unlink()
    with opened(store) as index:
        assert contents(index) == whole
