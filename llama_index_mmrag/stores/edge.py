"""Qdrant Edge as a LlamaIndex vector store: Qdrant's engine, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import qdrant_edge as qe
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index_mmrag.checks import instance, listed, no_keywords, truth, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.stores.edge_filters import NO_DOCUMENT, filter_of
from llama_index_mmrag.stores.edge_folder import EdgeFolder
from llama_index_mmrag.stores.edge_modes import with_threshold
from llama_index_mmrag.stores.edge_opening import OpensFolder
from llama_index_mmrag.stores.edge_points import (
    CONTENT_KEYS,
    known_ids,
    node_of,
    nodes_of,
    point_ids,
    spelled_ids,
    upserts_of,
    vectors_of,
)
from llama_index_mmrag.stores.edge_search import nearest
from llama_index_mmrag.stores.modes import Hit
from llama_index_mmrag.stores.native import DOC_ID_KEY
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    from llama_index_mmrag.stores.native import FilterLike, SearchParamsLike


class QdrantEdgeVectorStore(OpensFolder):
    """A collection in a folder, searched by Qdrant's own engine without a server.

    The payload is the one that LlamaIndex's `QdrantVectorStore` writes, so the points
    move to a server unchanged. Making the object touches nothing; `open`, `connect` or
    a `with` block opens the folder, which then belongs to this object alone.

    Every method may be called from any thread. Writes are on disk when they return.
    A batch with a bad node is refused whole.

    Args:
        path: The store's folder; created if it does not exist.
        dim: Length of the vectors; None takes an existing store's.
        distance: "cosine" or "dot": scores of which larger is better.
        payload_indexes: Payload fields that filters use, as names (kept as keywords)
            or as name -> "keyword", "integer", "float", "bool", "datetime", "uuid" or
            "text". A filter on any other field is right too, but scans all points.
            Declare them before the first `build_index`.
        vector_name: Name of the vector in each point.
        quantisation: How a new store keeps its vectors; None: as they are, and of an
            existing store what it has. Codes are made by `build_index`.
        enable_hybrid: Whether SPARSE, TEXT_SEARCH and HYBRID find a new store's words;
            or their language, or a `Bm25Encoder`. True: English; None: what it has.

    Example:
        >>> import tempfile, uuid
        >>> from llama_index.core.schema import TextNode
        >>> from llama_index.core.vector_stores.types import VectorStoreQuery
        >>> node = TextNode(
        ...     id_=str(uuid.uuid4()), text="a red cube", embedding=[1.0, 0.0]
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with QdrantEdgeVectorStore.open(folder + "/text", dim=2) as store:
        ...         ids = store.add([node])
        ...         found = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0]))
        >>> found.nodes[0].text, round(found.similarities[0], 3)
        ('a red cube', 1.0)
    """

    @property
    def client(self) -> EdgeFolder:
        """The open folder (LlamaIndex's name for what a store talks to)."""
        return self._folder or self._opened_now()

    # Writing

    def add(self, nodes: Sequence[BaseNode], **unknown: Any) -> list[str]:
        """Insert nodes, or replace those of the same id; return their ids in order.

        An id is a UUID in any spelling, or a whole number below 2^64 as text. Methods
        take any spelling too; nodes and what is told of them keep their own.

        All nodes are checked before the first is written. Within one call the last of
        several nodes with the same id stays.

        Raises:
            InvalidVector: an embedding is missing, of another size, not finite, or all
                zeros under cosine.
            InvalidNodeId: an id is neither.
            InvalidSetting: metadata that cannot be stored, such as NaN; or a keyword
                that is not known, here and in the other methods.
            StoreFull: the disk has no room for them.
        """
        if unknown or not _holds(nodes, BaseNode):
            no_keywords(unknown, "add")
            listed(nodes, "nodes", BaseNode)
        folder = self.client
        if not nodes:
            return []
        cosine, name = folder.distance == "cosine", self.vector_name
        how: Any = {"cosine": cosine, "vector_name": name, "words": self._words}
        ids, upserts, n_bytes = upserts_of(nodes, dim=folder.dim, **how)
        folder.write(upserts, n_bytes=n_bytes)
        return ids

    def delete(self, ref_doc_id: str, **unknown: Any) -> None:
        """Remove all nodes of one source document; an unknown one removes nothing.

        Raises:
            InvalidSetting: no id, or "None", which LlamaIndex stores on every node
                that has no source document.
        """
        no_keywords(unknown, "delete")
        if not ref_doc_id or ref_doc_id == NO_DOCUMENT:
            raise InvalidSetting(
                f"delete({ref_doc_id!r}) names no document; nodes without a source are "
                "all stored under 'None', so it would remove every one of them. Pass a "
                "ref_doc_id, or use delete_nodes(node_ids)."
            )
        match = qe.MatchValue(instance(ref_doc_id, "ref_doc_id", str))
        condition = qe.Filter(must=[qe.FieldCondition(DOC_ID_KEY, match=match)])
        self.client.write([qe.UpdateOperation.delete_points_by_filter(condition)])

    @checked
    def delete_nodes(
        self,
        node_ids: Sequence[str] | None = None,
        filters: FilterLike | None = None,
        **unknown: Any,
    ) -> None:
        """Remove the nodes with these ids that also pass `filters`.

        Ids that are not there are ignored.

        Raises:
            InvalidSetting: neither ids nor conditions, which would match everything.
            InvalidNodeId: an id is neither a UUID nor a number.
        """
        no_keywords(unknown, "delete_nodes")
        ids = None if node_ids is None else point_ids(node_ids)
        condition = self._condition(filters, node_ids)
        if condition is None or ids == []:
            raise InvalidSetting(
                f"delete_nodes(node_ids={node_ids!r}, filters={filters!r}) names no "
                "nodes. Expected at least one id or one condition; to remove "
                "everything call clear()."
            )
        self.client.write([qe.UpdateOperation.delete_points_by_filter(condition)])

    def clear(self, **unknown: Any) -> None:
        """Remove all nodes; settings and indexed fields stay."""
        no_keywords(unknown, "clear")
        everything = qe.Filter(must=[])
        self.client.write([qe.UpdateOperation.delete_points_by_filter(everything)])

    # Reading

    def query(
        self,
        query: VectorStoreQuery,
        *,
        qdrant_filters: FilterLike | None = None,
        search_params: SearchParamsLike | None = None,
        mmr_threshold: float | None = None,
        **unknown: Any,
    ) -> VectorStoreQueryResult:
        """Return the nearest nodes, best first, ties by id.

        Scores are cosine or dot products, or of another mode as `edge_search` says:
        larger is better. `node_ids`, `doc_ids` and all filters must pass.
        `node.embedding` is None: ask `get_nodes` for vectors. Without a query vector
        the nodes that pass come by ascending id, with score 1.

        Args:
            query: What is asked.
            qdrant_filters: Filters beside the query's, as in `QdrantVectorStore`; there
                they replace the query's, here both must pass.
            search_params: How the engine searches: "hnsw_ef", "exact", "indexed_only",
                "quantization", "acorn", as in `qdrant_client.models.SearchParams`. Left
                out, it is exact where no payload index serves the filters.
            mmr_threshold: The query's, which LlamaIndex's retrievers pass beside it.
            **unknown: None.

        Raises:
            InvalidQuery: neither a query vector nor a condition, a negative
                `similarity_top_k`, or a filter that cannot be built.
            InvalidSetting: a keyword is not known or cannot be used.
            InvalidVector: the query vector has another size, is not finite, or is all
                zeros under cosine.
            UnsupportedQuery: a mode that the store does not have, or a condition that
                the engine does not have.
        """
        no_keywords(unknown, "query")
        if mmr_threshold is not None:
            query = with_threshold(query, mmr_threshold)
        also = {"also": qdrant_filters, "search_params": search_params}
        hits = self._nearest(query, CONTENT_KEYS, **also)
        nodes = [node_of(hit) for hit in hits]
        return VectorStoreQueryResult(
            nodes=nodes,
            similarities=[hit.score for hit in hits],
            ids=[node.node_id for node in nodes],
        )

    def query_ids(
        self,
        query: VectorStoreQuery,
        payload_keys: Sequence[str] = (),
        *,
        search_params: SearchParamsLike | None = None,
    ) -> list[tuple[str, float, dict[str, Any]]]:
        """Return (id, score, few payload values) of the nearest nodes, best first.

        The light form of `query`: whole nodes are neither read nor parsed, which is
        90 % of a wide search. Fetch what survives fusion with `get_nodes`. Ids are in
        Qdrant's spelling: a node's own is not read.

        Args:
            query: As for `query`.
            payload_keys: Payload fields to return; absent ones are left out.
            search_params: As for `query`.

        Raises:
            InvalidQuery, InvalidVector, UnsupportedQuery: as `query`.
        """
        if not _holds(payload_keys, str):
            listed(payload_keys, "payload_keys", str)
        keys = list(payload_keys) or False
        hits = self._nearest(query, keys, search_params=search_params)
        return [(str(hit.id), hit.score, hit.payload or {}) for hit in hits]

    def get_nodes(
        self,
        node_ids: Sequence[str] | None = None,
        filters: FilterLike | None = None,
        *,
        with_embeddings: bool = True,
        **unknown: Any,
    ) -> list[BaseNode]:
        """Return the nodes with these ids that also pass `filters`.

        With `node_ids`, in the order asked for, missing ones left out; without, by
        ascending id. With neither, all nodes.
        """
        if unknown:  # a query's walk passes by
            no_keywords(unknown, "get_nodes")
        if not isinstance(with_embeddings, bool):  # as here
            truth(with_embeddings, "with_embeddings")
        folder = self.client
        known = None if node_ids is None else known_ids(node_ids)
        if known is not None and filters is None:
            records = folder.retrieve(
                known, payload=CONTENT_KEYS, vector=with_embeddings
            )
        else:
            records = self._matching(
                filters, node_ids, payload=CONTENT_KEYS, vector=with_embeddings
            )
            if known is not None:
                keys = [str(key) for key in known if str(key) in records]
                records = {key: records[key] for key in keys}
        return nodes_of(records.values(), vector_name=self.vector_name)

    def sample_vectors(self, n_vectors: int) -> Vectors:
        """Return the vectors of the nodes with the lowest ids, shape (n, dim)."""
        folder, size = self.client, whole(n_vectors, "n_vectors", at_least=1)
        pages = folder.scroll(None, payload=False, vector=True, page_size=size)
        return vectors_of(next(pages, []), vector_name=self.vector_name, dim=folder.dim)

    def payload_values(self, node_ids: Sequence[str], key: str) -> dict[str, Any]:
        """Return one top-level payload field of the nodes that exist and have it."""
        if not isinstance(key, str):  # a page's walk passes by
            instance(key, "key", str)
        spelled = spelled_ids(node_ids)
        known = list(dict.fromkeys(spelled.values()))
        records = self.client.retrieve(known, payload=[key], vector=False)
        payloads = {i: record.payload or {} for i, record in records.items()}
        own = {i: payloads.get(str(point_id), {}) for i, point_id in spelled.items()}
        return {i: payload[key] for i, payload in own.items() if key in payload}

    def existing(self, node_ids: Iterable[str]) -> set[str]:
        """Return which of the nodes are stored, by ids alone."""
        spelled = spelled_ids(node_ids)
        known = list(dict.fromkeys(spelled.values()))
        there = self.client.retrieve(known, payload=False, vector=False)
        return {i for i, point_id in spelled.items() if str(point_id) in there}

    def document_ids(self) -> set[str]:
        """Return the source documents of all nodes that have one."""
        folder = self.client
        if folder.indexes.get(DOC_ID_KEY) == "keyword":
            return folder.values_of(DOC_ID_KEY) - {NO_DOCUMENT}
        pages = folder.scroll(None, payload=[DOC_ID_KEY], vector=False)
        payloads = (record.payload or {} for page in pages for record in page)
        return {str(p[DOC_ID_KEY]) for p in payloads if DOC_ID_KEY in p} - {NO_DOCUMENT}

    def ids_where(self, filters: FilterLike | None = None) -> list[str]:
        """Return the ids that pass `filters`, ascending, spelled as by `query_ids`."""
        return list(self._matching(filters, None, payload=False, vector=False))

    def count(self, filters: FilterLike | None = None) -> int:
        """Return how many nodes there are, or how many pass `filters`."""
        return self.client.count(self._condition(filters, None))

    def _nearest(
        self, query: VectorStoreQuery, payload: bool | list[str], **also: Any
    ) -> Sequence[Hit]:
        how: Any = {"vector_name": self.vector_name, "payload": payload, **also}
        # Opened first, which tells whether there are words.
        return nearest(self.client, query, words=self._words, **how)

    def _matching(
        self,
        filters: FilterLike | None,
        node_ids: Sequence[str] | None,
        *,
        payload: bool | list[str],
        vector: bool,
    ) -> dict[str, qe.Record]:
        folder = self.client
        chosen = filter_of(filters, node_ids=node_ids, indexes=folder.indexes)
        condition = None if chosen is None else chosen.condition
        found: dict[str, qe.Record] = {}
        for page in folder.scroll(condition, payload=payload, vector=vector):
            for record in page:
                found[str(record.id)] = record
        return found

    def _condition(
        self, filters: FilterLike | None, node_ids: Sequence[str] | None
    ) -> qe.Filter | None:
        chosen = filter_of(filters, node_ids=node_ids, indexes=self.client.indexes)
        return None if chosen is None else chosen.condition


def _holds(values: object, kind: type) -> bool:
    """Return whether a list or tuple holds nothing else: what nearly all calls give."""
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, kind) for value in values
    )
