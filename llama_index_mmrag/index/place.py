"""Where an index is: one place, and what belongs to that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from tempfile import TemporaryDirectory

from llama_index_mmrag.checks import no_address
from llama_index_mmrag.errors import InvalidSetting

MEMORY = ":memory:"
"""Where Qdrant's client keeps what ends with it."""


def check_place(
    places: Mapping[str, object],
    *,
    client_kwargs: Mapping[str, object] | None,
    aclient: object,
    collection: object,
    **of_server: object,
) -> None:
    """Do nothing if one place is given, and beside it what belongs to that.

    Args:
        places: A path, a location, a url and a client; one is not None.
        client_kwargs: As for `client_at`; it may hold the place instead, as a host.
        aclient: A server's asynchronous client, or None.
        collection: What a server's collections are called, or None.
        of_server: What else there is only where we make the client; else None.

    Raises:
        InvalidSetting: It is not so.
    """
    places = {**places, "client_kwargs['host']": (client_kwargs or {}).get("host")}
    given = [name for name, place in places.items() if place is not None]
    if not given and aclient is not None:
        raise InvalidSetting(
            "open() got aclient alone; expected client= or url= of the same server "
            "beside it: collections are made, checked and filled by that one, and "
            "asynchronous queries go by aclient."
        )
    if len(given) != 1:
        is_named = not given and "QDRANT_URL" in os.environ
        raise InvalidSetting(
            f"open() got {' and '.join(given) or 'no place'}; expected exactly one of "
            f"path (a folder), url or location (a server) and client."
            + ' QDRANT_URL is set: url=os.environ["QDRANT_URL"].'
            * is_named
        )
    if (place := places[given[0]]) == "":
        raise InvalidSetting(
            f"open() got {given[0]}=''; expected a folder's name or a server's "
            f'address. Give "." for the folder that you are in.'
        )
    if given == ["path"] and place != MEMORY:
        no_address(
            str(place),
            "open(): path",
            advice="Give a server's address as url=, and as client= a "
            'QdrantClient(":memory:").',
        )
    making = {"client_kwargs": client_kwargs or None, **of_server}
    if given == ["path"] or place == MEMORY:
        making |= {"aclient": aclient, "collection": collection}
    elif given != ["client"]:
        return
    if ignored := [name for name, value in making.items() if value is not None]:
        raise InvalidSetting(
            f"open() got {given[0]} and {ignored[0]}, which is for "
            + (
                "a server: give url= or client= instead, or leave it out."
                if "aclient" in making
                else "a client that is made here: give it to yours, or give url=."
            )
        )


def temporary_folder() -> TemporaryDirectory[str]:
    """Return a new folder for a store, which goes with the context."""
    # A store that was never closed has files open, which one system does not remove.
    return TemporaryDirectory(prefix="mmrag-", ignore_cleanup_errors=True)
