"""The retriever: every route of a query, fused into one ranking with provenance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.image_retriever import BaseImageRetriever
from llama_index.core.schema import (
    BaseNode,
    IndexNode,
    NodeWithScore,
    QueryBundle,
    QueryType,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQueryMode,
)

from llama_index_mmrag.concurrency.deadlines import Deadline, check_timeout, deadline_in
from llama_index_mmrag.concurrency.jobs import Outcome, arun_all, run_all
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import AllRoutesFailed
from llama_index_mmrag.events.degraded import report
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import RRF, Fusion
from llama_index_mmrag.provenance import Degradation
from llama_index_mmrag.retrieval import routes as routing
from llama_index_mmrag.retrieval.channels import Channel, both_filters
from llama_index_mmrag.retrieval.degradation import (
    OnDegraded,
    degradation,
    make_known,
    reasons,
)
from llama_index_mmrag.retrieval.query import QueryPart, parts_of, pictures_of
from llama_index_mmrag.retrieval.ranking import Lookup, Ranking, rank
from llama_index_mmrag.retrieval.retriever_settings import (
    checked_channels,
    checked_filters,
    checked_on_degraded,
    checked_top_k,
)
from llama_index_mmrag.retrieval.routes import Answer, Route
from llama_index_mmrag.retrieval.search_channel import SearchChannel

LOOKUP_SHARE = 0.2
"""Part of a query's time that is kept for reading nodes after the fusion."""


class MultiModalFusionRetriever(MultiModalRetriever):
    """Searches every channel at once and fuses what they found, entity by entity.

    Takes a string, a LlamaIndex `QueryBundle` (text, `image_path`, or both) or a
    `MultiModalQuery`. Returns `FusedNode`s, best entity first; an entity brings its
    best node of each channel, all with the entity's score. The query and the stores'
    nodes are never written to.

    Args:
        channels: At least one; names are unique. Their order breaks ties.
        fusion: The rule; reciprocal rank fusion with k = 60 if None.
        top_k: Entities returned at most, at least 1.
        filters: Conditions for every route, beside the channels' own.
        complete_entities: Also fetch, for each result, its entity's first node from
            the channels that did not find it: the picture to a section and the section
            to a picture. One lookup a channel.
        on_degraded: "report" returns what the healthy routes found and says in the
            provenance which ones failed; "raise" raises `RouteFailed`.
        timeout_s: Deadline of a whole query in seconds, from its beginning, beside
            those of the channels, which hold for each search and each lookup: what is
            not there by the sooner of the two is a degradation. A fifth of it is kept
            for lookups where there are some. None for none.

    Raises:
        InvalidSetting: A setting is out of range or contradicts another.

    Example:
        >>> MultiModalFusionRetriever([])
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: A retriever needs at least one channel.
    """

    def __init__(  # noqa: PLR0913 - the base class's arguments come along
        self,
        channels: Sequence[SearchChannel],
        *,
        fusion: Fusion | None = None,
        top_k: int = 10,
        filters: MetadataFilters | None = None,
        complete_entities: bool = False,
        on_degraded: OnDegraded = "report",
        timeout_s: float | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        self._fusion: Fusion = RRF() if fusion is None else fusion
        self._channels = checked_channels(channels, self._fusion)
        self._top_k = checked_top_k(top_k)
        self._filters = checked_filters(filters, self._channels)
        self._complete_entities = complete_entities
        self._on_degraded: OnDegraded = checked_on_degraded(on_degraded)
        check_timeout(timeout_s, of="Retriever")
        self._timeout_s = timeout_s
        super().__init__(
            callback_manager=callback_manager,
            object_map=object_map,
            objects=objects,
            verbose=verbose,
        )

    @classmethod
    def from_vector_stores(
        cls,
        *,
        text_store: BasePydanticVectorStore,
        image_store: BasePydanticVectorStore,
        text_embed: BaseEmbedding,
        image_embed: BaseEmbedding,
        **settings: Any,
    ) -> MultiModalFusionRetriever:
        """Return a retriever over an existing pair of collections, checked.

        They may be those of LlamaIndex's `VectorStoreIndex` or
        `MultiModalVectorStoreIndex`, with named or unnamed vectors. A text store made
        with `enable_hybrid=True` is searched by vector and by terms.

        Args:
            text_store: The collection of texts.
            image_store: The collection of pictures.
            text_embed: The encoder that filled the text collection.
            image_embed: The encoder that filled the image collection; to be asked with
                pictures it must be a `MultiModalEmbedding`.
            **settings: Arguments of the constructor.

        Raises:
            CollectionMismatch: A collection does not exist, has no vector of the name
                that its store asks for, or one of another size or distance than the
                encoder's; or it says that another encoder filled it.
        """
        hybrid = getattr(text_store, "enable_hybrid", False)
        mode = VectorStoreQueryMode.HYBRID if hybrid else VectorStoreQueryMode.DEFAULT
        channels = [
            Channel("text", vector_store=text_store, embed_model=text_embed, mode=mode),
            Channel("image", vector_store=image_store, embed_model=image_embed),
        ]
        for channel in channels:
            model = channel.embed_model
            channel.collection.check(dimension_of(model), card_of(model))
        return cls(channels, **settings)

    @property
    def channels(self) -> tuple[SearchChannel, ...]:
        """The channels, in configured order."""
        return self._channels

    @property
    def fusion(self) -> Fusion:
        """The rule that ranked lists are fused by."""
        return self._fusion

    def with_top_k(self, top_k: int) -> MultiModalFusionRetriever:
        """Return a retriever of `top_k` entities that shares all else with this one.

        Channels that take fewer hits from a search take `top_k`.

        Raises:
            InvalidSetting: `top_k` is less than 1.
        """
        other = copy(self)
        other._top_k = checked_top_k(top_k)
        other._channels = tuple(channel.at_least(top_k) for channel in self._channels)
        return other

    def with_filters(
        self, filters: MetadataFilters | None
    ) -> MultiModalFusionRetriever:
        """Return a retriever whose results meet `filters` as well as this one's own.

        Conditions add up: what this retriever must not show, the other does not show
        either, whatever `filters` says.

        Raises:
            InvalidSetting: A channel cannot apply filters.
        """
        other = copy(self)
        both = both_filters(self._filters, filters)
        other._filters = checked_filters(both, self._channels)
        return other

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # As LlamaIndex's own around _retrieve, in a tenth of the time.
        name = f"{type(self).__name__}._aretrieve"
        with Span(name, query_bundle=query_bundle):
            return await self._asearch(query_bundle)

    def _search(
        self,
        query: QueryBundle,
        parts: str | None = None,
        modality: str | None = None,
    ) -> list[NodeWithScore]:
        deadline = deadline_in(self._timeout_s)
        routes = self._plan(query, parts, modality)
        answers = routing.run(routes, self._search_deadline(deadline))
        ranking = self._rank(routes, answers)
        lookups = ranking.lookups(complete_entities=self._complete_entities)
        read = run_all([lookup.job(deadline) for lookup in lookups])
        return self._results(ranking, lookups, read)

    async def _asearch(
        self,
        query: QueryBundle,
        parts: str | None = None,
        modality: str | None = None,
    ) -> list[NodeWithScore]:
        deadline = deadline_in(self._timeout_s)
        here = (c.is_embedded and c.timeout_s is None for c in self._channels)
        if deadline is None and all(here):
            return await athread(lambda: self._search(query, parts, modality))
        if pictures_of(query):  # files, to be read
            routes = await athread(lambda: self._plan(query, parts, modality))
        else:
            routes = self._plan(query, parts, modality)
        answers = await routing.arun(routes, self._search_deadline(deadline))
        ranking = self._rank(routes, answers)
        lookups = ranking.lookups(complete_entities=self._complete_entities)
        read = await arun_all([lookup.job(deadline) for lookup in lookups])
        return self._results(ranking, lookups, read)

    def _search_deadline(self, deadline: Deadline | None) -> Deadline | None:
        # A search that hangs must leave time to read what the others found.
        reads_after = self._complete_entities or any(c.is_light for c in self._channels)
        if deadline is None or not reads_after:
            return deadline
        return deadline.earlier_by(LOOKUP_SHARE)

    def _rank(self, routes: list[Route], answers: list[Answer]) -> Ranking:
        ranking = rank(
            routes,
            answers,
            channels=self._channels,
            fusion=self._fusion,
            top_k=self._top_k,
        )
        failed, asked = ranking.degraded, ranking.requested
        if len(failed) == len(routes):
            report(failed, requested=asked)
            msg = f"All {len(routes)} routes of the query failed. {reasons(failed)}"
            raise AllRoutesFailed(msg)
        of, on_degraded = f"{len(routes)} routes", self._on_degraded
        make_known(failed, of, on_degraded=on_degraded, requested=asked)
        return ranking

    def _results(
        self,
        ranking: Ranking,
        lookups: Sequence[Lookup],
        read: Sequence[Outcome[list[BaseNode]]],
    ) -> list[NodeWithScore]:
        fetched: list[BaseNode] = []
        failed: list[Degradation] = []
        for lookup, nodes in zip(lookups, read, strict=True):
            if isinstance(nodes, Exception):
                failed.append(degradation(lookup.channel.name, lookup.name, nodes))
            else:
                fetched += nodes
        make_known(failed, f"{len(lookups)} lookups", on_degraded=self._on_degraded)
        ranking = replace(ranking, degraded=(*ranking.degraded, *failed))
        results = ranking.results(fetched)
        if failed and not results:
            msg = (
                f"{len(ranking.entities)} entities were found, and none of their nodes "
                f"could be read. {reasons(failed)}"
            )
            raise AllRoutesFailed(msg)
        return results

    def _plan(
        self, query: QueryBundle, part_kind: str | None, modality: str | None
    ) -> list[Route]:
        parts: Iterable[QueryPart] = parts_of(query)
        if part_kind is not None:
            parts = [part for part in parts if part.kind == part_kind]
        channels = [
            c for c in self._channels if modality is None or c.modality == modality
        ]
        return routing.plan(
            list(parts),
            channels,
            self._filters,
            with_background=getattr(self._fusion, "needs_background", False),
        )

    # LlamaIndex's MultiModalRetriever: single routes under fixed names.

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return text nodes for the query's words."""
        return self._search(_bundle(str_or_query_bundle), parts="text", modality="text")

    async def atext_retrieve(
        self, str_or_query_bundle: QueryType
    ) -> list[NodeWithScore]:
        """Return text nodes for the query's words."""
        bundle = _bundle(str_or_query_bundle)
        return await self._asearch(bundle, parts="text", modality="text")

    # MultiModalRetriever declares these abstract again and so hides their code.
    text_to_image_retrieve = BaseImageRetriever.text_to_image_retrieve
    atext_to_image_retrieve = BaseImageRetriever.atext_to_image_retrieve
    image_to_image_retrieve = BaseImageRetriever.image_to_image_retrieve
    aimage_to_image_retrieve = BaseImageRetriever.aimage_to_image_retrieve

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, parts="text", modality="image")

    async def _atext_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return await self._asearch(query_bundle, parts="text", modality="image")

    def _image_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return self._search(query_bundle, parts="image", modality="image")

    async def _aimage_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return await self._asearch(query_bundle, parts="image", modality="image")


def _bundle(query: QueryType) -> QueryBundle:
    return QueryBundle(query) if isinstance(query, str) else query
