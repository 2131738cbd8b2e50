"""Two collections of coloured doors, three queries, and a chat model that listens.

Words find two texts and two pictures, a picture two pictures: whose they are is known
by hand. Green's neighbour is cyan, red's is magenta (cosine 1/√2), and no colour is
near both.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    LLMMetadata,
    TextBlock,
)
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.schema import BaseNode, ImageNode, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from PIL import Image

from llama_index_mmrag import Channel, MultiModalFusionRetriever, MultiModalSynthesizer
from llama_index_mmrag.embeddings.colour import COLOURS, ColourEncoder

from ..support.stores import open_client

Asked: TypeAlias = Literal["text", "picture", "both"]
Way: TypeAlias = Literal["sync", "async", "stream", "async stream"]
ASKED: tuple[Asked, ...] = ("text", "picture", "both")
WAYS: tuple[Way, ...] = ("sync", "async", "stream", "async stream")

DOORS = ("red", "green", "cyan", "magenta")
STORED_SIZE = (16, 12)
ASKED_SIZE = (24, 8)
"""The query's picture has a size of its own, by which it is known from the stored."""

PIECES = ("The green door is", " the way out [1].")
ANSWER = "".join(PIECES)

EXPECTED: dict[Asked, tuple[str, ...]] = {
    "text": ("text green", "image green", "text cyan", "image cyan"),
    "picture": ("image red", "image magenta"),
    "both": (
        "text green", "image green", "text cyan", "image cyan", "image red",
        "image magenta",
    ),
}  # fmt: skip
"""What our retriever finds, best first."""


def words_of(door: str) -> str:
    return f"The handbook says: leave by the {door} door."


def caption_of(door: str) -> str:
    return f"Photograph of a {door} door in the west wing."


def uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


NAMES = {
    uid(f"{kind} {door}"): f"{kind} {door}"
    for kind in ("text", "image")
    for door in DOORS
}
"""Node id → "text green" and the like."""


def nodes_in(folder: Path, encoder: ColourEncoder) -> tuple[list[BaseNode], ...]:
    """Return the texts and the pictures as a user's own collections hold them.

    Our bookkeeping is there, and nothing says that a prompt must leave it out.
    """
    texts: list[BaseNode] = []
    pictures: list[BaseNode] = []
    for position, door in enumerate(DOORS):
        about = {
            "entity_id": f"entity-{door}",
            "position": position,
            "content_hash": f"hash-of-{door}",
            "author": "facilities",
        }
        text = TextNode(id_=uid(f"text {door}"), text=words_of(door))
        text.metadata = {**about, "modality": "text"}
        text.embedding = encoder.get_text_embedding(door)
        texts.append(text)
        path = str(folder / f"{door}.png")
        Image.new("RGB", STORED_SIZE, _rgb(door)).save(path)
        picture = ImageNode(
            id_=uid(f"image {door}"), text=caption_of(door), image_path=path
        )
        picture.metadata = {**about, "modality": "image"}
        picture.embedding = encoder.get_image_embedding(path)
        pictures.append(picture)
    return texts, pictures


@dataclass
class World:
    """What one cell of the matrix is made of."""

    way: Way
    retriever: MultiModalFusionRetriever
    texts: list[BaseNode]
    encoder: ColourEncoder
    folder: Path
    heard: list[Sequence[ChatMessage]] = field(default_factory=list)
    """What the answering model was shown."""
    dictated: list[Sequence[ChatMessage]] = field(default_factory=list)
    """What the models were shown that choose, rewrite and split questions."""

    @property
    def streaming(self) -> bool:
        return "stream" in self.way

    @property
    def llm(self) -> MockFunctionCallingLLM:
        """The model that answers, in pieces where the cell streams."""
        return listener(self.heard, PIECES, self.way)

    @property
    def whole_llm(self) -> MockFunctionCallingLLM:
        """The same model answering in one piece, for the inner parts of an engine."""
        return listener(self.heard, PIECES, "sync")

    def clerk(self, reply: str) -> MockFunctionCallingLLM:
        """Return a model that always says `reply`, for an engine's side tasks."""
        return listener(self.dictated, [reply], "sync")

    def synthesizer(self) -> MultiModalSynthesizer:
        return MultiModalSynthesizer(self.llm, streaming=self.streaming)

    def query(self, asked: Asked) -> QueryBundle:
        """Return words for the green door, a picture of a red one, or both."""
        words = "" if asked == "picture" else "Where is the green one?"
        if asked == "text":
            return QueryBundle(words)
        path = self.folder / "asked.png"
        Image.new("RGB", ASKED_SIZE, _rgb("red")).save(path)
        return QueryBundle(words, image_path=str(path))


class TwoAtMost(QdrantVectorStore):
    """Finds the two nearest doors, however many are asked for."""

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        return super().query(replace(query, similarity_top_k=2), **kwargs)


@contextmanager
def open_world(folder: Path, way: Way) -> Iterator[World]:
    encoder = ColourEncoder(modality_gap=0.75)
    texts, pictures = nodes_in(folder, encoder)
    channels = []
    with ExitStack() as stack:
        for name, nodes in (("text", texts), ("image", pictures)):
            store = TwoAtMost(name, client=stack.enter_context(open_client("local")))
            store.add(nodes)
            channels.append(Channel(name, vector_store=store, embed_model=encoder))
        yield World(way, MultiModalFusionRetriever(channels), texts, encoder, folder)


class RoomyLLM(MockFunctionCallingLLM):
    """LlamaIndex's mock with a context window of today's size.

    Its own (3,900 tokens) holds one picture, and every answer would be refined.
    """

    @property
    def metadata(self) -> LLMMetadata:
        return super().metadata.model_copy(update={"context_window": 128_000})


def listener(
    heard: list[Sequence[ChatMessage]], pieces: Sequence[str], way: Way
) -> MockFunctionCallingLLM:
    """Return a chat model that notes what it is shown and says its lines."""
    said = [ChatMessage(role="assistant", content=piece) for piece in pieces]

    def whole(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
        heard.append(messages)
        return ChatMessage(role="assistant", content="".join(pieces))

    def streamed(messages: Sequence[ChatMessage], **_: Any) -> Iterator[ChatMessage]:
        heard.append(messages)
        return (message for message in said)

    def astreamed(
        messages: Sequence[ChatMessage], **_: Any
    ) -> AsyncIterator[ChatMessage]:
        heard.append(messages)

        async def gen() -> AsyncIterator[ChatMessage]:
            for message in said:
                yield message

        return gen()

    generators = {"stream": streamed, "async stream": astreamed}
    return RoomyLLM(is_chat_model=True, response_generator=generators.get(way, whole))


def texts_in(heard: Sequence[Sequence[ChatMessage]]) -> str:
    return "\n".join(
        block.text
        for messages in heard
        for message in messages
        for block in message.blocks
        if isinstance(block, TextBlock)
    )


def pictures_in(
    heard: Sequence[Sequence[ChatMessage]],
) -> list[tuple[str, tuple[int, int]]]:
    """Return the colour and size of every picture shown, decoded."""
    blocks = [block for messages in heard for each in messages for block in each.blocks]
    shown = []
    for block in blocks:
        if isinstance(block, ImageBlock):
            with Image.open(block.resolve_image()) as picture:
                shown.append((colour_of(picture), picture.size))
    return shown


def colour_of(picture: Image.Image) -> str:
    mean = np.asarray(picture.convert("RGB"), dtype=float).mean(axis=(0, 1))
    return min(DOORS, key=lambda door: np.abs(mean - _rgb(door)).sum())


def _rgb(door: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in COLOURS[door])
    return red, green, blue
