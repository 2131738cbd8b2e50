"""Models that invent, omit, repeat and split citations, through the synthesizer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import CustomLLM
from llama_index.core.schema import NodeWithScore

from llama_index_mmrag import MultiModalSynthesizer

from ..citations.test_checking import invalid_labels, scripted_answer
from ..support.colours import Paint, ids_of, image_node, text_node, uid


class Scripted(CustomLLM):
    """A chat model that says the pieces it is given, whole or one by one."""

    _pieces: list[str] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        content = "".join(self._pieces)
        return ChatResponse(message=ChatMessage(role="assistant", content=content))

    def stream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseGen:
        said = ""
        for piece in self._pieces:
            said += piece
            message = ChatMessage(role="assistant", content=said)
            yield ChatResponse(message=message, delta=piece)

    def complete(self, *args: Any, **kwargs: Any) -> CompletionResponse:
        raise NotImplementedError

    def stream_complete(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def test_of_a_thousand_answers_none_cites_what_was_not_shown_streamed_or_whole():
    rng = random.Random(20260611)
    llm = Scripted()
    whole, streamed = (MultiModalSynthesizer(llm, streaming=s) for s in (False, True))
    found = [
        NodeWithScore(node=text_node(f"red {n}"), score=1.0 / (n + 1)) for n in range(9)
    ]
    n_removed = 0
    for _ in range(1_000):
        n_sources = rng.randint(1, 9)
        llm._pieces, known = scripted_answer(rng, n_sources)
        answer = whole.synthesize("red", found[:n_sources])
        pieces = streamed.synthesize("red", found[:n_sources])
        assert "".join(pieces.response_gen) == answer.response
        assert invalid_labels(answer.response, n_sources) == []
        expected = {str(label): n for label, n in Counter(known).items()}
        assert answer.metadata["cited"] == pieces.metadata["cited"] == expected
        removed = answer.metadata["removed_citations"]
        assert removed == pieces.metadata["removed_citations"]
        n_removed += sum(removed.values())
    assert n_removed > 1_000


async def test_pictures_without_a_word_are_evidence_enough(server, llm, paint: Paint):
    server.script("The first is red [1], the second blue [2].")
    found = [
        NodeWithScore(node=image_node(paint(colour)), score=1.0)
        for colour in ("red", "blue")
    ]
    response = MultiModalSynthesizer(llm).synthesize("Which colours?", found)
    assert str(response) == "The first is red [1], the second blue [2]."
    assert ids_of(response.source_nodes) == [uid("image red"), uid("image blue")]
    assert response.metadata["cited"] == {"1": 1, "2": 1}
    assert response.metadata["shown"]["n_texts"] == 0
    assert server.shown == [
        "[1] image from red.png:\n",
        "<image/png, 16 x 12>",
        "[2] image from blue.png:\n",
        "<image/png, 16 x 12>",
        "Question: Which colours?\nAnswer:",
    ]
