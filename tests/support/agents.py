"""Models that call a tool once and then answer, and what agents make of tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.tools import ToolOutput

# LlamaIndex's workflows look at every attribute of an agent, Pydantic's old ones too.
agents = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecationWarning",
    "ignore:is_running called from within a step:DeprecationWarning",
)


def texts(output: ToolOutput | ChatMessage) -> list[str]:
    """Return an output's blocks: its texts, and "<image>" for each picture."""
    return [b.text if isinstance(b, TextBlock) else "<image>" for b in output.blocks]


class CallsOnce:
    """A model that calls a tool once, with the arguments `asked`, then answers."""

    def __init__(self, tool: str, answer: str, **asked: Any) -> None:
        self._tool, self._answer, self._asked = tool, answer, asked
        self._seen: list[list[ChatMessage]] = []

    @property
    def told(self) -> ChatMessage:
        """What it was shown of the tool's output, its last message."""
        return self._seen[-1][-1]

    def by_function(self) -> MockFunctionCallingLLM:
        """Return it as a model that calls functions."""
        call = ToolCallBlock(
            tool_call_id="1", tool_name=self._tool, tool_kwargs=self._asked
        )
        return self._saying([call], self._answer)

    def by_words(self) -> MockFunctionCallingLLM:
        """Return it as a model that writes down what it does, as for ReAct."""
        action = f"Action: {self._tool}\nAction Input: {json.dumps(self._asked)}"
        answer = f"Thought: I know it now.\nAnswer: {self._answer}"
        return self._saying(f"Thought: I must look.\n{action}", answer)

    def _saying(self, *contents: Any) -> MockFunctionCallingLLM:
        def reply(messages: list[ChatMessage], **_: Any) -> ChatMessage:
            self._seen.append(list(messages))
            content = contents[min(len(self._seen), len(contents)) - 1]
            return ChatMessage(role="assistant", content=content)

        return MockFunctionCallingLLM(response_generator=reply)
