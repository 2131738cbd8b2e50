"""Payloads are found in their pages where nothing else says where they are."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_read_all import payloads_in, unpacked

from .conftest import DIM, make_node, node_id


def written(store: QdrantEdgeVectorStore) -> dict[str, dict[str, object]]:
    pages = store.client.scroll(None, payload=True, vector=False)
    return {str(one.id): one.payload for page in pages for one in page}


def found_in(store: QdrantEdgeVectorStore) -> list[dict[str, object]]:
    storages = Path(store.path).glob("shard-*/segments/*/payload_storage")
    return [payload for storage in storages for payload in payloads_in(storage)]


@pytest.mark.parametrize("size", [1, 40, 3_000_000], ids=["short", "some", "two pages"])
def test_payloads_in_use_are_found_and_no_others(size, tmp_path):
    letters = random.Random(size)
    nodes = [
        make_node(i, text="ab" * i + "".join(letters.choices(string.printable, k=size)))
        for i in range(15)
    ]
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        store.add(nodes)
    with store.connect():
        store.add([make_node(3, text="in place of another")])
        store.delete_nodes([node_id(4)])
    with store.connect():
        expected = written(store)
    found = found_in(store)
    assert len(found) == len(expected) == 14
    assert all(payload in found for payload in expected.values())


def test_payload_that_is_damaged_is_left_out(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        store.add([make_node(i, text=f"text {i}") for i in range(5)])
        expected = written(store)
    (page,) = Path(store.path).rglob("payload_storage/page_0.dat")
    with page.open("r+b") as file:
        file.seek(200)
        file.write(bytes(100))
    left = found_in(store)
    assert len(left) == 4
    assert all(payload in expected.values() for payload in left)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\5\0\0\0",
        b"\2\0\0\0\x50hello",  # longer than it says
        b"\x09\0\0\0\x10a\2\0",  # a copy from before the beginning
        b"\x09\0\0\0\x10a\0\0",
        b"\x09\0\0\0\xf0\xff",
    ],
)
def test_what_is_not_packed_is_told(data):
    with pytest.raises((ValueError, IndexError)):
        unpacked(data, 0)


def test_copies_may_overlap():
    # "ab" as it is, then 9 bytes from 2 back, then "!" as it is
    packed = b"\x0c\0\0\0" + b"\x25ab\2\0" + b"\x10!"
    assert unpacked(b"--" + packed, 2) == (b"abababababa!", 2 + len(packed))
