"""The format: what a store says of itself, in a file here or in a server's metadata.

There is one. Fields that are not known are kept, and written back.
"""

from __future__ import annotations

import uuid
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt

from llama_index_mmrag.composition import Composition, composition_of
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting, StoreUnusable
from llama_index_mmrag.lettering import PictureReader
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_opening import DEFAULT_PAYLOAD_INDEXES
from llama_index_mmrag.stores.filter_fields import FILTER_FIELDS
from llama_index_mmrag.stores.quantisation import oversampling_of

FORMAT = 3
"""Of a store's folder and of a server's collections; there is no other."""

Card: TypeAlias = dict[str, str]


def _name_of_a_file(name: str) -> str:
    # A name from a file must not lead out of the store, on any system: what it names
    # may be deleted.
    if name in {"", ".."} or PureWindowsPath(name).name != name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file")
    return name


FileName: TypeAlias = Annotated[str, AfterValidator(_name_of_a_file)]
IndexId: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
"""Part of a file's name too, where a catalogue lies elsewhere."""


class _Kept(BaseModel):
    """What a later version writes beside our own stays in the file."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ReaderCard(_Kept):
    """What reads the pictures of an index, or its scans.

    Attributes:
        name: The engine's, and so are `version` and `language`.
        is_complete: Whether all pictures that are stored were read; not of scans.
    """

    name: str
    version: str
    language: str
    is_complete: bool = False

    @classmethod
    def of(cls, reader: PictureReader) -> ReaderCard:
        """Return the card of an engine, which has read nothing yet."""
        named = {"name": reader.name, "version": reader.version}
        return cls(**named, language=reader.language)

    def is_of(self, reader: PictureReader) -> bool:
        """Return whether it is that of an engine."""
        return str(self) == str(ReaderCard.of(reader))

    def __str__(self) -> str:
        """Return the engine, its version and its language."""
        return f"{self.name} {self.version} ({self.language})"


class Record(_Kept):
    """What a collection is, as far as nothing else can tell.

    Attributes:
        encoder: Which one filled it; it never changes. None: it was composed of the
            others' vectors.
        vector: Name of the vector in each point; "" for a server's unnamed one.
        dim: Its length.
        distance: "cosine" or "dot".
        composition: `space_id` of what composed its vectors; None: nothing did.
        oversampling: Candidates that a search takes by their codes, for each that is
            asked for; None: it keeps no codes.
        words: Card of what makes its vectors of words; None: it has none.
        reader: What reads the pictures whose lettering it holds, or the scans whose
            text is among its texts; None: it holds none.
    """

    encoder: Card | None
    vector: str
    dim: Annotated[StrictInt, Field(ge=1)]
    distance: str
    composition: str | None = None
    oversampling: Annotated[float, Field(ge=1)] | None = None
    words: dict[str, Any] | None = None
    reader: ReaderCard | None = None


class CollectionEntry(Record):
    """The record of an embedded collection, and where it is.

    Attributes:
        folder: Name of its folder in the store's; another than its own name since it
            was compressed.
        alignment: Name of the file with the transform that its vectors went through,
            in that folder; None: they are the encoder's own.
        space: Name of the space that they are in since; None: it was not compressed.
        filter_fields: Keys of metadata that it is indexed by, and their kinds, beside
            those of every collection.
    """

    folder: FileName
    alignment: FileName | None = None
    space: str | None = None
    filter_fields: dict[str, str] = {}


class Place(NamedTuple):
    """What changes of an entry when its collection is compressed, or repaired."""

    folder: str
    alignment: str | None
    space: str | None
    dim: int
    oversampling: float | None


class Manifest(_Kept):
    """What the file says.

    Attributes:
        format: `FORMAT`.
        index_id: Random, made with the store: what is kept elsewhere about it is kept
            under this name.
        collections: By name.
    """

    format: StrictInt
    index_id: IndexId
    collections: dict[str, CollectionEntry]


def new_index_id() -> str:
    """Return a name that no index had before."""
    return uuid.uuid4().hex


def entry_of(
    store: QdrantEdgeVectorStore,
    *,
    encoder: Card | None,
    composition: Composition | None,
) -> CollectionEntry:
    """Return what a new collection's entry says.

    Args:
        store: Its store, open.
        encoder: Card of the one that fills it; None: its vectors are composed.
        composition: What composes them.
    """
    return CollectionEntry(
        encoder=encoder,
        vector=store.vector_name,
        dim=store.client.dim,
        distance=store.distance,
        composition=None if composition is None else composition.space_id,
        oversampling=oversampling_of(store.quantisation),
        folder=Path(store.path).name,
        words=None if store.words is None else store.words.card(),
        filter_fields={
            name: kind
            for name, kind in store.client.indexes.items()
            if name not in {*DEFAULT_PAYLOAD_INDEXES, *FILTER_FIELDS}
        },
    )


def check_format(given: object, where: str, *, anew: str) -> None:
    """Do nothing if this is our format, or none at all.

    Args:
        given: What a store or a collection says.
        where: Which one it is, as the beginning of a sentence.
        anew: What makes it anew, as the end of one.

    Raises:
        StoreUnusable: It is another version's.
    """
    if type(given) is int and given != FORMAT:
        raise StoreUnusable(
            f"{where} has format {given}; this version reads {FORMAT}. Nothing was "
            f"changed: open it with the version that wrote it, or index again {anew}"
        )


def check_composed(filled_by: str | None, given: str | None, *, where: str) -> None:
    """Do nothing if a store's composed vectors are what an index is opened for.

    Args:
        filled_by: `space_id` of the store's composition; None if it has none.
        given: The one of the index.
        where: The store's name.

    Raises:
        CollectionMismatch: They differ.
    """
    if filled_by == given:
        return
    if filled_by is None:
        msg = (
            f"The store {where!r} has no composed vectors, and composition is "
            f"{given}. Open it without composition, or index into a new store with it."
        )
    elif given is None:
        msg = (
            f"The store {where!r} has composed vectors of {filled_by}, and no "
            f"composition was given: inserting would leave them behind. Open it with "
            f"composition={_spelt(filled_by)}; queries may still be late."
        )
    else:
        msg = (
            f"The composed vectors of {where!r} are of {filled_by}; composition is "
            f"{given}. Open it with composition={_spelt(filled_by)}, or index into a "
            f"new store."
        )
    raise CollectionMismatch(msg)


def _spelt(space_id: str) -> str:
    try:
        return repr(composition_of(space_id))
    except InvalidSetting:
        return "the composition that filled it"
