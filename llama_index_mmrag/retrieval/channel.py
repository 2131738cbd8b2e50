"""Channels: one modality's collection, its encoder, and how it is searched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llama_index_mmrag.checks import instance
from llama_index_mmrag.checks.keywords import answered
from llama_index_mmrag.composition import Composition
from llama_index_mmrag.concurrency.jobs import Way
from llama_index_mmrag.embeddings.encoder import computes_here
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.nodes.payloads import PayloadKeys
from llama_index_mmrag.retrieval.composed_query import QueryComposer, check_accepts
from llama_index_mmrag.retrieval.copies import OpensItself
from llama_index_mmrag.retrieval.modes import checked_mode
from llama_index_mmrag.retrieval.of_entities import OfEntities
from llama_index_mmrag.retrieval.query import PartKind, QueryPart
from llama_index_mmrag.retrieval.search import MEANING, WORDS, Answer, Search
from llama_index_mmrag.retrieval.settings import (
    NO_MEMBER,
    QDRANTS_WORDS,
    checked_scores,
    checked_settings,
)
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.collection_of import collection_of, store_read_by
from llama_index_mmrag.stores.found import Found, Nearness
from llama_index_mmrag.stores.modes import BY_WORDS
from llama_index_mmrag.stores.native import metadata_filters, search_params_of

if TYPE_CHECKING:
    from llama_index_mmrag.stores.native import FilterLike, SearchParamsLike


_DEFAULT, _HYBRID = VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID


@answered(QDRANTS_WORDS)
@dataclass(frozen=True, slots=True)
class Channel(OpensItself, OfEntities, PayloadKeys):
    """One modality's collection: a name, a vector store and the encoder that filled it.

    Args:
        name: Unique in a retriever; weights and provenance use it.
        vector_store: Any LlamaIndex vector store whose scores grow with similarity.
        embed_model: Encodes queries for this collection. A `MultiModalEmbedding` can
            encode pictures too.
        modality: What the collection's nodes are; the name if empty.
        accepts: Kinds of query part that are searched for here. None takes what suits:
            text, and pictures too where the encoder can encode them and the collection
            is not one of texts or lettering, which pictures find badly, and would vote
            all the same.
            With a composition, "composed": all parts of a query as one, or the only
            one. With an empty set nothing is searched for here, and nodes only come
            along with what other channels find.
        top_k: Hits taken from each search, where the retriever's `top_k` is not more.
        timeout_s: Deadline of one search in seconds, encoding included; None for none.
        n_retries: How often a search or lookup is repeated after its connection failed
            or the server had too much to do, within the deadline. Encodings are not:
            their clients have retries of their own.
        filters: Conditions that hold for every search of this channel:
            `MetadataFilters`, a dictionary of equal values, over a store of Qdrant's a
            `qdrant_client.models.Filter`, or a list of these, which must all hold.
        query_filter: The same argument under Qdrant's name.
        score_threshold: What scores below it is absent, in the store's own scores (a
            cosine or dot product; what a hybrid search makes of both); None for none.
            Nodes that only complete an entity have no score, and stay.
        search_params: How a store of Qdrant's searches: "hnsw_ef", "exact",
            "quantization", "indexed_only" and "acorn", as a mapping or
            `qdrant_client.models.SearchParams`.
        mode: How the store searches: DEFAULT is by vector; SPARSE and TEXT_SEARCH by
            words and HYBRID by both, for a store with `enable_hybrid=True`, which
            concerns no pictures; MMR by vector, and then for unlike ones.
        alpha: Share of the vector in a hybrid search, from 0 (words) to 1. None: over
            stores whose words we made, the order of both on the vectors' own scale.
        sparse_top_k: Hits by terms in a hybrid search; None: as many as by vector.
        hybrid_top_k: Hits of a hybrid search in all; None: as many.
        mmr_threshold: For MMR, from 0 (unlike) to 1 (near); None: 0.5.
        composition: For early fusion: how a query's words and pictures become the one
            vector that is searched for. `Blend` suits any collection of a space that
            both are encoded into; others, a collection that was filled by them.
        image_embed_model: Beside a composition: encodes the pictures, where that is
            another encoder; `embed_model` if None.
        text_key: Over points that LlamaIndex did not write, as `from_qdrant` has it;
            and so are the following four. None: the `QdrantVectorStore`'s own.
        image_path_key: Field of a picture's path.
        image_url_key: Field of its URL.
        image_base64_key: Field of its base64.
        image_root: Folder that relative paths stand below.

    Raises:
        InvalidSetting: A setting is out of range, or the store cannot obey it;
            `accepts` asks for pictures of an encoder that has none, or the composition
            does not fit the encoders.
        InvalidQuery: A filter has a value that its operator cannot compare.
    """

    name: str
    vector_store: BasePydanticVectorStore = field(kw_only=True)
    embed_model: BaseEmbedding = field(kw_only=True)
    modality: str = field(default="", kw_only=True)
    # None until what suits is known, when the channel has been made.
    accepts: frozenset[PartKind] = field(default=None, kw_only=True)  # type: ignore[arg-type]
    top_k: int = field(default=10, kw_only=True)
    timeout_s: float | None = field(default=None, kw_only=True)
    n_retries: int = field(default=0, kw_only=True)
    filters: MetadataFilters | None = field(default=None, kw_only=True)
    query_filter: InitVar[FilterLike | None] = field(default=None, kw_only=True)
    score_threshold: float | None = field(default=None, kw_only=True)
    search_params: SearchParamsLike | None = field(default=None, kw_only=True)
    mode: VectorStoreQueryMode = field(default=_DEFAULT, kw_only=True)
    alpha: float | None = field(default=None, kw_only=True)
    sparse_top_k: int | None = field(default=None, kw_only=True)
    hybrid_top_k: int | None = field(default=None, kw_only=True)
    mmr_threshold: float | None = field(default=None, kw_only=True)
    composition: Composition | None = field(default=None, kw_only=True)
    image_embed_model: BaseEmbedding | None = field(default=None, kw_only=True)
    TEXT = IMAGE = NO_MEMBER
    can_filter: bool = field(default=True, init=False, repr=False, compare=False)
    source: object = field(init=False, repr=False, compare=False)
    way: Way = field(init=False, repr=False, compare=False)
    fetch: Callable[[Sequence[str]], list[BaseNode]] | None = field(
        init=False, repr=False, compare=False
    )
    collection: Collection = field(init=False, repr=False, compare=False)
    """What is behind the store, which knows what differs from kind to kind."""
    _how: dict[str, Any] = field(init=False, repr=False, compare=False)
    composer: QueryComposer | None = field(init=False, repr=False, compare=False)
    """What composes queries, where there is a composition."""
    halves_of: Callable[[QueryPart], tuple[str, ...]] | None = field(
        init=False, repr=False, compare=False
    )
    """Returns the routes that a part's is told apart in, where words are searched."""

    def __post_init__(self, query_filter: FilterLike | None) -> None:
        of = f"Channel {self.name!r}"
        instance(self.vector_store, f"{of}: vector_store", BasePydanticVectorStore)
        instance(self.embed_model, f"{of}: embed_model", BaseEmbedding)
        instance(self.modality, f"{of}: modality", str)
        instance(self.composition, f"{of}: composition", Composition, or_none=True)
        instance(self._image_model, f"{of}: image_embed_model", BaseEmbedding)
        modality = self.modality or self.name
        store = store_read_by(self.vector_store, self, of, modality)
        collection = collection_of(store)
        mode = checked_mode(self.mode, of, collection)
        filters = metadata_filters(
            self.filters, f"{of}: filters", query_filter=query_filter
        )
        collection.check_filters(filters)
        params = search_params_of(
            self.search_params, f"{of}: search_params", qdrant=collection.is_qdrant
        )
        is_halved = mode in BY_WORDS or (mode == _HYBRID and collection.words)
        known: dict[str, object] = {
            "halves_of": self._halves_of if is_halved else None,
            "modality": modality,
            "vector_store": store,
            "mode": mode,
            "collection": collection,
            "filters": filters,
            "search_params": params or None,
            "_how": {"search_params": params} if params else {},
            "source": store,
            # An encoder that may ask a server is awaited, though the store is here.
            "way": "await"
            if collection.way == "here" and not self._computes_here
            else collection.way,
            "fetch": collection.nodes if collection.is_light else None,
            "composer": self._composer(),
            **checked_settings(
                name=self.name,
                top_k=self.top_k,
                timeout_s=self.timeout_s,
                n_retries=self.n_retries,
                accepts=self._suits() if self.accepts is None else self.accepts,
            ),
            **checked_scores(
                of,
                alpha=self.alpha,
                score_threshold=self.score_threshold,
                sparse_top_k=self.sparse_top_k,
                hybrid_top_k=self.hybrid_top_k,
                mmr_threshold=self.mmr_threshold,
            ),
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)
        pictures = self.image_embed_model
        check_accepts(of, self.accepts, self._image_model, self.composition, pictures)

    def _composer(self) -> QueryComposer | None:
        if self.composition is None:
            return None
        return QueryComposer(
            self.composition,
            text_model=self.embed_model,
            image_model=self._image_model,
        )

    @property
    def place(self) -> object:
        """Where the nodes are: the same for channels over one collection."""
        return self.collection.place

    @property
    def _image_model(self) -> BaseEmbedding:
        return self.image_embed_model or self.embed_model

    @property
    def _sees(self) -> bool:
        return isinstance(self._image_model, MultiModalEmbedding)

    @property
    def _computes_here(self) -> bool:
        models = (self.embed_model, self.image_embed_model)
        return all(computes_here(model) for model in models if model is not None)

    def _suits(self) -> frozenset[PartKind]:
        if self.composition is not None:
            return frozenset({"composed"})
        both = self._sees and (self.modality or self.name) not in ("text", LETTERING)
        return frozenset({"text", "image"} if both else {"text"})

    def answer(self, search: Search) -> Answer:
        """Return what the query part finds here, best first."""
        query, is_calibrated = self._query(search)
        if self._is_unencoded(search):
            find, keys = self.collection.search, search.link.payload_keys
            return self._by_words(
                search, find(query, keys, with_vectors=True, **self._how)
            )
        if self.composer is None:
            is_here = self.way == "here"
            vector = search.encodings.of(search.part, self.embed_model, is_here=is_here)
        else:
            vector = self.composer.vector(search.part, search.encodings)
        query.query_embedding = vector
        found = self.collection.search(query, search.link.payload_keys, **self._how)
        if self.score_threshold is not None and search.half != MEANING:
            # What is no number stays: the ranking refuses it.
            found = [hit for hit in found if not hit.score < self.score_threshold]
        background = self.collection.background(vector) if is_calibrated else None
        return search.answered(found, background, vector)

    async def aanswer(self, search: Search) -> Answer:
        """Return what `answer` does, over the store's asynchronous client."""
        query, is_calibrated = self._query(search)
        if self._is_unencoded(search):
            finding = self.collection.asearch(
                query, search.link.payload_keys, with_vectors=True, **self._how
            )
            return self._by_words(search, await finding)
        part, encodings, composer = search.part, search.encodings, self.composer
        if composer is None:
            vector = await encodings.aof(part, self.embed_model)
        else:
            vector = await composer.avector(part, encodings)
        query.query_embedding = vector
        finding = self.collection.asearch(query, search.link.payload_keys, **self._how)
        if is_calibrated:
            sampling = self.collection.abackground(vector)
            found, background = await asyncio.gather(finding, sampling)
        else:
            found, background = await finding, None
        if self.score_threshold is not None and search.half != MEANING:
            found = [hit for hit in found if not hit.score < self.score_threshold]
        return search.answered(found, background, vector)

    def _query(self, search: Search) -> tuple[VectorStoreQuery, bool]:
        """Return what the store is asked, but for the vector.

        And whether a background belongs to it.
        """
        filters = self._allowed(search.filters)
        depth = max(self.top_k, search.depth)
        query = VectorStoreQuery(similarity_top_k=depth, filters=filters)
        mode, is_text = self.mode, search.part.kind == "text"
        if search.half:
            mode = _DEFAULT if search.half == MEANING else VectorStoreQueryMode.SPARSE
        if mode == _DEFAULT or not (is_text or mode == VectorStoreQueryMode.MMR):
            return query, search.with_background
        query.mode, query.alpha = mode, self.alpha
        query.mmr_threshold = self.mmr_threshold
        query.query_str = search.part.words
        query.sparse_top_k = self.sparse_top_k or depth
        query.hybrid_top_k = self.hybrid_top_k or depth
        # These scores are no cosines: the sample says nothing about them.
        return query, False

    def _halves_of(self, part: QueryPart) -> tuple[str, ...]:
        if part.kind != "text":
            return ("",)
        if self.mode != _HYBRID or self.collection.words is None:
            return (WORDS,)
        (terms,), _ = self.collection.words.queries([part.words])
        return (MEANING, WORDS) if terms else (MEANING,)

    def _is_unencoded(self, search: Search) -> bool:
        return search.half == WORDS and self.mode == _HYBRID

    def _by_words(self, search: Search, found: list[Found]) -> Answer:
        rows = {hit.node_id: hit.vector for hit in found}
        nearness = Nearness(rows, self.collection.is_cosine)
        return replace(search.answered(found), nearness=nearness)

    def _allowed(self, *filters: MetadataFilters | None) -> MetadataFilters | None:
        return reduce(both_filters, filters, self.filters)


def both_filters(
    one: MetadataFilters | None, other: MetadataFilters | None
) -> MetadataFilters | None:
    """Return filters that hold where both hold; None is no condition."""
    if one is None or other is None:
        return one or other
    return MetadataFilters(filters=[one, other], condition=FilterCondition.AND)
