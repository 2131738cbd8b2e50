"""A channel over any LlamaIndex retriever: BM25, a knowledge graph, a web search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.pace import Pace
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import entity_of
from llama_index_mmrag.retrieval.query import PartKind, QueryPart
from llama_index_mmrag.retrieval.search_channel import (
    Ask,
    Searched,
    check_common_settings,
)
from llama_index_mmrag.stores.collection import Found


@dataclass(frozen=True, slots=True)
class RetrieverChannel:
    """A LlamaIndex retriever as a channel beside those over vector stores.

    Its results keep their order. Where they have no scores, or scores that contradict
    their order, they are scored by rank, -1, -2, …, so that no rank is lost; give such
    a channel to a fusion by rank. Metadata filters cannot be passed to a retriever: a
    query with filters is refused rather than answered with what it must not show.

    Args:
        name: Unique in a fusion retriever.
        retriever: What is asked; its own settings say how many results it returns.
        modality: What its nodes are.
        accepts: Kinds of query part it is asked with: "text", "image" (a picture's
            path) or "composed" (words and a picture's path at once).
        top_k: Results kept, at least 1.
        weight: Factor in the fusion, at least 0; None leaves it to the fusion.
        timeout_s: Deadline of one search in seconds; None for none.
        n_retries: How often a search is repeated after its connection failed.

    Raises:
        InvalidSetting: A setting is out of its range.
    """

    name: str
    retriever: BaseRetriever = field(kw_only=True)
    modality: str = field(default="text", kw_only=True)
    accepts: frozenset[PartKind] = field(default=frozenset({"text"}), kw_only=True)
    top_k: int = field(default=10, kw_only=True)
    weight: float | None = field(default=None, kw_only=True)
    timeout_s: float | None = field(default=None, kw_only=True)
    n_retries: int = field(default=0, kw_only=True)
    pace: Pace = field(default_factory=Pace, init=False, repr=False, compare=False)
    """How long its searches have been taking."""

    def __post_init__(self) -> None:
        check_common_settings(
            name=self.name,
            top_k=self.top_k,
            weight=self.weight,
            timeout_s=self.timeout_s,
            n_retries=self.n_retries,
        )

    @property
    def can_filter(self) -> bool:
        """LlamaIndex retrievers take no filters with a query."""
        return False

    @property
    def source(self) -> BaseRetriever:
        """The retriever."""
        return self.retriever

    @property
    def is_light(self) -> bool:
        """False: a retriever's results are whole."""
        return False

    @property
    def is_embedded(self) -> bool:
        """Whether its latest searches were too short to be worth a thread."""
        return self.pace.is_quick

    @property
    def is_async(self) -> bool:
        """False: LlamaIndex's default `aretrieve` runs on the event loop."""
        return False

    def answer(self, ask: Ask) -> Searched:
        """Return what the retriever finds, in its order."""
        with self.pace.timed():
            results = self.retriever.retrieve(_bundle(ask.part))[: self.top_k]
        return Searched(
            tuple(
                Found(result.node.node_id, entity_of(result.node), score, result.node)
                for result, score in zip(results, _scores(results), strict=True)
            )
        )

    async def aanswer(self, ask: Ask) -> Searched:
        """Return what `answer` does, in a thread."""
        return await athread(lambda: self.answer(ask))

    def at_least(self, top_k: int) -> RetrieverChannel:
        """Return the channel with `top_k` results kept, if the retriever has them."""
        return self if top_k <= self.top_k else replace(self, top_k=top_k)

    def fetch(self, node_ids: Sequence[str]) -> dict[str, BaseNode]:  # noqa: ARG002
        """Return nothing: a retriever's results are whole already."""
        return {}

    def of_entities(
        self,
        entity_ids: Sequence[str],  # noqa: ARG002 - the protocol's
        *,
        filters: MetadataFilters | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[BaseNode]:
        """Return nothing: a retriever cannot look entities up."""
        return []

    async def aof_entities(
        self, entity_ids: Sequence[str], *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return what `of_entities` does."""
        return self.of_entities(entity_ids, filters=filters)


def _bundle(part: QueryPart) -> QueryBundle:
    members = part.parts or (part,)
    texts = [text for member in members for text in member.texts]
    pictures = [member for member in members if member.image is not None]
    if len(pictures) > 1:
        msg = (
            f"The query has {len(pictures)} pictures, and LlamaIndex's QueryBundle "
            f"holds one. Leave 'composed' out of the channel's accepts."
        )
        raise InvalidSetting(msg)
    for picture in pictures:
        if not isinstance(picture.image, (str, Path)):
            msg = (
                f"The {picture.name} of the query is in memory, and a LlamaIndex "
                f"retriever takes only paths. Save it to a file, or leave "
                f"{part.kind!r} out of the channel's accepts."
            )
            raise InvalidSetting(msg)
    return QueryBundle(
        part.words,
        image_path=str(pictures[0].image) if pictures else None,
        custom_embedding_strs=texts or None,
    )


def _scores(results: Sequence[NodeWithScore]) -> list[float]:
    given = [result.score for result in results if result.score is not None]
    in_order = all(a >= b for a, b in zip(given, given[1:], strict=False))
    if len(given) == len(results) and in_order:
        return given
    return [-float(rank) for rank in range(1, len(results) + 1)]
