"""What damage does: nothing is removed for it, and nothing but our errors is raised."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as qe

from llama_index_mmrag.errors import StoreClosed, StoreFull, StoreUnusable
from llama_index_mmrag.files import writing
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_engine import engine_errors
from llama_index_mmrag.stores.edge_record import RECORD

from ..support.damage import (
    DAMAGES,
    little_memory,
    make_a_pipe,
    make_huge,
    truncate_a_status,
    zero_the_vectors,
)
from .conftest import DIM, asking, make_node, make_nodes, node_id


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


def kill(store: QdrantEdgeVectorStore) -> None:
    """Make it a store that was never closed: there its engine alone notices damage."""
    (Path(store.path) / RECORD).unlink()


def remove_the_segment(shard: Path) -> None:
    next(shard.rglob("segment.json")).unlink()


@pytest.mark.parametrize("damage", [zero_the_vectors, remove_the_segment])
def test_damaged_shard_does_not_cost_the_one_that_it_replaced(damage, closed, caplog):
    shard = shard_of(closed)
    old = shard.with_name("shard-old")
    shutil.copytree(shard, old)
    kill(closed)
    damage(shard)
    if damage is zero_the_vectors:  # it opens, and says that the other may be better
        closed.connect().close()
        assert f"{str(old)!r} may be better" in caplog.text
    else:
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


# The engine reads its own description first, and waits at a pipe.
LEFT_TO_IT = {make_a_pipe, make_huge}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(("store.json", "quantisation.json"), DAMAGES),
        *(("edge_config.json", d) for d in DAMAGES if d not in LEFT_TO_IT),
    ],
)
def test_whatever_lies_in_the_place_of_a_file_is_one_sentence(name, damage, closed):
    folder = shard_of(closed) if name == "edge_config.json" else Path(closed.path)
    (folder / name).touch()
    damage(folder / name)
    with little_memory(), pytest.raises(StoreUnusable, match=name):
        closed.connect()


def test_panic_on_opening_is_one_of_our_errors(closed):
    kill(closed)
    truncate_a_status(shard_of(closed))
    for _ in range(2):  # the folder is given back
        with pytest.raises(StoreUnusable, match="broke down on the store"):
            closed.connect()


def test_panic_closes_the_store_and_says_so(closed, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(shard_of(closed), broken)
    truncate_a_status(broken)
    folder = closed.connect().client
    with (
        pytest.raises(StoreUnusable, match=r"The store was closed"),
        folder._open_shard(),  # where every call is made
    ):
        qe.EdgeShard.load(str(broken))
    assert not folder.is_open
    with pytest.raises(StoreClosed):
        closed.count()
    assert closed.connect().count() == 10


@pytest.mark.parametrize(
    "content", [None, 7, "", "{", "[" * 100_000, '{"metadata": 7}']
)
def test_payload_that_is_no_node_is_one_of_our_errors(content, closed):
    kill(closed)
    shard = qe.EdgeShard.load(str(shard_of(closed)))
    point = qe.Point(
        node_id(3), {"text-dense": [1.0] * DIM}, {"_node_content": content}
    )
    shard.update(qe.UpdateOperation.upsert_points([point]))
    shard.close()
    closed.connect()
    with pytest.raises(StoreUnusable, match=node_id(3)):
        closed.get_nodes()
    with pytest.raises(StoreUnusable, match=node_id(3)):
        closed.query(asking([1.0] * DIM))


def test_point_that_lost_its_vector_is_named(closed):
    kill(closed)
    shard = qe.EdgeShard.load(str(shard_of(closed)))
    forget = qe.UpdateOperation.delete_vectors([node_id(3)], ["text-dense"])
    shard.update(forget)
    shard.close()
    closed.connect()
    for read in (closed.get_nodes, lambda: closed.sample_vectors(10)):
        with pytest.raises(StoreUnusable, match=f"{node_id(3)}.*lost its vector"):
            read()


def test_lock_that_is_a_link_empties_nothing(closed, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    (Path(closed.path) / ".lock").unlink()
    (Path(closed.path) / ".lock").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(StoreUnusable, match="cannot be used"):
        closed.connect()
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.fixture
def disk(monkeypatch) -> Callable[[int], None]:
    """Return what leaves so many bytes free; real disks are filled by hand."""

    def leave(free: int, total: int = 1 << 40) -> None:
        usage = shutil._ntuple_diskusage(total, total - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return leave


def test_full_disk_refuses_what_it_has_no_room_for_and_is_read(closed, disk, tmp_path):
    disk(1 << 20)
    closed.connect()
    for write in (
        lambda: closed.add([make_node(10)]),
        lambda: closed.delete_nodes([node_id(0)]),
        closed.build_index,
        lambda: QdrantEdgeVectorStore.open(tmp_path / "new", dim=DIM),
    ):
        with pytest.raises(StoreFull, match=r"about [\d.]+ MB .* has 1\.0 MB"):
            write()
    assert len(closed.get_nodes()) == 10
    disk(1 << 30)
    closed.add([make_node(10)])
    assert closed.count() == 11


def test_room_grows_with_what_is_written(closed, disk):
    disk(9 << 20)
    closed.connect().add([make_node(10)])
    with pytest.raises(StoreFull, match="Nothing was written"):
        closed.add([make_node(11), make_node(12, text="word " * 200_000)])
    assert closed.count() == 11


def test_what_the_engine_has_no_room_for_is_a_full_disk(tmp_path):
    said = "Failed to save structure: No space left on device (os error 28) at path"
    with (
        pytest.raises(StoreFull, match="no room .* Make room"),
        engine_errors(tmp_path),
    ):
        raise Exception(said)  # noqa: TRY002 - as Qdrant Edge does


def test_opening_in_memory_needs_room_for_the_holes(closed, monkeypatch, disk):
    monkeypatch.setattr(writing, "_is_in_memory", lambda _: True)
    disk(1 << 20)
    with pytest.raises(StoreFull, match="Opening the store .* has 1\\.0 MB"):
        closed.connect()
    monkeypatch.undo()
    assert closed.connect().count() == 10


def test_disk_without_a_limit_has_room(closed, disk):
    disk(0, total=0)
    closed.connect().add([make_node(10)])
    assert closed.count() == 11
