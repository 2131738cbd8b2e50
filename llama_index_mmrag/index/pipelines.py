"""An index in LlamaIndex's ingestion pipelines: as vector store, and as a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
)

from llama_index_mmrag.checks import listed
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import DocumentUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.index.verbs import Verbs
from llama_index_mmrag.ingestion.records import UpsertReport
from llama_index_mmrag.ingestion.relations import stored_id
from llama_index_mmrag.ingestion.transformation import (
    MultiModalTransformation,
    without_encoders,
)

_NAMED = 5
"""Nodes that an error names; the log names all."""


class Pipelines(Verbs):
    """The parts of an index that stand in an `IngestionPipeline`."""

    def as_vector_store(self) -> IndexVectorStore:
        """Return the index as the `vector_store` of an `IngestionPipeline`.

        Texts and pictures go into their collections, each encoded once, here, by the
        index's encoders: embeddings that nodes have are not looked at. Documents and
        nodes keep the ids that they have, also random ones, since the pipeline's
        docstore knows them by these.
        """
        return IndexVectorStore(self)

    @checked
    def as_transformation(self, *steps: TransformComponent) -> TransformComponent:
        """Return a step of an `IngestionPipeline`, before `as_vector_store`.

        Pipelines store only nodes that a step has given an embedding: this is that
        step, and leaves the encoding to the store. Steps that are given to it, such as
        a `SentenceSplitter`, see texts alone, and pictures pass: LlamaIndex's own
        (0.14.25) make a text of an `ImageNode`, and its cache takes two pictures
        without words for one. A document that nobody has split is read as by `insert`.

        Args:
            *steps: LlamaIndex's transformations; none of them an encoder.

        Raises:
            InvalidSetting: One is no transformation, or an encoder.
        """
        listed(steps, "steps", TransformComponent)
        return MultiModalTransformation(steps=[*without_encoders(steps, "steps")])

    def _insert_as_named(self, nodes: Sequence[BaseNode]) -> UpsertReport:
        """Insert documents and nodes under the ids that they have."""
        settings = replace(self._settings, keep_uuid4=True)
        return self._writer.write(self._read(nodes, settings), len(nodes))


class IndexVectorStore(BasePydanticVectorStore):
    """An index as LlamaIndex's pipelines fill it. It is searched by its retriever."""

    stores_text: bool = True
    _index: Pipelines = PrivateAttr()

    def __init__(self, index: Pipelines) -> None:
        super().__init__(stores_text=True)
        self._index = index

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows the class by."""
        return "IndexVectorStore"

    @property
    def client(self) -> Any:
        """The client of the index's texts."""
        return self._index.vector_store.client

    # Writing

    def add(self, nodes: Sequence[BaseNode], **unknown: Any) -> list[str]:
        """Encode and store nodes, or documents; return their ids in order.

        What is stored already, under the same id and with the same content, is not
        encoded again.

        Raises:
            DocumentUnreadable: Something could not be read or encoded. All else is in,
                and the same pipeline run again encodes only what is missing.
        """
        refuse_unknown(unknown, "add", ())
        listed(nodes, "nodes", BaseNode)
        report = self._index._insert_as_named(nodes)  # noqa: SLF001 - its other half
        lost = [problem for problem in report.problems if not problem.is_part]
        if lost:
            told = " ".join(f"{each.source}: {each.reason}" for each in lost[:_NAMED])
            raise DocumentUnreadable(
                f"{len(lost)} of {len(nodes)} nodes could not be stored, the others "
                f"were. Mend these or leave them out, and run the pipeline again: "
                f"{told}"
            )
        return [node.node_id for node in nodes]

    @checked
    def delete(self, ref_doc_id: str, **unknown: Any) -> None:
        """Remove all nodes of one document from both collections."""
        refuse_unknown(unknown, "delete", ())
        self._index.delete_ref_doc(ref_doc_id)

    @checked
    def delete_nodes(
        self,
        node_ids: Sequence[str] | None = None,
        filters: MetadataFilters | None = None,
        **unknown: Any,
    ) -> None:
        """Remove the nodes of these ids that pass `filters` from both collections.

        Raises:
            InvalidSetting: Neither is given, which would be all nodes.
        """
        refuse_unknown(unknown, "delete_nodes", ("node_ids", "filters"))
        if node_ids is None and filters is None:
            raise InvalidSetting(
                "delete_nodes() names no nodes. Expected ids or filters; to remove "
                "everything call clear()."
            )
        if filters is not None:
            node_ids = [node.node_id for node in self.get_nodes(node_ids, filters)]
        self._index.delete_nodes(node_ids or ())

    def clear(self) -> None:
        """Remove everything from both collections."""
        self._index._writer.delete_all(self._index.ref_doc_ids())  # noqa: SLF001
        of_no_document = [node.node_id for node in self.get_nodes()]
        self._index.delete_nodes(of_no_document)

    # Reading

    @checked
    def get_nodes(
        self,
        node_ids: Sequence[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """Return the nodes of these ids that pass `filters`, texts before pictures."""
        ids = node_ids and [*node_ids, *map(stored_id, node_ids)]
        return [
            node
            for channel in self._index._channels.values()  # noqa: SLF001
            for node in channel.collection.nodes_where(filters, node_ids=ids)
        ]

    def query(self, query: VectorStoreQuery, **_: Any) -> NoReturn:  # noqa: ARG002
        """Refuse: one vector cannot ask two collections.

        Raises:
            InvalidQuery: Always; it names `as_retriever`.
        """
        raise InvalidQuery(
            "An index as a vector store is filled and not searched: its texts and its "
            "pictures have a collection and an encoder each. Search it with "
            "index.as_retriever() or index.as_query_engine()."
        )

    # The same for an event loop

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Do what `add` does, in a thread."""
        return await athread(lambda: self.add(nodes, **kwargs))

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Do what `delete` does, in a thread."""
        await athread(lambda: self.delete(ref_doc_id, **kwargs))

    async def adelete_nodes(
        self,
        node_ids: Sequence[str] | None = None,
        filters: MetadataFilters | None = None,
        **kwargs: Any,
    ) -> None:
        """Do what `delete_nodes` does, in a thread."""
        await athread(lambda: self.delete_nodes(node_ids, filters, **kwargs))

    async def aclear(self) -> None:
        """Do what `clear` does, in a thread."""
        await athread(self.clear)

    async def aget_nodes(
        self,
        node_ids: Sequence[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """Return what `get_nodes` does, read in a thread."""
        return await athread(lambda: self.get_nodes(node_ids, filters))
