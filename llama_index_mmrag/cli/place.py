"""Where a command's index is: the options that say so, and what they mean."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from llama_index_mmrag.composition import Composition

API_KEY = "QDRANT_API_KEY"

OPTIONS: dict[str, Any] = {
    "store": options.Store,
    "url": Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="A Qdrant server, in place of --store: http://localhost:6333.",
        ),
    ],
    "api_key": Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help=f"The server's. Default: {API_KEY} of the environment, which no list "
            f"of processes shows.",
        ),
    ],
    "collection": Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            metavar="NAME",
            help="The server's collections are NAME-text and NAME-image. Default: "
            "mmrag. Or text=NAME, and again image=NAME.",
        ),
    ],
    "grpc": Annotated[bool, typer.Option("--grpc", help="Ask the server over gRPC.")],
    "timeout": Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="Of each call to the server. Default: 5.",
        ),
    ],
}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, or collections on a server.

    Raises:
        InvalidSetting: It is both or neither, or a server's options are given with a
            folder.
    """

    store: Path | None = None
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    collection: list[str] | None = None
    grpc: bool = False
    timeout: float | None = None

    def __post_init__(self) -> None:
        if (self.store is None) == (self.url is None):
            raise InvalidSetting(
                "Expected exactly one of --store (a folder) and --url (a server). "
                "Give it."
            )
        of_server = {
            "--api-key": self.api_key,
            "--collection": self.collection,
            "--grpc": self.grpc or None,
            "--timeout": self.timeout,
        }
        given = [name for name, value in of_server.items() if value is not None]
        if self.store is not None and given:
            raise InvalidSetting(
                f"{given[0]} is for a server, and --store is a folder. Give --url, or "
                f"leave it out."
            )

    def __str__(self) -> str:
        """Return the option that names it."""
        if self.store is not None:
            return f"--store {self.store}"
        named = (f"--collection {name}" for name in self.collection or ())
        return " ".join((f"--url {self.url}", *named))

    @property
    def _names(self) -> str | dict[str, str]:
        pairs = [name.partition("=") for name in self.collection or ("mmrag",)]
        if len(pairs) == 1 and not pairs[0][1]:
            return pairs[0][0]
        names = {modality: name for modality, _, name in pairs}
        if len(names) != len(pairs):
            raise InvalidSetting(
                f"--collection got {' and '.join(self.collection or ())}; expected one "
                f"NAME, or one for each of text, image, composed and lettering. Leave "
                f"one out."
            )
        return names

    @property
    def _client_settings(self) -> dict[str, Any]:
        key = os.environ.get(API_KEY) or None if self.api_key is None else self.api_key
        return {"api_key": key, "prefer_grpc": self.grpc, "timeout": self.timeout}

    @property
    def opening(self) -> dict[str, Any]:
        """What `MultiModalQdrantIndex.open` is given to open it."""
        if self.store is not None:
            return {"path": self.store}
        names = {"url": self.url, "collection": self._names}
        return names | self._client_settings

    @contextmanager
    def server(self) -> Iterator[tuple[QdrantClient, dict[str, str]]]:
        """Yield a client of the server, and the collections' names by modality."""
        from llama_index_mmrag.stores.client import client_at
        from llama_index_mmrag.stores.server import names_on_server

        names = names_on_server(self._names)
        with closing(client_at(self.url, **self._client_settings)) as client:
            yield client, names

    def exists(self) -> bool:
        """Return whether there is an index, or one that lost its manifest."""
        if self.store is not None:
            there = (self.store / f"mmrag{of}.json" for of in ("", ".copy"))
            return any(file.exists() for file in there)
        from llama_index_mmrag.stores.server_check import is_on_server

        with self.server() as (client, names):
            return is_on_server(client, names)

    def check_exists(self) -> None:
        """Do nothing if there is an index.

        Raises:
            StoreUnusable: There is none.
        """
        if self.store is not None:
            from llama_index_mmrag.stores.checking import check_is_store

            check_is_store(self.store)
            return
        from llama_index_mmrag.stores.server_check import check_is_on_server

        with self.server() as (client, names):
            check_is_on_server(client, names)

    def composition(self) -> Composition | None:
        """Return what composed its vectors for early fusion; None for no such ones."""
        if self.store is not None:
            from llama_index_mmrag.stores.manifest import stored_composition

            return stored_composition(self.store)
        from llama_index_mmrag.stores.server_check import composition_on

        with self.server() as (client, names):
            return composition_on(client, names)


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has the options of a place for its argument `place`.

    Where that may be None, none of them need be given.
    """
    own = inspect.signature(command, eval_str=True)
    may_be_none = own.parameters["place"].default is None

    @wraps(command)
    def call(**given: Any) -> None:
        said = {name: given.pop(name) for name in OPTIONS}
        is_said = any(value not in (None, False, []) for value in said.values())
        place = Place(**said) if is_said or not may_be_none else None
        command(place=place, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    options_ = [
        inspect.Parameter(
            name,
            keyword,
            default=False if name == "grpc" else None,
            annotation=annotation,
        )
        for name, annotation in OPTIONS.items()
    ]
    parameters = [
        each
        for one in own.parameters.values()
        for each in (options_ if one.name == "place" else [one.replace(kind=keyword)])
    ]
    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call
