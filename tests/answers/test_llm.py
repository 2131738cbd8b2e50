"""Which model writes, and how much it is shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from llama_index.core.utilities.token_counting import TokenCounter

from llama_index_mmrag import MultiModalSynthesizer
from llama_index_mmrag.answers.llm import chosen_llm
from llama_index_mmrag.errors import InvalidSetting, MissingExtra

from ..support.indexes import inline

QUESTION = "What is said?"


def says(text: str) -> Any:
    return lambda _: ChatMessage(text)


class Small(MockFunctionCallingLLM):
    """A chat model of a small window."""

    window: int = 4096

    @property
    def metadata(self) -> Any:
        told = {"context_window": self.window, "num_output": 256, "is_chat_model": True}
        return super().metadata.model_copy(update=told)


def results(n: int, *, words: int = 60) -> list[NodeWithScore]:
    nodes = [TextNode(id_=f"n{i}", text=f"{i} " + "word " * words) for i in range(n)]
    return [NodeWithScore(node=node, score=1.0) for node in nodes]


def test_model_of_settings_writes_where_none_is_given(unset):
    assert chosen_llm("settings") is None
    assert unset._llm is None, "reading the property would make a client of OpenAI's"
    said = Small(response_generator=says("Said [1]."))
    unset.llm = said
    assert str(MultiModalSynthesizer().synthesize(QUESTION, results(1))) == "Said [1]."
    without = MultiModalSynthesizer(None).synthesize(QUESTION, results(1))
    assert str(without) != "Said [1]."
    unset.llm = None  # LlamaIndex makes a mock of it
    assert chosen_llm("settings") is None


def test_model_may_be_named(unset, monkeypatch):
    with pytest.raises(InvalidSetting, match="llm is 'gpt'; expected a model"):
        MultiModalSynthesizer("gpt")
    monkeypatch.setenv("IS_TESTING", "1")  # LlamaIndex's word: no client is built
    assert isinstance(chosen_llm("default"), MockLLM)
    with pytest.raises((InvalidSetting, MissingExtra)):
        chosen_llm("local:missing.gguf")


@pytest.mark.parametrize("n", [1, 2, 10, 59, 200])
@pytest.mark.parametrize("words", [5, 60, 900])
def test_request_fits_the_models_window(n, words, unset):
    sent: list[int] = []

    def written(messages: Any) -> ChatMessage:
        counting = TokenCounter().aestimate_tokens_in_messages(list(messages))
        sent.append(asyncio.run(counting))
        return ChatMessage("Said [1].")

    llm = Small(response_generator=written)
    found = results(n, words=words)
    response = MultiModalSynthesizer(llm).synthesize(QUESTION, found)
    assert sent[0] <= 4096 - 256
    left_out = [each["node_id"] for each in response.metadata["left_out"]]
    shown = [result.node_id for result in response.source_nodes]
    assert shown + left_out == [result.node_id for result in found]
    if left_out:
        assert "max_context_tokens" in response.metadata["left_out"][0]["reason"]
        each = TokenCounter().get_string_tokens(found[0].text)
        assert sent[0] + each + 20 > 4096 - 256, "no room is left unused"


def test_picture_that_does_not_fit_leaves_its_caption(unset):
    llm = Small(response_generator=says("Red [1]."))
    pictures = [
        NodeWithScore(node=ImageNode(image=inline("red"), text=f"caption {n}"))
        for n in range(3)
    ]
    response = MultiModalSynthesizer(llm).synthesize(QUESTION, pictures)
    assert response.metadata["shown"]["n_images"] == 1  # 2,125 tokens each
    assert len(response.source_nodes) == 3
    reasons = [each["reason"] for each in response.metadata["left_out"]]
    assert len(reasons) == 2
    assert all(reason.endswith("Its caption is shown.") for reason in reasons)


def test_budget_may_be_given(unset):
    llm = Small(response_generator=says("Said [1]."), window=128_000)
    kept = MultiModalSynthesizer(llm, max_context_tokens=200)
    assert len(kept.synthesize(QUESTION, results(9)).source_nodes) == 2
    for wrong in (0, -1, 1.5):
        with pytest.raises(InvalidSetting, match="max_context_tokens"):
            MultiModalSynthesizer(llm, max_context_tokens=wrong)


def test_prompts_that_there_are_not_are_refused():
    synthesizer = MultiModalSynthesizer(None)
    with pytest.raises(InvalidSetting, match="'text_qa_template'.*'question'"):
        synthesizer.update_prompts({"text_qa_template": PromptTemplate("{query_str}")})
