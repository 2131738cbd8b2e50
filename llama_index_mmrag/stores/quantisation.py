"""Qdrant's quantisation: small codes to search, originals to rescore."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import qdrant_edge as qe

from llama_index_mmrag.checks import number, one_of
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting, StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.writing import replacing

if TYPE_CHECKING:
    from qdrant_client.http import models

Scheme: TypeAlias = Literal[
    "float16", "int8", "turbo4", "turbo2", "turbo1", "product16", "binary"
]

QUANTISATION = "quantisation.json"
"""File in a store's folder: the engine keeps the codes' kind, but no oversampling."""

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

_TURBO = {
    "turbo4": qe.TurboQuantBitSize.Bits4,
    "turbo2": qe.TurboQuantBitSize.Bits2,
    "turbo1": qe.TurboQuantBitSize.Bits1,
}
_QUANTILE = 0.99
"""Share of the values inside int8's range; Qdrant's own advice."""

_ALWAYS_KB = 1
"""Collections of any size are quantised when the index is built: the engine's own
threshold (10,000 KB) is about graphs, and small codes are wanted below it too."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How a collection keeps its vectors.

    "float16" halves them, nothing else is kept. The others keep codes in memory and
    the originals on disk; a search takes `oversampling` times as many candidates by
    their codes as are asked for, and scores these by the originals.

    Attributes:
        scheme: "int8" takes a byte for a number; "turbo4", "turbo2" and "turbo1"
            (Qdrant's TurboQuant) 4, 2 and 1 bits after a rotation; "product16" a byte
            for four numbers, by clusters; "binary" the sign.
        oversampling: At least 1; more finds more and takes longer.
    """

    scheme: Scheme
    oversampling: float = 2.0

    def __post_init__(self) -> None:
        one_of(self.scheme, "scheme", SCHEMES)
        number(self.oversampling, "oversampling", at_least=1)

    @property
    def has_codes(self) -> bool:
        """Whether there are codes beside the originals."""
        return self.scheme != "float16"

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Quantisation:
        """Return what `as_dict` described.

        Raises:
            InvalidSetting: Something else.
        """
        try:
            return cls(**settings)
        except TypeError as error:
            msg = f"Got {settings!r} as a quantisation; expected a scheme and an "
            raise InvalidSetting(msg + "oversampling. Correct it.") from error


def vector_params(
    dim: int,
    distance: qe.Distance,
    quantisation: Quantisation | None,
    *,
    with_graph: bool = True,
) -> qe.EdgeVectorParams:
    """Return how the engine keeps a vector.

    Args:
        dim: Its length.
        distance: Its distance.
        quantisation: None: float32 and no codes.
        with_graph: Whether `optimize` builds a search graph too.
    """
    codes, keep, kind = None, None, None
    if quantisation is not None and quantisation.has_codes:
        codes = _codes(quantisation.scheme)
        keep = qe.Memory.Cold  # read for the few candidates that are rescored
    elif quantisation is not None:
        kind = qe.VectorStorageDatatype.Float16
    graph = None
    if not with_graph:
        graph = qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10_000)
    return qe.EdgeVectorParams(
        dim,
        distance,
        datatype=kind,
        quantization_config=codes,
        hnsw_config=graph,
        memory=keep,
    )


def shard_config(
    name: str,
    params: qe.EdgeVectorParams,
    quantisation: Quantisation | None,
    *,
    sparse_name: str | None = None,
) -> qe.EdgeConfig:
    """Return how the engine keeps a collection, words under `sparse_name` if given."""
    small, sparse = None, None
    if quantisation is not None and quantisation.has_codes:
        small = qe.EdgeOptimizersConfig(indexing_threshold=_ALWAYS_KB)
    if sparse_name is not None:
        sparse = {sparse_name: qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)}
    return qe.EdgeConfig(
        vectors={name: params}, sparse_vectors=sparse, optimizers=small
    )


def rescoring(quantisation: Quantisation | None) -> qe.QuantizationSearchParams | None:
    """Return how a search uses the codes; None where there are none."""
    level = oversampling_of(quantisation)
    if level is None:
        return None
    return qe.QuantizationSearchParams(rescore=True, oversampling=level)


def oversampling_of(quantisation: Quantisation | None) -> float | None:
    """Return how many candidates a search takes for each; None where no codes are."""
    if quantisation is None or not quantisation.has_codes:
        return None
    return quantisation.oversampling


def write_quantisation(folder: Path, quantisation: Quantisation | None) -> None:
    """Put a new store's quantisation beside its shard; None: none."""
    file = folder / QUANTISATION
    if quantisation is None:
        file.unlink(missing_ok=True)
    else:
        with replacing(file, by=QUANTISATION + ".new") as unfinished:
            unfinished.write((json.dumps(quantisation.as_dict()) + "\n").encode())


def read_quantisation(
    folder: Path, expected: Quantisation | None
) -> Quantisation | None:
    """Return a store's quantisation.

    Args:
        folder: The store's.
        expected: What it is asked to have; None takes what it has.

    Raises:
        CollectionMismatch: It has another.
        StoreUnusable: Its description cannot be read.
    """
    file = folder / QUANTISATION
    found = None
    if file.exists():
        try:
            found = Quantisation.from_dict(read_json(file))
        except (OSError, ValueError, TypeError) as error:
            raise StoreUnusable(
                f"The file {str(file)!r} cannot be read: {error}. Restore it from a "
                "backup, or insert again into another folder."
            ) from error
    if expected not in {None, found}:
        raise CollectionMismatch(
            f"The store in {str(folder)!r} has the quantisation {found!r}; expected "
            f"{expected!r}. Open it without one, or build it anew beside this one."
        )
    return found


def _codes(scheme: Scheme) -> Any:
    memory = qe.Memory.Pinned
    if scheme == "int8":
        return qe.ScalarQuantizationConfig(
            qe.ScalarType.Int8, quantile=_QUANTILE, memory=memory
        )
    if scheme == "binary":
        return qe.BinaryQuantizationConfig(memory=memory)
    if scheme == "product16":
        return qe.ProductQuantizationConfig(qe.CompressionRatio.X16, memory=memory)
    return qe.TurboQuantQuantizationConfig(bits=_TURBO[scheme], memory=memory)


def server_vector_params(
    dim: int, distance: models.Distance, quantisation: Quantisation | None
) -> models.VectorParams:
    """Return how a server keeps a vector: as `vector_params` for the engine here."""
    from qdrant_client.http import models

    if quantisation is None:
        return models.VectorParams(size=dim, distance=distance)
    if not quantisation.has_codes:
        return models.VectorParams(
            size=dim, distance=distance, datatype=models.Datatype.FLOAT16
        )
    codes: Any
    if quantisation.scheme == "int8":
        scalar = models.ScalarQuantizationConfig(
            type=models.ScalarType.INT8, quantile=_QUANTILE, always_ram=True
        )
        codes = models.ScalarQuantization(scalar=scalar)
    elif quantisation.scheme == "binary":
        codes = models.BinaryQuantization(
            binary=models.BinaryQuantizationConfig(always_ram=True)
        )
    elif quantisation.scheme == "product16":
        product = models.ProductQuantizationConfig(
            compression=models.CompressionRatio.X16, always_ram=True
        )
        codes = models.ProductQuantization(product=product)
    else:
        bits = {"turbo4": "bits4", "turbo2": "bits2", "turbo1": "bits1"}
        codes = models.TurboQuantization(
            turbo=models.TurboQuantQuantizationConfig(
                bits=models.TurboQuantBitSize(bits[quantisation.scheme]),
                always_ram=True,
            )
        )
    return models.VectorParams(
        size=dim, distance=distance, on_disk=True, quantization_config=codes
    )
