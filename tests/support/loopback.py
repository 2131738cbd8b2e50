"""Loopback servers that refuse as a real Qdrant does, over REST and over gRPC."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

KEY = "a-key-that-nobody-may-see"


def _json(error: str) -> bytes:
    return json.dumps({"status": {"error": error}, "time": 1e-5}).encode()


REFUSALS: dict[str, tuple[int, bytes]] = {
    # As a server of 1.18.2 said it.
    "no key": (401, b"Must provide an API key or an Authorization bearer token"),
    "wrong key": (401, b"Invalid API key or JWT"),
    "read-only key": (403, _json("Forbidden: Global manage access is required")),
    "missing": (404, _json("Not found: Collection `zz` doesn't exist!")),
    "dead node": (500, _json("Service internal error: 1 of 1 read operations failed")),
    # As what stands before one may.
    "a proxy's page": (502, b"<html>" + b"no gateway " * 500 + b"</html>"),
    "key repeated": (401, b"Unknown key: " + KEY.encode()),
}
"""Status and body of a reply, by what was wrong."""


class _Refusing(BaseHTTPRequestHandler):
    status, body, delay_s = 500, b"", 0.0

    def do(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.delay_s)
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def rest_server(
    status: int, body: bytes = b"", *, delay_s: float = 0.0
) -> Iterator[str]:
    """Yield the address of a server that answers every request with this."""
    how = {"status": status, "body": body, "delay_s": delay_s}
    with served(type("Refusing", (_Refusing,), how)) as url:
        yield url


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yield the address of a server whose requests this handles."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Aborting(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str, delay_s: float) -> None:
        self.code, self.details, self.delay_s = code, details, delay_s

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.abort)

    def abort(self, _: bytes, context: Any) -> None:
        time.sleep(self.delay_s)
        context.abort(self.code, self.details)


@contextmanager
def grpc_server(
    code: grpc.StatusCode, details: str = "", *, delay_s: float = 0.0
) -> Iterator[int]:
    """Yield the port of a server that ends every call with this status."""
    aborting = _Aborting(code, details, delay_s)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[aborting])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()
