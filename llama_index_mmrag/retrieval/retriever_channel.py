"""A channel over any LlamaIndex retriever: BM25, a knowledge graph, a web search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.checks import instance
from llama_index_mmrag.concurrency.jobs import Way
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.retrieval.query import PartKind, QueryPart
from llama_index_mmrag.retrieval.search import Answer, Search
from llama_index_mmrag.retrieval.settings import checked_settings
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
        top_k: Results kept, where the fusion retriever's `top_k` is not more.
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
    timeout_s: float | None = field(default=None, kw_only=True)
    n_retries: int = field(default=0, kw_only=True)
    # LlamaIndex's retrievers take no filters with a query, and their default
    # `aretrieve` blocks the event loop; their results are whole.
    can_filter: bool = field(default=False, init=False, repr=False, compare=False)
    source: object = field(init=False, repr=False, compare=False)
    way: Way = field(default="thread", init=False, repr=False, compare=False)
    fetch: None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        of = f"Channel {self.name!r}"
        instance(self.retriever, f"{of}: retriever", BaseRetriever)
        instance(self.modality, f"{of}: modality", str)
        checked = checked_settings(
            name=self.name,
            top_k=self.top_k,
            timeout_s=self.timeout_s,
            n_retries=self.n_retries,
            accepts=self.accepts,
        )
        for name, value in {**checked, "source": self.retriever}.items():
            object.__setattr__(self, name, value)

    def answer(self, search: Search) -> Answer:
        """Return what the retriever finds, in its order."""
        results = self.retriever.retrieve(_bundle(search.part))
        results = results[: max(self.top_k, search.depth)]
        found = [
            Found(result.node.node_id, result.node.metadata, score, result.node)
            for result, score in zip(results, _scores(results), strict=True)
        ]
        return search.answered(found, ties_in_order=True)

    async def aanswer(self, search: Search) -> Answer:
        """Return what `answer` does."""
        return self.answer(search)

    def of_entities(
        self,
        entity_ids: Sequence[str],  # noqa: ARG002 - the protocol's
        *,
        filters: MetadataFilters | None = None,  # noqa: ARG002 - the protocol's
        linked_by: str | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[BaseNode]:
        """Return nothing: a retriever cannot look entities up."""
        return []

    async def aof_entities(
        self,
        entity_ids: Sequence[str],
        *,
        filters: MetadataFilters | None = None,
        linked_by: str | None = None,
    ) -> list[BaseNode]:
        """Return what `of_entities` does."""
        return self.of_entities(entity_ids, filters=filters, linked_by=linked_by)


def _bundle(part: QueryPart) -> QueryBundle:
    members = part.parts or (part,)
    texts = [text for member in members for text in member.texts]
    pictures = [member.image for member in members if member.image is not None]
    if len(pictures) > 1:
        raise InvalidSetting(
            f"The query has {len(pictures)} pictures, and LlamaIndex's QueryBundle "
            f"holds one. Leave 'composed' out of the channel's accepts."
        )
    path = pictures[0] if pictures else None
    if isinstance(path, bytes):
        raise InvalidSetting(
            f"The query's picture is in memory, and a LlamaIndex retriever takes only "
            f"paths. Save it to a file, or leave {part.kind!r} out of the channel's "
            f"accepts."
        )
    return QueryBundle(part.words, image_path=path, custom_embedding_strs=texts or None)


def _scores(results: Sequence[NodeWithScore]) -> list[float]:
    given = [result.score for result in results if result.score is not None]
    in_order = all(a >= b for a, b in zip(given, given[1:], strict=False))
    if len(given) == len(results) and in_order:
        return given
    return [-float(rank) for rank in range(1, len(results) + 1)]
