"""What goes wrong at a server, as one error: which call it was, and what to check."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from llama_index_mmrag.errors import MmragError, StoreClosed, StoreUnusable

P = ParamSpec("P")
R = TypeVar("R")

_CLIENTS = ("qdrant_client.qdrant_client", "qdrant_client.async_qdrant_client")
_MOST_SAID = 200
"""Characters of a server's own words: a page of HTML is none."""

_UNHEARD = "Check that it runs, and its address and key."
_KEY = "Check api_key, which a command takes from QDRANT_API_KEY too: it is not known."
_RIGHT = (
    "Check what the key may do: a read-only one searches collections that are there, "
    "and neither makes nor fills them."
)
_GONE = "Check that the collection is there, and that the address is Qdrant's."
_LATE = "Give a longer timeout= where it is only busy, and check that it runs."
_FULL = "It has too much to do: try again later."
_ELSE = "The server's log says more."
_ADVICE: dict[object, str] = {
    401: _KEY,
    "UNAUTHENTICATED": _KEY,
    403: _RIGHT,
    "PERMISSION_DENIED": _RIGHT,
    404: _GONE,
    "NOT_FOUND": _GONE,
    "UNIMPLEMENTED": _GONE,
    "DEADLINE_EXCEEDED": _LATE,
    429: _FULL,
    "RESOURCE_EXHAUSTED": _FULL,
    "UNAVAILABLE": _UNHEARD,
}
"""By a status of HTTP's or of gRPC's."""


class KeyRefused(StoreUnusable):
    """A server's key may not do that; nothing was done."""


class Asking(AbstractContextManager[None]):
    """Calls of a Qdrant client: what its server refuses, or leaves unanswered.

    To be entered from any thread, again and again, and around what is awaited.

    Args:
        client: A client of Qdrant's, synchronous or not; errors of its local mode, and
            all that are no server's, stay what they are.
        collection_name: What the calls are about.
        lock: Held meanwhile.

    Raises:
        StoreUnusable: On leaving: the server refused (`KeyRefused` where only the key
            may not), or did not answer.
        StoreClosed: On leaving: the client was closed before.
    """

    def __init__(
        self,
        client: Any,
        collection_name: str,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._client = client
        self._name = collection_name
        self._lock = nullcontext() if lock is None else lock

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, error, trace)
        if not isinstance(error, Exception) or isinstance(error, MmragError):
            return
        if self._client._client.closed:  # noqa: SLF001 - has no other sign
            raise StoreClosed(
                f"The collection {self._name!r} was asked for by a client that is "
                f"closed. Open the index again, or make the store with another client."
            ) from error
        if not _is_of_server(error):
            return
        source = getattr(error, "source", None)
        if isinstance(source, MmragError):  # what we found in the answer
            raise source from error
        said, advice = _said(error)
        cause: Exception | None = error
        key = self._client.init_options.get("api_key")
        if key and key in f"{said} {error}":  # a server may repeat what it was sent
            said, cause = said.replace(key, "***"), None
        kind_of_ours = KeyRefused if advice is _RIGHT else StoreUnusable
        raise kind_of_ours(
            f"{_call(trace)} of the collection {self._name!r} failed at the Qdrant "
            f"server {_address(self._client)}: {said}. {advice}"
        ) from cause


def asking(
    function: Callable[Concatenate[Any, str, P], R],
) -> Callable[Concatenate[Any, str, P], R]:
    """Return a function of a client and a collection's name that is within `Asking`."""

    @wraps(function)
    def call(client: Any, name: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with Asking(client, name):
            return function(client, name, *args, **kwargs)

    return call


def _is_of_server(error: Exception) -> bool:
    from grpc import RpcError
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    return isinstance(error, (ApiException, QdrantException, RpcError))


def _said(error: Exception) -> tuple[str, str]:
    """Return what happened in a line, and what to do."""
    import httpx
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import UnexpectedResponse

    status: object
    if isinstance(error, UnexpectedResponse):
        status, words = error.status_code, f"{error.status_code} {_words_of(error)}"
    elif callable(code := getattr(error, "code", None)):  # gRPC's
        status = getattr(code(), "name", "UNKNOWN")
        words = f"{status} {getattr(error, 'details', str)()}"
    elif isinstance(error, ResourceExhaustedResponse):
        status, words = 429, f"429 {error}"
    else:
        source = getattr(error, "source", error)
        words = str(source) or type(source).__name__
        is_late = isinstance(source, httpx.TimeoutException)
        status = "DEADLINE_EXCEEDED" if is_late else "UNAVAILABLE"
    line = " ".join(words.split())
    if len(line) > _MOST_SAID:
        line = f"{line[:_MOST_SAID]}…"
    return line.rstrip("."), _ADVICE.get(status, _ELSE)


def _words_of(error: Any) -> str:
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, KeyError, TypeError):  # a proxy's page, or Qdrant's plain text
        return str(error.content.decode(errors="replace"))


def _call(trace: TracebackType | None) -> str:
    """Return the name of the client's method that failed, as Qdrant has it."""
    frames = (frame for frame, _ in traceback.walk_tb(trace))
    return next(
        (f.f_code.co_name for f in frames if f.f_globals.get("__name__") in _CLIENTS),
        "A call",
    )


def _address(client: Any) -> str:
    remote = client._client  # noqa: SLF001 - it has no other place for them
    if getattr(remote, "_prefer_grpc", False):
        return f"{remote._host}:{remote._grpc_port} (gRPC)"  # noqa: SLF001
    return str(getattr(remote, "rest_uri", ""))
