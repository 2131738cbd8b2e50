"""Qdrant's engine in our words: its kinds, and its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import qdrant_edge as qe

from llama_index_mmrag.errors import MmragError, StoreInUse, StoreUnusable
from llama_index_mmrag.stores.quantisation import Quantisation

DISTANCES = {"cosine": qe.Distance.Cosine, "dot": qe.Distance.Dot}
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
    """What the shard must be; `dim` None takes an existing shard's."""

    vector_name: str
    dim: int | None
    distance: str
    payload_indexes: Mapping[str, str]
    quantisation: Quantisation | None = None


@contextlib.contextmanager
def engine_errors(path: Path) -> Iterator[None]:
    """Raise the engine's errors as `StoreInUse` or `StoreUnusable`."""
    try:
        yield
    except MmragError:
        raise
    except Exception as error:
        # Qdrant Edge 0.9 raises bare Exceptions; only the text tells them apart.
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
