"""A tool's arguments: what a model may ask for, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llama_index.core.bridge.pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    create_model,
)
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidQuery, InvalidSetting

_MOST_RESULTS = 50
_MOST_CONDITIONS = 10
_LIST_OPERATORS = ("in", "nin")

_Operator = Literal["==", "!=", ">", ">=", "<", "<=", "in", "nin"]
_Value = (
    StrictStr
    | StrictInt
    | StrictFloat
    | list[StrictStr]
    | list[StrictInt]
    | list[StrictFloat]
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a model asked for, within what it may ask for."""

    query: QueryBundle
    top_k: int | None = None
    """Number of results; None for the usual one."""
    filters: MetadataFilters | None = None


class ToolArguments:
    """The arguments that a model is offered. It can ask for nothing else.

    Args:
        image_roots: Folders that `image_path` may point into, by a path relative to one
            of them or a whole one; without them there is no such argument.
        filter_keys: Metadata keys that `filters` may name, best with what they hold
            ({"year": "year of printing"}); without them there is no such argument.
        takes_top_k: Whether there is an argument `top_k`.
        default_top_k: Its value where it is left out; None is for the tool to decide.

    Raises:
        InvalidSetting: `image_roots` or `filter_keys` is a single text.
    """

    @checked
    def __init__(
        self,
        *,
        image_roots: Sequence[str | Path] = (),
        filter_keys: Mapping[str, str] | Sequence[str] = (),
        takes_top_k: bool = True,
        default_top_k: int | None = None,
    ) -> None:
        for name, given in (("image_roots", image_roots), ("filter_keys", filter_keys)):
            if isinstance(given, str):
                raise InvalidSetting(
                    f"{name} is {given!r}; expected a list, such as [{given!r}]."
                )
        self._again = partial(
            ToolArguments,
            image_roots=image_roots,
            filter_keys=filter_keys,
            takes_top_k=takes_top_k,
            default_top_k=default_top_k,
        )
        self._roots = tuple(Path(root).resolve() for root in image_roots)
        self._keys = tuple(filter_keys)
        in_words = "What to look for, in words"
        fields: dict[str, Any] = {"query": (str, Field(description=f"{in_words}."))}
        if takes_top_k:
            usual = "" if default_top_k else "; the usual number if left out"
            about = f"Number of results{usual}."
            number = Field(
                default=default_top_k, description=about, ge=1, le=_MOST_RESULTS
            )
            fields["top_k"] = (int if default_top_k else int | None, number)
        if self._roots:
            about = f"{in_words}; empty with a picture alone."
            fields["query"] = (str, Field(default="", description=about))
            about = "Path of a picture to search by, if there is one."
            fields["image_path"] = (str | None, Field(default=None, description=about))
        if self._keys:
            fields["filters"] = _filters_field(filter_keys)
        self.schema: type[BaseModel] = create_model(
            "SearchArguments", __config__=ConfigDict(extra="forbid"), **fields
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()  # the schema has no name

    def read(self, asked: dict[str, Any]) -> Request:
        """Return what `asked` asks for.

        Raises:
            InvalidQuery: An argument is unknown, of the wrong type, or not allowed.
        """
        try:
            given = self.schema.model_validate(asked)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors()
            )
            raise InvalidQuery(
                f"The arguments {asked!r} are not right: {faults}. Call the tool again "
                f"with {', '.join(self.schema.model_fields)}."
            ) from error
        # Whether an empty path was given or none: there is no picture.
        path = getattr(given, "image_path", None) or None
        image_path = None if path is None else self._allowed(path)
        return Request(
            QueryBundle(getattr(given, "query", ""), image_path=image_path),
            getattr(given, "top_k", None),
            _filters(getattr(given, "filters", None) or ()),
        )

    @property
    def filters_nothing_out(self) -> MetadataFilters | None:
        """Conditions to try a retriever with; None if the model has no filters."""
        if not self._keys:
            return None
        tried = MetadataFilter(key=self._keys[0], value="", operator=FilterOperator.NE)
        return MetadataFilters(filters=[tried])

    def _allowed(self, image_path: str) -> str:
        for root in self._roots:
            for path in (root / image_path, Path(image_path)):
                try:
                    resolved = path.resolve()
                    is_file = resolved.is_file()
                except (OSError, ValueError, RuntimeError):
                    # A null byte, a name too long, a loop of links: no file of ours.
                    continue
                if is_file and resolved.is_relative_to(root):
                    return str(resolved)
        # The same words for a file elsewhere and for none: a model cannot probe.
        raise InvalidQuery(
            f"The folders that this tool may read have no picture {image_path!r}. Give "
            f"a path relative to one of them, or search by words."
        )


def _filters_field(keys: Mapping[str, str] | Sequence[str]) -> tuple[Any, Any]:
    known: Any = Literal.__getitem__(tuple(keys))
    about = (
        [f"{key} ({what})" for key, what in keys.items()]
        if isinstance(keys, Mapping)
        else list(keys)
    )
    value = Field(description="A text or a number; a list of them for in and nin.")
    condition = create_model(
        "Condition",
        __config__=ConfigDict(extra="forbid"),
        key=(known, Field(description="What is compared.")),
        operator=(_Operator, Field(default="==", description="How it is compared.")),
        value=(_Value, value),
    )
    description = f"Conditions that every result meets. Keys: {', '.join(about)}."
    filters = Field(default=None, description=description, max_length=_MOST_CONDITIONS)
    return list[condition] | None, filters


def _filters(conditions: Sequence[Any]) -> MetadataFilters | None:
    for condition in conditions:
        takes_list = condition.operator in _LIST_OPERATORS
        if isinstance(condition.value, list) is not takes_list:
            expected = "a list" if takes_list else "a single text or number"
            raise InvalidQuery(
                f"The condition on {condition.key!r} is {condition.operator!r} with "
                f"{condition.value!r}; expected {expected}."
            )
    if not conditions:
        return None
    # A condition has a filter's own fields.
    filters = [MetadataFilter(**condition.model_dump()) for condition in conditions]
    return MetadataFilters(filters=[*filters])
