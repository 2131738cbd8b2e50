"""A collection of LlamaIndex's Qdrant store, on a server or in local mode."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import models

from llama_index_mmrag.concurrency.turns import in_turn
from llama_index_mmrag.errors import CollectionMismatch, InvalidQuery
from llama_index_mmrag.nodes.node import ENTITY_KEY, one_spelling
from llama_index_mmrag.nodes.payloads import WRITTEN_KEY
from llama_index_mmrag.nodes.places import place
from llama_index_mmrag.stores.client import (
    POINTS_PER_PAGE,
    is_local,
    pages,
    vector_params,
)
from llama_index_mmrag.stores.collection import Collection, Found
from llama_index_mmrag.stores.dense import LARGER_IS_BETTER, dense_vector
from llama_index_mmrag.stores.edge_filters import NO_DOCUMENT, UnsupportedQuery, as_json
from llama_index_mmrag.stores.edge_points import point_id_of, vectors_of
from llama_index_mmrag.stores.encoder_card import check_size, is_filled_by
from llama_index_mmrag.stores.locks import search_lock
from llama_index_mmrag.stores.native import DOC_ID_KEY, EXACT, having
from llama_index_mmrag.stores.payloads import readable
from llama_index_mmrag.stores.qdrant_modes import found_on_server, is_ours, words_of
from llama_index_mmrag.stores.rescoring import RescoringVectorStore
from llama_index_mmrag.stores.server_errors import Asking
from llama_index_mmrag.vectors import Vectors

_LOOKED_AT = 10
_FILTERING = (
    *("query", "aquery", "get_nodes", "aget_nodes"),
    *("_build_query_filter", "_build_subfilter"),
)


class QdrantCollection(Collection):
    """The collection of a `QdrantVectorStore`.

    Nodes are read past LlamaIndex's `get_nodes` (0.10.4), which brings vectors along
    and ends silently at 9,999 nodes; but not past a subclass's: it may hide some.
    """

    is_qdrant = True
    _plain: type[QdrantVectorStore] = QdrantVectorStore  # others read their own way

    def __init__(self, store: QdrantVectorStore) -> None:
        super().__init__(store)
        self.store: QdrantVectorStore = store
        self._client: Any = store.client  # None with an asynchronous one alone
        asked = store._aclient if self._client is None else self._client  # noqa: SLF001
        self._lock = Asking(asked, store.collection_name, search_lock(store))
        self._reads_itself = type(store).get_nodes is not QdrantVectorStore.get_nodes
        if not self._reads_itself:
            self.scoring = {} if is_local(asked) else EXACT  # there it is, and warns
        # LlamaIndex's (0.10.4) `query(qdrant_filters=...)` takes them instead of the
        # query's own, to which a subclass may have added what it hides.
        self._filters_itself = any(
            getattr(type(store), name)
            not in {
                getattr(QdrantVectorStore, name),
                getattr(RescoringVectorStore, name),
            }
            for name in _FILTERING
        )
        is_asked = self._client is not None and not self._filters_itself
        self.words = words_of(store) if is_asked else None

    @property
    def place(self) -> object:
        """The collection, by its client's address or the client in this process."""
        store = self.store
        client = (self._client or store._aclient)._client  # noqa: SLF001
        return getattr(client, "rest_uri", id(client)), store.collection_name

    def search(
        self,
        query: VectorStoreQuery,
        payload_keys: Sequence[str] = (ENTITY_KEY,),
        **how: Any,
    ) -> list[Found]:
        """Return what the store finds, best first."""
        with readable(self.store):
            how = self._how(query, **how)
            if is_ours(query, self.words):
                if self._filters_itself:
                    raise UnsupportedQuery(
                        f"A {type(self.store).__name__}'s own query may hide nodes, "
                        f"and has no mode {query.mode.value!r}. Search in another."
                    )
                with self._lock:
                    hits = found_on_server(self.store, query, **how)
                found = self._found(self.store.parse_to_query_result(hits), len(hits))
                return [hit.taken_from_node() for hit in found]
            return super().search(query, payload_keys, **how)

    async def asearch(
        self,
        query: VectorStoreQuery,
        payload_keys: Sequence[str] = (ENTITY_KEY,),
        **how: Any,
    ) -> list[Found]:
        """Return what `search` does, without blocking the event loop."""
        # LlamaIndex's asynchronous hybrid search takes alpha=0.0 for "not given" and
        # searches with 0.5 (QdrantVectorStore 0.10.4); the synchronous one is right.
        if is_ours(query, self.words) or query.alpha == 0 or self.way != "await":
            find = partial(self.search, query, payload_keys, **how)
            return await in_turn(find, self, lane=self._lane)
        # An asynchronous client does without the lock.
        with self._lock, readable(self.store):
            how = self._how(query, **how)
            return await super().asearch(query, payload_keys, **how)

    def _how(self, query: VectorStoreQuery, **how: Any) -> dict[str, Any]:
        asked = dict(how)
        if "search_params" in how:
            asked["search_params"] = models.SearchParams(**how["search_params"])
        ids = (query.node_ids or None, query.doc_ids or None)
        if self._filters_itself or not (query.filters or any(ids)):
            return asked
        # Instead of the query's own filters, which all are in it.
        if (condition := self._condition(query.filters, *ids)) is not None:
            asked["qdrant_filters"] = condition
        return asked

    def _read_nodes(self, node_ids: Ids[str], with_vectors: bool) -> list[BaseNode]:
        if self._reads_itself:
            return super()._read_nodes(node_ids, with_vectors)
        return self._parsed(self._points(node_ids, with_vectors=with_vectors))

    def nodes_where(
        self,
        filters: MetadataFilters | None,
        *,
        node_ids: Ids[str] | None = None,
        with_vectors: bool = False,
    ) -> list[BaseNode]:
        """Return all nodes that pass `filters`, or those of them with these ids."""
        how: dict[str, Any] = {"node_ids": node_ids, "with_vectors": with_vectors}
        if self._reads_itself:
            return super().nodes_where(filters, **how)
        return self._parsed(self._scrolled(filters, with_payload=True, **how))

    async def anodes_where(
        self, filters: MetadataFilters | None, *, node_ids: Ids[str] | None = None
    ) -> list[BaseNode]:
        """Return what `nodes_where` does, without blocking the event loop."""
        if self.way != "await" or self._reads_itself:
            read = partial(self.nodes_where, filters, node_ids=node_ids)
            return await in_turn(read, self)
        condition = self._condition(filters, node_ids)
        points: list[Any] = []
        offset = None
        while True:
            with self._lock:
                page, offset = await self.store._aclient.scroll(  # noqa: SLF001
                    self.store.collection_name,
                    scroll_filter=condition,
                    limit=POINTS_PER_PAGE,
                    offset=offset,
                )
            points += page
            if offset is None:
                return self._parsed(points)

    def existing(self, node_ids: Ids[str]) -> set[str]:
        """Return which of the nodes are stored, by ids alone."""
        points = self._points(node_ids, with_payload=False) if node_ids else ()
        there = {one_spelling(str(point.id)) for point in points}
        return {i for i in node_ids if one_spelling(i) in there}

    def document_ids(self) -> set[str]:
        """Return the ref_doc_ids of all nodes that have one."""
        name = self.store.collection_name
        if self._can_facet():
            with self._lock:
                most = max(1, self._client.count(name, exact=True).count)
                facet = self._client.facet(name, DOC_ID_KEY, limit=most, exact=True)
            # Values of points that were deleted are listed too, with a count of 0.
            found = {hit.value for hit in facet.hits if hit.count}
        else:
            points = self._scrolled(None, with_payload=[DOC_ID_KEY])
            found = {(point.payload or {}).get(DOC_ID_KEY) for point in points}
        return {str(value) for value in found - {None, NO_DOCUMENT}}

    def count(self) -> int:
        """Return how many points there are, by the server's count."""
        if self._client is None:
            return super().count()
        with self._lock:
            return int(self._client.count(self.store.collection_name, exact=True).count)

    def _can_facet(self) -> bool:
        if is_local(self._client):  # it spells UUIDs anew, and scans all the same
            return False
        with self._lock:
            described = self._client.get_collection(self.store.collection_name)
        index = described.payload_schema.get(DOC_ID_KEY)
        return index is not None and index.data_type == models.PayloadSchemaType.KEYWORD

    def may_have(self, key: str, *, ask_server: bool = True) -> bool:
        """Return whether a node has the key; True with an asynchronous client alone."""
        client, name = self._client, self.store.collection_name
        if client is None or not (ask_server or is_local(client)):
            return True
        with self._lock:
            if not client.collection_exists(name):
                return True
            for condition in (None, self._condition(having(key))):
                found, _ = client.scroll(name, condition, limit=1, with_payload=False)
                if bool(found) == (condition is not None):
                    return True  # no node at all, or one with the key
        return False

    def _ids_where(self, filters: MetadataFilters) -> list[str]:
        points = self._scrolled(filters, with_payload=False)
        return [str(point.id) for point in points]

    def sample(self, most: int) -> tuple[Vectors, bool]:
        """Return vectors of the lowest ids, and whether they are compared by cosine.

        None, of length 0, where they cannot be read, or smaller is better.
        """
        store, name = self.store, self.store.collection_name
        if self._client is None:
            return super().sample(most)
        with self._lock:
            described = self._client.get_collection(name).config.params.vectors
            vector = vector_params(described, store.dense_vector_name)
            if vector is None or vector.distance.lower() not in LARGER_IS_BETTER:
                return super().sample(most)
            read = pages(
                self._client,
                name,
                limit=min(most, POINTS_PER_PAGE),
                with_vectors=True,
                with_payload=False,
            )
            points: list[Any] = [*islice(chain.from_iterable(read), most)]
        named = {"vector_name": store.dense_vector_name}
        vectors = vectors_of(points, dim=vector.size, **named)
        return vectors, vector.distance.lower() == "cosine"

    def check(self, dim: int, card: dict[str, str] | None = None) -> None:
        """Do nothing if vectors of size `dim` can be searched for in the collection."""
        if self._client is None:
            return
        name, wanted = self.store.collection_name, self.store.dense_vector_name
        with self._lock:
            if not self._client.collection_exists(name):
                listed = self._client.get_collections().collections
                raise CollectionMismatch(
                    f"There is no collection {name!r}; the client has "
                    f"{sorted(one.name for one in listed)}. Name one of these, or fill "
                    f"the collection first."
                )
            config = self._client.get_collection(name).config
        vector = dense_vector(config.params, wanted, name)
        check_size(vector.size, dim, f"collection {name!r}")
        if card is not None:
            is_filled_by(card, config.metadata, name)

    def strangers(self, *, ask_server: bool = True) -> list[dict[str, Any]]:
        """Return the payloads of those of ten points that LlamaIndex did not write."""
        client, name = self._client, self.store.collection_name
        if type(self.store) is not self._plain or client is None:
            return []
        if not (ask_server or is_local(client)):
            return []
        with self._lock:
            if not client.collection_exists(name):
                return []
            points, _ = client.scroll(name, limit=_LOOKED_AT, with_payload=True)
        payloads = [point.payload or {} for point in points]
        return [payload for payload in payloads if WRITTEN_KEY not in payload]

    def _points(self, node_ids: Ids[str], **wanted: Any) -> list[models.Record]:
        name = self.store.collection_name
        with self._lock:
            found: list[models.Record] = self._client.retrieve(
                name, self._asked(node_ids), **wanted
            )
        return found

    def _asked(self, node_ids: Ids[str]) -> list[Any]:
        # A server takes numbers as numbers; local mode keeps the spelling it was given.
        spelled = ((i, point_id_of(i)) for i in node_ids)
        asked = ((own, own) if isinstance(own, int) else (i, own) for i, own in spelled)
        return list(
            dict.fromkeys(i for both in asked if both[1] is not None for i in both)
        )

    def _scrolled(
        self,
        filters: MetadataFilters | None,
        node_ids: Ids[str] | None = None,
        **wanted: Any,
    ) -> list[models.Record]:
        condition = self._condition(filters, node_ids)
        name = self.store.collection_name
        with self._lock:
            found = pages(self._client, name, scroll_filter=condition, **wanted)
            return [point for page in found for point in page]

    def check_filters(self, filters: MetadataFilters | None) -> None:
        """Do nothing if the collection can apply the filters."""
        if self._filters_itself:
            super().check_filters(filters)
        self._condition(filters)

    def _condition(
        self,
        filters: MetadataFilters | None,
        node_ids: Ids[str] | None = None,
        doc_ids: Ids[str] | None = None,
    ) -> models.Filter | None:
        # One for searches and for lookups: a filter means the same for both.
        must: list[Any] = []
        if node_ids is not None:
            must.append(models.HasIdCondition(has_id=self._asked(node_ids)))
        if doc_ids is not None:
            must.append({"key": DOC_ID_KEY, "match": {"any": list(doc_ids)}})
        if self._filters_itself:
            own = self.store._build_query_filter(VectorStoreQuery(filters=filters))  # noqa: SLF001
        else:
            own = as_json(filters) if filters is not None else None
        must += [] if own is None else [own]
        try:
            return models.Filter(must=must) if must else None
        except ValueError as error:
            raise InvalidQuery(
                f"The filter {filters!r} cannot be built: {error}. Expected keys and "
                f"values as Qdrant documents them."
            ) from error

    def _parsed(self, points: list[models.Record]) -> list[BaseNode]:
        with readable(self.store):
            nodes = list(self.store.parse_to_query_result(points).nodes or ())
        return place(nodes, self.places)
