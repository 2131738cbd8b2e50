"""Figures: the pictures that an answer cites, each once, and its list of sources."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
)
from llama_index.core.schema import BaseNode, MetadataMode

from llama_index_mmrag.citations.positions import first_citations
from llama_index_mmrag.citations.unlabelled import unlabelled
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.ingestion.linked import SECTION_KEY
from llama_index_mmrag.nodes.shown import has_picture, name_of, picture_of


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture that is cited."""

    node: BaseNode
    labels: tuple[int, ...]
    """Of the sources that show it, in the order in which they are cited."""
    start: int
    """Where in the answer its first label begins."""
    end: int
    """Where that label ends."""

    @property
    def alt(self) -> str:
        """Its caption in one line, or what it is called."""
        text = self.node.get_content(metadata_mode=MetadataMode.NONE)
        return _line(text) or _line(name_of(self.node))

    @property
    def legend(self) -> str:
        """What stands under it: its labels and its caption."""
        return "".join(f"[{label}]" for label in self.labels) + f" {self.alt}"


@dataclass(frozen=True, slots=True)
class CitedAnswer:
    """An answer's text, and what it cites."""

    text: str
    figures: tuple[Figure, ...]
    """In the order in which they are cited."""
    sources: tuple[str, ...]
    """A line for each source that is cited: label, file and section."""
    max_side: int
    """Longest side of a picture in pixels, as the model was shown it."""


def cited_answer(response: RESPONSE_TYPE) -> CitedAnswer:
    """Return what a response of `MultiModalSynthesizer` says and cites.

    Raises:
        InvalidSetting: It is of another synthesizer, or an asynchronous stream that
            has not been read.
    """
    metadata = response.metadata or {}
    if "citations" not in metadata or "max_image_side" not in metadata:
        raise InvalidSetting(
            f"The response is a {type(response).__name__} whose metadata has not what "
            f"MultiModalSynthesizer writes there. Give a response of an engine with "
            f"that synthesizer, such as index.as_query_engine()."
        )
    text = _text_of(response)
    nodes = [result.node for result in response.source_nodes]
    n_sources = min(len(metadata["citations"]), len(nodes))
    cited = first_citations(text, n_sources)
    shown_by: dict[str | bytes, list[int]] = {}
    for label in cited:
        if has_picture(nodes[label - 1]):
            shown_by.setdefault(_picture_key(nodes[label - 1]), []).append(label)
    return CitedAnswer(
        text=text,
        figures=tuple(
            Figure(nodes[labels[0] - 1], tuple(labels), *cited[labels[0]])
            for labels in shown_by.values()
        ),
        sources=tuple(
            f"[{label}] {_place(nodes[label - 1])}" for label in sorted(cited)
        ),
        max_side=metadata["max_image_side"],
    )


def _text_of(response: RESPONSE_TYPE) -> str:
    """Return a response's text; a stream is read to its end."""
    if isinstance(response, Response):
        return response.response or ""
    if not isinstance(response, AsyncStreamingResponse):
        return response.get_response().response or ""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        whole: Response = asyncio_run(response.get_response())
        return whole.response or ""
    raise InvalidSetting(
        "The response is an asynchronous stream, and must be awaited inside of an "
        "event loop. Say `response = await response.get_response()` first."
    )


def _picture_key(node: BaseNode) -> str | bytes:
    try:
        return picture_of(node)
    except ImageUnreadable:
        return node.node_id


def _place(node: BaseNode) -> str:
    parts = (name_of(node), str(node.metadata.get(SECTION_KEY, "")))
    return ", ".join(filter(None, map(_line, parts)))


def _line(text: str) -> str:
    return " ".join(unlabelled(text).split())
