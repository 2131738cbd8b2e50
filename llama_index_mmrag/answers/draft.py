"""A draft: one answer in the making, its evidence and its citations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import NodeWithScore

from llama_index_mmrag.answers.evidence import Evidence
from llama_index_mmrag.answers.illustrated import (
    AsyncMultiModalStreamingResponse,
    MultiModalPydanticResponse,
    MultiModalResponse,
    MultiModalStreamingResponse,
)
from llama_index_mmrag.answers.structured import map_strings
from llama_index_mmrag.citations.checking import CitationChecker
from llama_index_mmrag.nodes.encoded_picture import EncodedPicture
from llama_index_mmrag.nodes.node import provenance_of
from llama_index_mmrag.provenance import RoutesAsked
from llama_index_mmrag.report.results import SourceCard

Answer: TypeAlias = (  # whole, as an object, or streamed
    "str | BaseModel | Generator[str, None, None] | AsyncGenerator[str, None]"
)


class Draft:
    """Checks an answer's citations, counts them, and makes the response of it.

    Args:
        evidence: The sources that the answer may cite.
        nodes: All results, those that are not shown among them.
        additional: Nodes that LlamaIndex wants listed after the sources.
        pictures: The query's own, shown beside the sources.
    """

    def __init__(
        self,
        evidence: Evidence,
        nodes: Sequence[NodeWithScore],
        additional: Sequence[NodeWithScore] = (),
        *,
        pictures: Sequence[EncodedPicture] = (),
    ) -> None:
        self.evidence = evidence
        self.pictures = pictures
        self._listed = [source.result for source in evidence.sources] + [*additional]
        self._checker = CitationChecker(len(evidence.sources))
        self._said: list[str] = []
        self._cited: dict[str, int] = {}
        self._removed: dict[str, int] = {}
        self._shown = {
            "n_texts": sum(bool(source.text) for source in evidence.sources),
            "n_images": 0,
            "image_bytes": 0,
            "image_pixels": 0,
        }
        self._count_pictures(evidence.pictures)
        if evidence.sources:  # else no model is asked
            self._count_pictures(pictures)
        self._metadata: dict[str, Any] = {
            "citations": {
                str(shown.label): SourceCard.of(shown.result).model_dump()
                for shown in evidence.sources
            },
            "cited": self._cited,
            "removed_citations": self._removed,
            "shown": self._shown,
            "max_image_side": evidence.max_side,
            "left_out": [
                {"node_id": node_id, "reason": reason}
                for node_id, reason in evidence.left_out
            ],
            **RoutesAsked.of(filter(None, map(provenance_of, nodes))).to_dict(),
        }

    def _count_pictures(self, pictures: Iterable[EncodedPicture]) -> None:
        for picture in pictures:
            self._shown["n_images"] += 1
            self._shown["image_bytes"] += picture.n_bytes
            self._shown["image_pixels"] += picture.n_pixels

    def checked_object(self, answer: BaseModel) -> BaseModel:
        """Return a copy of the answer with invalid citations removed from its texts."""
        checked = map_strings(answer, self._checker.check)
        self._count()
        return checked

    def checked(self, answer: str) -> str:
        """Return the answer with its invalid citations removed, and count them."""
        return "".join(self.checked_stream([answer]))

    def checked_stream(self, pieces: Iterable[str]) -> Generator[str, None, None]:
        """Yield the answer's pieces, checked; the counts are complete at the end."""
        try:
            for shown in self._checker.check_stream(pieces):
                self._said.append(shown)
                yield shown
        finally:
            self._count()

    async def achecked_stream(
        self, stream: AsyncGenerator[ChatResponse, None]
    ) -> AsyncGenerator[str, None]:
        """Yield an LLM's stream, checked; the counts are complete at the end."""
        try:
            async for response in stream:
                if shown := self._checker.feed(response.delta or ""):
                    self._said.append(shown)
                    yield shown
            if shown := self._checker.finish():
                self._said.append(shown)
                yield shown
        finally:
            self._count()

    def respond(self, answer: Answer) -> RESPONSE_TYPE:
        """Return the response around the answer: LlamaIndex's, and pictures with it."""
        nodes = [result.node for result in self._listed]
        metadata = {node.node_id: node.metadata for node in nodes} | self._metadata
        kind: Callable[..., RESPONSE_TYPE] = MultiModalResponse
        if isinstance(answer, BaseModel):
            kind = MultiModalPydanticResponse
        elif isinstance(answer, Generator):
            kind = partial(MultiModalStreamingResponse, said=self._said)
        elif isinstance(answer, AsyncGenerator):
            kind = partial(AsyncMultiModalStreamingResponse, said=self._said)
        return kind(answer, source_nodes=self._listed, metadata=metadata)

    def _count(self) -> None:
        checker = self._checker
        self._cited |= {str(label): n for label, n in checker.cited.items()}
        self._removed |= {str(label): n for label, n in checker.removed.items()}
