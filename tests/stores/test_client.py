"""A client of ours: answers to searches are bounded, as they are decoded."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from qdrant_client.http.exceptions import ResponseHandlingException

from llama_index_mmrag.stores.client import MOST_BYTES, client_at

ENCODINGS = pytest.mark.parametrize("encoding", ["gzip", "identity"])


class _Answers(BaseHTTPRequestHandler):
    """Answers every search with one point, and spaces to a body's size."""

    n_bytes = 0
    encoding = "gzip"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        point = {"id": 1, "version": 1, "score": 0.5, "payload": {"a": "b"}}
        body = json.dumps({"result": {"points": [point]}, "status": "ok", "time": 0})
        data = body.encode().ljust(self.n_bytes)
        data = gzip.compress(data, 1) if self.encoding == "gzip" else data
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Encoding", self.encoding)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except ConnectionError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@ENCODINGS
@pytest.mark.parametrize("n_bytes", [0, MOST_BYTES])
def test_answer_of_at_most_64_mb_is_read(encoding, n_bytes, url, monkeypatch):
    monkeypatch.setattr(_Answers, "encoding", encoding)
    monkeypatch.setattr(_Answers, "n_bytes", n_bytes)
    client = client_at(url)
    (point,) = client.query_points("c", [1.0]).points
    assert (point.id, point.score, point.payload) == (1, 0.5, {"a": "b"})
    client.close()


@ENCODINGS
def test_larger_answer_is_an_error_however_small_its_file(encoding, url, monkeypatch):
    monkeypatch.setattr(_Answers, "encoding", encoding)
    monkeypatch.setattr(_Answers, "n_bytes", MOST_BYTES + 1)
    client = client_at(url)
    with pytest.raises(ResponseHandlingException, match="over 64,000,000 bytes"):
        client.query_points("c", [1.0])
    client.close()
