"""The retriever as an agent's tool: labelled text and picture blocks come back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.bridge.pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools.types import AsyncBaseTool, ToolMetadata, ToolOutput

from llama_index_mmrag.errors import InvalidQuery, MmragError
from llama_index_mmrag.evidence import PictureBudget, gather_evidence
from llama_index_mmrag.nodes import provenance_of
from llama_index_mmrag.retriever import MultiModalFusionRetriever
from llama_index_mmrag.threads import athread

_DESCRIPTION = (
    "Searches texts and pictures together. Returns numbered sources, best first: "
    "texts, and pictures with their captions."
)


class SearchArguments(BaseModel):
    """What an agent passes to the tool."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to look for, in words.")
    top_k: int = Field(default=5, ge=1, le=50, description="Number of results.")


class PictureSearchArguments(SearchArguments):
    """What an agent passes to a tool that may read pictures."""

    query: str = Field(
        default="",
        description="What to look for, in words; empty with a picture alone.",
    )
    image_path: str | None = Field(
        default=None, description="Path of a picture to search by, if there is one."
    )


class MultiModalRetrieverTool(AsyncBaseTool):
    """Lets an agent search by words, by picture, or by both.

    The output's blocks are the numbered sources, pictures included; its `raw_output` is
    the list of results with their provenance. A failed search is an output with
    `is_error`, so that the agent can try again.

    Not every model is shown a tool's pictures: LlamaIndex's OpenAI chat client and its
    ReAct agent pass on a tool's texts alone. Labels and captions arrive everywhere.

    Args:
        retriever: What is searched; as deep as the agent asks.
        name: The tool's name.
        description: What the model is told of it.
        image_roots: Folders that `image_path` may point into, by a path relative to one
            of them or a whole one. A model chooses that path: without folders the tool
            has no such argument and reads no file.
        max_images: Most pictures returned; 0 returns captions only.
        max_image_side: Longest side of a picture in pixels.

    Raises:
        InvalidSetting: A budget is out of range.
    """

    def __init__(
        self,
        retriever: MultiModalFusionRetriever,
        *,
        name: str = "search_texts_and_pictures",
        description: str = _DESCRIPTION,
        image_roots: Sequence[str | Path] = (),
        max_images: int = 4,
        max_image_side: int = 768,
    ) -> None:
        self._budget = PictureBudget(max_images, max_image_side)
        self._retriever = retriever
        self._roots = tuple(Path(root).resolve() for root in image_roots)
        self._schema = PictureSearchArguments if self._roots else SearchArguments
        self._metadata = ToolMetadata(
            name=name, description=description, fn_schema=self._schema
        )

    @property
    def metadata(self) -> ToolMetadata:
        """The tool's name, description and arguments."""
        return self._metadata

    def call(self, input: Any = None, **arguments: Any) -> ToolOutput:  # noqa: A002
        """Return the labelled sources for `query`, `image_path` and `top_k`."""
        asked = _merged(input, arguments)
        try:
            query, retriever = self._search(asked)
            return self._output(asked, retriever.retrieve(query))
        except MmragError as error:
            return self._failure(asked, error)

    async def acall(self, input: Any = None, **arguments: Any) -> ToolOutput:  # noqa: A002
        """Return what `call` does, without blocking the event loop."""
        asked = _merged(input, arguments)
        try:
            query, retriever = self._search(asked)
            results = await retriever.aretrieve(query)
            return await athread(lambda: self._output(asked, results))
        except MmragError as error:
            return self._failure(asked, error)

    def _search(
        self, asked: dict[str, Any]
    ) -> tuple[QueryBundle, MultiModalFusionRetriever]:
        """Return the query, and what to ask it."""
        try:
            arguments = self._schema.model_validate(asked)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors()
            )
            msg = (
                f"The arguments {asked!r} are not right: {faults}. Call the tool again "
                f"with {', '.join(self._schema.model_fields)}."
            )
            raise InvalidQuery(msg) from error
        image_path = None
        if isinstance(arguments, PictureSearchArguments) and arguments.image_path:
            image_path = self._allowed(arguments.image_path)
        query = QueryBundle(arguments.query, image_path=image_path)
        return query, self._retriever.with_top_k(arguments.top_k)

    def _allowed(self, image_path: str) -> str:
        for root in self._roots:
            for path in (root / image_path, Path(image_path)):
                try:
                    resolved = path.resolve()
                    is_file = resolved.is_file()
                except (OSError, ValueError, RuntimeError):
                    # A null byte, a name too long, a loop of links: no file of ours.
                    continue
                if is_file and resolved.is_relative_to(root):
                    return str(resolved)
        # The same words for a file elsewhere and for none: a model cannot probe.
        msg = (
            f"The folders that this tool may read have no picture {image_path!r}. Give "
            f"a path relative to one of them, or search by words."
        )
        raise InvalidQuery(msg)

    def _output(
        self, asked: dict[str, Any], results: Sequence[NodeWithScore]
    ) -> ToolOutput:
        evidence = gather_evidence(results, budget=self._budget)
        blocks: list[ContentBlock] = [
            block for source in evidence.sources for block in source.blocks()
        ]
        if not blocks:
            blocks.append(TextBlock(text="Nothing was found.\n"))
        if evidence.left_out:
            lost = f"Results that could not be shown: {len(evidence.left_out)}.\n"
            blocks.append(TextBlock(text=lost))
        if silent := _silent_routes(results):
            incomplete = f"Searches that gave no answer: {', '.join(silent)}.\n"
            blocks.append(TextBlock(text=incomplete))
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            blocks=blocks,
            raw_input=asked,
            raw_output=[source.result for source in evidence.sources],
        )

    def _failure(self, asked: dict[str, Any], error: MmragError) -> ToolOutput:
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            content=f"The search failed: {error}",
            raw_input=asked,
            raw_output=str(error),
            is_error=True,
            exception=error,
        )


def _merged(positional: Any, named: dict[str, Any]) -> dict[str, Any]:
    if positional is None:
        return named
    if isinstance(positional, dict):
        return {**positional, **named}
    return {"query": str(positional), **named}


def _silent_routes(results: Sequence[NodeWithScore]) -> list[str]:
    provenance = next(filter(None, map(provenance_of, results)), None)
    return [lost.route for lost in provenance.degraded] if provenance else []
