"""The same engines over the real OpenAI-like client: what goes through the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("llama_index.llms.openai_like", reason="install extra 'test'")

from ..support.openai_server import picture_of  # noqa: E402
from .asking import ask  # noqa: E402
from .claims import LEAKS  # noqa: E402
from .engines import ENGINES  # noqa: E402
from .world import (  # noqa: E402
    ANSWER,
    ASKED_SIZE,
    EXPECTED,
    PIECES,
    STORED_SIZE,
    WAYS,
    World,
    caption_of,
    colour_of,
    open_world,
    words_of,
)

SERVED = [
    next(engine for engine in ENGINES if engine.name == name)
    for name in (
        "`RetrieverQueryEngine` with `MultiModalSynthesizer`",
        "`RetrieverQueryEngine.from_args(multimodal=True)`",
        "`CitationQueryEngine(multimodal=True)`",
        "`MultiModalContextChatEngine` with `CaptionsAsText`",
    )
]


@dataclass
class ServedWorld(World):
    """A world whose model is asked over HTTP."""

    client: Any = None

    @property
    def llm(self) -> Any:
        return self.client


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", SERVED, ids=lambda engine: engine.name.strip("`"))
async def test_texts_captions_and_pictures_go_through_the_wire_once(
    engine, way, server, make_llm, tmp_path
):
    server.script(list(PIECES))
    with open_world(tmp_path, way) as world:
        client = make_llm(context_window=128_000)
        served = ServedWorld(**vars(world), client=client)
        answered = await ask(engine, served, world.query("both"))

    assert answered.text == ANSWER
    assert len(server.requests) == 1
    assert bool(server.requests[0].get("stream")) is world.streaming
    texts = "\n".join(b["text"] for b in server.blocks if b["type"] == "text")
    found = [name.split() for name in EXPECTED["both"]]
    doors = [door for kind, door in found if kind == "image"]
    for kind, door in found:
        said = words_of(door) if kind == "text" else caption_of(door)
        assert texts.count(said) == 1
    assert not any(leak in texts for leak in LEAKS)

    pictures = [picture_of(b)[1] for b in server.blocks if b["type"] == "image_url"]
    shown = [(colour_of(picture), picture.size) for picture in pictures]
    stored = [(door, STORED_SIZE) for door in doors]
    ours = "MultiModalSynthesizer" in engine.name
    assert shown == stored + [("red", ASKED_SIZE)] * ours
