"""What a collection says of its payloads, above all of those of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.bridge.pydantic import ValidationError

from llama_index_mmrag.errors import CollectionMismatch


class Payloads:
    """What is known of a kind of store that is not looked into: nothing.

    Attributes:
        view: Name of the vector that is searched, where points are read by keys: a
            point is one thing, which each vector shows another side of. Else None.
        names_entities: False where no point names its entity, so that none is asked.
    """

    view: str | None = None
    names_entities: bool = True

    def strangers(self, *, ask_server: bool = True) -> list[dict[str, Any]]:  # noqa: ARG002 - Qdrant's
        """Return the payloads of those of ten points that LlamaIndex did not write.

        None with an asynchronous client alone.

        Args:
            ask_server: Whether a collection on a server is asked.
        """
        return []

    def may_have(self, key: str, *, ask_server: bool = True) -> bool:  # noqa: ARG002 - Qdrant's
        """Return False where there are nodes, and it is known that none has the key."""
        return True

    def check_payloads(self, *, ask_server: bool = True) -> None:
        """Do nothing if payloads have the keys that they are read by.

        Raises:
            CollectionMismatch: Of ten points none has one.
        """


@contextmanager
def readable(store: Any) -> Iterator[None]:
    """Say what a `QdrantVectorStore` needs that makes text nodes of others' points.

    Raises:
        CollectionMismatch: On leaving: they have no text where it looked for one.
    """
    try:
        yield
    except ValidationError as error:
        raise CollectionMismatch(
            f"Collection {store.collection_name!r} has points that LlamaIndex did not "
            f"write, without a text under {store.text_key!r}. Say where it is: "
            f"text_key=, or image_path_key=, image_url_key= or image_base64_key= for "
            f"pictures, of Channel, from_vector_stores or from_qdrant."
        ) from error
