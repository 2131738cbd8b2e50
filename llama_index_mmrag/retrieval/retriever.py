"""The retriever: every route of a query, fused into one ranking with provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from inspect import unwrap
from typing import TYPE_CHECKING, Any, Literal, get_args

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, QueryType
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR

from llama_index_mmrag.checks import one_of, truth
from llama_index_mmrag.checks.keywords import answered
from llama_index_mmrag.concurrency.deadlines import Deadline, deadline_in
from llama_index_mmrag.concurrency.jobs import Steps, awalk, walk
from llama_index_mmrag.errors import AllRoutesFailed, InvalidQuery
from llama_index_mmrag.events.degraded import failure_of, reasons, report
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import RRF, Fusion
from llama_index_mmrag.retrieval.existing import ExistingCollections
from llama_index_mmrag.retrieval.halves import told_apart, united
from llama_index_mmrag.retrieval.links import check_key, links_of
from llama_index_mmrag.retrieval.modes import in_mode
from llama_index_mmrag.retrieval.query import (
    PICTURES,
    MultiModalQuery,
    QueryPart,
    parts_in_time,
    parts_of,
)
from llama_index_mmrag.retrieval.ranking import Ranking
from llama_index_mmrag.retrieval.read_query import checked_reader, searched_and_read
from llama_index_mmrag.retrieval.search import SearchChannel, plan
from llama_index_mmrag.retrieval.settings import (
    OF_CHANNELS,
    base_settings,
    checked_channels,
    checked_filters,
    checked_image_top_k,
    checked_timeout,
    depth_of,
)
from llama_index_mmrag.retrieval.single_routes import SingleRoutes
from llama_index_mmrag.retrieval.variants import Variants, refuse_settings

if TYPE_CHECKING:
    from llama_index_mmrag.lettering import PictureReader
    from llama_index_mmrag.stores.native import FilterLike

OnDegraded = Literal["report", "raise"]

# Overridden methods get a span of their own; the originals without theirs.
_retrieve = unwrap(BaseRetriever.retrieve)
_aretrieve = unwrap(BaseRetriever.aretrieve)

LOOKUP_SHARE = 0.2
"""Part of a query's time that is kept for reading nodes after the fusion."""

FOUND_S = 0.05
"""Seconds that there are at least for reading what an embedded store has found: another
store's answer, while it is parsed, may hold the interpreter beyond the deadline."""


class MultiModalFusionRetriever(ExistingCollections, Variants, SingleRoutes):
    """Searches every channel at once and fuses what they found, entity by entity.

    Takes a string, a LlamaIndex `QueryBundle` (text, `image_path`, or both) or a
    `MultiModalQuery`. Returns `FusedNode`s, best entity first; an entity brings its
    best node of each channel, all with the entity's score. The query and the stores'
    nodes are never written to.

    Args:
        channels: At least one; names are unique. Their order breaks ties.
        fusion: The rule; reciprocal rank fusion with k = 60 if None.
        top_k: Entities returned at most, at least 1; each channel is searched for as
            many hits, or for more if it says so. LlamaIndex's `similarity_top_k` is it
            too, also as a property to read and set.
        image_similarity_top_k: Beside it: entities at most whose best node is a
            picture; then `top_k` is for the others, in the one ranking.
        vector_store_query_mode: As in LlamaIndex, in the channels whose store can:
            "default", "hybrid" (`alpha`, `sparse_top_k`, `hybrid_top_k`), "sparse" or
            "text_search", "mmr" (`mmr_threshold`); None: each channel's own.
        linked_by: What makes nodes of several channels one entity, beside their own
            `entity_id`: "id", where ids mean the same in all channels, or a metadata
            key. Without it (channel, id) is an entity, but in channels over one
            collection, and for pictures in a collection of texts. A key that no node
            has is refused, empty collections aside; of a server that is asked by
            `from_vector_stores` and an index's `as_retriever` alone.
        filters: Conditions for every route, beside the channels' own, of any kind that
            `Channel` takes.
        query_filter: The same argument under Qdrant's name; likewise
            `vector_store_kwargs={"qdrant_filters": ...}`.
        doc_ids: Documents, by stored id or the one they came with, whose nodes alone
            are shown, in all channels and lookups; over stores of Qdrant's. None for
            all.
        node_ids: Nodes, by stored id in any spelling, likewise.
        complete_entities: Also fetch, for each result, its entity's nearest node from
            the channels that did not find it: the picture to a section and the section
            to a picture; their first one over stores that are not Qdrant's.
        read_query_pictures: What reads the lettering of a query's pictures, to be
            searched for as words in texts and lettering, as "lettering of image→text";
            by the query's deadline, and a picture that cannot be read is a degradation.
            False: they are not read. Of an index's `as_retriever` True is its own.
        on_degraded: "report" returns what the healthy routes found and says in the
            provenance which ones failed; "raise" raises `RouteFailed`.
        timeout_s: Deadline of a whole query in seconds, from its beginning, beside
            those of the channels, which hold for each search and each lookup: what is
            not there by the sooner of the two is a degradation. A fifth of it is kept
            for lookups where there are some; what an embedded store has found is read
            for up to 50 ms more. None for none.

    Raises:
        InvalidSetting: A setting is out of range or contradicts another.

    Example:
        >>> MultiModalFusionRetriever([])
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: A retriever needs at least one channel.
    """

    @answered(OF_CHANNELS)
    def __init__(  # noqa: PLR0913 - the base class's arguments come along
        self,
        channels: Sequence[SearchChannel],
        *,
        fusion: Fusion | None = None,
        top_k: int | None = None,
        similarity_top_k: int | None = None,
        image_similarity_top_k: int | None = None,
        vector_store_query_mode: VectorStoreQueryMode | str | None = None,
        alpha: float | None = None,
        sparse_top_k: int | None = None,
        hybrid_top_k: int | None = None,
        mmr_threshold: float | None = None,
        linked_by: str | None = None,
        filters: FilterLike | None = None,
        query_filter: FilterLike | None = None,
        doc_ids: Sequence[str] | None = None,
        node_ids: Sequence[str] | None = None,
        vector_store_kwargs: dict[str, Any] | None = None,
        complete_entities: bool = False,
        read_query_pictures: PictureReader | bool = False,
        on_degraded: OnDegraded = "report",
        timeout_s: float | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        self._fusion: Fusion = RRF() if fusion is None else fusion
        terms = {"alpha": alpha, "sparse_top_k": sparse_top_k}
        terms |= {"hybrid_top_k": hybrid_top_k, "mmr_threshold": mmr_threshold}
        channels = checked_channels(channels, self._fusion)
        self._channels = in_mode(channels, vector_store_query_mode, terms)
        self._is_halved = any(getattr(c, "halves_of", None) for c in self._channels)
        self._links = links_of(self._channels, linked_by)
        self.similarity_top_k = depth_of(top_k, similarity_top_k)
        check_key(linked_by, self._channels, ask_server=False)
        self._image_top_k = checked_image_top_k(image_similarity_top_k, self._channels)
        self._filters = checked_filters(
            filters,
            self._channels,
            query_filter=query_filter,
            doc_ids=doc_ids,
            node_ids=node_ids,
            vector_store_kwargs=vector_store_kwargs,
        )
        self._complete_entities = truth(complete_entities, "complete_entities")
        self._reader = checked_reader(read_query_pictures)
        self._on_degraded = one_of(on_degraded, "on_degraded", get_args(OnDegraded))
        self._timeout_s = checked_timeout(timeout_s, of="Retriever")
        base = base_settings(callback_manager, object_map, objects, verbose)
        super().__init__(**base)

    def retrieve(
        self, str_or_query_bundle: QueryType, **settings: Any
    ) -> list[NodeWithScore]:
        """Return what the query finds; what is no query is `InvalidQuery`.

        A picture is a query too: a `Path`, a PIL image, or LlamaIndex's `ImageNode`,
        `ImageDocument` or `ImageBlock`. Settings are the retriever's: refused here.
        """
        if settings:
            refuse_settings(settings, "retrieve")
        bundle = bundle_of(str_or_query_bundle)
        return list(_retrieve(self, bundle))

    async def aretrieve(
        self, str_or_query_bundle: QueryType, **settings: Any
    ) -> list[NodeWithScore]:
        """Return what `retrieve` does."""
        if settings:
            refuse_settings(settings, "aretrieve")
        bundle = bundle_of(str_or_query_bundle)
        return list(await _aretrieve(self, bundle))

    # Spans as LlamaIndex's own, in a tenth of the time.

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        name = f"{type(self).__name__}._retrieve"
        with Span(name, {"query_bundle": query_bundle}):
            return self._search(query_bundle)

    setattr(_retrieve, DISPATCHER_SPAN_DECORATED_ATTR, True)  # noqa: B010 - a constant

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        name = f"{type(self).__name__}._aretrieve"
        with Span(name, {"query_bundle": query_bundle}):
            return await self._asearch(query_bundle)

    def _begun(self, query: QueryType) -> tuple[Deadline | None, Any]:
        until = None if self._timeout_s is None else deadline_in(self._timeout_s)
        has_pictures = any(
            getattr(query, name, None) for name in ("image_path", "images")
        )
        # To be read, which may hang.
        return until, has_pictures and parts_in_time(query, self._channels, until)

    def _search(
        self, query: QueryType, kind: str | None = None, modality: str | None = None
    ) -> list[NodeWithScore]:
        deadline, reading = self._begun(query)
        parts = walk(reading) if reading else parts_of(query)
        return walk(self._steps(parts, deadline, kind, modality))

    async def _asearch(
        self, query: QueryType, kind: str | None = None, modality: str | None = None
    ) -> list[NodeWithScore]:
        deadline, reading = self._begun(query)
        parts = await awalk(reading) if reading else parts_of(query)
        return await awalk(self._steps(parts, deadline, kind, modality))

    def _steps(
        self,
        parts: Sequence[QueryPart],
        deadline: Deadline | None,
        kind: str | None,
        modality: str | None,
    ) -> Steps[list[NodeWithScore]]:
        """Search, fuse, read: yields the jobs of each step, and is sent their outcomes.

        Args:
            parts: The query's.
            deadline: Of the whole query.
            kind: Kind of the parts that are searched for; None for all.
            modality: Of the channels that are searched and alone shown; None: all.
        """
        top_k, image_top_k = self._top_k, self._image_top_k
        if modality is not None:
            top_k = (image_top_k if modality == "image" else None) or top_k
            image_top_k = None
        completes, until = self._complete_entities and modality is None, deadline
        if deadline and (completes or any(c.fetch for c in self._channels)):
            # A search that hangs must leave time to read what the others found.
            until = deadline.earlier_by(LOOKUP_SHARE)
        channels = [c for c in self._channels if modality in (None, c.modality)]
        planned = partial(
            plan,
            depth=top_k + (image_top_k or 0),
            filters=self._filters,
            with_background=self._fusion.needs_background or completes,
            links=self._links,
            deadline=until,
        )
        searches = planned([p for p in parts if kind in (None, p.kind)], channels)
        if self._reader is None or kind is not None or not parts[-1].image:
            answers, silent = yield searches
        else:
            answers, silent, searches = yield from searched_and_read(
                searches,
                parts,
                self._reader,
                until,
                lambda found, where: planned(
                    found, [c for c in channels if c.modality in where]
                ),
            )
        requested = tuple(search.name for search in searches)
        if self._is_halved:
            weights = self._fusion.weights
            answers, lost = yield from united(answers, weights, until)
            silent = [*silent, *lost]
        late = [lost.channel for lost in silent if lost.kind in ("deadline", "busy")]
        report(silent, requested=requested)
        if len(silent) == len(searches):
            raise AllRoutesFailed(
                f"All {len(silent)} routes of the query failed. {reasons(silent)}"
            )
        if silent and self._on_degraded == "raise":
            raise failure_of(silent, f"{len(searches)} routes")

        reading = deadline and deadline.or_in(FOUND_S)
        ranking = yield from Ranking.of(
            answers,
            channels,
            links=self._links,
            fusion=self._fusion,
            top_k=top_k,
            image_top_k=image_top_k,
            reading=reading,
        )
        apart = self._is_halved and told_apart(ranking.entities, answers)
        ranking = replace(ranking, entities=apart) if apart else ranking
        kin = late if completes else None
        ranking, unread, n_lookups = yield from ranking.read(
            channels, kin, self._filters, deadline, reading
        )
        if unread:
            report(unread)
            if self._on_degraded == "raise":
                raise failure_of(unread, f"{n_lookups} lookups")
        degraded = (*silent, *unread)
        results = ranking.results(requested=requested, degraded=degraded)
        if unread and not results:
            raise AllRoutesFailed(
                f"{len(ranking.entities)} entities were found, and none of their nodes "
                f"could be read. {reasons(unread)}"
            )
        return results


def bundle_of(query: QueryType) -> QueryBundle:
    """Return a query as a bundle that LlamaIndex's events can carry.

    Raises:
        InvalidQuery: It is neither a text, a picture nor a bundle, or has lone
            surrogates.
    """
    bundle = QueryBundle(query) if isinstance(query, str) else query
    if isinstance(bundle, PICTURES):
        return MultiModalQuery(images=[bundle])
    words = bundle.query_str if isinstance(bundle, QueryBundle) else None
    if not isinstance(words, str) or words.encode(errors="ignore").decode() != words:
        raise InvalidQuery(
            f"The query is {query!r}; expected a text without lone surrogates, a "
            f"picture (Path, PIL, ImageNode), a QueryBundle or a MultiModalQuery."
        )
    return bundle
