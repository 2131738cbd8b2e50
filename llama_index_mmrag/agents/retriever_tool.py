"""The retriever as an agent's tool: labelled text and picture blocks come back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.schema import NodeWithScore
from llama_index.core.tools.types import AsyncBaseTool, ToolMetadata, ToolOutput

from llama_index_mmrag.agents.tool_arguments import Request, ToolArguments
from llama_index_mmrag.answers.evidence import (
    EVIDENCE_ORDERS,
    Evidence,
    EvidenceOrder,
    PictureBudget,
    gather_evidence,
)
from llama_index_mmrag.checks import one_of, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.events.degraded import collect_routes
from llama_index_mmrag.nodes.node import provenance_of
from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever

_DESCRIPTION = (
    "Searches texts and pictures together. Returns numbered sources, best first: "
    "texts, and pictures with their captions."
)


class SearchTool(AsyncBaseTool):
    """What our tools share: checked arguments, blocks out, failures as outputs.

    Args:
        arguments: What the model may ask for.
        metadata: The tool's name and description, and whether its output is the
            agent's answer.
    """

    def __init__(self, arguments: ToolArguments, metadata: ToolMetadata) -> None:
        self._arguments = arguments
        metadata.fn_schema = arguments.schema
        self._metadata = metadata

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_metadata": replace(self._metadata, fn_schema=None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._metadata.fn_schema = self._arguments.schema

    @property
    def metadata(self) -> ToolMetadata:
        """The tool's name, description and arguments."""
        return self._metadata

    def call(self, input: Any = None, **arguments: Any) -> ToolOutput:  # noqa: A002
        """Return the tool's blocks; a failed search is an output with `is_error`."""
        asked = _merged(input, arguments)
        try:
            with collect_routes() as routes:
                found = self._ask(self._arguments.read(asked))
            return self._output(asked, *self._told(found, routes.warnings))
        except MmragError as error:
            return self._failure(asked, error)

    async def acall(self, input: Any = None, **arguments: Any) -> ToolOutput:  # noqa: A002
        """Return what `call` does, without blocking the event loop."""
        asked = _merged(input, arguments)
        try:
            request = await athread(lambda: self._arguments.read(asked))
            with collect_routes() as routes:
                found = await self._aask(request)
            told = await athread(lambda: self._told(found, routes.warnings))
            return self._output(asked, *told)
        except MmragError as error:
            return self._failure(asked, error)

    @abstractmethod
    def _ask(self, request: Request) -> Any:
        """Return what was found."""

    @abstractmethod
    async def _aask(self, request: Request) -> Any:
        """Return what `_ask` does."""

    @abstractmethod
    def _shown(self, found: Any) -> tuple[list[ContentBlock], Any]:
        """Return the blocks for the model, and the raw output."""

    def _told(
        self, found: Any, warnings: Sequence[str]
    ) -> tuple[list[ContentBlock], Any]:
        blocks, raw = self._shown(found)
        return [*blocks, *(TextBlock(text=f"Note: {w}\n") for w in warnings)], raw

    def _output(
        self, asked: dict[str, Any], blocks: list[ContentBlock], raw: Any, **more: Any
    ) -> ToolOutput:
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            blocks=blocks,
            raw_input=asked,
            raw_output=raw,
            **more,
        )

    def _failure(self, asked: dict[str, Any], error: MmragError) -> ToolOutput:
        told = TextBlock(text=f"The search failed: {error}")
        return self._output(asked, [told], str(error), is_error=True, exception=error)


class MultiModalRetrieverTool(SearchTool):
    """Lets an agent search by words, by picture, or by both.

    The output's blocks are the numbered sources, pictures included; its `raw_output` is
    the list of results with their provenance. A failed search is an output with
    `is_error`, so that the agent can try again.

    Not every model is shown a tool's pictures: LlamaIndex's OpenAI chat client and its
    ReAct agent pass on a tool's texts alone. Labels and captions arrive everywhere.

    Args:
        retriever: What is searched; as deep as the agent asks.
        default_top_k: How deep where it does not ask; None: as the retriever is.
        name: The tool's name.
        description: What the model is told of it.
        image_roots: Folders that `image_path` may point into, by a path relative to one
            of them or a whole one. A model chooses that path: without folders the tool
            has no such argument and reads no file.
        filter_keys: Metadata keys that the model may set conditions on, best with what
            they hold: {"year": "year of printing"}. They narrow what the retriever's
            own filters leave, and never widen it. Without keys the tool has no such
            argument.
        max_images: Most pictures returned; 0 returns captions only.
        max_image_side: Longest side of a picture in pixels.
        max_image_bytes: Most bytes of the pictures together; None for no limit.
        evidence_order: As for `MultiModalSynthesizer`.

    Raises:
        InvalidSetting: A budget is out of range, or a channel cannot apply filters.
    """

    @checked
    def __init__(  # noqa: PLR0913 - what the model may do, and a budget
        self,
        retriever: MultiModalFusionRetriever,
        *,
        name: str = "search_texts_and_pictures",
        description: str = _DESCRIPTION,
        default_top_k: int | None = None,
        image_roots: Sequence[str | Path] = (),
        filter_keys: Mapping[str, str] | Sequence[str] = (),
        max_images: int = 4,
        max_image_side: int = 768,
        max_image_bytes: int | None = None,
        evidence_order: EvidenceOrder = "ranking",
    ) -> None:
        self._budget = PictureBudget(max_images, max_image_side, max_image_bytes)
        self._order = one_of(evidence_order, "evidence_order", EVIDENCE_ORDERS)
        depth = retriever.similarity_top_k if default_top_k is None else default_top_k
        arguments = ToolArguments(
            image_roots=image_roots,
            filter_keys=filter_keys,
            default_top_k=whole(depth, "default_top_k", at_least=1),
        )
        # Fails here rather than when a model asks.
        retriever.with_filters(arguments.filters_nothing_out)
        self._retriever = retriever
        super().__init__(arguments, ToolMetadata(description, name))

    def _ask(self, request: Request) -> list[NodeWithScore]:
        return narrowed(self._retriever, request).retrieve(request.query)

    async def _aask(self, request: Request) -> list[NodeWithScore]:
        return await narrowed(self._retriever, request).aretrieve(request.query)

    def _shown(
        self, found: list[NodeWithScore]
    ) -> tuple[list[ContentBlock], list[NodeWithScore]]:
        evidence = gather_evidence(found, budget=self._budget, order=self._order)
        provenance = next(filter(None, map(provenance_of, found)), None)
        silent = [lost.route for lost in provenance.degraded] if provenance else []
        blocks = evidence_blocks(evidence, silent)
        if not evidence.sources:
            blocks.insert(0, TextBlock(text="Nothing was found.\n"))
        return blocks, [source.result for source in evidence.sources]


def narrowed(
    retriever: MultiModalFusionRetriever, request: Request
) -> MultiModalFusionRetriever:
    """Return the retriever as deep, and with the filters, that a request asks for."""
    if request.top_k is not None:
        retriever = retriever.with_top_k(request.top_k)
    if request.filters is not None:
        retriever = retriever.with_filters(request.filters)
    return retriever


def evidence_blocks(
    evidence: Evidence, silent_routes: Iterable[str]
) -> list[ContentBlock]:
    """Return the sources under their labels, and what is said of what is missing."""
    blocks = [block for source in evidence.sources for block in source.blocks()]
    shown = {source.result.node_id for source in evidence.sources}
    # Of a picture that is missing, the caption may be there.
    if lost := [each for each, _ in evidence.left_out if each not in shown]:
        text = f"Results that could not be shown: {len(lost)}.\n"
        blocks.append(TextBlock(text=text))
    if silent := ", ".join(silent_routes):
        blocks.append(TextBlock(text=f"Searches that gave no answer: {silent}.\n"))
    return blocks


def _merged(positional: Any, named: dict[str, Any]) -> dict[str, Any]:
    if positional is None:
        return named
    if isinstance(positional, dict):
        return {**positional, **named}
    return {"query": str(positional), **named}
