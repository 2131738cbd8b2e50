"""Qdrant's engine in our words: its kinds, and its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import qdrant_edge as qe

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import MmragError, StoreFull, StoreInUse, StoreUnusable
from llama_index_mmrag.stores.quantisation import Quantisation

DISTANCES = {"cosine": qe.Distance.Cosine, "dot": qe.Distance.Dot}
DENSE_NAME, SPARSE_NAME = "text-dense", "text-sparse-new"
"""As LlamaIndex's `QdrantVectorStore` calls a node's vector, and that of its words."""

MAKE_ANEW = (
    "A store gains no vectors of words later. Make a new one: mmrag index DIR --store "
    "NEW --hybrid, open(NEW, hybrid=True), or of a single store enable_hybrid=True."
)

SCHEMAS = {
    "keyword": qe.PayloadSchemaType.Keyword,
    "integer": qe.PayloadSchemaType.Integer,
    "float": qe.PayloadSchemaType.Float,
    "bool": qe.PayloadSchemaType.Bool,
    "datetime": qe.PayloadSchemaType.Datetime,
    "uuid": qe.PayloadSchemaType.Uuid,
    "text": qe.PayloadSchemaType.Text,
}


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """What the shard must be; `dim` and `hybrid` None take an existing shard's."""

    vector_name: str
    dim: int | None
    distance: str
    payload_indexes: Mapping[str, str]
    quantisation: Quantisation | None = None
    hybrid: bool | Bm25Encoder | None = None


def check_vectors(path: Path, records: Iterable[qe.Record], vector_name: str) -> None:
    """Do nothing if records that were read with their vectors have them.

    Raises:
        StoreUnusable: One has none.
    """
    for record in records:
        if vector_name not in (record.vector or ()):
            raise StoreUnusable(
                f"The point {str(record.id)!r} of the store in {str(path)!r} has lost "
                f"its vector {vector_name!r}. Restore a backup, or insert its document "
                "again."
            )


@contextlib.contextmanager
def engine_errors(path: Path) -> Iterator[None]:
    """Raise the engine's errors, panics too, as `StoreInUse` or `StoreUnusable`."""
    try:
        yield
    except BaseException as error:
        raise_ours(error, path)
        raise


def raise_ours(
    error: BaseException, path: Path, *, on_panic: Callable[[], None] = lambda: None
) -> None:
    """Raise an error of the engine as ours; return if it is none of the engine's.

    Args:
        error: What a call of the engine raised.
        path: The store's folder.
        on_panic: Closes the shard.
    """
    # Each package made with PyO3 has a class of its own for panics, which are no
    # Exceptions, and which none of them names.
    if type(error).__name__ == "PanicException":
        with contextlib.suppress(StoreUnusable):
            on_panic()  # what the engine holds in memory cannot be trusted any more
        raise StoreUnusable(
            f"Qdrant Edge broke down on the store in {str(path)!r} ({error}): its "
            "files are damaged. The store was closed; restore a backup if it does "
            "not open again."
        ) from error
    if isinstance(error, MmragError) or not isinstance(error, Exception):
        return
    # Qdrant Edge 0.9 raises bare Exceptions; only the text tells them apart.
    if "(os error 28)" in str(error):
        raise StoreFull(
            f"The disk of the store in {str(path)!r} has no room for what Qdrant Edge "
            f"writes: {error}. Make room and try again."
        ) from error
    if "WouldBlock" in str(error):
        raise StoreInUse(
            f"The shard in {str(path)!r} is open elsewhere, without this library. "
            "Expected to be its only user: close it there first."
        ) from error
    raise StoreUnusable(
        f"Qdrant Edge failed on the store in {str(path)!r}: {error}. Expected a "
        "folder on a local disk with free space, written by qdrant-edge-py 0.9; "
        "restore a backup if it does not open again."
    ) from error
