"""A model that is a script: a chat server of OpenAI's kind on this machine.

For running an example without a key. It calls the first tool it is offered with the
user's words, and then answers with the first source that the tool returned.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def scripted_model() -> Iterator[str]:
    """Serve the model; yield the address that a client is given as `api_base`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    told = [m["content"] for m in request["messages"] if m["role"] == "tool"]
    if told:
        return {"role": "assistant", "content": f"The sources say: {_first(told[-1])}"}
    question = [m["content"] for m in request["messages"] if m["role"] == "user"][-1]
    arguments = json.dumps({"query": question, "top_k": 2})
    function = {
        "name": request["tools"][0]["function"]["name"],
        "arguments": arguments,
    }
    call = {"id": "call-1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _first(sources: str) -> str:
    """Return the first whole sentence below the label [1], and the label."""
    body = sources.partition("[1] text from ")[2].partition("[2]")[0]
    paragraphs = [" ".join(block.split()) for block in body.split("\n\n")]
    for sentence in (s for p in paragraphs for s in re.findall(r"[A-Z][^.]+\.", p)):
        return f"{sentence} [1]"
    return "nothing that I could quote."


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        length = int(self.headers["Content-Length"])
        message = _reply(json.loads(self.rfile.read(length)))
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        body = {
            "id": "completion-1",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [choice],
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing on the console."""
