"""Copies and pickles of what holds a store: an index, its retriever, engine and tools.

The other process is started anew (spawn): it knows nothing but the pickle.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag import Channel, MultiModalFusionRetriever, MultiModalQdrantIndex
from llama_index_mmrag.composition import Blend
from llama_index_mmrag.errors import (
    AllRoutesFailed,
    CollectionMismatch,
    InvalidSetting,
    MmragError,
    StoreInUse,
)
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.pickling import API_KEY

from ..support.colours import ENCODER
from ..support.indexes import texts
from ..support.loopback import rest_server

KEY = "not-to-be-pickled"
Held = Callable[[MultiModalQdrantIndex], Any]
HOLDERS: dict[str, Held] = {
    "index": lambda index: index,
    "retriever": lambda index: index.as_retriever(top_k=3),
    "narrowed": lambda index: index.as_retriever().with_filters({"kind": "leaf"}),
    "linked": lambda index: index.as_retriever(linked_by="id"),
    "channel": lambda index: MultiModalFusionRetriever(index.channels[:1]),
    "engine": lambda index: index.as_query_engine(None),
    "tool": lambda index: index.as_tool(filter_keys=["kind"], image_roots=["."]),
    "engine tool": lambda index: index.as_query_engine_tool(None, name="ask"),
}


def found(holder: Any, words: str = "green") -> str:
    """Return what somebody sees who asks it."""
    if isinstance(holder, MultiModalQdrantIndex):
        with holder:
            return found(holder.as_retriever())
    if hasattr(holder, "call"):
        return str(holder.call(query=words).content)
    if hasattr(holder, "query"):
        return str(holder.query(words))
    return "\n".join(str(hit.node.get_content()) for hit in holder.retrieve(words))


@pytest.fixture
def filled(tmp_path):
    """Return the folder of a closed store of two texts and a picture's place."""
    with MultiModalQdrantIndex.open(tmp_path / "store", embed_model=ENCODER) as index:
        index.insert(
            [
                Document(text="green tea", metadata={"kind": "leaf"}),
                Document(text="red wine", metadata={"kind": "fruit"}),
            ]
        )
    return tmp_path / "store"


@pytest.fixture(scope="module")
def pool():
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as executor:
        yield executor


@pytest.mark.parametrize("holder", HOLDERS)
def test_it_finds_in_another_process_what_it_finds_here(filled, pool, holder):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        given = HOLDERS[holder](index)
        here = found(copy.deepcopy(given))
    assert "green tea" in here
    assert pool.submit(found, given).result() == here
    # It has given the folder back, though nobody has closed it.
    assert pool.submit(found, given).result() == here


@pytest.mark.parametrize("holder", HOLDERS)
def test_an_open_folder_is_in_use_and_no_pool_ends_by_it(filled, pool, holder):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        given = HOLDERS[holder](index)
        asked = pool.submit(said, given)
        assert "already open in another process" in asked.result()
        assert "green tea" in found(given if holder != "index" else copy.copy(given))
    assert "green tea" in pool.submit(found, given).result()


def said(holder: Any) -> str:
    """Return what is said to somebody who asks it."""
    try:
        return found(holder)
    except MmragError as error:
        return str(error)


def test_a_store_that_ends_with_the_process_cannot_travel():
    with MultiModalQdrantIndex.open(":memory:", embed_model=ENCODER) as index:
        for given in (index, index.as_retriever(), index.as_tool()):
            with pytest.raises(InvalidSetting, match="Open the index at a path"):
                pickle.dumps(given)


def test_eight_threads_open_what_was_pickled_once(filled):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        data = pickle.dumps(index.as_retriever())
    retriever = pickle.loads(data)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: found(retriever), range(8)))
    assert all("green tea" in answer for answer in answers)


def test_what_is_pickled_together_is_over_one_store(filled):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        data = pickle.dumps((index, index.as_retriever(), index.channels))
    with pickle.loads(data)[0] as again:
        pass
    index, retriever, channels = pickle.loads(data)
    with index:
        assert index.channels == channels == retriever.channels
        index.insert([Document(text="green grass")])
        assert "green grass" in found(retriever)
    assert again is not index


def chunk_size_of(data: bytes) -> int:
    with pickle.loads(data) as index:
        return index._settings.transformations[0].chunk_size


def test_an_index_is_whole_after_a_pickle(filled, tmp_path, pool):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.md").write_text("green leaves")
    with MultiModalQdrantIndex.open(
        tmp_path / "composed",
        embed_model=ENCODER,
        composition=Blend(0.5),
        settings=ReadSettings(
            transformations=[SentenceSplitter(chunk_size=100, chunk_overlap=9)]
        ),
    ) as index:
        index.insert_directory(photos)
        before = texts(index)
        data = pickle.dumps(index)
    assert pool.submit(chunk_size_of, data).result() == 100
    with pickle.loads(data) as index:
        assert texts(index) == before
        assert index.insert_directory(photos).n_unchanged == 1
        (photos / "a.md").write_text("red leaves")
        assert index.insert_directory(photos).n_removed == 1
        assert texts(index) == ["red leaves"]
        assert "red leaves" in found(index.as_retriever(search="composed"), "red")
    with MultiModalQdrantIndex.open(
        tmp_path / "composed", embed_model=ENCODER, composition=Blend(0.5)
    ) as index:
        assert texts(index) == ["red leaves"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_open_stores_and_does_not_close_them(filled, copied):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        with copied(index) as other:
            other.insert([Document(text="green grass")])
            assert other.channels == index.channels
        assert "green grass" in texts(index)
        assert "green grass" in found(copied(index.as_retriever()))


def test_a_folder_that_is_gone_is_not_made_anew(filled):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        data = pickle.dumps(index.as_retriever())
    shutil.rmtree(filled)
    with pytest.raises(AllRoutesFailed, match="not there any more"):
        found(pickle.loads(data))
    assert not filled.exists()


def test_another_store_in_its_place_is_refused(filled):
    with MultiModalQdrantIndex.open(filled, embed_model=ENCODER) as index:
        data = pickle.dumps(index)
    shutil.rmtree(filled)
    MultiModalQdrantIndex.open(filled, embed_model=ENCODER).close()
    with pytest.raises(CollectionMismatch, match="Open the index anew"):
        pickle.loads(data)
    MultiModalQdrantIndex.open(filled, embed_model=ENCODER).close()  # it is closed


def test_stores_that_were_given_travel_too(tmp_path, pool):
    stores = [QdrantEdgeVectorStore.open(tmp_path / n, dim=4) for n in ("t", "i")]
    index = MultiModalQdrantIndex.from_vector_store(
        stores[0], image_vector_store=stores[1], embed_model=ENCODER
    )
    index.insert([Document(text="green tea")])
    for store in stores:
        store.close()
    assert "green tea" in pool.submit(found, index).result()


def test_local_mode_in_a_folder(tmp_path, pool):
    client = QdrantClient(path=str(tmp_path / "local"))
    index = MultiModalQdrantIndex.open(client=client, embed_model=ENCODER)
    index.insert([Document(text="green tea")])
    for given in (index, index.as_retriever()):
        data = pickle.dumps(given)
        with pytest.raises(StoreInUse, match="Close that one first"):
            pool.submit(pickle.loads, data).result()
    client.close()
    assert "green tea" in pool.submit(found, index.as_retriever()).result()
    assert "green tea" in pool.submit(found, index).result()


def test_what_is_refused_leaves_no_folder_open(tmp_path):
    client = QdrantClient(path=str(tmp_path / "local"))
    index = MultiModalQdrantIndex.open(client=client, embed_model=ENCODER)
    data = pickle.dumps(index)
    client.delete_collection("mmrag-text")
    client.close()
    with pytest.raises(CollectionMismatch, match="Open the index anew") as refused:
        pickle.loads(data)
    QdrantClient(path=str(tmp_path / "local")).close()
    assert refused.traceback  # which holds what was opened


def test_points_in_memory_cannot_travel():
    client = QdrantClient(":memory:")
    with MultiModalQdrantIndex.open(client=client, embed_model=ENCODER) as index:
        index.insert([Document(text="green tea")])
        for given in (index, index.as_retriever(), index.as_tool()):
            with pytest.raises(InvalidSetting, match="cannot be pickled"):
                pickle.dumps(given)
            assert "green tea" in found(copy.deepcopy(given))


@pytest.fixture(scope="module")
def url():
    """Yield the address of a server that says that there is any collection."""
    with rest_server(200, b'{"result": {"exists": true}}') as address:
        yield address


def on_a_server(url: str, **settings: Any) -> tuple[Channel, Channel]:
    """Return two channels over one client."""
    unchecked = {"check_compatibility": False, **settings}
    client = QdrantClient(url, **unchecked)
    one = QdrantVectorStore(
        "a", client=client, aclient=AsyncQdrantClient(url, **unchecked), api_key=KEY
    )
    other = QdrantVectorStore("b", client=client, client_kwargs={"api_key": KEY})
    return (
        Channel("a", vector_store=one, embed_model=ENCODER),
        Channel("b", vector_store=other, embed_model=ENCODER),
    )


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.filterwarnings("ignore:.*Failed to .* Qdrant")
@pytest.mark.parametrize(
    "secret", [{"api_key": KEY}, {"headers": {"Authorization": KEY}}, {}]
)
def test_the_key_stays_behind(monkeypatch, url, secret):
    monkeypatch.delenv(API_KEY, raising=False)
    channels = on_a_server(url, timeout=7, **secret)
    data = pickle.dumps(channels)
    assert KEY.encode() not in data
    if secret:
        with pytest.raises(InvalidSetting, match=API_KEY) as refused:
            pickle.loads(data)
        assert KEY not in str(refused.value)
    monkeypatch.setenv(API_KEY, "from-the-environment")
    one, other = pickle.loads(data)
    client = one.vector_store.client
    assert client is other.vector_store.client
    assert client.init_options["timeout"] == 7
    expected = "from-the-environment" if secret else None
    for made in (client, one.vector_store._aclient):
        assert made.init_options["api_key"] == expected
    assert one.way == "await"
    assert one.place != other.place == channels[1].place


def test_over_a_server_both_have_it_open(open_index, pool):
    index = open_index("server")
    index.insert([Document(text="green tea")])
    assert "green tea" in pool.submit(found, index.as_retriever()).result()
    assert "green tea" in pool.submit(found, index).result()
    assert "green tea" in found(index.as_retriever())
