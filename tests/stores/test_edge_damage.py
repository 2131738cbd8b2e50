"""What damage does: nothing is removed for it, and nothing but our errors is raised."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.stores import QdrantEdgeVectorStore

from ..support.damage import zero_the_vectors
from .conftest import DIM, make_nodes


@pytest.fixture
def closed(tmp_path) -> Iterator[QdrantEdgeVectorStore]:
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        store.add(make_nodes(10))
        store.close()
        yield store


def shard_of(store: QdrantEdgeVectorStore) -> Path:
    pointer = json.loads((Path(store.path) / "store.json").read_text())
    return Path(store.path) / pointer["shard"]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "compacting"},
        {"state": ""},
        {"state": ["creating"]},
        {"format": 9},
        {"format": True},
        {"format": "1"},
    ],
)
def test_description_that_is_not_known_is_refused_and_nothing_is_touched(
    change, closed
):
    pointer = Path(closed.path) / "store.json"
    known = json.loads(pointer.read_text())
    pointer.write_text(json.dumps(known | change))
    with pytest.raises(StoreUnusable, match="Nothing was changed"):
        closed.connect()
    assert json.loads(pointer.read_text()) == known | change
    pointer.write_text(json.dumps(known))
    assert closed.connect().count() == 10


def test_only_the_shard_that_was_being_created_is_removed(closed):
    shard = shard_of(closed)
    begun = shard.with_name("shard-begun")
    begun.mkdir()
    pointer = {"format": 1, "shard": begun.name, "state": "creating"}
    (Path(closed.path) / "store.json").write_text(json.dumps(pointer))
    # Killed again before it is made anew: the other one is not its own to remove.
    with pytest.raises(ValueError, match="dim is None"):
        QdrantEdgeVectorStore.open(closed.path)
    assert shard.is_dir()
    assert not begun.exists()


def remove_the_segment(shard: Path) -> None:
    next(shard.rglob("segment.json")).unlink()


@pytest.mark.parametrize("damage", [zero_the_vectors, remove_the_segment])
def test_damaged_shard_does_not_cost_the_one_that_it_replaced(damage, closed):
    shard = shard_of(closed)
    old = shard.with_name("shard-old")
    shutil.copytree(shard, old)
    damage(shard)
    with pytest.raises(StoreUnusable):
        closed.connect()
    shutil.rmtree(shard)
    old.rename(shard)
    assert closed.connect().count() == 10


def test_whole_shard_replaces_the_old_one(closed):
    shard = shard_of(closed)
    shutil.copytree(shard, shard.with_name("shard-old"))
    assert closed.connect().count() == 10
    assert list(shard.parent.glob("shard-*")) == [shard]


@pytest.fixture
def steps(monkeypatch) -> list[tuple[str, int]]:
    """Return what is synced and renamed from now on, by inode, in this order."""
    seen: list[tuple[str, int]] = []

    def noted(kind: str, called: Callable[..., Any]) -> Callable[..., Any]:
        def call(what: Any, *args: Any) -> Any:
            seen.append((kind, os.stat(what).st_ino))
            return called(what, *args)

        return call

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(os, "replace", noted("rename", os.replace))
    return seen


def test_index_build_is_on_the_disk_before_it_is_named(closed, steps):
    folder = closed.connect().client
    copy = folder.begin_copy()
    steps.clear()
    folder.swap_in(copy)
    pointer = (folder.path / "store.json").stat().st_ino
    before = set(steps[: steps.index(("rename", pointer))])
    needed = [*copy.rglob("*"), copy, folder.path, folder.path / "store.json"]
    missing = [p for p in needed if ("sync", p.stat().st_ino) not in before]
    assert not missing
    assert steps[-1] == ("sync", folder.path.stat().st_ino)


def test_new_store_is_on_the_disk_before_it_is_ready(tmp_path, steps):
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM, payload_indexes=()) as s:
        segment = next((tmp_path / "s").rglob("version.info"))
        last = max(i for i, (kind, _) in enumerate(steps) if kind == "rename")
        synced = {inode for kind, inode in steps[:last] if kind == "sync"}
        for path in (segment, segment.parent, tmp_path / "s", tmp_path):
            assert path.stat().st_ino in synced
        assert s.count() == 0
