"""Qdrant's local mode behind HTTP: what `open(url=)` and `--url` speak to, with keys.

The real client speaks to it over a real socket. It refuses as a server of 1.18.2 does:
401 without a key it knows, 403 for what a read-only key must not.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from qdrant_client import QdrantClient, models

from .loopback import REFUSALS, served

READ_ONLY = "a-key-that-only-reads"
DONE = {"operation_id": 0, "status": "completed"}
_READS = ("/query", "/scroll", "/count", "/points")


def _made(local: QdrantClient, name: str, body: Any) -> Any:
    asked = models.CreateCollection.model_validate(body)
    return local.create_collection(
        name, vectors_config=asked.vectors, metadata=asked.metadata
    )


def _queried(local: QdrantClient, name: str, body: Any) -> Any:
    asked = models.QueryRequest.model_validate(body)
    return local.query_points(
        name,
        query=asked.query,
        using=asked.using,
        query_filter=asked.filter,
        search_params=asked.params,
        score_threshold=asked.score_threshold,
        limit=asked.limit or 10,
        with_payload=bool(asked.with_payload),
        with_vectors=bool(asked.with_vector),
    )


def _scrolled(local: QdrantClient, name: str, body: Any) -> Any:
    asked = models.ScrollRequest.model_validate(body)
    points, offset = local.scroll(
        name,
        scroll_filter=asked.filter,
        limit=asked.limit or 10,
        offset=asked.offset,
        with_payload=asked.with_payload if asked.with_payload is not None else True,
        with_vectors=bool(asked.with_vector),
    )
    return models.ScrollResult(points=points, next_page_offset=offset)


def _retrieved(local: QdrantClient, name: str, body: Any) -> Any:
    asked = models.PointRequest.model_validate(body)
    return local.retrieve(
        name,
        asked.ids,
        with_payload=asked.with_payload if asked.with_payload is not None else True,
        with_vectors=bool(asked.with_vector),
    )


def _counted(local: QdrantClient, name: str, body: Any) -> Any:
    asked = models.CountRequest.model_validate(body)
    return local.count(name, asked.filter)


def _upserted(local: QdrantClient, name: str, body: Any) -> Any:
    local.upsert(name, models.PointsList.model_validate(body).points)
    return DONE


def _deleted(local: QdrantClient, name: str, body: Any) -> Any:
    kind = models.PointIdsList if "points" in body else models.FilterSelector
    local.delete(name, kind.model_validate(body))
    return DONE


_CALLS: dict[tuple[str, str], Callable[[QdrantClient, str, Any], Any]] = {
    ("GET", "/exists"): lambda local, name, _: {
        "exists": local.collection_exists(name)
    },
    ("GET", ""): lambda local, name, _: local.get_collection(name),
    ("PUT", ""): _made,
    ("PATCH", ""): lambda local, name, body: local.update_collection(
        name, metadata=body["metadata"]
    ),
    ("DELETE", ""): lambda local, name, _: local.delete_collection(name),
    ("PUT", "/index"): lambda *_: DONE,
    ("PUT", "/points"): _upserted,
    ("POST", "/points"): _retrieved,
    ("POST", "/points/query"): _queried,
    ("POST", "/points/scroll"): _scrolled,
    ("POST", "/points/count"): _counted,
    ("POST", "/points/delete"): _deleted,
}


class _Qdrant(BaseHTTPRequestHandler):
    local: QdrantClient
    lock: threading.Lock
    keys: tuple[str, ...] = ()

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].removeprefix("/collections")
        _, _, of = path.partition("/")
        name, slash, call = of.partition("/")
        given = self.headers.get("api-key")
        is_read = self.command == "GET" or (
            self.command == "POST" and path.endswith(_READS)
        )
        if self.keys and given not in self.keys:
            self.says(*REFUSALS["no key" if given is None else "wrong key"])
        elif given == READ_ONLY and not is_read:
            self.says(*REFUSALS["read-only key"])
        else:
            done = _CALLS[self.command, f"{slash}{call}"] if name else _listed
            with self.lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    result = done(self.local, name, json.loads(body or b"null"))
                except ValueError as error:  # local mode's "Collection c not found"
                    said = {"status": {"error": f"Not found: {error}"}, "time": 0}
                    self.says(404, json.dumps(said).encode())
                    return
            answer = {"result": _plain(result), "status": "ok", "time": 0}
            self.says(200, json.dumps(answer).encode())

    def says(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def log_message(self, *args: object) -> None:
        pass


def _listed(local: QdrantClient, *_: object) -> Any:
    return local.get_collections()


def _plain(result: Any) -> Any:
    if isinstance(result, list):
        return [_plain(one) for one in result]
    dump = getattr(result, "model_dump", None)
    return result if dump is None else dump(mode="json")


@contextmanager
def qdrant(*keys: str) -> Iterator[str]:
    """Yield the address of a server that takes these keys; without any, everybody."""
    local = QdrantClient(":memory:")
    how = {"local": local, "lock": threading.Lock(), "keys": keys}
    with closing(local), served(type("Q", (_Qdrant,), how)) as url:
        yield url
