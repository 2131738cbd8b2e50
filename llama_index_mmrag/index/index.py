"""The index: collections of texts and of pictures, filled and searched as one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode
from tqdm.auto import tqdm

from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.answers.synthesizer import MultiModalSynthesizer
from llama_index_mmrag.composition import Composition
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import CalibratedSum
from llama_index_mmrag.index.early_fusion import (
    FusionStage,
    at_stage,
)
from llama_index_mmrag.index.opening import (
    channels_in,
    channels_on,
    close_all,
    encoders_of,
)
from llama_index_mmrag.ingestion import (
    Problem,
    ReadSettings,
    SourceRecord,
    read_directory,
    read_documents,
    survey,
)
from llama_index_mmrag.ingestion.batches import BatchEncoder
from llama_index_mmrag.ingestion.composing import Composer
from llama_index_mmrag.ingestion.paths import is_of_file, is_there
from llama_index_mmrag.ingestion.stored import remove_nodes, stored_nodes
from llama_index_mmrag.ingestion.upsert import Upserter, UpsertReport
from llama_index_mmrag.retrieval.channels import Channel
from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever
from llama_index_mmrag.stores.documents import document_ids, node_ids_of

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient

    from llama_index_mmrag.agents.retriever_tool import MultiModalRetrieverTool
    from llama_index_mmrag.compression import CompressSettings, IndexCompression

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
            channels: One for each modality, "text" and "image" among them; and, for
                early fusion, one with a composition, over a collection of its own.
            settings: How files and documents become nodes.
            root: The store's folder, where it is embedded.

        Raises:
            InvalidSetting: There is no channel for texts or none for pictures, or two
                for one modality, or two with a composition.
        """
        composed = [c for c in channels if c.composition is not None]
        self._channels = {c.modality: c for c in channels if c.composition is None}
        missing = [name for name in _MODALITIES if name not in self._channels]
        n_expected = len(self._channels) + min(1, len(composed))
        if missing or n_expected != len(channels):
            given = [(c.name, c.modality) for c in channels]
            msg = (
                f"An index got the channels {given!r}; expected one for each modality, "
                f"'text' and 'image' among them."
            )
            raise InvalidSetting(msg)
        self._composer = (
            Composer(
                composed[0], text=self._channels["text"], image=self._channels["image"]
            )
            if composed
            else None
        )
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
        early_fusion: Composition | None = None,
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
            early_fusion: How a text and a picture become one vector, such as
                `Blend(0.5)`; those are kept in a collection of their own, beside the
                others. None for late fusion alone. A store remembers it.
            settings: How files and documents become nodes.

        Raises:
            InvalidSetting: None or several of path, url and client are given, or
                `embed_model` has no pictures, or pictures and texts of two lengths.
            CollectionMismatch: The store was filled by other encoders, or with other
                early fusion. A server's collection that does not say by which is
                opened with a logged warning.
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
        encoders = encoders_of(embed_model, text_embed_model)
        if path is not None:
            root = Path(path)
            channels = channels_in(root, encoders, early_fusion)
            settings = settings or ReadSettings(media_dir=root / "media")
            return cls(channels, settings=settings, root=root)
        from qdrant_client import QdrantClient

        if client is None:
            # The version check would only warn of a server that does not answer.
            server = QdrantClient(url=url, check_compatibility=False)
        else:
            server = client
        try:
            channels = channels_on(
                server, collection, encoders, early_fusion, aclient=aclient
            )
            index = cls(channels, settings=settings)
        except BaseException:
            if client is None:
                server.close()
            raise
        index._own_client = server if client is None else None
        return index

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, texts first and composed vectors last."""
        composed = () if self._composer is None else (self._composer.channel,)
        return (*self._channels.values(), *composed)

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
        report.n_removed += self._delete(self.gone(source, report))
        return report

    def gone(self, path: str | Path, report: UpsertReport) -> list[str]:
        """Return the documents of a folder whose files are gone since.

        Args:
            path: The folder.
            report: What inserting it returned.
        """
        present = set(report.ref_doc_ids) | {p.source for p in report.problems}
        folder = Path(path).resolve().as_posix().rstrip("/") + "/"
        # What cannot be read now is not gone, nor is what lies in such a folder.
        unread = tuple(f"{problem.source}/" for problem in report.problems)
        return [
            ref_doc_id
            for ref_doc_id in self.ref_doc_ids()
            if ref_doc_id.startswith(folder)
            and ref_doc_id not in present
            and not ref_doc_id.startswith(unread)
            and is_of_file(ref_doc_id)
            and not is_there(ref_doc_id)
        ]

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
            StoreClosed: It was compressed since it was opened.
            StoreUnusable: The folder cannot be written.
        """
        from llama_index_mmrag.compression import CompressSettings
        from llama_index_mmrag.compression.live import compress_folder

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
        stores = [channel.vector_store for channel in self._channels.values()]
        return sorted(set().union(*map(document_ids, stores)))

    def as_retriever(
        self, *, fusion_stage: FusionStage | None = None, **settings: Any
    ) -> MultiModalFusionRetriever:
        """Return a retriever over the channels.

        Args:
            fusion_stage: "late" searches texts and pictures apart and fuses rankings,
                "early" searches composed vectors alone, "both" does both; None does all
                that the index was opened for.
            **settings: Arguments of `MultiModalFusionRetriever`. Two defaults differ:
                `complete_entities` is True, so that a picture comes with its section
                and a section with its picture; and `fusion` is `CalibratedSum()`, since
                ranks alone let two poor hits of an illustrated section outrank the one
                good hit of a plain one.
        """
        settings.setdefault("complete_entities", True)
        settings.setdefault("fusion", CalibratedSum())
        composed = None if self._composer is None else self._composer.channel
        parts = tuple(self._channels.values())
        channels = at_stage(fusion_stage, parts=parts, composed=composed)
        return MultiModalFusionRetriever(channels, **settings)

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

    def as_tool(
        self, *, fusion_stage: FusionStage | None = None, **settings: Any
    ) -> MultiModalRetrieverTool:
        """Return an agent's tool that searches this index.

        Args:
            fusion_stage: As for `as_retriever`.
            **settings: Arguments of `MultiModalRetrieverTool`.
        """
        from llama_index_mmrag.agents.retriever_tool import MultiModalRetrieverTool

        retriever = self.as_retriever(fusion_stage=fusion_stage)
        return MultiModalRetrieverTool(retriever, **settings)

    # Closing

    def close(self) -> None:
        """Close the embedded stores; a client that was given stays as it is."""
        close_all(self.channels)
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
        with self._writing:
            gone = {
                modality: node_ids_of(channel.vector_store, ref_doc_ids)
                for modality, channel in self._channels.items()
            }
            if self._composer is not None:
                lost = [
                    node
                    for modality, ids in gone.items()
                    for node in stored_nodes(self._channels[modality], ids)
                ]
                # What stays was composed before: a problem with it is known.
                encoder = BatchEncoder(lambda problem: None)  # noqa: ARG005
                self._composer.update(lost, gone=gone, encoder=encoder)
            for modality, ids in gone.items():
                remove_nodes(self._channels[modality], ids)
            return sum(map(len, gone.values()))

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
            upserter = Upserter(self._channels, composer=self._composer)
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
