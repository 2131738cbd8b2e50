"""One way of asking for every kind of engine."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.response.schema import Response
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
    streams = world.streaming
    if "async" in world.way:
        name = ("astream_chat" if streams else "achat") if is_chat else "aquery"
        response = await getattr(built, name)(query)
        if not streams:
            return _whole(response)
        return _joined(
            response, [piece async for piece in response.async_response_gen()]
        )
    name = ("stream_chat" if streams else "chat") if is_chat else "query"

    def call() -> Answered:
        response = getattr(built, name)(query)
        return (
            _joined(response, list(response.response_gen))
            if streams
            else _whole(response)
        )

    return await asyncio.to_thread(call)


def _whole(response: Any) -> Answered:
    assert isinstance(response.response, str)
    return Answered(response.response, response.source_nodes)


def _joined(response: Any, pieces: list[str]) -> Answered:
    assert not isinstance(response, Response)
    assert len(pieces) > 1
    return Answered("".join(pieces), response.source_nodes)
