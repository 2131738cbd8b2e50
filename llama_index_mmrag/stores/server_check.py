"""An index on a server, without its encoders: whether it is there, and whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llama_index_mmrag.composition import Composition, composition_of
from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.stores.checking import StoreCheck
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.encoder_card import record_in
from llama_index_mmrag.stores.server_errors import Asking
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def is_on_server(client: QdrantClient, names: Mapping[str, str]) -> bool:
    """Return whether an index's collection of texts is there.

    Args:
        client: Of the server.
        names: Of the collections, by modality, as `names_on_server` has them.

    Raises:
        StoreUnusable: The server refuses, or does not answer.
    """
    with Asking(client, names["text"]):
        return bool(client.collection_exists(names["text"]))


def check_is_on_server(client: QdrantClient, names: Mapping[str, str]) -> None:
    """Do nothing if `is_on_server`.

    Raises:
        StoreUnusable: It is not, or the server refuses, or does not answer.
    """
    if not is_on_server(client, names):
        with Asking(client, names["text"]):
            there = sorted(one.name for one in client.get_collections().collections)
        raise StoreUnusable(
            f"There is no collection {names['text']!r} on the server, which has "
            f"{there}. Name one of these, or make the index with: mmrag index DIR "
            f"--url URL --collection NAME"
        )


def composition_on(
    client: QdrantClient, names: Mapping[str, str]
) -> Composition | None:
    """Return what composed an index's vectors for early fusion; None for no such ones.

    Raises:
        StoreUnusable: The server refuses, or does not answer.
        InvalidSetting: It was a composition of the user's own.
    """
    name = names["composed"]
    with Asking(client, name):
        if not client.collection_exists(name):
            return None
        known = record_in(client.get_collection(name).config.metadata, name)
    space_id = known.get("composition")
    return None if space_id is None else composition_of(str(space_id))


def check_server(client: QdrantClient, names: Mapping[str, str]) -> StoreCheck:
    """Count an index's points, and return what the server knows to be damaged.

    Raises:
        StoreUnusable: There is no such index, or the server refuses, or does not
            answer; or a collection has another format.
    """
    check_is_on_server(client, names)
    n_points: dict[str, int] = {}
    damaged: dict[str, tuple[str, ...]] = {}
    for modality, name in names.items():
        with Asking(client, name):
            if not client.collection_exists(name):
                if modality in ("text", "image"):
                    damaged[modality] = (f"the collection {name!r} is gone",)
                continue
            described = client.get_collection(name)
            n_points[modality] = client.count(name, exact=True).count
        record_in(described.config.metadata, name)
        if described.status == "red":
            reason = f"the server calls {name!r} red: {described.optimizer_status}"
            damaged[modality] = (reason,)
    return StoreCheck(n_points, damaged, ())


def sampled_on_server(client: QdrantClient, name: str, most: int) -> Vectors:
    """Return vectors of a collection, shape (n, dim): a choice that ids make.

    Raises:
        StoreUnusable: The server refuses, or does not answer.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    with Asking(client, name):
        store = QdrantVectorStore(name, client=client)
    return collection_of(store).sample(most)[0]
