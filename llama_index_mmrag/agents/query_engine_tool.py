"""A query engine as an agent's tool: the answer, and the sources that it cites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    StreamingResponse,
)
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore
from llama_index.core.tools.types import ToolMetadata

from llama_index_mmrag.agents.retriever_tool import (
    SearchTool,
    evidence_blocks,
    narrowed,
)
from llama_index_mmrag.agents.tool_arguments import Request, ToolArguments
from llama_index_mmrag.answers.evidence import Evidence, PictureBudget, gather_evidence
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import stored_as
from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever

_DESCRIPTION = (
    "Answers a question from texts and pictures. Returns the answer, and the numbered "
    "sources that it cites: texts, and pictures with their captions."
)


class MultiModalQueryEngineTool(SearchTool):
    """Lets an agent ask a query engine by words, by picture, or by both.

    The output's blocks are the answer and the sources that it cites, under the labels
    that the answer uses, pictures included; its `raw_output` is LlamaIndex's response.
    Of a synthesizer that does not say what it cites, all sources are returned. A
    streamed answer is returned whole.

    LlamaIndex's own `QueryEngineTool` works too: it passes on the words alone, and
    returns the answer's text.

    Args:
        query_engine: What is asked.
        name: The tool's name.
        description: What the model is told of it.
        image_roots: As for `MultiModalRetrieverTool`.
        filter_keys: As for `MultiModalRetrieverTool`.
        max_images: Most pictures returned; 0 returns captions only.
        max_image_side: Longest side of a picture in pixels.
        max_image_bytes: Most bytes of the pictures together; None for no limit.
        return_direct: Whether the tool's answer is the agent's.

    Only a `RetrieverQueryEngine` over a `MultiModalFusionRetriever` can be asked for a
    `top_k` or with filters; the tool of another engine has no such arguments.

    Raises:
        InvalidSetting: A budget is out of range, or there are `filter_keys` and the
            engine or a channel cannot apply filters.
    """

    @checked
    def __init__(  # noqa: PLR0913 - what the model may do, and a budget
        self,
        query_engine: BaseQueryEngine,
        *,
        name: str = "ask_texts_and_pictures",
        description: str = _DESCRIPTION,
        image_roots: Sequence[str | Path] = (),
        filter_keys: Mapping[str, str] | Sequence[str] = (),
        max_images: int = 4,
        max_image_side: int = 768,
        max_image_bytes: int | None = None,
        return_direct: bool = False,
    ) -> None:
        self._budget = PictureBudget(max_images, max_image_side, max_image_bytes)
        retriever = _retriever_of(query_engine)
        arguments = ToolArguments(
            image_roots=image_roots,
            filter_keys=filter_keys,
            takes_top_k=retriever is not None,
        )
        if retriever is not None:
            retriever.with_filters(arguments.filters_nothing_out)
        elif filter_keys:
            raise InvalidSetting(
                f"filter_keys is {filter_keys!r}, and a {type(query_engine).__name__} "
                f"takes no filters. Give a RetrieverQueryEngine over a "
                f"MultiModalFusionRetriever, or leave filter_keys out."
            )
        self._query_engine = query_engine
        super().__init__(
            arguments, ToolMetadata(description, name, return_direct=return_direct)
        )

    @property
    def query_engine(self) -> BaseQueryEngine:
        """The engine, as LlamaIndex's own tool has it."""
        return self._query_engine

    def _ask(self, request: Request) -> RESPONSE_TYPE:
        return _whole(self._engine(request).query(request.query))

    async def _aask(self, request: Request) -> RESPONSE_TYPE:
        response = await self._engine(request).aquery(request.query)
        if isinstance(response, AsyncStreamingResponse):
            return await response.get_response()
        return _whole(response)

    def _engine(self, request: Request) -> BaseQueryEngine:
        engine, retriever = self._query_engine, _retriever_of(self._query_engine)
        if retriever is None or (request.top_k is None and request.filters is None):
            return engine
        asked: BaseQueryEngine = engine.with_retriever(narrowed(retriever, request))  # type: ignore[attr-defined]
        return asked

    def _shown(self, found: RESPONSE_TYPE) -> tuple[list[ContentBlock], RESPONSE_TYPE]:
        evidence = self._cited(found)
        blocks: list[ContentBlock] = [TextBlock(text=f"{found}\n")]
        if evidence.sources:
            blocks.append(TextBlock(text="\nSources:\n"))
        lost = (found.metadata or {}).get("degraded", ())
        blocks += evidence_blocks(evidence, [each["route"] for each in lost])
        return blocks, found

    def _cited(self, response: RESPONSE_TYPE) -> Evidence:
        """Return the sources that the answer cites, under its labels."""
        labels: dict[tuple[str, str], int] = {}
        cited: list[NodeWithScore] = []
        known = (response.metadata or {}).get("cited")
        for label, result in enumerate(response.source_nodes, start=1):
            if known is None or str(label) in known:
                labels.setdefault(stored_as(result.node), label)
                cited.append(result)
        evidence = gather_evidence(cited, budget=self._budget)
        sources = tuple(
            replace(source, label=labels[stored_as(source.result.node)])
            for source in evidence.sources
        )
        return replace(evidence, sources=sources)


def _whole(response: RESPONSE_TYPE) -> RESPONSE_TYPE:
    if isinstance(response, StreamingResponse):
        return response.get_response()
    return response


def _retriever_of(engine: BaseQueryEngine) -> MultiModalFusionRetriever | None:
    # A subclass may do more than its copy with another retriever would.
    if type(engine) not in (RetrieverQueryEngine, MultiModalQueryEngine):
        return None
    assert isinstance(engine, RetrieverQueryEngine)  # what mypy does not conclude
    retriever = engine.retriever
    return retriever if isinstance(retriever, MultiModalFusionRetriever) else None
