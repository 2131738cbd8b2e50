"""Channels: one modality's collection, its encoder, and how it is searched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index_mmrag.composition import Composition
from llama_index_mmrag.concurrency.pace import Pace
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import Background
from llama_index_mmrag.nodes.node import ENTITY_KEY
from llama_index_mmrag.retrieval.accepts import kinds_accepted
from llama_index_mmrag.retrieval.composed_query import QueryComposer, composer_for
from llama_index_mmrag.retrieval.query import PartKind
from llama_index_mmrag.retrieval.search_channel import (
    Ask,
    Searched,
    check_common_settings,
)
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.collection_of import collection_of


@dataclass(frozen=True, slots=True)
class Channel:
    """One modality's collection: a name, a vector store and the encoder that filled it.

    Args:
        name: Unique in a retriever; weights and provenance use it.
        vector_store: Any LlamaIndex vector store whose scores grow with similarity.
        embed_model: Encodes queries for this collection. A `MultiModalEmbedding` can
            encode pictures too.
        modality: What the collection's nodes are; the name if empty.
        accepts: Kinds of query part that are searched for here. If empty, text, and
            pictures too where the encoder can encode them and the collection is not
            one of texts: pictures find texts badly, and would vote all the same. With
            a composition, "composed": all parts of a query as one, or the only one.
        top_k: Hits taken from each search, at least 1.
        weight: Factor in the fusion, at least 0; None leaves it to the fusion's own
            weights.
        timeout_s: Deadline of one search in seconds, encoding included; None for none.
        n_retries: How often a search or lookup is repeated after its connection failed
            or the server had too much to do, within the deadline. Encodings are not:
            their clients have retries of their own.
        filters: Conditions that hold for every search of this channel.
        mode: How the store searches for words: DEFAULT is by vector; HYBRID, for a
            `QdrantVectorStore(enable_hybrid=True)`, by vector and by terms. Pictures
            are always searched for by vector.
        alpha: Share of the vector in a hybrid search, from 0 (terms) to 1.
        composition: For early fusion: how a query's words and pictures become the one
            vector that is searched for. `Blend` suits any collection of a space that
            both are encoded into; others, a collection that was filled by them.
        text_embed_model: Beside a composition: encodes the words, where that is
            another encoder; `embed_model` if None.

    Raises:
        InvalidSetting: A setting is out of range, `accepts` asks for pictures of an
            encoder that has none, or the composition does not fit the encoders.
    """

    name: str
    vector_store: BasePydanticVectorStore = field(kw_only=True)
    embed_model: BaseEmbedding = field(kw_only=True)
    modality: str = field(default="", kw_only=True)
    accepts: frozenset[PartKind] = field(default=frozenset(), kw_only=True)
    top_k: int = field(default=10, kw_only=True)
    weight: float | None = field(default=None, kw_only=True)
    timeout_s: float | None = field(default=None, kw_only=True)
    n_retries: int = field(default=0, kw_only=True)
    filters: MetadataFilters | None = field(default=None, kw_only=True)
    mode: VectorStoreQueryMode = field(
        default=VectorStoreQueryMode.DEFAULT, kw_only=True
    )
    alpha: float | None = field(default=None, kw_only=True)
    composition: Composition | None = field(default=None, kw_only=True)
    text_embed_model: BaseEmbedding | None = field(default=None, kw_only=True)
    collection: Collection = field(init=False, repr=False, compare=False)
    """What is behind the store, which knows what differs from kind to kind."""
    pace: Pace = field(init=False, repr=False, compare=False)
    """How long searches have been taking."""
    composer: QueryComposer | None = field(init=False, repr=False, compare=False)
    """What composes queries, where there is a composition."""

    def __post_init__(self) -> None:
        check_common_settings(
            name=self.name,
            top_k=self.top_k,
            weight=self.weight,
            timeout_s=self.timeout_s,
            n_retries=self.n_retries,
        )
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            msg = (
                f"Channel {self.name!r}: alpha is {self.alpha!r}; expected a number "
                f"from 0 (terms alone) to 1 (the vector alone)."
            )
            raise InvalidSetting(msg)
        known = sorted(mode.value for mode in VectorStoreQueryMode)
        if self.mode not in known:
            msg = f"Channel {self.name!r}: mode is {self.mode!r}; expected {known}."
            raise InvalidSetting(msg)
        object.__setattr__(self, "mode", VectorStoreQueryMode(self.mode))
        composer = composer_for(
            self.name,
            self.composition,
            self.accepts,
            embed_model=self.embed_model,
            text_embed_model=self.text_embed_model,
        )
        object.__setattr__(self, "composer", composer)
        object.__setattr__(self, "collection", collection_of(self.vector_store))
        object.__setattr__(self, "pace", Pace())
        if not self.modality:
            object.__setattr__(self, "modality", self.name)
        kinds = kinds_accepted(
            self.accepts,
            channel=self.name,
            modality=self.modality,
            embed_model=self.embed_model,
            composes=self.composition is not None,
        )
        object.__setattr__(self, "accepts", kinds)

    @property
    def can_filter(self) -> bool:
        """Vector stores take metadata filters."""
        return True

    @property
    def source(self) -> BasePydanticVectorStore:
        """The store."""
        return self.vector_store

    @property
    def is_light(self) -> bool:
        """Whether searches bring ids only, and nodes are fetched afterwards."""
        return self.collection.is_light

    @property
    def is_embedded(self) -> bool:
        """Whether the store answers in this process, in well under a millisecond.

        Qdrant Edge holds the interpreter's lock while it searches, so that threads
        would only add their own cost. Of other stores, their pace so far tells.
        """
        way = self.collection.way
        return way == "here" or (way == "thread" and self.pace.is_quick)

    @property
    def is_async(self) -> bool:
        """Whether the store has a client that waits without holding a thread."""
        return self.collection.way == "await"

    def answer(self, ask: Ask) -> Searched:
        """Return what the query part finds here, best first."""
        with self.pace.timed():
            vector = self._vector(ask)
            query = self._query(ask, vector)
            return Searched(
                tuple(self.collection.search(query)), self._background(ask, vector)
            )

    async def aanswer(self, ask: Ask) -> Searched:
        """Return what `answer` does, over the store's asynchronous client."""
        if self.composer is None:
            vector = await ask.encodings.aof(ask.part, self.embed_model)
        else:
            vector = await athread(lambda: self._vector(ask))
        search = self.collection.asearch(self._query(ask, vector))
        if not ask.with_background:
            return Searched(tuple(await search))
        found, background = await asyncio.gather(
            search, athread(lambda: self._background(ask, vector))
        )
        return Searched(tuple(found), background)

    def at_least(self, top_k: int) -> Channel:
        """Return the channel with searches of `top_k` hits or more, all else shared."""
        if top_k <= self.top_k:
            return self
        deeper = replace(self, top_k=top_k)
        object.__setattr__(deeper, "pace", self.pace)
        object.__setattr__(deeper, "composer", self.composer)
        return deeper

    def fetch(self, node_ids: Sequence[str]) -> dict[str, BaseNode]:
        """Return whole nodes by id; ids that are gone by now are left out."""
        return {node.node_id: node for node in self.collection.nodes(node_ids)}

    def of_entities(
        self,
        entity_ids: Sequence[str],
        *,
        filters: MetadataFilters | None = None,
        with_vectors: bool = False,
    ) -> list[BaseNode]:
        """Return this channel's nodes of the entities, whole.

        What a search must not find does not come along either: `filters` and the
        channel's own hold here too.
        """
        if not entity_ids:
            return []
        theirs = self._of(entity_ids, filters)
        return self.collection.nodes_where(theirs, with_vectors=with_vectors)

    async def aof_entities(
        self, entity_ids: Sequence[str], *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return what `of_entities` does, over the store's asynchronous client."""
        if not entity_ids:
            return []
        return await self.collection.anodes_where(self._of(entity_ids, filters))

    def _of(
        self, entity_ids: Sequence[str], filters: MetadataFilters | None
    ) -> MetadataFilters:
        wanted = MetadataFilter(
            key=ENTITY_KEY, value=list(entity_ids), operator=FilterOperator.IN
        )
        allowed = both_filters(self.filters, filters)
        mine = MetadataFilters(filters=[wanted])
        return both_filters(mine, allowed) or mine

    def _vector(self, ask: Ask) -> list[float]:
        if self.composer is None:
            return ask.encodings.of(ask.part, self.embed_model)
        return self.composer.vector(ask.part, ask.encodings)

    def _query(self, ask: Ask, vector: list[float]) -> VectorStoreQuery:
        filters = both_filters(self.filters, ask.filters)
        query = VectorStoreQuery(
            query_embedding=vector, similarity_top_k=self.top_k, filters=filters
        )
        if self._is_dense(ask):
            return query
        return replace(
            query,
            mode=self.mode,
            query_str=ask.part.words,
            alpha=self.alpha,
            sparse_top_k=self.top_k,
            hybrid_top_k=self.top_k,
        )

    def _is_dense(self, ask: Ask) -> bool:
        return ask.part.kind != "text" or self.mode == VectorStoreQueryMode.DEFAULT

    def _background(self, ask: Ask, vector: list[float]) -> Background | None:
        # A hybrid score is no cosine: the sample says nothing about it.
        wanted = ask.with_background and self._is_dense(ask)
        return self.collection.background(vector) if wanted else None


def both_filters(
    one: MetadataFilters | None, other: MetadataFilters | None
) -> MetadataFilters | None:
    """Return filters that hold where both hold; None is no condition."""
    if one is None or other is None:
        return one or other
    return MetadataFilters(filters=[one, other], condition=FilterCondition.AND)
