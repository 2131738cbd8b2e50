"""A store whose folder is opened, and given back: what it is, before what it does."""

from __future__ import annotations

import threading
from abc import ABC
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from typing_extensions import Self

from llama_index_mmrag.checks import no_address, number, one_of, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.components import CheckedComponent
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder, named
from llama_index_mmrag.errors import StoreClosed, StoreUnusable
from llama_index_mmrag.nodes.node import ENTITY_KEY, GIVEN_ID_KEY, MODALITY_KEY
from llama_index_mmrag.stores.edge_engine import (
    DENSE_NAME,
    DISTANCES,
    SCHEMAS,
    ShardSpec,
)
from llama_index_mmrag.stores.edge_folder import EdgeFolder
from llama_index_mmrag.stores.edge_index import build_index
from llama_index_mmrag.stores.filter_fields import FILTER_FIELDS
from llama_index_mmrag.stores.native import DOC_ID_KEY
from llama_index_mmrag.stores.quantisation import Quantisation
from llama_index_mmrag.stores.threaded import ThreadedVectorStore

_OPENING = threading.Lock()

DEFAULT_PAYLOAD_INDEXES = {
    DOC_ID_KEY: "keyword",
    "ref_doc_id": "keyword",
    ENTITY_KEY: "keyword",
    MODALITY_KEY: "keyword",
    GIVEN_ID_KEY: "keyword",
}
"""Payload fields that are indexed unless others are declared."""


def all_fields(filter_fields: Mapping[str, str]) -> dict[str, str]:
    """Return what a new collection of an index is indexed by."""
    return {**DEFAULT_PAYLOAD_INDEXES, **FILTER_FIELDS, **filter_fields}


class OpensFolder(CheckedComponent, ThreadedVectorStore, ABC):
    """How a `QdrantEdgeVectorStore` is made, opened and closed."""

    stores_text: bool = True
    flat_metadata: bool = False
    path: str
    dim: int | None
    distance: str
    payload_indexes: dict[str, str]
    vector_name: str
    quantisation: Quantisation | None = None
    enable_hybrid: bool | Bm25Encoder | None = None

    _folder: EdgeFolder | None = PrivateAttr(default=None)
    _opens_when_used: bool = PrivateAttr(default=False)
    _is_temporary: bool = PrivateAttr(default=False)
    _words: Bm25Encoder | None = PrivateAttr(default=None)

    @checked
    def __init__(
        self,
        path: str | Path,
        *,
        dim: int | None = None,
        distance: str = "cosine",
        payload_indexes: Iterable[str] | Mapping[str, str] | None = None,
        vector_name: str = DENSE_NAME,
        quantisation: Quantisation | Mapping[str, Any] | None = None,
        enable_hybrid: bool | str | Bm25Encoder | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        advice = (
            "Everywhere in this library a larger score is better; unit-length vectors "
            "rank by Euclidean distance as by cosine."
        )
        elsewhere = "A server's collection is a QdrantVectorStore's."
        schemas = _with_schemas(payload_indexes)
        known = {
            "dim": None if dim is None else whole(dim, "dim", at_least=1),
            "distance": one_of(distance, "distance", DISTANCES, advice=advice),
        }
        if isinstance(quantisation, Mapping):
            quantisation = Quantisation.from_dict(quantisation)
        if isinstance(enable_hybrid, Mapping):
            enable_hybrid = Bm25Encoder(**enable_hybrid)
        super().__init__(
            path=no_address(str(path), "path", advice=elsewhere),
            payload_indexes=schemas,
            vector_name=vector_name,
            quantisation=quantisation,
            enable_hybrid=named(enable_hybrid),
            **known,
            **kwargs,
        )

    # Opening and closing

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this component."""
        return "QdrantEdgeVectorStore"

    @classmethod
    def open(cls, path: str | Path, **settings: Any) -> Self:
        """Return the open store in `path`, created if there is none.

        Args:
            path: The store's folder.
            **settings: Arguments of the constructor.

        Raises:
            StoreInUse: another process or object has it open.
            StoreUnusable: `path` is a file, not writable, or no store's folder.
            CollectionMismatch: the store has another size, distance or vector name.
            InvalidSetting: `dim` is needed, or a setting is out of range.
        """
        return cls(path, **settings).connect()

    def connect(self) -> Self:
        """Open the folder, also after `close`; does nothing when open. Returns itself.

        Raises:
            StoreInUse: another process or object has it open.
            StoreUnusable: the path is a file, not writable, or no store's folder.
            CollectionMismatch: the store has another size, distance or vector name.
        """
        if self._folder is None or not self._folder.is_open:
            spec = ShardSpec(
                self.vector_name,
                self.dim,
                self.distance,
                self.payload_indexes,
                self.quantisation,
                self.enable_hybrid,
            )
            self._folder = EdgeFolder(Path(self.path), spec)
            self.dim = self._folder.dim
            self.quantisation = self._folder.quantisation
            self._words = self._folder.words
            if self.enable_hybrid is None:
                self.enable_hybrid = self._words is not None
        return self

    def opens_when_used(self) -> None:
        """Open the folder, which has to be there, when it is first asked for."""
        self._opens_when_used = True

    @property
    def words(self) -> Bm25Encoder | None:
        """What makes vectors of words; None where none are known of."""
        return self._words or (Bm25Encoder() if self.enable_hybrid else None)

    @property
    def is_temporary(self) -> bool:
        """Whether the folder ends with this process."""
        return self._is_temporary

    def close(self) -> None:
        """Flush and give the folder back; twice does no harm."""
        if self._folder is not None:
            self._folder.close()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # the folder has one owner

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process cannot share the folder: it arrives closed.
        return type(self).from_dict, (self.to_dict(),)

    def _opened_now(self) -> EdgeFolder:
        if self._opens_when_used:
            with _OPENING:
                # To open a folder that is gone would make an empty store of it.
                if not Path(self.path).is_dir():
                    raise StoreUnusable(
                        f"The pickled store's folder {self.path!r} is not there any "
                        f"more. Make the object anew over a store that is."
                    )
                self.connect()
        if self._folder is None:
            raise StoreClosed(
                f"The store in {self.path!r} was never opened. Use "
                "QdrantEdgeVectorStore.open(...), connect(), or a `with` block."
            )
        return self._folder

    def flush(self) -> None:
        """Force everything to disk. Writes do so themselves before they return."""
        self.client.flush()

    def build_index(self, *, timeout_s: float | None = None) -> int:
        """Build the HNSW graph in a child process; return how many vectors it holds.

        Worth it above about 20,000 nodes; below 10,000 KB of vectors the engine builds
        none (0 is returned) and every search scans, exactly. Queries and writes go on
        meanwhile, and writes are repeated on the new index before it is swapped in.

        Args:
            timeout_s: Give up after this many seconds; None waits.

        Raises:
            InvalidSetting: a build is already running.
            StoreUnusable: the child failed or timed out; the store is as it was.
            StoreClosed: the store was closed meanwhile.
        """
        if timeout_s is not None:
            timeout_s = number(timeout_s, "timeout_s", more_than=0)
        return build_index(self.client, timeout_s=timeout_s)


def _with_schemas(fields: Iterable[str] | Mapping[str, str] | None) -> dict[str, str]:
    if fields is None:
        return dict(DEFAULT_PAYLOAD_INDEXES)
    names = [fields] if isinstance(fields, str) else fields
    schemas = (
        dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, "keyword")
    )
    return {
        key: one_of(schema, f"payload_indexes[{key!r}]", SCHEMAS)
        for key, schema in schemas.items()
    }
