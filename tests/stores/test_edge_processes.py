"""Other processes: the lock, kills, forks, and index building beside a store in use.

Real child processes are started and killed; nothing is simulated but the folders that
a kill leaves behind at moments too short to hit.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_mmrag.errors import (
    InvalidSetting,
    StoreClosed,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_layout import LOCK, remove_tree

from ..support import indexes as support
from .conftest import DIM, asking, expected_hits, make_node, make_nodes, node_id

GRAPH_DIM = 1024
# The engine builds no graph below 10,000 KB of vectors: 2,500 of 1024 float32.
GRAPH_NODES = 2700

CHILD = """
import sys
from llama_index.core.schema import TextNode
from llama_index_mmrag.stores import QdrantEdgeVectorStore
import uuid

path, dim = sys.argv[1], int(sys.argv[2])
store = QdrantEdgeVectorStore.open(path, dim=dim)
"""


start_child = partial(support.start_child, before=CHILD)


def graph_nodes(numbers: range) -> list[TextNode]:
    # Near a subspace, as real embeddings are: a graph finds no neighbours in noise.
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(numbers.stop, 8)) @ rng.normal(size=(8, GRAPH_DIM))
    return [
        TextNode(id_=node_id(n), text=f"text {n}", embedding=vectors[n].tolist())
        for n in numbers
    ]


@pytest.fixture
def small(tmp_path) -> Iterator[QdrantEdgeVectorStore]:
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        store.add(make_nodes(10))
        yield store


def test_store_open_in_another_process_is_refused_by_its_pid_until_that_is_killed(
    tmp_path,
):
    child = start_child(
        "print('open', flush=True); sys.stdin.read()", tmp_path / "s", DIM
    )
    assert child.stdout.readline() == "open\n"
    with pytest.raises(StoreInUse, match=f"pid {child.pid}\\)"):
        QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM)
    support.end(child)
    QdrantEdgeVectorStore.open(tmp_path / "s", dim=DIM).close()


def test_every_acknowledged_node_survives_a_kill(tmp_path):
    child = start_child(
        """
        while True:
            nodes = [
                TextNode(id_=str(uuid.uuid4()), text="x" * 500, embedding=[1.0] * dim)
                for _ in range(16)
            ]
            for acknowledged in store.add(nodes):
                print(acknowledged)
            sys.stdout.flush()
        """,
        tmp_path / "s",
        DIM,
    )
    acknowledged = [child.stdout.readline().strip() for _ in range(16 * 12)]
    child.kill()
    rest, _ = child.communicate()
    complete = rest.splitlines() if rest.endswith("\n") else rest.splitlines()[:-1]
    acknowledged += complete
    with QdrantEdgeVectorStore.open(tmp_path / "s") as store:
        assert set(acknowledged) <= set(store.ids_where())
        assert {n.get_content() for n in store.get_nodes(acknowledged)} == {"x" * 500}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_of_an_open_store_is_refused_and_does_not_hang(tmp_path):
    child = start_child(
        """
        import os
        from llama_index_mmrag.errors import StoreClosed
        pid = os.fork()
        if pid == 0:
            try:
                store.count()
            except StoreClosed as error:
                print("spawn" in str(error), flush=True)
            store.close()
            os._exit(0)
        os.waitpid(pid, 0)
        print(store.count(), flush=True)
        """,
        tmp_path / "s",
        DIM,
    )
    output, _ = child.communicate(timeout=60)
    assert output == "True\n0\n"


def test_index_is_built_while_the_store_answers_and_takes_writes(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=GRAPH_DIM) as store:
        nodes = graph_nodes(range(GRAPH_NODES + 200))
        store.add(nodes[:GRAPH_NODES])
        query = VectorStoreQuery(nodes[7].embedding, similarity_top_k=10)
        built: list[int] = []
        builder = threading.Thread(target=lambda: built.append(store.build_index()))
        builder.start()
        searches, added = 0, GRAPH_NODES
        while builder.is_alive():
            assert (store.query(query).ids or [])[0] == node_id(7)
            searches += 1
            if added < len(nodes):
                store.add(nodes[added : added + 20])
                store.delete_nodes([node_id(added)])
                added += 20
        builder.join()
        assert searches > 10
        assert added == len(nodes)
        assert built[0] >= GRAPH_NODES
        deleted = {node_id(n) for n in range(GRAPH_NODES, len(nodes), 20)}
        kept = [node for node in nodes if node.node_id not in deleted]
        assert set(store.ids_where()) == {node.node_id for node in kept}
        found = 0
        for node in kept[:: len(kept) // 20][:20]:
            query = asking(node.embedding, 10)
            exact, _ = expected_hits(kept, node.embedding or [])
            found += len(set(store.query(query).ids or []) & set(exact[:10]))
        assert found >= 0.95 * 20 * 10
        last = store.query(query)
        assert len(list((tmp_path / "s").glob("shard-*"))) == 1
    with QdrantEdgeVectorStore.open(tmp_path / "s") as store:
        assert set(store.ids_where()) == {node.node_id for node in kept}
        assert store.query(query).ids == last.ids


def test_kill_during_an_index_build_loses_nothing(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=GRAPH_DIM) as store:
        store.add(graph_nodes(range(GRAPH_NODES)))
    child = start_child(
        """
        import threading, time
        threading.Thread(target=store.build_index, daemon=True).start()
        while len(list(store.client.path.glob("shard-*"))) < 2:
            time.sleep(0.01)
        print("building", flush=True)
        sys.stdin.read()
        """,
        tmp_path / "s",
        GRAPH_DIM,
    )
    assert child.stdout.readline() == "building\n"
    support.end(child)
    with QdrantEdgeVectorStore.open(tmp_path / "s") as store:
        assert store.count() == GRAPH_NODES
        assert store.build_index(timeout_s=120) == GRAPH_NODES
        assert store.count() == GRAPH_NODES


def test_small_store_needs_no_graph_and_is_unchanged(small):
    before = small.query(asking([1.0] * DIM, 10))
    assert small.build_index() == 0
    after = small.query(asking([1.0] * DIM, 10))
    assert (after.ids, after.similarities) == (before.ids, before.similarities)
    small.add([make_node(10)])
    assert small.count() == 11


def test_failed_or_late_build_leaves_the_store_as_it_was(small, monkeypatch):
    with pytest.raises(StoreUnusable, match="timeout_s"):
        small.build_index(timeout_s=0.001)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StoreUnusable, match="no/such/python"):
        small.build_index()
    small.add([make_node(10)])
    assert small.count() == 11
    assert len(list(small.client.path.glob("shard-*"))) == 1


def test_second_build_at_the_same_time_is_refused(small):
    with small.client.building, pytest.raises(InvalidSetting, match="already running"):
        small.build_index()


def test_store_closed_during_a_build_stays_closed_and_whole(small):
    folder = small.client
    copy = folder.begin_copy()
    small.close()
    with pytest.raises(StoreClosed):
        folder.swap_in(copy)
    small.connect()
    assert small.count() == 10
    assert not copy.exists()


@pytest.mark.parametrize("pointer_written", [False, True])
def test_build_interrupted_before_the_swap_keeps_the_old_shard(pointer_written, small):
    folder = small.client
    copy = folder.begin_copy()
    if pointer_written:
        pointer = {"format": 1, "shard": copy.name, "state": "ready"}
        (folder.path / "store.json").write_text(json.dumps(pointer))
    folder.drop_copy(copy)
    small.add([make_node(10)])
    small.close()
    assert small.connect().count() == 11
    assert not copy.exists()


def test_build_interrupted_after_the_swap_keeps_the_new_shard(small):
    folder = small.client
    copy = folder.begin_copy()
    folder.swap_in(copy)
    folder.drop_copy(copy)
    small.add([make_node(10)])
    small.close()
    assert small.connect().count() == 11
    assert list(folder.path.glob("shard-*")) == [copy]


def test_what_a_kill_leaves_behind_is_cleaned_up_at_the_next_open(small):
    folder = small.client.path
    small.close()
    (folder / "shard-half-copied" / "segments").mkdir(parents=True)
    (folder / "store.json.new").write_text('{"format": 1, "sh')
    small.connect()
    assert small.count() == 10
    assert not (folder / "shard-half-copied").exists()


def test_folder_of_which_something_stays_keeps_its_lock(tmp_path, monkeypatch):
    """By it the next opening knows it, and removes the rest."""
    folder, remove = tmp_path / "text-1", shutil.rmtree
    (folder / "shard-1").mkdir(parents=True)
    (folder / "store.json").touch()
    (folder / LOCK).touch()
    with monkeypatch.context() as patched:
        # As where somebody who outlived a kill still writes into it.
        patched.setattr(
            shutil, "rmtree", lambda p, **k: None if p.name == "shard-1" else remove(p)
        )
        remove_tree(folder)
    assert sorted(p.name for p in folder.iterdir()) == [LOCK, "shard-1"]
    remove_tree(folder)
    assert not folder.exists()
    remove_tree(folder)


def test_kill_while_creating_starts_afresh(tmp_path):
    path = tmp_path / "s"
    (path / "shard-1" / "segments").mkdir(parents=True)
    pointer = {"format": 1, "shard": "shard-1", "state": "creating"}
    (path / "store.json").write_text(json.dumps(pointer))
    with QdrantEdgeVectorStore.open(path, dim=DIM) as store:
        store.add([make_node(0)])
        assert store.count() == 1
        assert len(list(path.glob("shard-*"))) == 1


def test_lost_shard_or_lost_description_is_reported_not_replaced(small):
    folder = small.client.path
    small.close()
    pointer = (folder / "store.json").read_text()
    (folder / "store.json").unlink()
    with pytest.raises(StoreUnusable, match="no 'store.json'"):
        small.connect()
    (folder / "store.json").write_text(pointer)
    shard = next(folder.glob("shard-*"))
    shard.rename(folder / "elsewhere")
    with pytest.raises(StoreUnusable, match=shard.name):
        small.connect()
    (folder / "elsewhere").rename(shard)
    assert small.connect().count() == 10


def test_copy_for_the_index_keeps_the_holes_of_the_files(small):
    copy = small.client.begin_copy()
    files = [file for file in copy.rglob("*") if file.is_file()]
    apparent = sum(file.stat().st_size for file in files)
    allocated = sum(file.stat().st_blocks * 512 for file in files)
    small.client.drop_copy(copy)
    assert apparent > 50e6
    assert allocated < apparent / 5
