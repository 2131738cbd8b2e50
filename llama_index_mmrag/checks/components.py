"""LlamaIndex components whose fields are checked by pydantic, with our errors. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

import numpy as np

from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.errors import InvalidSetting, MmragError


class CheckedComponent:
    """What makes a component, named before LlamaIndex's class, check what it is given.

    Fields are of their types alone: no text is a number, True is none, NaN is none, and
    a field that is not known is refused instead of dropped. Assignments too.

    Raises:
        InvalidSetting: Something else was given.
    """

    model_config: ClassVar[Any] = {
        "allow_inf_nan": False,
        "extra": "forbid",
        "strict": True,
        "validate_assignment": True,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        plain = {name: _plain(value) for name, value in kwargs.items()}
        with as_settings(type(self).__name__, self._fields()):
            super().__init__(*args, **plain)

    def __setattr__(self, name: str, value: Any) -> None:
        before = dict(self.__dict__)
        try:
            with as_settings(type(self).__name__, self._fields()):
                super().__setattr__(name, _plain(value))
        except InvalidSetting:
            # What a validator of the whole refuses was assigned before it was asked.
            self.__dict__.update(before)
            raise

    @classmethod
    def _fields(cls) -> Collection[str]:
        fields: Collection[str] = getattr(cls, "model_fields", ())
        return fields


def _plain(value: Any) -> Any:
    # A strict field takes Python's numbers alone, and numpy's whole ones are none.
    return value.item() if isinstance(value, np.generic) else value


@contextlib.contextmanager
def as_settings(component: str, known: Collection[str] = ()) -> Iterator[None]:
    """Raise what pydantic says of a component's fields as `InvalidSetting`.

    Args:
        component: Its name.
        known: Its fields, of which the nearest to one that is none is named.
    """
    try:
        yield
    except MmragError:
        raise
    except (TypeError, ValueError) as error:
        # Pydantic's, which this room does not know, lists what is wrong; a TypeError is
        # one of LlamaIndex's validators'.
        listed: Any = getattr(error, "errors", lambda: [{}])
        found = {"loc": (), "msg": str(error), **listed()[0]}
        if found.get("type") in ("extra_forbidden", "no_such_attribute"):
            refuse_unknown(found["loc"], component, known)
        field = "".join(f"{part} is " for part in found["loc"][:1])
        given = f"{field}{found['input']!r}: " if "input" in found else ""
        raise InvalidSetting(
            f"{component}: {given}{found['msg']}. Give what the class documents."
        ) from error
