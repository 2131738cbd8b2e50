"""What is asked of a Qdrant client more than once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.checks import number
from llama_index_mmrag.errors import InvalidSetting, StoreUnusable
from llama_index_mmrag.stores.edge_engine import SPARSE_NAME

if TYPE_CHECKING:
    import httpx
    from qdrant_client import QdrantClient
    from qdrant_client.http import models

POINTS_PER_PAGE = 1024

MOST_BYTES = 64_000_000
"""Of a server's answer to a search, decoded. To parse more holds the interpreter for
seconds, and with it every other search; a hit without its vector has a few thousand."""


def client_at(
    url: str | None,
    *,
    api_key: str | None = None,
    prefer_grpc: bool = False,
    timeout: float | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
) -> QdrantClient:
    """Return a client of a server, whose answers to searches are bounded.

    One over REST of more than `MOST_BYTES` is read no further: the client raises its
    own `ResponseHandlingException`, whose reason is a `StoreUnusable`. Scrolls and
    reads by id are not bounded.

    Args:
        url: The server's address; None: `client_kwargs` has its host.
        api_key: As for `QdrantClient`, and so are the following two.
        prefer_grpc: Whether it is asked over gRPC, where that can be.
        timeout: Of each call, in seconds; the client takes whole ones, rounded up.
        client_kwargs: What else a `QdrantClient` takes, such as host and port.

    Raises:
        InvalidSetting: The address is none, the key is nothing that a header holds, or
            the client takes no such argument. The key is not shown.
    """
    from qdrant_client import QdrantClient

    if api_key is not None and not re.fullmatch("[!-~]+", api_key):
        # Else the client's own error would show it.
        raise InvalidSetting(
            "api_key is empty, or has a character that no key has, such as a space or "
            "the end of a line; expected printable ASCII. Read it from its file with "
            ".strip()."
        )
    if timeout is not None:
        timeout = number(timeout, "timeout", more_than=0, advice="It is in seconds.")
    if url is not None:
        _check_address(url)
    # The version check would only warn of a server that does not answer.
    ours = {"check_compatibility": False, "event_hooks": BOUNDED}
    known = {"url": url, "api_key": api_key, "prefer_grpc": prefer_grpc}
    named = known | {"timeout": timeout}
    given = client_kwargs or {}
    if twice := sorted(given.keys() & {*named, "path", "location"}):
        raise InvalidSetting(
            f"client_kwargs has {twice[0]!r}; expected what has no argument of its "
            f"own, such as host, port, https and headers. Give it as {twice[0]}=."
        )
    try:
        return QdrantClient(**{**ours, **given, **named})
    except (TypeError, ValueError, OSError) as error:
        raise InvalidSetting(
            f"Qdrant's client cannot be made: {error}. Expected the address of a "
            f'server, such as url="http://localhost:6333", and in client_kwargs what '
            f"a QdrantClient takes."
        ) from error


def _check_address(url: str) -> None:
    """Do nothing if an address has a host, and nothing that is to be kept secret."""
    if "@" in (place := re.sub("^.*?//|/.*$", "", url)):
        raise InvalidSetting(
            "The server's address has a name or password in it, which Qdrant's client "
            "leaves out; expected none. Give a key as api_key=."
        )
    if not place:
        raise InvalidSetting(
            f"The server's address is {url!r}; expected one with a host, such as "
            f"'http://localhost:6333'. A folder is given as path=."
        )


def _bound(response: httpx.Response) -> None:
    """Decode a search's answer piece by piece, counting, in place of httpx."""
    import httpx

    if "/points/query" not in response.request.url.path:
        return

    encoded = httpx.Response(200, headers=response.headers, stream=response.stream)

    class Counted(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            n_bytes = 0
            for piece in encoded.iter_bytes():
                n_bytes += len(piece)
                if n_bytes > MOST_BYTES:
                    raise StoreUnusable(
                        f"The server's answer has over {MOST_BYTES:,} bytes. Ask for "
                        f"fewer hits, or store smaller payloads."
                    )
                yield piece

        def close(self) -> None:
            encoded.close()

    response.stream = Counted()
    response.headers.pop("content-encoding", None)


BOUNDED: dict[str, Any] = {"response": [_bound]}
"""Hooks of a client whose answers to searches are bounded."""


def is_local(client: Any) -> bool:
    """Return whether a client is Qdrant's local mode, in this process."""
    from qdrant_client.local.async_qdrant_local import AsyncQdrantLocal
    from qdrant_client.local.qdrant_local import QdrantLocal

    kinds = (QdrantLocal, AsyncQdrantLocal)
    return isinstance(getattr(client, "_client", None), kinds)


def is_in_memory(client: Any) -> bool:
    """Return whether a client's data end with it."""
    return is_local(client) and not client._client.persistent


def pages(
    client: QdrantClient, collection_name: str, **wanted: Any
) -> Iterator[list[models.Record]]:
    """Yield all points in pages, by ascending id.

    Args:
        client: The client.
        collection_name: The collection.
        wanted: Arguments of `client.scroll`, such as `scroll_filter`.
    """
    offset = None
    wanted = {"limit": POINTS_PER_PAGE, **wanted}
    while True:
        page, offset = client.scroll(collection_name, offset=offset, **wanted)
        if page:
            yield page
        if offset is None:
            return


def vector_params(described: Any, name: str) -> models.VectorParams | None:
    """Return the description of the vector that is searched by `name`.

    Args:
        described: All vectors, as in a collection's `config.params.vectors`.
        name: Its name; LlamaIndex asks an unnamed one by "".
    """
    if not isinstance(described, dict):
        params: models.VectorParams | None = described
        return params
    # Servers describe an unnamed vector that way, too.
    return described.get(name) or described.get("")


def create_collection(
    client: QdrantClient,
    collection_name: str,
    *,
    vectors: models.VectorParams,
    indexes: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    beside_words: str | None = None,
) -> None:
    """Create a collection and index its payload fields.

    Args:
        client: The client.
        collection_name: A name that is free.
        vectors: The one vector, which is unnamed.
        indexes: By field: its kind.
        metadata: What the collection remembers of itself, if the server keeps that.
        beside_words: The vector's name where vectors of words stand beside it, as
            LlamaIndex's store names both; None: there are none.
    """
    from qdrant_client.http import models

    how: dict[str, Any] = {"vectors_config": vectors}
    if beside_words is not None:
        idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
        how["vectors_config"] = {beside_words: vectors}
        how["sparse_vectors_config"] = {SPARSE_NAME: idf}
    client.create_collection(
        collection_name, **how, metadata=dict(metadata or {}) or None
    )
    # Before the points: the server's graph is connected under the indexed fields.
    index_fields(client, collection_name, indexes)


def index_fields(
    client: QdrantClient, collection_name: str, indexes: Mapping[str, Any]
) -> None:
    """Index payload fields of a collection, each as its kind says."""
    # Local mode has none and warns of each.
    if not is_local(client):
        for field, schema in indexes.items():
            client.create_payload_index(collection_name, field, schema, wait=True)
