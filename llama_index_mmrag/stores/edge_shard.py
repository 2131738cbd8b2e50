"""The shard in a store's folder: made if there is none, and what it must be.

It is on the disk before the description names it.
"""

from __future__ import annotations

from pathlib import Path

import qdrant_edge as qe

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.files.writing import sync_folder, sync_tree
from llama_index_mmrag.stores.edge_engine import (
    DISTANCES,
    MAKE_ANEW,
    SPARSE_NAME,
    ShardSpec,
    engine_errors,
)
from llama_index_mmrag.stores.edge_layout import (
    disk_errors,
    new_name,
    ready_shard,
    room_for_new,
    vectors_in,
    write_pointer,
)
from llama_index_mmrag.stores.edge_words import read_words, write_words
from llama_index_mmrag.stores.quantisation import (
    shard_config,
    vector_params,
    write_quantisation,
)


def shard_in(folder: Path, spec: ShardSpec) -> tuple[str, bool]:
    """Return the name of a folder's shard, and whether it was made now.

    Raises:
        InvalidSetting: There is none, and `spec` has no length.
        StoreFull: There is no room for one.
        StoreUnusable: Not a store's folder.
    """
    if (ready := ready_shard(folder)) is not None:
        return ready, False
    if spec.dim is None:
        raise InvalidSetting(
            f"There is no store in {str(folder)!r} yet, and dim is None. To create "
            "one, pass the length of the vectors: dim=..."
        )
    room_for_new(folder)
    name = new_name()
    write_pointer(folder, name, state="creating")
    sync_folder(folder.parent)
    write_quantisation(folder, codes := spec.quantisation)
    write_words(folder, spec.hybrid)
    with engine_errors(folder):
        params = vector_params(spec.dim, DISTANCES[spec.distance], codes)
        sparse = SPARSE_NAME if spec.hybrid else None
        config = shard_config(spec.vector_name, params, codes, sparse_name=sparse)
        qe.EdgeShard.create(str(folder / name), config).close()
    sync_tree(folder / name)
    write_pointer(folder, name, state="ready")
    return name, True


def described(
    folder: Path, shard: str, spec: ShardSpec
) -> tuple[int, str, Bm25Encoder | None]:
    """Return length and distance of a shard's vectors, and what makes those of words.

    None: words have none.

    Raises:
        CollectionMismatch: They are not what is asked for.
        StoreUnusable: Its description cannot be read.
    """
    with disk_errors(folder):
        found, sparse = vectors_in(folder / shard)
    dim, distance = found.get(spec.vector_name, (None, ""))
    if dim is None or (spec.dim or dim, spec.distance) != (dim, distance):
        raise CollectionMismatch(
            f"The store in {str(folder)!r} has the vectors {found!r}; expected "
            f"{ {spec.vector_name: (spec.dim, spec.distance)}!r} (name: size, "
            "distance). Open it with its own settings, or insert into another path: "
            "vectors of two models cannot be mixed."
        )
    hybrid = SPARSE_NAME in sparse
    if spec.hybrid is not None and bool(spec.hybrid) != hybrid:
        raise CollectionMismatch(
            f"The store in {str(folder)!r} was made without vectors of words; hybrid "
            f"search needs them. {MAKE_ANEW}"
            if spec.hybrid
            else f"The store in {str(folder)!r} keeps vectors of words, and "
            f"enable_hybrid is False: what is added would lack them. Leave it out; a "
            f"query's mode says what is searched."
        )
    words = read_words(folder, spec.hybrid) if hybrid else None
    return dim, distance, words
