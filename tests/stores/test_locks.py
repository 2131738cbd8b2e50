"""Which stores share a lock, and which can be searched without a thread."""

from __future__ import annotations

import contextlib
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag.stores import (
    QdrantEdgeVectorStore,
    has_async_client,
    search_lock,
)
from llama_index_mmrag.stores.collection_of import collection_of

from .conftest import DIM, asking, make_node

SERVER = "http://127.0.0.1:9"


class StoreOfServerClients(QdrantVectorStore):
    """Over clients of a server that is not running: nothing is ever asked of it."""

    def _collection_exists(self, collection_name: str) -> bool:
        return False


def server_client() -> QdrantClient:
    return QdrantClient(url=SERVER, check_compatibility=False)


def server_aclient() -> AsyncQdrantClient:
    return AsyncQdrantClient(url=SERVER, check_compatibility=False)


def test_stores_of_one_local_client_share_a_reentrant_lock():
    client, other = QdrantClient(":memory:"), QdrantClient(":memory:")
    text = search_lock(QdrantVectorStore("text", client=client))
    image = search_lock(QdrantVectorStore("image", client=client))
    assert text is image
    assert search_lock(QdrantVectorStore("text", client=other)) is not text
    with text, image, ThreadPoolExecutor(1) as elsewhere:
        assert not elsewhere.submit(text.acquire, blocking=False).result()


def test_lock_does_not_keep_a_client_alive():
    client = QdrantClient(":memory:")
    search_lock(QdrantVectorStore("text", client=client))
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


def test_server_edge_and_other_stores_need_no_lock(tmp_path):
    with contextlib.closing(server_client()) as client:
        server = StoreOfServerClients("text", client=client)
        edge = QdrantEdgeVectorStore(tmp_path / "s", dim=2)
        for store in (server, edge, SimpleVectorStore()):
            assert isinstance(search_lock(store), contextlib.nullcontext)


async def test_async_client_is_used_only_where_it_reaches_the_same_data(tmp_path):
    client, aclient = server_client(), server_aclient()
    local, alocal = QdrantClient(":memory:"), AsyncQdrantClient(":memory:")
    both = StoreOfServerClients("text", client=client, aclient=aclient)
    ways: list[tuple[BasePydanticVectorStore, bool, str]] = [
        (both, True, "await"),
        (QdrantVectorStore("text", aclient=aclient), True, "await"),
        (StoreOfServerClients("text", client=client), False, "thread"),
        (QdrantVectorStore("text", client=local), False, "thread"),
        # Two local clients never share their data.
        (QdrantVectorStore("text", client=local, aclient=alocal), False, "thread"),
        # Its asynchronous methods are threads, which cost more than its searches.
        (QdrantEdgeVectorStore(tmp_path / "s", dim=2), True, "here"),
        (SimpleVectorStore(), False, "thread"),
    ]
    for store, is_async, way in ways:
        assert has_async_client(store) == is_async
        assert collection_of(store).way == way
    client.close()
    await aclient.close()
    local.close()
    await alocal.close()


def test_local_mode_survives_threads_under_the_lock():
    store = QdrantVectorStore("text", client=QdrantClient(":memory:"))
    store.add([make_node(0)])

    def work(start: int) -> None:
        for n in range(start, start + 40):
            with search_lock(store):
                store.add([make_node(n)])
            with search_lock(store):
                store.query(asking([1.0] * DIM, 50))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(0, 160, 40)))
    assert len(store.get_nodes()) == 160
