"""What is asked of a Qdrant client more than once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.errors import StoreUnusable

if TYPE_CHECKING:
    import httpx
    from qdrant_client import QdrantClient
    from qdrant_client.http import models

POINTS_PER_PAGE = 1024

MOST_BYTES = 64_000_000
"""Of a server's answer to a search, decoded. To parse more holds the interpreter for
seconds, and with it every other search; a hit without its vector has a few thousand."""


def client_at(url: str) -> QdrantClient:
    """Return a client of a server, whose answers to searches are bounded.

    One of more than `MOST_BYTES` is read no further: the client raises its own
    `ResponseHandlingException`, whose reason is a `StoreUnusable`. Scrolls and reads by
    id are not bounded.
    """
    from qdrant_client import QdrantClient

    # The version check would only warn of a server that does not answer.
    return QdrantClient(
        url=url, check_compatibility=False, event_hooks={"response": [_bound]}
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


def is_local(client: Any) -> bool:
    """Return whether a client is Qdrant's local mode, in this process."""
    from qdrant_client.local.qdrant_local import QdrantLocal

    return isinstance(getattr(client, "_client", None), QdrantLocal)


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
) -> None:
    """Create a collection and index its payload fields.

    Args:
        client: The client.
        collection_name: A name that is free.
        vectors: The one unnamed vector.
        indexes: By field: its kind.
        metadata: What the collection remembers of itself, if the server keeps that.
    """
    client.create_collection(
        collection_name, vectors_config=vectors, metadata=dict(metadata or {}) or None
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
