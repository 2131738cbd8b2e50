"""What a channel over a collection answers about entities: their nodes, or the nearest.

Asked by what was found already: nodes of an entity that the channel did not find.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQuery

from llama_index_mmrag.fusion import Background
from llama_index_mmrag.nodes.node import ENTITY_KEY, MODALITY_KEY, POSITION_KEY
from llama_index_mmrag.retrieval.links import BY_ID, TYPE_KEY, naming
from llama_index_mmrag.retrieval.search import Answer
from llama_index_mmrag.stores.collection import Collection, Found

_MOST = 10_000
"""Nodes that are scored for a page of results; beyond, the farthest are left out."""

_NO_SPREAD = 1e-9  # what rounding leaves of the deviation of equal scores


class OfEntities:
    """Reads and scores the nodes of given entities."""

    __slots__ = ()

    if TYPE_CHECKING:
        collection: Collection

        def _allowed(
            self, *filters: MetadataFilters | None
        ) -> MetadataFilters | None: ...

    @property
    def scores_kin(self) -> bool:
        """Whether `nearness_of` can be asked."""
        return self.collection.scoring is not None

    def of_entities(
        self,
        entity_ids: Sequence[str],
        *,
        filters: MetadataFilters | None = None,
        linked_by: str | None = None,
        with_vectors: bool = False,
    ) -> list[BaseNode]:
        """Return this channel's nodes of the entities, whole.

        What a search must not find does not come along either: `filters` and the
        channel's own hold here too. With `linked_by` those count as the entities' too
        of which this metadata key says so, or with "id" their own ids.
        """
        reads = self._of(entity_ids, filters, linked_by)
        where = self.collection.nodes_where
        return [n for how in reads for n in where(**how, with_vectors=with_vectors)]

    async def aof_entities(
        self,
        entity_ids: Sequence[str],
        *,
        filters: MetadataFilters | None = None,
        linked_by: str | None = None,
    ) -> list[BaseNode]:
        """Return what `of_entities` does, over the store's asynchronous client."""
        reads = self._of(entity_ids, filters, linked_by)
        finding = [self.collection.anodes_where(**how) for how in reads]
        return [node for nodes in await asyncio.gather(*finding) for node in nodes]

    def of_ids(
        self, node_ids: Sequence[str], *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes of these ids; `filters` and the channel's own hold here."""
        where = self._allowed(filters)
        return self.collection.nodes_where(where, node_ids=node_ids)

    async def aof_ids(
        self, node_ids: Sequence[str], *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return what `of_ids` does, over the store's asynchronous client."""
        where = self._allowed(filters)
        return await self.collection.anodes_where(where, node_ids=node_ids)

    def nearness_of(
        self, entity_ids: Sequence[str], answers: Sequence[Answer], **which: Any
    ) -> list[Found]:
        """Return the entities' nodes as searches find them, once for each answer.

        Their scores are in deviations above what the query scores here by chance, so
        that they compare with those of other parts and channels, times the part's
        weight. By vector alone: words as they are written have no say here.

        Args:
            entity_ids: The entities.
            answers: This channel's, whose vectors are scored with.
            **which: `filters` and `linked_by`, as of `of_entities`; `words_of`, the
                entities of which the words of pictures are returned too.
        """
        search = self.collection.search
        return [
            hit
            for answer, query, how in self._scoring(entity_ids, answers, **which)
            for hit in _standing(search(query, **how), answer)
        ]

    async def anearness_of(
        self, entity_ids: Sequence[str], answers: Sequence[Answer], **which: Any
    ) -> list[Found]:
        """Return what `nearness_of` does, over the store's asynchronous client."""
        asked = self._scoring(entity_ids, answers, **which)
        search = self.collection.asearch
        found = await asyncio.gather(*(search(query, **how) for _, query, how in asked))
        return [
            hit
            for (answer, _, _), hits in zip(asked, found, strict=True)
            for hit in _standing(hits, answer)
        ]

    def _scoring(
        self,
        entity_ids: Sequence[str],
        answers: Sequence[Answer],
        *,
        payload_keys: Sequence[str],
        **which: Any,
    ) -> list[tuple[Answer, VectorStoreQuery, dict[str, Any]]]:
        reads = self._of(entity_ids, **which)
        keys = (*payload_keys, POSITION_KEY, MODALITY_KEY, TYPE_KEY)
        how = {"payload_keys": keys, **(self.collection.scoring or {})}
        return [
            (a, VectorStoreQuery([*a.vector], similarity_top_k=_MOST, **read), how)
            for a in answers
            if a.vector is not None
            for read in reads
        ]

    def _of(
        self,
        entity_ids: Sequence[str],
        filters: MetadataFilters | None,
        linked_by: str | None = None,
        words_of: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return what to read, as `Collection.nodes_where` is asked."""
        ids = list(entity_ids)
        keys = {linked_by or BY_ID, BY_ID}
        if self.collection.names_entities:
            keys.add(ENTITY_KEY)
        reads: list[dict[str, Any]] = []
        if (named := sorted(keys - {BY_ID})) and (ids or words_of):
            wanted = naming(ids, named, words_of)
            reads.append({"filters": self._allowed(wanted, filters)})
        if linked_by == BY_ID and ids:
            reads.append({"filters": self._allowed(filters), "node_ids": ids})
        return reads


def _standing(hits: Sequence[Found], answer: Answer) -> list[Found]:
    """Return the hits, scored in deviations above the background, times the weight."""
    others = answer.ranked.background or Background.of(hit.score for hit in hits)
    scale = answer.ranked.weight / max(others.std, _NO_SPREAD)
    return [hit._replace(score=scale * (hit.score - others.mean)) for hit in hits]
