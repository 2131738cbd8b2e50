"""A server that answers badly: a query ends in time, with results or an error of ours.

Half of each query's evidence is in an embedded store that is well; the other half is on
a loopback server that plays Qdrant and does one thing wrong. Run as a module; prints
what came of the queries by fault, and every one that came to something else: another
exception, silence about the route that failed, or more than its deadline and a pause.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import logging
import socket
import struct
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.utils import node_to_metadata_dict
from llama_index.vector_stores.qdrant import QdrantVectorStore
from PIL import Image
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag import RRF, CalibratedSum, MultiModalFusionRetriever
from llama_index_mmrag.errors import AllRoutesFailed, MmragError
from llama_index_mmrag.events.degraded import collect_degradations
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.client import MOST_BYTES, client_at
from tests.support.colours import channel, image_node, retriever_of, text_node
from tests.support.patience import slowness

TIMEOUT_S = 1.0
PAUSE_S = 0.4
"""How much later than its deadline a query may end on an idle machine."""
PARSING_S = 5.0
"""The same where a large answer is decoded, which holds the interpreter meanwhile."""

BOMB = gzip.compress(b" " * (MOST_BYTES + 1), 1)
INFO = {
    "status": "green",
    "optimizer_status": "ok",
    "segments_count": 1,
    "config": {
        "params": {"vectors": {"size": 4, "distance": "Cosine"}},
        "hnsw_config": {"m": 16, "ef_construct": 9, "full_scan_threshold": 9},
        "optimizer_config": {
            **{"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000},
            **{"default_segment_number": 0, "flush_interval_sec": 5},
        },
    },
    "payload_schema": {},
}
Points = list[dict[str, Any]]


class Server(BaseHTTPRequestHandler):
    """Plays Qdrant over two points; `fault` answers in its place from a request on."""

    protocol_version = "HTTP/1.1"
    points: Points
    fault: Callable[[Server, Points], None] | None = None
    n_good = 0
    over = threading.Event()

    def do(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path.endswith("/exists"):
            return self.says({"exists": True})
        if self.command == "GET":
            return self.says(INFO)
        cls, points = type(self), [{**p, "score": 0.8} for p in self.points]
        cls.n_good -= 1
        if self.fault is not None and cls.n_good < 0:
            with contextlib.suppress(OSError):
                cls.fault(self, points)  # type: ignore[misc]
            self.close_connection = True
            return None
        return self.found(points, path)

    do_GET = do_POST = do_PUT = do

    def found(self, points: Points, path: str) -> None:
        known = [{**p, "vector": [1, 0, 0, 0.75]} for p in points]
        if path.endswith("/scroll"):
            return self.says({"points": known, "next_page_offset": None})
        return self.says({"points": known} if path.endswith("/query") else known)

    def says(self, result: Any, status: int = 200, **headers: str) -> None:
        body = json.dumps({"result": result, "status": "ok", "time": 0})
        self.sends(body.encode(), status, **headers)

    def sends(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        known = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {**known, **given}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def whole(points: Any) -> bytes:
    answer = {"result": {"points": points}, "status": "ok", "time": 0}
    return json.dumps(answer).encode()


def hangs(server: Server, _: Points) -> None:
    server.over.wait(60)


def hangs_in_the_body(server: Server, points: Points) -> None:
    server.send_response(200)
    server.send_header("Content-Length", "10000")
    server.end_headers()
    server.wfile.write(whole(points)[:20])
    server.over.wait(60)


def drips(server: Server, points: Points) -> None:
    server.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for byte in whole(points):
        if server.over.wait(0.05):
            return
        server.wfile.write(bytes([byte]))


def resets(server: Server, _: Points) -> None:
    linger = struct.pack("ii", 1, 0)
    server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    server.connection.close()


def chunks_without_end(server: Server, _: Points) -> None:
    server.send_response(200)
    server.send_header("Transfer-Encoding", "chunked")
    server.end_headers()
    while not server.over.wait(0.01):
        server.wfile.write(b"4\r\n    \r\n")


def headers_without_end(server: Server, _: Points) -> None:
    server.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not server.over.wait(0.001):
        server.wfile.write(b"X-More: " + b"a" * 1000 + b"\r\n")


def not_http(server: Server, _: Points) -> None:
    server.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


def body(make: Callable[[Points], bytes], **headers: str) -> Callable[..., None]:
    return lambda server, points: server.sends(make(points), **headers)


def result(make: Callable[[Points], Any]) -> Callable[..., None]:
    return lambda server, points: server.says(make(points))


def each(**changed: Any) -> Callable[..., None]:
    """Return the fault of points that say something else in some fields."""
    return result(lambda points: {"points": [{**p, **changed} for p in points]})


def status(code: int, **headers: str) -> Callable[..., None]:
    return lambda server, _: server.sends(b"<h1>no</h1>", code, **headers)


def scored(score: str) -> Callable[..., None]:
    return body(lambda points: whole(points).replace(b"0.8", score.encode()))


FAULTS: dict[str, Callable[..., None]] = {
    "hangs": hangs,
    "hangs in the body": hangs_in_the_body,
    "drips": drips,
    "resets": resets,
    "chunks without end": chunks_without_end,
    "headers without end": headers_without_end,
    "not HTTP": not_http,
    **{f"status {n}": status(n) for n in (204, 400, 401, 404, 418, 500, 502, 503)},
    **{
        f"429, Retry-After {value[:12]}": status(429, Retry_After=value)
        for value in ("-5", "0", "1", "9" * 30, "soon", "nan", "1e308", "")
    },
    "redirected to itself": lambda s, _: s.sends(b"", 307, Location=s.path),
    "redirected elsewhere": status(302, Location="http://127.0.0.1:9/"),
    "no body": body(lambda _: b""),
    "cut off JSON": body(lambda points: whole(points)[:-9]),
    "shorter than said": body(whole, Content_Length="99999"),
    "longer than said": body(whole, Content_Length="40"),
    "no JSON": body(lambda _: b"<html></html>", Content_Type="text/html"),
    "called HTML": body(whole, Content_Type="text/html; charset=utf-7"),
    "deep JSON": body(lambda _: b'{"result": ' + b"[" * 1_000_000),
    "UTF-16": body(lambda points: whole(points).decode().encode("utf-16")),
    "no gzip": body(whole, Content_Encoding="gzip"),
    "gzip bomb": body(lambda _: BOMB, Content_Encoding="gzip"),
    **{
        f"result {value!r}": result(lambda _, value=value: value)
        for value in (None, [], "x", 7, {}, {"points": None}, {"points": {}})
    },
    "points of text": result(lambda _: {"points": ["a", "b"]}),
    **{
        f"score {score}": scored(score)
        for score in ("NaN", "1e308", "-1e308", "1e400", "-Infinity", "null", '"x"')
    },
    **{
        f"{field} {value!r}": each(**{field: value})
        for field, value in (
            *(("id", None), ("id", -1), ("id", "x"), ("id", []), ("id", "../..")),
            *(("payload", None), ("payload", []), ("payload", {})),
            ("payload", {"_node_content": "{", "_node_type": "ImageNode"}),
            ("payload", {"_node_content": "[]", "_node_type": "x", "text": 7}),
            ("version", "x"),
        )
    },
    "one point twice": result(lambda points: {"points": [*points, points[0]]}),
    "20,000 points": result(lambda points: {"points": points * 10_000}),
}

LARGE = ("gzip bomb", "20,000 points")
CLIENTS = ("ours", "a user's", "asynchronous")


def store_at(url: str, kind: str) -> QdrantVectorStore:
    client = client_at(url) if kind == "ours" else QdrantClient(url)
    more = {"aclient": AsyncQdrantClient(url)} if kind == "asynchronous" else {}
    return QdrantVectorStore("pictures", client=client, **more)


def asked(
    retriever: MultiModalFusionRetriever, *, kind: str, pause_s: float
) -> tuple[str, str, float]:
    """Return what came of one query in a word, what is wrong, and how long it took."""
    before, started, wrong = slowness(), time.monotonic(), ""
    with collect_degradations() as lost:
        try:
            if kind == "asynchronous":
                results = asyncio.run(retriever.aretrieve("red"))
            else:
                results = retriever.retrieve("red")
            outcome = f"results{', degraded' if lost else ''}"
            if not results:
                wrong = "no results, and no error"
        except AllRoutesFailed:
            outcome = "AllRoutesFailed"
        except MmragError as error:
            outcome, wrong = "another error of ours", repr(error)
        except BaseException as error:  # noqa: BLE001 - what is looked for
            outcome, wrong = "other", repr(error)
    took_s = time.monotonic() - started
    # Not measured afterwards: what the query itself left behind would excuse it.
    if took_s > TIMEOUT_S + pause_s * before:
        outcome, wrong = "late", f"{took_s:.2f} s {wrong}"
    return outcome, wrong, took_s


def cases() -> Iterator[tuple[str, str, int, bool]]:
    """Yield fault, client, requests that go well before it, and whether it is alone."""
    for fault in FAULTS:
        for kind in CLIENTS:
            for n_good in (0, 1):
                for alone in (False, True):
                    # What a client of the user's decodes is not ours to bound.
                    if fault != "gzip bomb" or kind == "ours":
                        yield fault, kind, n_good, alone


@contextlib.contextmanager
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def tried(
    url: str, healthy: QdrantEdgeVectorStore, case: tuple[str, str, int, bool]
) -> tuple[str, str, float]:
    fault, kind, n_good, alone = case
    Server.fault, Server.over = None, threading.Event()
    pictures = channel("image", store_at(url, kind))
    channels = [pictures] if alone else [channel("text", healthy), pictures]
    # The calibrated rule also asks for a sample of the collection.
    fusion = CalibratedSum() if n_good else RRF()
    retriever = retriever_of(*channels, fusion=fusion, timeout_s=TIMEOUT_S)
    Server.n_good, Server.fault = n_good, staticmethod(FAULTS[fault])
    try:
        pause_s = PARSING_S if fault in LARGE else PAUSE_S
        outcome, wrong, took_s = asked(retriever, kind=kind, pause_s=pause_s)
    finally:
        Server.over.set()
    if outcome == "AllRoutesFailed" and not alone and took_s < TIMEOUT_S:
        wrong = "nothing of the store that is well"
    return outcome, wrong, took_s


def main() -> int:
    """Return how many queries came to what they must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try each n-th case")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    counts: dict[str, Counter[str]] = {fault: Counter() for fault in FAULTS}
    wrongs: list[str] = []
    slowest = dict.fromkeys(FAULTS, 0.0)
    n_cases = 0
    with tempfile.TemporaryDirectory() as folder, server() as url:
        nodes = []
        for colour in ("red", "blue"):
            picture = Path(folder, f"{colour}.png")
            Image.new("RGB", (8, 8), colour).save(picture)
            nodes.append(image_node(picture, entity=colour[0]))
        Server.points = [
            {
                "id": node.node_id,
                "version": 1,
                "payload": node_to_metadata_dict(node, flat_metadata=False),
            }
            for node in nodes
        ]
        with QdrantEdgeVectorStore.open(Path(folder, "store"), dim=4) as healthy:
            healthy.add([text_node("red", entity="r"), text_node("blue", entity="b")])
            for case in list(cases())[:: given.every]:
                outcome, wrong, took_s = tried(url, healthy, case)
                slowest[case[0]] = max(slowest[case[0]], took_s)
                n_cases += 1
                counts[case[0]][outcome] += 1
                if wrong:
                    wrongs.append(f"{case}: {outcome}: {wrong}")
    for fault, of_fault in counts.items():
        print(
            f"{fault:28.28}", f"{slowest[fault]:.2f} s", dict(sorted(of_fault.items()))
        )
    print(
        f"{n_cases} queries with {TIMEOUT_S} s, {len(wrongs)} wrong; slowest "
        f"{max(slowest.values()):.2f} s"
    )
    print(*wrongs, sep="\n")
    return len(wrongs)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
