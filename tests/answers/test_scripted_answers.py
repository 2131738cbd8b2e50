"""Models that invent, omit, repeat and split citations, through the synthesizer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.mock import MockFunctionCallingLLM

from llama_index_mmrag import MultiModalSynthesizer

from ..citations.test_checking import cut, invalid_labels
from ..support.colours import Paint, ids_of, image_node, ranked, text_node, uid

WORDS = ["Grind", "the beans", "as fine", "as salt,", "then brew.", "It", "takes 30 s."]


def scripted_answer(rng: random.Random, n_sources: int) -> tuple[list[str], list[int]]:
    """Return an answer in pieces that split markers, and the labels it may cite."""
    text, known = "", []
    for _ in range(rng.randint(3, 12)):
        text += rng.choice(WORDS) + rng.choice([" ", "", "\n"])
        labels = [
            rng.randint(0, 2 * n_sources + 2) for _ in range(rng.choice([1, 1, 3]))
        ]
        kind = rng.choice(["none", "one", "list", "run", "nested", "repeated", "open"])
        if kind == "open":
            text += f"[{labels[0]} "
        elif kind == "nested":
            text += f"[[{n_sources + 5}]{n_sources + 6}]"
        elif kind == "list":
            text += f"[{', '.join(map(str, labels))}]"
            known += [n for n in dict.fromkeys(labels) if 1 <= n <= n_sources]
        elif kind != "none":
            repeated = labels * (2 if kind == "repeated" else 1)
            text += "".join(f"[{n}]" for n in repeated)
            known += [n for n in repeated if 1 <= n <= n_sources]
    return cut(text, [rng.randint(0, 500) for _ in range(rng.randint(0, 60))]), known


def test_of_a_thousand_answers_none_cites_what_was_not_shown_streamed_or_whole():
    rng = random.Random(20260611)
    said: list[str] = []

    def at_once(*_: Any, **__: Any) -> ChatMessage:
        return ChatMessage(role="assistant", content="".join(said))

    def by_piece(*_: Any, **__: Any) -> Iterator[ChatMessage]:
        return (ChatMessage(role="assistant", content=piece) for piece in said)

    whole, streamed = (
        MultiModalSynthesizer(
            MockFunctionCallingLLM(is_chat_model=True, response_generator=says),
            streaming=says is by_piece,
        )
        for says in (at_once, by_piece)
    )
    found = ranked(*(text_node(f"red {n}") for n in range(9)))
    n_removed = 0
    for _ in range(1_000):
        n_sources = rng.randint(1, 9)
        said[:], known = scripted_answer(rng, n_sources)
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
    found = ranked(image_node(paint("red")), image_node(paint("blue")))
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
