"""What goes wrong at a server is one error of ours, over REST and gRPC, on the wire."""

from __future__ import annotations

import traceback

import grpc
import pytest
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index_mmrag.compression import compress_collection
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import InvalidSetting, StoreClosed, StoreUnusable
from llama_index_mmrag.stores import QdrantEdgeVectorStore, migrate
from llama_index_mmrag.stores.client import client_at
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.encoder_card import remember_encoder
from llama_index_mmrag.stores.server_errors import Asking

from ..support.loopback import KEY, REFUSALS, grpc_server, rest_server
from .conftest import make_node

UNSAFE = pytest.mark.filterwarnings("ignore:Api key is used with an insecure")
RETRIED = pytest.mark.filterwarnings("ignore:Batch upload failed")
CALLS = {
    "collection_exists": lambda client: client.collection_exists("c"),
    "query_points": lambda client: client.query_points("c", [1.0]),
    "scroll": lambda client: client.scroll("c"),
    "upsert": lambda client: client.upsert("c", [models.PointStruct(id=1, vector=[1])]),
    "delete": lambda client: client.delete("c", models.PointIdsList(points=[1])),
}
ADVICE = {
    "no key": "401 Must provide an API key or an Authorization bearer token. Check api",
    "wrong key": "401 Invalid API key or JWT. Check api_key",
    "read-only key": "403 Forbidden: Global manage access is required. Check what the",
    "missing": "404 Not found: Collection `zz` doesn't exist!. Check that the collec",
    "dead node": "500 Service internal error: 1 of 1 read operations failed. The serv",
    "a proxy's page": "502 <html>no gateway",
}
STATUSES = {
    grpc.StatusCode.UNAUTHENTICATED: "Check api_key",
    grpc.StatusCode.PERMISSION_DENIED: "Check what the key may do",
    grpc.StatusCode.NOT_FOUND: "Check that the collection is there",
    grpc.StatusCode.UNAVAILABLE: "Check that it runs, and its address",
    grpc.StatusCode.INTERNAL: "The server's log says more",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("refusal", ADVICE)
def test_refusal_over_rest_says_which_call_and_what_to_check(refusal, call):
    with rest_server(*REFUSALS[refusal]) as url:
        client = client_at(url)
        with pytest.raises(StoreUnusable) as raised, Asking(client, "c"):
            CALLS[call](client)
        client.close()
    said = str(raised.value)
    assert f"{call} of the collection 'c' failed at the Qdrant server {url}: " in said
    assert ADVICE[refusal] in said
    assert len(said) < 500
    assert "\n" not in said


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.name)
def test_refusal_over_grpc_says_the_same(status, call):
    with grpc_server(status, "in so many words") as port:
        client = client_at(
            "http://127.0.0.1:9", prefer_grpc=True, client_kwargs={"grpc_port": port}
        )
        with pytest.raises(StoreUnusable) as raised, Asking(client, "c"):
            CALLS[call](client)
        client.close()
    said = str(raised.value)
    assert said.startswith(f"{call} of the collection 'c' failed at the Qdrant server ")
    assert f"127.0.0.1:{port} (gRPC): {status.name} in so many words. " in said
    assert STATUSES[status] in said


@pytest.mark.parametrize("over", ["rest", "grpc"])
async def test_asynchronous_client_says_the_same(over):
    with (
        rest_server(*REFUSALS["wrong key"]) as url,
        grpc_server(grpc.StatusCode.UNAUTHENTICATED) as port,
    ):
        client = AsyncQdrantClient(
            url, prefer_grpc=over == "grpc", grpc_port=port, check_compatibility=False
        )
        told = pytest.raises(StoreUnusable, match="query_points of .* Check api_key")
        with told, Asking(client, "c"):
            await client.query_points("c", [1.0])
        await client.close()


@pytest.mark.parametrize("over", ["rest", "grpc"])
def test_call_that_takes_too_long_names_the_clients_timeout(over):
    with (
        rest_server(200, delay_s=1.5) as url,
        grpc_server(grpc.StatusCode.INTERNAL, delay_s=1.5) as port,
    ):
        how = {"prefer_grpc": over == "grpc", "client_kwargs": {"grpc_port": port}}
        client = client_at(url, timeout=0.2, **how)
        told = pytest.raises(StoreUnusable, match="Give a longer timeout=")
        with told, Asking(client, "c"):
            client.scroll("c")
        client.close()


@pytest.mark.parametrize("over", ["rest", "grpc"])
def test_server_that_is_not_there_is_told_with_its_address(over):
    how = {"prefer_grpc": over == "grpc", "client_kwargs": {"grpc_port": 9}}
    client = client_at("http://127.0.0.1:9", **how)
    told = pytest.raises(StoreUnusable, match=r"127\.0\.0\.1:9.*Check that it runs")
    with told, Asking(client, "c"):
        client.scroll("c")
    client.close()


def test_errors_that_are_no_servers_stay_what_they_are():
    client = QdrantClient(":memory:")
    with pytest.raises(ValueError, match="not found"), Asking(client, "c"):
        client.get_collection("c")
    client.close()


@pytest.mark.parametrize("over", ["rest", "grpc", "here"])
def test_client_that_was_closed_is_told_as_such(over):
    client = client_at("http://127.0.0.1:9", prefer_grpc=over == "grpc")
    client = QdrantClient(":memory:") if over == "here" else client
    client.close()
    with pytest.raises(StoreClosed, match="'c' was asked"), Asking(client, "c"):
        client.scroll("c")


@UNSAFE
def test_key_that_a_server_repeats_is_not_shown():
    with rest_server(*REFUSALS["key repeated"]) as url:
        client = client_at(url, api_key=KEY)
        told = pytest.raises(StoreUnusable, match=r"401 Unknown key: \*\*\*")
        with told as raised, Asking(client, "c"):
            client.scroll("c")
        client.close()
    assert KEY not in "".join(traceback.format_exception(raised.value))


@RETRIED
def test_reading_and_writing_a_collection_end_in_the_same_error():
    with rest_server(*REFUSALS["read-only key"]) as url:
        client = client_at(url)
        with rest_server(200, b'{"result": {"exists": false}}') as other:
            store = QdrantVectorStore("c", client=client_at(other))
        store._client = client
        one = collection_of(store)
        for call in (
            one.count,
            one.document_ids,
            lambda: one.existing(["00000000-0000-0000-0000-000000000001"]),
            lambda: one.nodes(["00000000-0000-0000-0000-000000000001"]),
            lambda: one.ids_of_documents(["d"]),
            lambda: one.nodes_where(None),
            lambda: one.background([1.0]),
            lambda: one.may_have("k"),
            lambda: one.check(3),
            lambda: one.add([make_node(0)]),
            lambda: one.remove(["00000000-0000-0000-0000-000000000001"]),
        ):
            with pytest.raises(StoreUnusable, match="403 Forbidden"):
                call()
        client.close()


def test_what_goes_by_a_client_ends_in_the_same_error(tmp_path):
    with (
        rest_server(*REFUSALS["wrong key"]) as url,
        QdrantEdgeVectorStore.open(tmp_path / "store", dim=4) as store,
    ):
        client, encoder = client_at(url), ColourEncoder()
        for call in (
            lambda: migrate(store, client, "c"),
            lambda: remember_encoder(client, "c", card_of(encoder)),
            lambda: compress_collection(client, "c", "alias", encoder=encoder),
        ):
            with pytest.raises(StoreUnusable, match="'c' failed.*401 Invalid API key"):
                call()
        client.close()


@pytest.mark.parametrize("key", ["", " ", "k\n", "two words", "clé", "k\x00"])
@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_key_that_no_header_holds_is_refused_and_not_shown(key, prefer_grpc):
    with pytest.raises(InvalidSetting, match="api_key is empty, or has a") as raised:
        client_at("http://h", api_key=f"{key and KEY}{key}", prefer_grpc=prefer_grpc)
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": ":memory:"}, "client cannot be made"),
        ({"url": "ftp://h"}, "client cannot be made"),
        ({"url": "host:6333"}, 'such as url="http://localhost:6333"'),
        ({"url": "http://"}, "expected one with a host"),
        ({"url": "/srv/store"}, "A folder is given as path="),
        ({"url": "http://me:secret@h"}, "Give a key as api_key="),
        ({"url": "h", "timeout": 0}, "timeout is 0; expected a finite"),
        ({"url": "h", "timeout": "5"}, "timeout is '5'; expected a finite"),
        ({"url": "h", "client_kwargs": {"api_key": KEY}}, "Give it as api_key="),
        ({"url": "h", "client_kwargs": {"path": "x"}}, "Give it as path="),
        ({"url": "h", "client_kwargs": {"colour": 1}}, "argument 'colour'"),
        ({"url": "h", "client_kwargs": {"host": "i"}}, r"Only one of .*host"),
    ],
)
def test_what_makes_no_client_is_refused(given, said):
    with pytest.raises(InvalidSetting, match=said) as raised:
        client_at(given.pop("url"), **given)
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY not in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("url", "client_kwargs", "uri"),
    [
        ("localhost", None, "http://localhost:6333"),
        ("localhost:1", None, "http://localhost:1"),
        ("https://h", None, "https://h:6333"),
        ("https://h", {"port": None}, "https://h"),
        (None, {"host": "h", "port": 7, "https": True}, "https://h:7"),
    ],
)
def test_address_means_what_it_means_to_qdrants_client(url, client_kwargs, uri):
    client = client_at(url, client_kwargs=client_kwargs)
    assert client._client.rest_uri == uri
    client.close()
