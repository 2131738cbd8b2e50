"""A model's window: how many tokens of sources a request has room for."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ContentBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms import LLM
from llama_index.core.utilities.token_counting import TokenCounter


class Window:
    """Room for sources, spent source by source; in LlamaIndex's tokens.

    Its tokenizer is `Settings.tokenizer` or that of GPT-3.5; a picture counts 2,125,
    whatever its size.

    Args:
        most: Tokens of all sources together.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._counter = TokenCounter()

    @classmethod
    def beside(
        cls,
        frame: Sequence[ChatMessage],
        llm: LLM,
        output_cls: type[BaseModel] | None = None,
    ) -> Window:
        """Return what a model's window leaves beside a request without sources.

        Args:
            frame: The request's messages.
            llm: Says how large its window is, and how much of it is for the answer.
            output_cls: Of the answer; its schema is sent along.
        """
        window = cls(llm.metadata.context_window - max(0, llm.metadata.num_output))
        counting = window._counter.aestimate_tokens_in_messages([*frame])
        window._left -= _counted(counting)
        if output_cls is not None:
            schema = json.dumps(output_cls.model_json_schema())
            window._left -= window._counter.get_string_tokens(schema)
        return window

    def takes(self, blocks: Sequence[ContentBlock]) -> bool:
        """Return whether a source still fits, which it is then counted for."""
        tokenizer = self._counter.tokenizer
        n_tokens = sum(_counted(block.aestimate_tokens(tokenizer)) for block in blocks)
        if n_tokens > self._left:
            return False
        self._left -= n_tokens
        return True


def _counted(counting: Coroutine[Any, Any, int]) -> int:
    """Return a count that waits for nothing.

    LlamaIndex's own `estimate_tokens` makes an event loop for it, and leaves it open.
    """
    try:
        counting.send(None)
    except StopIteration as done:
        return int(done.value)
    counting.close()
    raise RuntimeError("LlamaIndex's token count waits for something.")
