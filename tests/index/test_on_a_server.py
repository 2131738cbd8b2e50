"""An index on a server: its keys, its collections' names, and what is said of both."""

from __future__ import annotations

import logging
import os
import traceback
import uuid

import pytest
from llama_index.core.schema import Document, ImageNode
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index_mmrag import Blend, MultiModalQdrantIndex
from llama_index_mmrag.errors import (
    AllRoutesFailed,
    InvalidSetting,
    StoreClosed,
    StoreUnusable,
)
from llama_index_mmrag.ingestion.in_flight import IN_FLIGHT

from ..support.indexes import inline, texts
from ..support.loopback import KEY
from ..support.qdrant_over_http import READ_ONLY, qdrant

pytestmark = [
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure"),
    pytest.mark.filterwarnings("ignore:Batch upload failed"),
]
BOTH = [Document(text="red"), ImageNode(image=inline("red"))]
OPEN = MultiModalQdrantIndex.open


@pytest.fixture
def at(encoder, tmp_path):
    """Return what `open` is given beside the server."""
    return {"embed_model": encoder, "catalogue": tmp_path / "catalogue.sqlite"}


def names_on(url: str, key: str | None = None) -> list[str]:
    client = QdrantClient(url, api_key=key, check_compatibility=False)
    found = sorted(one.name for one in client.get_collections().collections)
    client.close()
    return found


def test_server_by_its_key_is_filled_and_searched(at, caplog):
    caplog.set_level(logging.DEBUG)
    with qdrant(KEY) as url:
        with OPEN(url=url, api_key=KEY, timeout=5, **at) as index:
            assert index.insert(BOTH).n_added == 2
        with OPEN(location=url, api_key=KEY, **at) as index:
            assert index.insert(BOTH).n_added == 0
            assert len(index.as_retriever().retrieve("red")) == 2
            assert KEY not in repr([index, *index.channels, index.vector_store])
        assert names_on(url, KEY) == ["mmrag-image", "mmrag-text"]
    assert KEY not in caplog.text


@pytest.mark.parametrize(("key", "said"), [(None, "401 Must"), ("other", "401 Inval")])
def test_wrong_key_is_told_at_opening(key, said, at):
    with qdrant(KEY) as url, pytest.raises(StoreUnusable, match=f"{said}.*Check api_"):
        OPEN(url=url, api_key=key, **at)


async def test_read_only_key_searches_and_writes_nothing(at):
    with qdrant(KEY, READ_ONLY) as url:
        with pytest.raises(StoreUnusable, match=r"create_collection.*403.*read-only"):
            OPEN(url=url, api_key=READ_ONLY, **at)
        with OPEN(url=url, api_key=KEY, **at) as index:
            index.insert(BOTH)
            first = index.ref_doc_ids()[0]
        with OPEN(url=url, api_key=READ_ONLY, **at) as index:
            assert len(index.as_retriever().retrieve("red")) == 2
            assert len(await index.as_retriever().aretrieve("red")) == 2
            for write in (
                lambda: index.insert(Document(text="blue")),
                lambda: index.delete_ref_doc(first),
            ):
                with pytest.raises(StoreUnusable, match=r"403.*read-only") as raised:
                    write()
                shown = "".join(traceback.format_exception(raised.value))
                assert READ_ONLY not in shown
            assert texts(index) == ["red"]
            # What was refused is not done later, by a key that may.
            assert not index._catalogue.beside(IN_FLIGHT).exists()


def test_reader_leaves_what_was_cut_off_to_whoever_may_write(at, caplog):
    stays = Document(text="green", id_="stays")
    with qdrant(KEY, READ_ONLY) as url:
        with OPEN(url=url, api_key=KEY, **at) as index:
            index.insert([Document(text="red", id_="goes"), stays])
            note = index._catalogue.beside(IN_FLIGHT)
        note.write_text('{"goes": {"text": [[], []], "image": [[], []]}}')
        with OPEN(url=url, api_key=READ_ONLY, **at) as reader:
            assert "403 Forbidden" in caplog.text
            assert len(reader.as_retriever().retrieve("red")) == 2
            with OPEN(url=url, api_key=KEY, **at) as index:
                assert index.ref_doc_ids() == ["stays"]
                assert not note.exists()
                index._writer._in_flight.begin({"other": "other"}, {}, {})
                assert reader.insert(stays).n_unchanged == 1
                assert note.exists()


def test_server_that_went_away_is_told_by_route(at):
    with qdrant() as url:
        index = OPEN(url=url, **at)
        index.insert(BOTH)
    with pytest.raises(AllRoutesFailed, match=r"StoreUnusable: .*Check that it runs"):
        index.as_retriever().retrieve("red")
    with pytest.raises(StoreUnusable, match="Check that it runs"):
        index.insert(Document(text="blue"))
    index.close()


def test_host_and_port_may_stand_in_client_kwargs(at):
    with qdrant() as url:
        host, port = url.removeprefix("http://").split(":")
        there = {"host": host, "port": int(port)}
        made = MultiModalQdrantIndex.from_documents(BOTH, client_kwargs=there, **at)
        made.close()
        with OPEN(client_kwargs=there, **at) as index:
            assert index.insert(BOTH).n_added == 0
    with pytest.raises(StoreClosed, match="Open the index again"):
        index.insert(BOTH)


def test_documents_go_to_a_server(at):
    with qdrant(KEY) as url:
        index = MultiModalQdrantIndex.from_documents(
            BOTH, url=url, api_key=KEY, collection="docs", **at
        )
        index.close()
        assert names_on(url, KEY) == ["docs-image", "docs-text"]


@pytest.mark.parametrize(
    ("collection", "names"),
    [
        ("docs", ["docs-composed", "docs-image", "docs-text"]),
        ({"text": "docs", "image": "photos"}, ["docs", "docs-composed", "photos"]),
        ({"text": "docs"}, ["docs", "docs-composed", "docs-image"]),
        ({"text": "a", "composed": "b"}, ["a", "a-image", "b"]),
    ],
)
def test_collections_have_the_names_that_were_given(collection, names, at):
    at |= {"collection": collection, "composition": Blend(0.5)}
    with qdrant() as url:
        with OPEN(url=url, **at) as index:
            index.insert(BOTH)
        assert names_on(url) == names
        with OPEN(url=url, **at) as index:
            assert index.insert(BOTH).n_added == 0
            assert index.check().n_points["text"] == 1


@pytest.mark.parametrize(
    "collection",
    [
        *("", {}, {"image": "photos"}, {"text": ""}, {"text": "a", "image": ""}),
        *({"text": "a", "image": "a"}, {"text": "a", "composed": "a-image"}),
        {"text": "a", "pictures": "b"},
    ],
)
def test_names_that_do_not_do_are_refused_before_anything_is_made(collection, at):
    with qdrant() as url:
        with pytest.raises(InvalidSetting, match='collection is .*one for "text"'):
            OPEN(url=url, collection=collection, **at)
        assert names_on(url) == []


def test_collection_of_exactly_that_name_is_left_alone_and_told_of_once(at, caplog):
    with qdrant() as url:
        client = QdrantClient(url, check_compatibility=False)
        params = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection("articles", vectors_config=params)
        client.close()
        OPEN(url=url, collection="articles", **at).close()
        (said,) = [
            r.getMessage() for r in caplog.records if "articles" in r.msg % r.args
        ]
        assert "stays as it is" in said
        assert "collection={\"text\": 'articles'}" in said
        caplog.clear()
        OPEN(url=url, collection="articles", **at).close()
        assert caplog.text == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"aclient": AsyncQdrantClient(":memory:")}, "aclient alone; expected client="),
        ({"url": "http://h", "client_kwargs": {"host": "i"}}, "exactly one of"),
        ({"client_kwargs": {"port": 1}}, "no place"),
        ({"path": "x", "api_key": "k"}, "path and api_key, which is for a server"),
        ({"path": "x", "timeout": 3}, "path and timeout, which is for a server"),
        ({"path": "x", "prefer_grpc": True}, "prefer_grpc, which is for a server"),
        ({"path": ":memory:", "collection": "c"}, "collection, which is for a server"),
        ({"location": ":memory:", "api_key": "k"}, "api_key, which is for a server"),
        ({"path": "x", "client_kwargs": {"https": True}}, "client_kwargs, which is"),
        ({"client": QdrantClient(":memory:"), "api_key": "k"}, "give it to yours"),
        ({"client": QdrantClient(":memory:"), "timeout": 3}, "give it to yours"),
        ({"url": "http://h", "api_key": KEY.encode()}, "api_key is <class 'bytes'>"),
        ({"url": "http://h", "client_kwargs": [KEY]}, "client_kwargs is <class 'list'"),
        ({"host": "h"}, r"takes no 'host'. Use client_kwargs=\{"),
        ({"port": 1}, r"takes no 'port'. Use client_kwargs=\{"),
        ({"collection_name": "c"}, "takes no 'collection_name'. Use collection"),
    ],
)
def test_what_is_not_for_that_place_is_refused(given, said, at, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSetting, match=said) as raised:
        OPEN(**given, **at)
    assert KEY not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("over", ["REST", "gRPC"])
async def test_full_read_only_and_wrong_keys_of_a_real_server(over, at, caplog):
    given = [os.environ.get(f"QDRANT_{name}") for name in NAMES]
    if not all(given):
        pytest.skip(f"QDRANT_URL names no server, or two keys are missing: {NAMES}")
    url, key, read_only = map(str, given)
    caplog.set_level(logging.DEBUG)
    name = f"test-{uuid.uuid4().hex}"
    at |= {"url": url, "prefer_grpc": over == "gRPC", "collection": name}
    try:
        with OPEN(api_key=key, **at) as index:
            assert index.insert(BOTH).n_added == 2
        aclient = AsyncQdrantClient(url, api_key=read_only, prefer_grpc=over == "gRPC")
        with OPEN(api_key=read_only, aclient=aclient, **at) as index:
            assert len(index.as_retriever().retrieve("red")) == 2
            assert len(await index.as_retriever().aretrieve("red")) == 2
            with pytest.raises(
                StoreUnusable, match="Check what the key may do|api_key"
            ):
                index.insert(Document(text="blue"))
        await aclient.close()
        for wrong in ("wrong", None):
            with pytest.raises(StoreUnusable, match="api_key|what the key may"):
                OPEN(api_key=wrong, **at)
    finally:
        client = QdrantClient(url, api_key=key, check_compatibility=False)
        for modality in ("text", "image"):
            client.delete_collection(f"{name}-{modality}")
        client.close()
    assert key not in caplog.text
    assert read_only not in caplog.text


NAMES = ("URL", "API_KEY", "READ_ONLY_KEY")
