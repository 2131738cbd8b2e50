"""The record of a clean close: it is true, and what is not as it says is damage."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_record import (
    RECORD,
    crc32_of,
    damage_in,
    read_record,
)

from ..support.damage import DAMAGES, little_memory
from .conftest import DIM, asking, make_node, make_nodes, node_id


@pytest.fixture(params=["disk", "memory"])
def closed(request, tmp_path) -> Iterator[QdrantEdgeVectorStore]:
    """Return a store that was closed, also on a disk that gives no new mtimes."""
    shm = Path("/dev/shm")
    if request.param == "memory" and not shm.is_dir():
        pytest.skip("there is no disk in memory")
    folder = tmp_path if request.param == "disk" else shm / f"mmrag-{os.getpid()}"
    try:
        with QdrantEdgeVectorStore.open(folder / "store", dim=DIM) as store:
            store.add(make_nodes(40))
            store.close()
            yield store
    finally:
        if folder != tmp_path:
            shutil.rmtree(folder)


def record_of(store: QdrantEdgeVectorStore) -> bytes | None:
    file = Path(store.path) / RECORD
    return file.read_bytes() if file.exists() else None


def damage_of(store: QdrantEdgeVectorStore) -> list[str]:
    closed = read_record(Path(store.path))
    assert closed is not None
    return damage_in(Path(store.path), closed)


def test_closed_store_is_as_its_record_says(closed):
    record = read_record(Path(closed.path))
    assert record is not None
    assert record.count == 40
    shard = next(Path(closed.path).glob("shard-*"))
    files = {p for p in shard.rglob("[!.]*") if p.is_file()}
    files.add(Path(closed.path) / "store.json")
    assert {Path(closed.path) / name for name in record.files} == files
    assert damage_of(closed) == []


def test_hidden_files_of_others_are_not_the_store_s(closed):
    stray = Path(closed.path) / ".DS_Store"
    stray.touch()
    with closed.connect():
        closed.delete_nodes([node_id(0)])
    stray.unlink()
    assert damage_of(closed) == []
    assert closed.connect().count() == 39


def test_session_that_only_searches_leaves_the_record_and_reads_no_file(closed):
    with closed.connect():
        closed.delete_nodes([node_id(0)])
    before = record_of(closed)
    opened: list[str] = []
    is_watching = False

    def watch(event: str, args: tuple[object, ...]) -> None:
        if is_watching and event == "open":
            opened.append(str(args[0]))

    sys.addaudithook(watch)
    closed.connect()
    closed.query(asking([1.0] * DIM))
    closed.get_nodes()
    is_watching = True
    closed.close()
    is_watching = False
    assert opened == []
    assert record_of(closed) == before
    assert damage_of(closed) == []


WRITES: dict[str, Callable[[QdrantEdgeVectorStore], object]] = {
    "add": lambda store: store.add([make_node(100)]),
    "replace": lambda store: store.add([make_node(3, text="changed")]),
    "delete": lambda store: store.delete("doc-1"),
    "delete_nodes": lambda store: store.delete_nodes([node_id(0)]),
    "clear": lambda store: store.clear(),
    "index": lambda store: store.build_index(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_record_is_taken_away_before_a_write_and_true_after_the_close(write, closed):
    before = record_of(closed)
    closed.connect()
    assert record_of(closed) == before
    closed.get_nodes()  # maps the files before they are written
    write(closed)
    assert record_of(closed) is None, "killed now, nothing says what the files were"
    n_points = closed.count()
    closed.close()
    assert record_of(closed) not in {None, before}
    assert damage_of(closed) == []
    assert closed.connect().count() == n_points


def test_field_that_is_indexed_at_opening_is_a_write(closed):
    with QdrantEdgeVectorStore.open(closed.path, payload_indexes=["n"]):
        assert record_of(closed) is None
    assert damage_of(closed) == []


def test_only_files_that_changed_are_read_again(tmp_path, monkeypatch):
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM) as store:
        store.add(make_nodes(40))
        store.build_index()
    n_files = len(read_record(tmp_path / "s").files)
    read: list[Path] = []

    def counted(path: Path) -> int:
        read.append(path)
        return crc32_of(path)

    monkeypatch.setattr("llama_index_mmrag.stores.edge_record.crc32_of", counted)
    with store.connect():
        store.delete_nodes([node_id(0)])
    assert 0 < len(read) < n_files
    assert damage_of(store) == []


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def append(file: Path) -> None:
    os.truncate(file, file.stat().st_size + 1)


@pytest.mark.parametrize("lose", [truncate, append, Path.unlink])
def test_other_size_is_told_at_opening_and_nothing_is_changed(lose, closed):
    file = next(Path(closed.path).rglob("vectors/chunk_0.mmap"))
    lose(file)
    files = [p for p in Path(closed.path).rglob("segments/**/*") if p.is_file()]
    before = {p: (p.stat().st_size, crc32_of(p)) for p in files}
    with pytest.raises(StoreUnusable, match=r"damaged: .*chunk_0.mmap.*mmrag repair"):
        closed.connect()
    assert {p: (p.stat().st_size, crc32_of(p)) for p in files} == before
    assert len(damage_of(closed)) == 1


def test_bit_that_flipped_is_found_by_the_checksums(closed):
    record = read_record(Path(closed.path))
    for name, seen in record.files.items():
        file = Path(closed.path) / name
        if not seen.size:
            continue
        with file.open("r+b") as opened:
            opened.seek(seen.size // 2)
            (byte,) = opened.read(1)
            opened.seek(seen.size // 2)
            opened.write(bytes([byte ^ 16]))
            opened.flush()
            assert damage_of(closed) == [
                f"{name}: other content than when it was closed"
            ]
            opened.seek(seen.size // 2)
            opened.write(bytes([byte]))


def test_other_count_is_told_at_opening(closed):
    shard = next(Path(closed.path).glob("shard-*"))
    with QdrantEdgeVectorStore.open(closed.path + "-2", dim=DIM) as other:
        other.add(make_nodes(39))
    record = replace(read_record(Path(closed.path)), files={})
    shutil.rmtree(shard)
    shutil.copytree(next(Path(other.path).glob("shard-*")), shard)
    (Path(closed.path) / RECORD).write_text(json.dumps(asdict(record)))
    with pytest.raises(StoreUnusable, match="39 points; 40 when it was closed"):
        closed.connect()


def test_store_that_was_killed_is_not_damaged(closed):
    closed.connect().add([make_node(100)])
    shutil.copytree(closed.path, closed.path + "-killed")
    with QdrantEdgeVectorStore.open(closed.path + "-killed") as killed:
        assert killed.count() == 41


def containing(text: str) -> Callable[[Path], None]:
    return lambda file: file.write_text(text) and None


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGES,
        containing('{"count": 1e999, "files": {}}'),
        containing('{"count": 1, "files": {"a": [1, 2]}}'),
        containing('{"count": 1, "files": {"a": [1, 2, "x"]}}'),
        containing(json.dumps({"count": 1, "files": dict.fromkeys(range(130_000), 0)})),
        containing('{"count": 1, "files": {"a": [' + "[]," * 600_000 + "[]]}}"),
    ],
)
def test_record_that_cannot_be_read_is_one_sentence(damage, closed):
    damage(Path(closed.path) / RECORD)
    with (
        little_memory(),
        pytest.raises(StoreUnusable, match=rf"damaged: {RECORD}") as told,
    ):
        closed.connect()
    assert "\n" not in str(told.value)


def test_record_that_cannot_be_written_is_told_and_the_store_is_closed(
    closed, caplog, monkeypatch
):
    closed.connect().add([make_node(100)])
    (Path(closed.path) / f"{RECORD}.new").mkdir()
    closed.close()
    assert "cannot be noted" in caplog.text
    assert closed.connect().count() == 41


def test_hole_is_the_same_as_zeros(tmp_path):
    one, two = tmp_path / "holes", tmp_path / "zeros"
    data = [(0, b"start"), (70_000, b"\1"), (300_000, b"end")]
    size = 400_000
    two.write_bytes(bytes(size))
    for file in (one, two):
        file.touch()
        with file.open("r+b") as opened:
            for position, what in data:
                opened.seek(position)
                opened.write(what)
            opened.truncate(size)
    assert one.read_bytes() == two.read_bytes()
    assert crc32_of(one) == crc32_of(two)
    with two.open("r+b") as opened:
        opened.seek(70_000)
        opened.write(b"\0\1")
    assert crc32_of(one) != crc32_of(two), "the same bytes elsewhere"


def test_checksum_knows_where_a_block_is(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    block = b"x" * (1 << 16)
    one.write_bytes(block + bytes(len(block)))
    two.write_bytes(bytes(len(block)) + block)
    assert crc32_of(one) != crc32_of(two)
