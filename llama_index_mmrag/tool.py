"""The retriever as an agent's tool: labelled text and picture blocks come back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, Field
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools.types import AsyncBaseTool, ToolMetadata, ToolOutput

from llama_index_mmrag.errors import InvalidQuery, MmragError
from llama_index_mmrag.evidence import gather_evidence
from llama_index_mmrag.nodes import provenance_of
from llama_index_mmrag.retriever import MultiModalFusionRetriever
from llama_index_mmrag.routes import athread

_DESCRIPTION = (
    "Searches texts and pictures together. Give words, the path of a picture, or both. "
    "Returns numbered sources, best first: texts, and pictures with their captions."
)


class SearchArguments(BaseModel):
    """What an agent passes to the tool."""

    query: str = Field(default="", description="What to look for, in words.")
    image_path: str | None = Field(
        default=None, description="Path of a picture to search by, if there is one."
    )
    top_k: int = Field(default=5, ge=1, le=50, description="Number of results.")


class MultiModalRetrieverTool(AsyncBaseTool):
    """Lets an agent search by words, by picture, or by both.

    The output's blocks are the numbered sources, pictures included; its `raw_output` is
    the list of results with their provenance. A failed search is an output with
    `is_error`, so that the agent can try again.

    Args:
        retriever: What is searched.
        name: The tool's name.
        description: What the model is told of it.
        image_roots: Folders that `image_path` may point into. A model chooses that
            path, so that without any no file is read.
        max_images: Most pictures returned; 0 returns captions only.
        max_image_side: Longest side of a picture in pixels.
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
        self._retriever = retriever
        self._roots = tuple(Path(root).resolve() for root in image_roots)
        self._max_images = max_images
        self._max_image_side = max_image_side
        self._metadata = ToolMetadata(
            name=name, description=description, fn_schema=SearchArguments
        )

    @property
    def metadata(self) -> ToolMetadata:
        """The tool's name, description and arguments."""
        return self._metadata

    def call(self, input: Any = None, **arguments: Any) -> ToolOutput:  # noqa: A002
        """Return the labelled sources for `query`, `image_path` and `top_k`."""
        asked = _merged(input, arguments)
        try:
            query, top_k = self._query(asked)
            return self._output(asked, self._retriever.retrieve(query), top_k)
        except MmragError as error:
            return self._failure(asked, error)

    async def acall(self, input: Any = None, **arguments: Any) -> ToolOutput:  # noqa: A002
        """Return what `call` does, without blocking the event loop."""
        asked = _merged(input, arguments)
        try:
            query, top_k = self._query(asked)
            results = await self._retriever.aretrieve(query)
            return await athread(lambda: self._output(asked, results, top_k))
        except MmragError as error:
            return self._failure(asked, error)

    def _query(self, asked: dict[str, Any]) -> tuple[QueryBundle, int]:
        try:
            arguments = SearchArguments(**asked)
        except ValueError as error:
            msg = f"The tool got {asked!r}: {error}. Expected query, image_path, top_k."
            raise InvalidQuery(msg) from error
        image_path = arguments.image_path or None
        if image_path is not None:
            image_path = self._allowed(image_path)
        return QueryBundle(arguments.query, image_path=image_path), arguments.top_k

    def _allowed(self, image_path: str) -> str:
        resolved = Path(image_path).resolve()
        if not any(resolved.is_relative_to(root) for root in self._roots):
            msg = (
                f"The picture {image_path!r} is outside the folders this tool may "
                f"read. Search by words, or name a picture from an earlier result."
            )
            raise InvalidQuery(msg)
        return str(resolved)

    def _output(
        self, asked: dict[str, Any], results: list[NodeWithScore], top_k: int
    ) -> ToolOutput:
        kept = _first_entities(results, top_k)
        evidence = gather_evidence(
            kept, max_images=self._max_images, max_side=self._max_image_side
        )
        blocks: list[ContentBlock] = [
            block for source in evidence.sources for block in source.blocks()
        ]
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            blocks=blocks or [TextBlock(text="Nothing was found.")],
            raw_input=asked,
            raw_output=[source.result for source in evidence.sources],
        )

    def _failure(self, asked: dict[str, Any], error: MmragError) -> ToolOutput:
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            content=f"The search failed: {error}",
            raw_input=asked,
            raw_output=error,
            is_error=True,
        )


def _merged(positional: Any, named: dict[str, Any]) -> dict[str, Any]:
    if positional is None:
        return named
    if isinstance(positional, dict):
        return {**positional, **named}
    return {"query": str(positional), **named}


def _first_entities(
    results: Sequence[NodeWithScore], top_k: int
) -> list[NodeWithScore]:
    """Return the results of the first `top_k` entities."""
    entities: dict[str, None] = {}
    kept: list[NodeWithScore] = []
    for result in results:
        provenance = provenance_of(result)
        entities[provenance.entity_id if provenance else result.node.node_id] = None
        if len(entities) > top_k:
            break
        kept.append(result)
    return kept
