"""Stores in pickles: what goes to another process, and how it opens there.

No key does: a client's API key, headers and the like stay behind, and the other process
takes the key from its own environment.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.errors import InvalidSetting, StoreInUse
from llama_index_mmrag.stores.client import BOUNDED, is_in_memory
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient

    Client = QdrantClient | AsyncQdrantClient

API_KEY = "QDRANT_API_KEY"
"""The environment's variable that a server's key is taken from."""

_TRAVELS = frozenset(
    [
        *("location", "url", "host", "port", "grpc_port", "https", "prefix", "path"),
        *("prefer_grpc", "timeout", "grpc_options", "pool_size"),
        *("cloud_inference", "local_inference_batch_size"),
    ]
)
"""Arguments of Qdrant's clients that hold no secret and are no function."""

_guard = threading.Lock()
_packed: weakref.WeakKeyDictionary[Any, PackedClient] = weakref.WeakKeyDictionary()


class PackedClient:
    """How a client is made again: of one client always the same object.

    So what shared a client shares one after the pickle too.
    """

    def __init__(self, client: Client) -> None:
        if is_in_memory(client):
            raise InvalidSetting(
                'A store in a QdrantClient(":memory:") cannot be pickled: its points '
                "end with this process. Put it into a folder or on a server."
            )
        options = client.init_options
        self._kind = type(client)
        self._options = {k: v for k, v in options.items() if k in _TRAVELS}
        if options.get("event_hooks") == BOUNDED:
            self._options["event_hooks"] = BOUNDED
        headers: Mapping[str, str] = options.get("headers") or {}
        self._needs_key = bool(options.get("api_key")) or any(
            name.lower() in ("api-key", "authorization") for name in headers
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _client_again, (self._kind, self._options, self._needs_key)


def packed(client: Client | None) -> PackedClient | None:
    """Return what is pickled in a client's place.

    Raises:
        InvalidSetting: Its points are in memory alone.
    """
    if client is None:
        return None
    with _guard:
        if (found := _packed.get(client)) is None:
            found = _packed[client] = PackedClient(client)
        return found


def _client_again(kind: Any, options: dict[str, Any], needs_key: bool) -> Client:
    key = os.environ.get(API_KEY)
    if needs_key and not key:
        raise InvalidSetting(
            f"The pickled store's server asks for a key, and keys are not pickled; "
            f"expected it in this process's environment as {API_KEY}."
        )
    if needs_key:
        options = {**options, "api_key": key}
    if options.get("path") is None:
        # It would only warn of a server that does not answer.
        options = {**options, "check_compatibility": False}
    try:
        client: Client = kind(**options)
    except RuntimeError as error:  # local mode's lock
        raise StoreInUse(
            f"The local Qdrant folder {options['path']!r} is open in another client. "
            f"Close that one first, or put the collections on a server."
        ) from error
    return client


def store_reduced(store: BasePydanticVectorStore) -> tuple[Any, ...]:
    """Return how a store is made and opened again, as `__reduce__` does.

    Raises:
        InvalidSetting: Its points are in memory alone.
    """
    if isinstance(store, QdrantEdgeVectorStore):
        if store.is_temporary:
            raise InvalidSetting(
                f"A store in a temporary folder cannot be pickled: {store.path!r} ends "
                f"with this process. Open the index at a path."
            )
        return _edge_again, (store,)
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    if not isinstance(store, QdrantVectorStore):
        return _as_it_is, (store,)
    # LlamaIndex's own pickle of it drops the clients, and keeps the key.
    state = BaseModel.__getstate__(store)
    state["__dict__"] = {**state["__dict__"], "api_key": None, "client_kwargs": {}}
    private = state["__pydantic_private__"] or {}
    clients = {name: packed(private.get(name)) for name in ("_client", "_aclient")}
    state["__pydantic_private__"] = {**private, **clients}
    return _qdrant_again, (type(store), state)


def _as_it_is(store: BasePydanticVectorStore) -> BasePydanticVectorStore:
    return store


def _edge_again(store: QdrantEdgeVectorStore) -> QdrantEdgeVectorStore:
    # Not yet: what is raised while a pickle is read ends a pool of processes.
    store.opens_when_used()
    return store


def _qdrant_again(kind: Any, state: dict[str, Any]) -> BasePydanticVectorStore:
    store: BasePydanticVectorStore = kind.__new__(kind)
    BaseModel.__setstate__(store, state)
    return store
