"""Compressing a collection on a server: build beside it, check, switch an alias."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import ArrayLike

from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.alignment.chain import Chain
from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.compression.asked import (
    checked_unit_rows,
    enough_vectors,
    queries_of,
)
from llama_index_mmrag.compression.compress import CompressSettings, choose
from llama_index_mmrag.compression.places import encoder_through
from llama_index_mmrag.compression.report import Compression
from llama_index_mmrag.embeddings.space import card_of, space_of
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    PromiseNotKept,
    StoreUnusable,
)
from llama_index_mmrag.stores.client import create_collection, pages
from llama_index_mmrag.stores.encoder_card import (
    is_filled_by,
    record_in,
    record_metadata,
)
from llama_index_mmrag.stores.quantisation import oversampling_of, server_vector_params
from llama_index_mmrag.stores.server_errors import asking

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_PAGE = 256


@dataclass(frozen=True, slots=True)
class ServerCompression:
    """What was measured, and what was made.

    Attributes:
        report: The table.
        collection: The new collection, which the alias names now.
        embed_model: What queries and new nodes must be encoded by: the encoder that
            filled the source, followed by the picked transform.
        alignment: The transform: save it, and make that encoder of it again by
            `TransformedEmbedding.from_alignment`.
        oversampling: For `RescoringVectorStore`; None: it keeps no codes.
    """

    report: Compression
    collection: str
    embed_model: BaseEmbedding
    alignment: Alignment
    oversampling: float | None


@asking
def compress_collection(
    client: QdrantClient,
    source: str,
    alias: str,
    *,
    encoder: BaseEmbedding,
    queries: ArrayLike | None = None,
    settings: CompressSettings | None = None,
) -> ServerCompression:
    """Build a smaller collection beside `source`, and let `alias` name it.

    Settings are measured in Qdrant's engine here, not on the server; then all points
    are copied through the picked transform, counted, and the alias is set in one
    request: a search sees the old collection or the new one. `source` stays as it is,
    also when it was what the alias named: delete it when nobody reads it. A run that
    was killed leaves a collection `<alias>-<12 hexadecimal digits>` that nothing names.
    Nobody may write to `source` meanwhile.

    Args:
        client: A server's client.
        source: A collection or an alias, with one unnamed vector, by cosine.
        alias: Name to search by from now on; no collection of its own.
        encoder: The one that filled `source`. The new collection remembers it, with
            the transform, and an index refuses others.
        queries: What users ask, as vectors; None takes stored vectors.
        settings: What is promised; None: a recall@10 of 0.95.

    Raises:
        PromiseNotKept: No setting that saves anything keeps the promise.
        CollectionMismatch: The source has named vectors, or another distance; or it
            says that another encoder filled it.
        InvalidSetting: `alias` is a collection.
        StoreUnusable: The new collection does not hold all points; or the server
            refuses, or does not answer.
    """
    settings = CompressSettings() if settings is None else settings
    aliases = {
        one.alias_name: one.collection_name for one in client.get_aliases().aliases
    }
    if alias not in aliases and client.collection_exists(alias):
        raise InvalidSetting(
            f"{alias!r} is a collection; expected an alias, or a name that is free. A "
            f"collection's name cannot be switched: give another, and search by that."
        )
    info = client.get_collection(source)
    params: Any = info.config.params.vectors
    if isinstance(params, dict) or params is None or params.distance.value != "Cosine":
        raise CollectionMismatch(
            f"Collection {source!r} has the vectors {params!r}; expected one without a "
            f"name, by cosine, as LlamaIndex makes it. Copy it into such a one first."
        )
    # Else the new one would remember an encoder that its vectors are not of.
    is_filled_by(card_of(encoder), info.config.metadata, source)
    read = pages(client, source, with_payload=False, with_vectors=True)
    blocks = [np.array([p.vector for p in page], dtype=np.float32) for page in read]
    rows = np.concatenate([np.empty((0, params.size), dtype=np.float32), *blocks])
    rows = checked_unit_rows(rows, f"The vectors of {source!r}")
    enough_vectors(rows)
    rng = np.random.default_rng(settings.seed)
    asked = queries_of(rows, queries, settings.n_queries, rng)
    report = choose(rows, asked, settings)
    row = report.chosen
    if row is None or (report.held_out or 0.0) < settings.min_recall:
        raise PromiseNotKept(report.verdict(), compression=report)
    alignment = Alignment(
        text=row.transform,
        image=row.transform,
        fitted_on=f"{len(rows)} vectors of the collection {source!r}",
        text_space=space_of(encoder),
        image_space=space_of(encoder),
        figures={"setting": row.name, "held-out recall": report.held_out},
    )
    behind = encoder
    if row.transform != Chain():
        behind = encoder_through(alignment, encoder)
    target = f"{alias}-{uuid.uuid4().hex[:12]}"
    oversampling = oversampling_of(row.quantisation)
    record = record_metadata(
        {"vector": "", "distance": "cosine", **record_in(info.config.metadata, source)},
        encoder=card_of(behind),
        dim=row.dim,
        oversampling=oversampling,
    )
    try:
        create_collection(
            client,
            target,
            vectors=server_vector_params(row.dim, params.distance, row.quantisation),
            indexes={
                field: one.params or one.data_type
                for field, one in info.payload_schema.items()
            },
            metadata=(info.config.metadata or {}) | record,
        )
        _copy(client, source, target, row.transform, n_points=len(rows))
        _switch(client, alias, target, is_set=alias in aliases)
    except BaseException:
        client.delete_collection(target)
        raise
    return ServerCompression(report, target, behind, alignment, oversampling)


def _copy(
    client: QdrantClient,
    source: str,
    target: str,
    transform: Transform,
    *,
    n_points: int,
) -> None:
    from qdrant_client.http import models

    for page in pages(client, source, limit=_PAGE, with_vectors=True):
        rows = np.array([point.vector for point in page], dtype=np.float32)
        points = [
            models.PointStruct(id=point.id, vector=vector, payload=point.payload)
            for point, vector in zip(page, transform.apply(rows).tolist(), strict=True)
        ]
        client.upsert(target, points=points, wait=True)
    if (found := client.count(target, exact=True).count) != n_points:
        raise StoreUnusable(
            f"The new collection {target!r} holds {found} of {n_points} points; "
            f"expected all. It was removed: try again while nobody writes."
        )


def _switch(client: QdrantClient, alias: str, target: str, *, is_set: bool) -> None:
    from qdrant_client.http import models

    # In one request: between two, searches would find no collection.
    steps: list[Any] = []
    if is_set:
        old = models.DeleteAlias(alias_name=alias)
        steps.append(models.DeleteAliasOperation(delete_alias=old))
    new = models.CreateAlias(collection_name=target, alias_name=alias)
    steps.append(models.CreateAliasOperation(create_alias=new))
    client.update_collection_aliases(steps)
