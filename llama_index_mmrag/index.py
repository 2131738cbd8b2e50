"""The index: two collections, filled and searched as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode
from tqdm.auto import tqdm

from llama_index_mmrag.channels import Channel
from llama_index_mmrag.compression.places import opened_places
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.errors import (
    InvalidSetting,
)
from llama_index_mmrag.fusion import CalibratedSum
from llama_index_mmrag.ingestion import (
    Problem,
    ReadSettings,
    SourceRecord,
    read_directory,
    read_documents,
    survey,
)
from llama_index_mmrag.ingestion.paths import is_of_file, is_there
from llama_index_mmrag.ingestion.upsert import Upserter, UpsertReport
from llama_index_mmrag.manifest import (
    card_of,
    check_manifest,
    check_ours,
    write_manifest,
)
from llama_index_mmrag.query_engine import MultiModalQueryEngine
from llama_index_mmrag.retriever import MultiModalFusionRetriever
from llama_index_mmrag.stores import QdrantEdgeVectorStore, search_lock
from llama_index_mmrag.stores.documents import document_ids, node_ids_of
from llama_index_mmrag.synthesizer import MultiModalSynthesizer
from llama_index_mmrag.threads import athread

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient

    from llama_index_mmrag.compression.live import CompressSettings, IndexCompression
    from llama_index_mmrag.tool import MultiModalRetrieverTool

_MODALITIES = ("text", "image")
_OF_SYNTHESIZER = frozenset(signature(MultiModalSynthesizer).parameters)


class MultiModalQdrantIndex:
    """Texts and pictures in a collection each, opened, filled and searched as one.

    Use `open`. Inserting is incremental: ids come from content, so what is there is
    not encoded again, what changed is replaced, and an interrupted insert can be
    repeated. All methods may be called from any thread.

    Example:
        >>> import tempfile
        >>> from llama_index.core import Document
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with MultiModalQdrantIndex.open(folder) as index:
        ...         report = index.insert([Document(text="Tea is steeped.")])
        ...         hits = index.as_retriever().retrieve("How is tea made?")
        >>> report.n_added, hits[0].node.get_content()
        (1, 'Tea is steeped.')
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        settings: ReadSettings | None = None,
        root: Path | None = None,
    ) -> None:
        """Keep the channels; `open` makes them.

        Args:
            channels: One for each modality, "text" and "image" among them.
            settings: How files and documents become nodes.
            root: The store's folder, where it is embedded.

        Raises:
            InvalidSetting: There is no channel for texts or none for pictures, or two
                for one modality.
        """
        self._channels = {c.modality: c for c in channels}
        missing = [name for name in _MODALITIES if name not in self._channels]
        if missing or len(self._channels) != len(channels):
            given = [(c.name, c.modality) for c in channels]
            msg = (
                f"An index got the channels {given!r}; expected one for each modality, "
                f"'text' and 'image' among them."
            )
            raise InvalidSetting(msg)
        self._settings = settings or ReadSettings()
        self._root = root
        self._own_client: QdrantClient | None = None
        self._writing = threading.RLock()
        # A random id lives as long as its object; the stored id comes from content.
        self._stored_ids: dict[str, str] = {}

    @classmethod
    def open(  # noqa: PLR0913 - where, and how: each has a default
        cls,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        client: QdrantClient | None = None,
        aclient: AsyncQdrantClient | None = None,
        collection: str = "mmrag",
        embed_model: BaseEmbedding | None = None,
        text_embed_model: BaseEmbedding | None = None,
        settings: ReadSettings | None = None,
    ) -> MultiModalQdrantIndex:
        """Return the index in a folder, on a server, or behind a client.

        Args:
            path: A folder for the embedded engine; created if it is missing.
            url: A Qdrant server, such as "http://localhost:6333".
            client: An existing client of one.
            aclient: An asynchronous client of the same server, for async queries.
            collection: The server's collections are "<this>-text" and "<this>-image".
            embed_model: Encodes texts and pictures into one space; the offline encoder
                (extra `offline`) if None.
            text_embed_model: Encodes the text collection, where another encoder is
                better at that; `embed_model` if None.
            settings: How files and documents become nodes.

        Raises:
            InvalidSetting: None or several of path, url and client are given.
            CollectionMismatch: The store was filled by other encoders.
            StoreInUse: The folder is open already, here or in another process.
            StoreUnusable: The folder cannot be created, read or written, or holds
                other files and no store; or the server does not answer.
            MissingExtra: The default encoder's packages are not installed.
        """
        places = {"path": path, "url": url, "client": client}
        given = [n for n, v in places.items() if v is not None and v != ""]
        if len(given) != 1:
            msg = (
                f"open() got {' and '.join(given) or 'no place'}; expected exactly one "
                f"of path (a folder), url (a server) and client."
            )
            raise InvalidSetting(msg)
        if embed_model is None:
            from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
            from llama_index_mmrag.embeddings.weights import check_offline

            # Before anything is made: an empty store would be left behind.
            check_offline(needed_for="The default encoder")
            embed_model = OfflineMultiModalEmbedding()
        if not isinstance(embed_model, MultiModalEmbedding):
            msg = (
                f"embed_model is {embed_model.class_name()}, which cannot encode "
                f"pictures. Give a MultiModalEmbedding; an encoder of texts alone goes "
                f"beside it, as text_embed_model."
            )
            raise InvalidSetting(msg)
        encoders = {"text": text_embed_model or embed_model, "image": embed_model}
        if path is not None:
            return cls._open_folder(Path(path), encoders, settings)
        from qdrant_client import QdrantClient

        from llama_index_mmrag.stores.server import open_server_collection

        if client is None:
            # The version check would only warn of a server that does not answer.
            server = QdrantClient(url=url, check_compatibility=False)
        else:
            server = client
        try:
            channels = [
                Channel(
                    name,
                    vector_store=open_server_collection(
                        server,
                        f"{collection}-{name}",
                        dim=dimension_of(model),
                        aclient=aclient,
                    ),
                    embed_model=model,
                )
                for name, model in encoders.items()
            ]
            index = cls(channels, settings=settings)
        except BaseException:
            if client is None:
                server.close()
            raise
        index._own_client = server if client is None else None
        return index

    @classmethod
    def _open_folder(
        cls,
        root: Path,
        encoders: dict[str, BaseEmbedding],
        settings: ReadSettings | None,
    ) -> MultiModalQdrantIndex:
        cards = {name: card_of(model) for name, model in encoders.items()}
        check_manifest(root, cards)
        check_ours(root)
        channels: list[Channel] = []
        try:
            for name, (folder, model) in opened_places(root, encoders).items():
                store = QdrantEdgeVectorStore.open(folder, dim=dimension_of(model))
                channels.append(Channel(name, vector_store=store, embed_model=model))
            write_manifest(root, cards)
        except BaseException:
            for channel in channels:
                _close(channel)
            raise
        settings = settings or ReadSettings(media_dir=root / "media")
        return cls(channels, settings=settings, root=root)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, texts first."""
        return tuple(self._channels.values())

    # Writing

    def insert(
        self, items: BaseNode | Iterable[BaseNode], *, show_progress: bool = False
    ) -> UpsertReport:
        """Insert documents or nodes; return what was done.

        A document replaces what was stored of it before. Documents without an id of
        their own are known by their content, so that running a script twice adds
        nothing.

        Args:
            items: LlamaIndex documents (split into nodes here) or nodes (kept whole).
            show_progress: Show a progress bar.

        Raises:
            InvalidSetting: `items` is a text or a path.
        """
        if isinstance(items, (str, Path)):
            msg = (
                f"insert() got {items!r}; expected LlamaIndex documents or nodes, such "
                f"as Document(text=...). For files use insert_directory()."
            )
            raise InvalidSetting(msg)
        listed = [items] if isinstance(items, BaseNode) else list(items)
        return self._upsert(self._read(listed), len(listed), show_progress)

    def insert_directory(
        self, path: str | Path, *, recursive: bool = True, show_progress: bool = False
    ) -> UpsertReport:
        """Insert all texts, Markdown files and pictures of a folder, or one file.

        Unreadable files are reported and those of other kinds counted; the rest goes
        in. Links out of the folder are not followed. Files that were deleted stay in
        the index; `refresh` removes them too.

        Args:
            path: The folder or file.
            recursive: Whether folders in the folder are read too.
            show_progress: Show a progress bar.

        Raises:
            DocumentUnreadable: `path` does not exist, or is a file of another kind.
        """
        found = survey(path, recursive=recursive)
        n_items = len(found.files) + len(found.problems)
        records = read_directory(path, recursive=recursive, settings=self._settings)
        report = self._upsert(records, n_items, show_progress)
        report.ignored = found.ignored
        return report

    def refresh(
        self,
        source: str | Path | BaseNode | Iterable[BaseNode],
        *,
        show_progress: bool = False,
    ) -> UpsertReport:
        """Bring the index up to date with a folder, or with documents.

        Of a folder, files that are gone are removed from the index. Documents that
        other readers made of its files stay: whoever inserted them knows when they go.

        Args:
            source: A folder that was inserted before, or documents.
            show_progress: Show a progress bar.

        Raises:
            DocumentUnreadable: The folder does not exist.
        """
        if not isinstance(source, (str, Path)):
            return self.insert(source, show_progress=show_progress)
        report = self.insert_directory(source, show_progress=show_progress)
        present = set(report.ref_doc_ids) | {p.source for p in report.problems}
        folder = Path(source).resolve().as_posix().rstrip("/") + "/"
        # What cannot be read now is not gone, nor is what lies in such a folder.
        unread = tuple(f"{problem.source}/" for problem in report.problems)
        gone = [
            ref_doc_id
            for ref_doc_id in self.ref_doc_ids()
            if ref_doc_id.startswith(folder)
            and ref_doc_id not in present
            and not ref_doc_id.startswith(unread)
            and is_of_file(ref_doc_id)
            and not is_there(ref_doc_id)
        ]
        report.n_removed += self._delete(gone)
        return report

    def delete_ref_doc(self, ref_doc_id: str) -> int:
        """Remove all nodes of a document; return how many there were.

        Args:
            ref_doc_id: A document's id; for a file its absolute path.
        """
        with self._writing:
            return self._delete([self._stored_ids.get(ref_doc_id, ref_doc_id)])

    def compress(
        self,
        settings: CompressSettings | None = None,
        *,
        queries: Sequence[str] | None = None,
        apply: bool = False,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> IndexCompression:
        """Find the fewest bytes a vector that keep a promised recall; embedded only.

        With `apply`, smaller collections are built beside these ones from the stored
        vectors, checked, and switched to in one step. This object can then still be
        searched, and no longer be written to: close it and open the folder again, with
        the same encoders.

        Args:
            settings: What is promised; None: a recall@10 of 0.95.
            queries: What users ask; None takes stored vectors.
            apply: Whether to switch; otherwise it is only measured.
            on_step: Told what is done next.

        Raises:
            InvalidSetting: The index is on a server; see `compress_collection`.
            StoreUnusable: The folder cannot be written.
        """
        from llama_index_mmrag.compression.live import CompressSettings, compress_folder

        if self._root is None:
            msg = (
                "This index is not in a folder. For a server's collections use "
                "llama_index_mmrag.compression.compress_collection, one at a time."
            )
            raise InvalidSetting(msg)
        with self._writing:
            return compress_folder(
                self._root,
                self.channels,
                settings=settings or CompressSettings(),
                queries=queries,
                apply=apply,
                on_step=on_step,
            )

    async def ainsert(self, items: BaseNode | Iterable[BaseNode]) -> UpsertReport:
        """Insert without blocking the event loop."""
        return await athread(lambda: self.insert(items))

    async def ainsert_directory(self, path: str | Path) -> UpsertReport:
        """Insert a folder without blocking the event loop."""
        return await athread(lambda: self.insert_directory(path))

    # Reading

    def ref_doc_ids(self) -> list[str]:
        """Return the ids of all documents, sorted."""
        stores = [channel.vector_store for channel in self.channels]
        return sorted(set().union(*map(document_ids, stores)))

    def as_retriever(self, **settings: Any) -> MultiModalFusionRetriever:
        """Return a retriever over all channels.

        Args:
            **settings: Arguments of `MultiModalFusionRetriever`. Two defaults differ:
                `complete_entities` is True, so that a picture comes with its section
                and a section with its picture; and `fusion` is `CalibratedSum()`, since
                ranks alone let two poor hits of an illustrated section outrank the one
                good hit of a plain one.
        """
        settings.setdefault("complete_entities", True)
        settings.setdefault("fusion", CalibratedSum())
        return MultiModalFusionRetriever(self.channels, **settings)

    def as_query_engine(
        self, llm: LLM | None = None, *, streaming: bool = False, **settings: Any
    ) -> MultiModalQueryEngine:
        """Return a query engine that answers with checked citations.

        Args:
            llm: A chat model, with eyes to use the pictures; None answers with the
                evidence's own sentences.
            streaming: Answer piece by piece.
            **settings: Arguments of `as_retriever` (`top_k` is 5 if not given), of
                `MultiModalSynthesizer` (such as `max_images` and `output_cls`), and
                `node_postprocessors`. A `callback_manager` goes to both.
        """
        postprocessors = settings.pop("node_postprocessors", None)
        finding: dict[str, Any] = {"top_k": 5}
        writing: dict[str, Any] = {"embed_model": self._channels["text"].embed_model}
        for key, value in settings.items():
            if key in _OF_SYNTHESIZER:
                writing[key] = value
            if key not in _OF_SYNTHESIZER or key == "callback_manager":
                finding[key] = value
        return MultiModalQueryEngine(
            self.as_retriever(**finding),
            response_synthesizer=MultiModalSynthesizer(
                llm, streaming=streaming, **writing
            ),
            node_postprocessors=postprocessors,
        )

    def as_tool(self, **settings: Any) -> MultiModalRetrieverTool:
        """Return an agent's tool that searches this index.

        Args:
            **settings: Arguments of `MultiModalRetrieverTool`.
        """
        from llama_index_mmrag.tool import MultiModalRetrieverTool

        return MultiModalRetrieverTool(self.as_retriever(), **settings)

    # Closing

    def close(self) -> None:
        """Close the embedded stores; a client that was given stays as it is."""
        for channel in self.channels:
            _close(channel)
        if self._own_client is not None:
            self._own_client.close()

    def __enter__(self) -> MultiModalQdrantIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _delete(self, ref_doc_ids: Sequence[str]) -> int:
        # All at once: an embedded store syncs its files at each write.
        n_removed = 0
        with self._writing:
            for channel in self.channels:
                ids = node_ids_of(channel.vector_store, ref_doc_ids)
                if ids:
                    with search_lock(channel.vector_store):
                        channel.vector_store.delete_nodes(node_ids=ids)
                    channel.sample.forget()
                n_removed += len(ids)
        return n_removed

    def _read(self, items: Sequence[BaseNode]) -> Iterator[SourceRecord | Problem]:
        records = read_documents(items, settings=self._settings)
        for item, record in zip(items, records, strict=True):
            if isinstance(record, SourceRecord):
                # A node's own id must not name its whole document.
                given = item.ref_doc_id or item.node_id
                self._stored_ids[given] = record.ref_doc_id
            yield record

    def _upsert(
        self,
        records: Iterable[SourceRecord | Problem],
        n_records: int,
        show_progress: bool,
    ) -> UpsertReport:
        with self._writing:
            upserter = Upserter(self._channels)
            with tqdm(
                total=n_records, desc="Indexing", disable=not show_progress
            ) as bar:
                # Reading is quick: what counts is what is encoded and written.
                for record in records:
                    upserter.take(record)
                    bar.update(upserter.n_done - bar.n)
                upserter.flush()
                bar.update(upserter.n_done - bar.n)
        return upserter.report


def _close(channel: Channel) -> None:
    close = getattr(channel.vector_store, "close", None)
    if close is not None:
        close()
