"""A chat server of OpenAI's kind on this machine: it says its lines and remembers."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, TypeAlias

import httpx
from llama_index.llms.openai_like import OpenAILike
from PIL import Image


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a tool."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """The server answers with an HTTP error."""

    status: int = 500


@dataclass(frozen=True)
class Silence:
    """The server takes the request and says nothing until it is closed."""


@dataclass(frozen=True)
class Broken:
    """The server breaks off in the middle of a stream."""

    pieces: Sequence[str]


Reply: TypeAlias = "str | Sequence[str] | ToolCall | Failure | Silence | Broken"


@dataclass
class OpenAIServer:
    """Answers requests with `replies`, one by one; the last one again and again.

    A sequence of strings is an answer in pieces, streamed as they are.
    """

    replies: list[Reply] = field(default_factory=lambda: ["Nothing to say."])
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Listener(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def api_base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content of the last request's last message."""
        content = self.requests[-1]["messages"][-1]["content"]
        return (
            [{"type": "text", "text": content}] if isinstance(content, str) else content
        )

    @property
    def shown(self) -> list[str]:
        """The last message: its texts, and each picture as "<mime, width x height>"."""
        return [_shown(block) for block in self.blocks]

    def script(self, *replies: Reply) -> None:
        self.replies[:] = replies

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, request: dict[str, Any]) -> Reply:
        with self._lock:
            self.paths.append(path)
            self.requests.append(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def wait_for_end(self) -> None:
        self._closing.wait(20)


@asynccontextmanager
async def clients_of(server: OpenAIServer) -> AsyncIterator[Callable[..., OpenAILike]]:
    """Yield a function that makes the server's clients, and close them."""
    # The machine's proxies, if it has any, are no way to the machine itself.
    with httpx.Client(trust_env=False) as client:
        async with httpx.AsyncClient(trust_env=False) as aclient:

            def make(**settings: Any) -> OpenAILike:
                return OpenAILike(
                    model="scripted",
                    api_base=server.api_base,
                    api_key="none",
                    max_retries=0,
                    http_client=client,
                    async_http_client=aclient,
                    **{"is_chat_model": True, "context_window": 128_000, **settings},
                )

            yield make


def picture_of(block: dict[str, Any]) -> tuple[str, Image.Image]:
    """Return an image block's media type and its decoded picture."""
    head, data = block["image_url"]["url"].split(",", 1)
    picture = Image.open(BytesIO(base64.b64decode(data, validate=True)))
    picture.load()
    return head.removeprefix("data:").removesuffix(";base64"), picture


def _shown(block: dict[str, Any]) -> str:
    if block["type"] == "text":
        return str(block["text"])
    mime, picture = picture_of(block)
    assert mime == Image.MIME[picture.format or ""]
    return f"<{mime}, {picture.width} x {picture.height}>"


class _Listener(ThreadingHTTPServer):
    def __init__(self, owner: OpenAIServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))
        reply = self.server.owner.take(self.path, request)
        if isinstance(reply, Silence):
            self.server.owner.wait_for_end()
        elif isinstance(reply, Failure):
            self._send(reply.status, {"error": {"message": "scripted failure"}})
        elif request.get("stream"):
            self._stream(reply)
        else:
            self._send(200, _completion(_message(reply), "message"))

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if isinstance(reply, Broken):
            # More than will come, so that the client sees the end as a fault.
            self.send_header("Content-Length", "1000000")
        self.end_headers()
        for delta in _deltas(reply):
            event = json.dumps(_completion(delta, "delta"))
            self.wfile.write(f"data: {event}\n\n".encode())
            self.wfile.flush()
        if not isinstance(reply, Broken):
            self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the console."""


def _message(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, ToolCall):
        return {"role": "assistant", "content": None, "tool_calls": [_call(reply)]}
    assert not isinstance(reply, (Failure, Silence, Broken))
    return {"role": "assistant", "content": "".join(reply)}


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    if isinstance(reply, ToolCall):
        yield {"role": "assistant", "tool_calls": [{"index": 0, **_call(reply)}]}
        return
    assert not isinstance(reply, (Failure, Silence))
    yield {"role": "assistant", "content": ""}
    for piece in reply.pieces if isinstance(reply, Broken) else reply:
        yield {"content": piece}


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments)
    function = {"name": call.name, "arguments": arguments}
    return {"id": "call-1", "type": "function", "function": function}


def _completion(message: dict[str, Any], key: str) -> dict[str, Any]:
    kind = "chat.completion" if key == "message" else "chat.completion.chunk"
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, key: message, "finish_reason": reason}
    return {
        "id": "completion-1",
        "object": kind,
        "created": int(time.time()),
        "model": "scripted",
        "choices": [choice],
    }
