"""One way of asking for every kind of engine."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import QueryBundle

from .claims import Answered
from .engines import Engine
from .world import World


async def ask(engine: Engine, world: World, query: QueryBundle) -> Answered:
    """Return the whole answer of one cell.

    What is synchronous runs in a thread, where no event loop runs, as in a user's
    script: LlamaIndex starts loops of its own there.
    """
    built = engine.build(world)
    is_chat = engine.kind == "chat"
    if world.way == "sync":
        call = built.chat if is_chat else built.query
        return await asyncio.to_thread(lambda: _whole(call(query)))
    if world.way == "stream":
        call = built.stream_chat if is_chat else built.query
        return await asyncio.to_thread(lambda: _joined(call(query)))
    if world.way == "async":
        return _whole(await (built.achat if is_chat else built.aquery)(query))
    return await _ajoined(
        await (built.astream_chat if is_chat else built.aquery)(query)
    )


def _whole(response: Any) -> Answered:
    assert isinstance(response.response, str)
    return Answered(response.response, response.source_nodes)


def _joined(response: Any) -> Answered:
    assert not isinstance(response, (Response, AsyncStreamingResponse))
    pieces = list(response.response_gen)
    assert len(pieces) > 1
    return Answered("".join(pieces), response.source_nodes)


async def _ajoined(response: Any) -> Answered:
    assert not isinstance(response, (Response, StreamingResponse))
    pieces = [piece async for piece in response.async_response_gen()]
    assert len(pieces) > 1
    return Answered("".join(pieces), response.source_nodes)
