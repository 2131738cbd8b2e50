"""The index and the query that a command's options name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llama_index_mmrag.cli.encoders import chosen_encoder
from llama_index_mmrag.cli.place import Place
from llama_index_mmrag.errors import CollectionMismatch, InvalidQuery, InvalidSetting

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import QueryBundle

    from llama_index_mmrag import MultiModalQdrantIndex
    from llama_index_mmrag.composition import Composition
    from llama_index_mmrag.embeddings import Bm25Encoder


def existing(
    place: Place,
    *,
    encoder: str | None,
    alignment: Path | None,
    search: str | None = None,
    roots: Sequence[str] | None = None,
    catalogue: Path | None = None,
) -> MultiModalQdrantIndex:
    """Return the index of a place, which must hold one already.

    Raises:
        StoreUnusable: It does not.
        InvalidSetting: It does not have the vectors that --search asks for, or a root
            is not NAME=FOLDER.
        CollectionMismatch: It was filled by another encoder.
    """
    places = dict(_place_of(root) for root in roots or ())
    embed_model = chosen_encoder(encoder, alignment)
    place.check_exists()
    composition = place.composition()
    if search in ("composed", "both") and composition is None:
        raise InvalidSetting(
            f"--search {search} needs vectors that {place} does not have. Make a new "
            f"store with: mmrag index DIR --store NEW --composition blend"
        )
    return opened(
        place,
        embed_model,
        composition=composition,
        roots=places,
        catalogue=catalogue,
    )


def _place_of(root: str) -> tuple[str, str]:
    name, _, folder = root.rpartition("=")
    if not name or not folder:
        raise InvalidSetting(
            f"--root is {root!r}; expected NAME=FOLDER, such as docs=/mnt/docs."
        )
    return name, folder


def opened(  # noqa: PLR0913 - as many as a command has options
    place: Place,
    embed_model: BaseEmbedding | None,
    *,
    composition: Composition | None,
    hybrid: bool | str | Bm25Encoder | None = None,
    read_pictures: Literal["rapidocr", "tesseract"] | None = None,
    read_scans: Literal["rapidocr", "tesseract"] | None = None,
    reread: Literal["lettering", "scans"] | None = None,
    roots: Mapping[str, str] | None = None,
    catalogue: Path | None = None,
    limits: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> MultiModalQdrantIndex:
    """Return the index of a place, with an encoder where one was asked for.

    Args:
        place: Where it is.
        embed_model: The encoder.
        composition: As for `MultiModalQdrantIndex.open`, and so is what follows.
        hybrid: As there.
        read_pictures: As there.
        read_scans: As there.
        reread: As there.
        roots: As there.
        catalogue: As there.
        limits: Those of `ReadLimits` that were given.
        reading: Those of `ReadSettings` that were given.

    Raises:
        CollectionMismatch: It was filled by another encoder.
    """
    from llama_index_mmrag import MultiModalQdrantIndex

    settings = None
    if limits or reading:
        from llama_index_mmrag.ingestion import ReadLimits, ReadSettings
        from llama_index_mmrag.ingestion.roots import MEDIA

        media = None if place.store is None else place.store / MEDIA
        how: dict[str, Any] = {
            "limits": ReadLimits(**(limits or {})),
            "media_dir": media,
        }
        settings = ReadSettings(**how, **(reading or {}))
    try:
        return MultiModalQdrantIndex.open(
            **place.opening,
            embed_model=embed_model,
            composition=composition,
            hybrid=hybrid,
            read_pictures=read_pictures,
            read_scans=read_scans,
            reread=reread,
            roots=roots,
            catalogue=catalogue,
            settings=settings,
        )
    except CollectionMismatch as error:
        if "encoder" not in str(error):  # words, or pictures, by something else
            raise
        advice = "Give --encoder and --alignment as they were given to mmrag index."
        raise CollectionMismatch(f"{error} {advice}") from error


def query_of(text: str, image: Path | None) -> QueryBundle:
    """Return the query that words and a picture make."""
    from llama_index.core.schema import QueryBundle

    if not text.strip() and image is None:
        raise InvalidQuery(
            "The query has neither words nor a picture. Give words, a picture by "
            "--image FILE, or both."
        )
    return QueryBundle(text, image_path=None if image is None else str(image))
