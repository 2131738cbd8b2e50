"""The index's verbs, by LlamaIndex's names: filled, changed, asked.

They mean what they mean on a `MultiModalVectorStoreIndex`; its names that mean nothing
here say what to use instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode, Document
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.linked import IMAGE, TEXT
from llama_index_mmrag.ingestion.records import Problem, SourceRecord, UpsertReport
from llama_index_mmrag.ingestion.roots import known_as
from llama_index_mmrag.ingestion.sources import Sources
from llama_index_mmrag.nodes.node import GIVEN_ID_KEY

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

P = ParamSpec("P")
R = TypeVar("R")

_NO_DOCSTORE = (
    "An index has no docstore: its collections hold the nodes, whole. Documents are in "
    "ref_doc_info and ref_doc_ids(), nodes in channels[0].collection.nodes(ids)."
)
_NO_STRUCT = (
    "An index has no index_struct: nothing is kept beside its collections. Its id is "
    "index_id, its documents are in ref_doc_info."
)
_CLIENTS = (
    "Raw points are the client's: index.client, of an index on a server; embedded, "
    "there is none. The collections are vector_store and image_vector_store, with "
    "channels[0].collection to read (count, nodes, nodes_where)."
)
_ASKED = "An index is asked by as_retriever().retrieve(...), or as_query_engine()."
_ENCODED = "Its encoders are embed_model and image_embed_model."
_NAMES = "A collection's name is its store's: index.vector_store.collection_name."
_SAID = {
    _ASKED: "query query_points retrieve aretrieve aquery search",
    _CLIENTS: "client count scroll upsert set_payload create_payload_index "
    "get_collection",
    _ENCODED: "embed_text embed_query embed_image",
    _NAMES: "text_collection image_collection collection_name",
    _NO_STRUCT: "index_struct index_struct_cls",
}
_NOT_HERE = {
    **{name: said for said, names in _SAID.items() for name in names.split()},
    "_object_map": "VectorIndexAutoRetriever searches one store of texts. Give an "
    "agent index.as_tool(filter_keys={...}), whose filters a model sets.",
    "build_index_from_nodes": "An index is filled by insert_nodes, or made by "
    "from_documents.",
    "delete": "LlamaIndex has deprecated delete. Use delete_ref_doc.",
    "docstore": _NO_DOCSTORE,
    "image_namespace": "An index has no namespaces. Its pictures are in "
    "image_vector_store.",
    "is_image_vector_store_empty": "An index keeps no such flag. Ask "
    "channels[1].collection.count().",
    "is_text_vector_store_empty": "An index keeps no such flag. Ask "
    "channels[0].collection.count().",
    "set_index_id": "An index's id is its store's, and is not changed: see index_id.",
    "storage_context": "An index has no storage context, and nothing to persist: all "
    "is written where it was opened, and MultiModalQdrantIndex.open(path) brings it "
    "back. Its stores are vector_store and image_vector_store.",
    "summary": "An index has no summary. ref_doc_info lists its documents.",
    "update": "LlamaIndex has deprecated update. Use update_ref_doc.",
}
"""Names of LlamaIndex's index and of Qdrant's client that mean nothing here, and what
to do."""


_OF_INSERTING = ("show_progress",)
_OF_DELETING = ("delete_from_docstore",)
_OF_UPDATING = ("insert_kwargs", "delete_kwargs")


class RefDocInfos(dict[str, RefDocInfo]):
    """Documents by their stored ids; the id that one came with finds it too."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, str] = {}

    def __contains__(self, id_: object) -> bool:
        """Return whether a document has this id, or came with it."""
        return super().__contains__(self.given.get(str(id_), id_))

    def __missing__(self, id_: str) -> RefDocInfo:
        """Return the document that came with this id."""
        return self[self.given[id_]]

    def get(self, id_: str, default: Any = None) -> Any:
        """Return the document that has this id, or came with it."""
        return super().get(self.given.get(id_, id_), default)


def _asynchronous(verb: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return a method that does the same without blocking the event loop."""
    name = verb.__name__

    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        index, *others = args
        return await athread(lambda: getattr(index, name)(*others, **kwargs))

    update_wrapper(call, verb)
    call.__name__, call.__doc__ = f"a{name}", f"Do what `{name}` does, in a thread."
    return call


class Verbs(Sources):
    """What an index does, besides opening, searching and closing."""

    @property
    def vector_store(self) -> BasePydanticVectorStore:
        """The store of texts."""
        return self._channels[TEXT].vector_store

    @property
    def image_vector_store(self) -> BasePydanticVectorStore:
        """The store of pictures."""
        return self._channels[IMAGE].vector_store

    @property
    def embed_model(self) -> BaseEmbedding:
        """The encoder of texts."""
        return self._channels[TEXT].embed_model

    @property
    def image_embed_model(self) -> BaseEmbedding:
        """The encoder of pictures."""
        return self._channels[IMAGE].embed_model

    @property
    def index_id(self) -> str:
        """The store's id, made with it; of stores that have none, a collection's name.

        It is "" where the channels were not opened but given.
        """
        return self._catalogue.index_id

    # Writing

    @checked
    def insert_nodes(
        self, nodes: Sequence[BaseNode], *, show_progress: bool = False
    ) -> UpsertReport:
        """Insert nodes, each kept whole; return what was done.

        Raises:
            InvalidSetting: One is a document, which is split: `insert` does that.
        """
        if any(isinstance(node, Document) for node in nodes):
            raise InvalidSetting(
                "insert_nodes() got a Document; expected nodes. insert() takes both, "
                "and splits documents."
            )
        return self.insert(nodes, show_progress=show_progress)

    @checked
    def update_ref_doc(
        self,
        document: Document,
        *,
        insert_kwargs: Mapping[str, Any] | None = None,
        delete_kwargs: Mapping[str, Any] | None = None,
    ) -> UpsertReport:
        """Put a document in place of what was stored of it, as `insert` does.

        Args:
            document: The new version, with the id of the old one.
            insert_kwargs: `show_progress`.
            delete_kwargs: `delete_from_docstore`, as for `delete_ref_doc`.
        """
        refuse_unknown(delete_kwargs or (), "delete_ref_doc", _OF_DELETING)
        refuse_unknown(insert_kwargs or (), "insert", _OF_INSERTING)
        return self.insert(document, **(insert_kwargs or {}))

    @checked
    def refresh_ref_docs(
        self,
        documents: Sequence[Document],
        *,
        insert_kwargs: Mapping[str, Any] | None = None,
        update_kwargs: Mapping[str, Any] | None = None,
    ) -> list[bool]:
        """Insert what is new or changed; return for each document whether it was.

        False too for one that could not be read or encoded, which the log says.

        Args:
            documents: All of them, those that may have changed among them.
            insert_kwargs: As for `update_ref_doc`.
            update_kwargs: The arguments of `update_ref_doc`.
        """
        changing = {"insert_kwargs": {}, "delete_kwargs": {}, **(update_kwargs or {})}
        refuse_unknown(changing, "update_ref_doc", _OF_UPDATING)
        refuse_unknown(changing["delete_kwargs"], "delete_ref_doc", _OF_DELETING)
        inserting = {**(insert_kwargs or {}), **changing["insert_kwargs"]}
        refuse_unknown(inserting, "insert", _OF_INSERTING)
        show = inserting.get("show_progress", False)
        with self._writer.lock:
            read = list(self._read(documents))
            before = self._stored_of(read)
            self._writer.write(read, len(read), show_progress=show)
            after = self._stored_of(read)
        return [old != new for old, new in zip(before, after, strict=True)]

    def _stored_of(self, read: Sequence[SourceRecord | Problem]) -> list[set[str]]:
        """Return the ids of the nodes that are stored of what was read, of each."""
        names = [
            {record.ref_doc_id, record.random_id or record.ref_doc_id}
            if isinstance(record, SourceRecord)
            else set()
            for record in read
        ]
        asked = [*set().union(*names)]
        stored: dict[str, set[str]] = defaultdict(set)
        for channel in self._channels.values():
            one = channel.collection
            for node in one.nodes(one.ids_of_documents(asked, asked)):
                for name in (node.ref_doc_id, node.metadata.get(GIVEN_ID_KEY)):
                    stored[name or ""].add(node.node_id)
        return [set().union(*(stored[name] for name in mine)) for mine in names]

    @checked
    def delete_nodes(
        self,
        node_ids: Sequence[str],
        delete_from_docstore: bool = False,  # noqa: ARG002 - LlamaIndex's
    ) -> int:
        """Remove nodes by their ids; return how many there were.

        Args:
            node_ids: Stored ids in any spelling, or those that nodes came with.
            delete_from_docstore: As for `delete_ref_doc`.
        """
        places = self._roots.places
        ids = {each for i in node_ids for each in (i, known_as(i, places))}
        return self._writer.delete_nodes(sorted(ids))

    # Reading

    @property
    def client(self) -> QdrantClient:
        """The client of an index that is on a server, or in Qdrant's local mode."""
        client: QdrantClient | None = getattr(self.vector_store, "_client", None)
        if client is None:
            raise AttributeError(_CLIENTS)  # said by __getattr__
        return client

    def ref_doc_ids(self) -> list[str]:
        """Return the ids of all documents, sorted."""
        return self._writer.ref_doc_ids()

    @property
    def ref_doc_info(self) -> RefDocInfos:
        """Of each document, by its id: the ids of its nodes, and the first's metadata.

        The id that a document came with finds it too. All nodes are read for it.
        """
        found = RefDocInfos()
        for channel in self._channels.values():
            for node in channel.collection.nodes_where(None):
                if ref_doc_id := node.ref_doc_id:
                    info = found.setdefault(ref_doc_id, RefDocInfo([], node.metadata))
                    info.node_ids.append(node.node_id)
                    if given := node.metadata.get(GIVEN_ID_KEY):
                        found.given[given] = ref_doc_id
        return found

    # The same for an event loop

    ainsert = _asynchronous(Sources.insert)
    ainsert_directory = _asynchronous(Sources.insert_directory)
    ainsert_nodes = _asynchronous(insert_nodes)
    aupdate_ref_doc = _asynchronous(update_ref_doc)
    arefresh_ref_docs = _asynchronous(refresh_ref_docs)
    adelete_ref_doc = _asynchronous(Sources.delete_ref_doc)
    adelete_nodes = _asynchronous(delete_nodes)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say what to use in place of a name that means nothing here."""
            said = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(_NOT_HERE.get(name, said))
