"""Arguments checked against their annotations: what is no such thing is refused.

For all that is no number: `checks` itself has the ranges of those. Pure.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence, Set
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from llama_index_mmrag.checks.keywords import MEANT, refuse_unknown
from llama_index_mmrag.checks.shown import shown
from llama_index_mmrag.errors import InvalidSetting

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

_SECRET = ("api_key", "client_kwargs")
"""What no message shows."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function, which first looks at what it is given.

    Each argument must be of its annotation: classes, protocols, True or False, texts,
    and collections of such. Numbers and choices are left to the function itself, whose
    messages say their range, and so are names that exist for type checkers only.

    Example:
        >>> @checked
        ... def shout(word: str, *, twice: bool = False) -> str:
        ...     return word.upper() * (1 + twice)
        >>> shout("a", twice=True)
        'AA'
        >>> shout("a", twice=None)
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: shout: twice is None; expected bool.
    """
    signature = inspect.signature(function)
    named = function.__qualname__.removesuffix(".__init__")
    hints: dict[str, Any] = {}  # at the first call: then all names are known

    def who_of(args: tuple[Any, ...]) -> str:
        if not {"self", "cls"} & signature.parameters.keys() or not args:
            return named
        # Its own class, not a base's.
        own = args[0] if isinstance(args[0], type) else type(args[0])
        made = function.__name__.replace("__init__", "")
        return f"{own.__name__}.{made}".removesuffix(".")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not hints:
            hints.update(_hints(signature, function))
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            names = [
                name for name in signature.parameters if name not in ("self", "cls")
            ]
            refuse_unknown(kwargs, who_of(args), names)
            return function(*args, **kwargs)  # Python says what is wrong, and of what
        for name, value in given.items():
            if not _fits(value, hints[name]):
                expected = signature.parameters[name].annotation
                who = who_of(args)
                said = type(value) if name in _SECRET else shown(value)
                told = f"{who}: {name} is {said}; expected {expected}."
                advice = MEANT.get((who, name))
                raise InvalidSetting(f"{told} {advice}" if advice else told)
        return function(*args, **kwargs)

    return call


def checked_fields(cls: type[C]) -> type[C]:
    """Return a dataclass whose fields are checked, as by `checked`, when it is made."""
    cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]
    return cls


def _hints(signature: inspect.Signature, function: Any) -> dict[str, Any]:
    names = getattr(inspect.unwrap(function), "__globals__", {})
    hints: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        hint = parameter.annotation
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            hint = Any
        try:
            hints[name] = eval(hint, names) if isinstance(hint, str) else hint  # noqa: S307 - our own source
        except NameError:  # imported for type checkers only
            hints[name] = Any
    return hints


def _fits(value: Any, hint: Any) -> bool:  # noqa: PLR0911 - a line a kind of hint
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is None:
        return value is None
    is_protocol = getattr(kind, "_is_protocol", False)
    if (
        not isinstance(kind, type)  # choices, and what type variables stand for
        or kind in (Any, int, float, inspect.Parameter.empty)
        or (is_protocol and not getattr(kind, "_is_runtime_protocol", False))
    ):
        return True
    if not isinstance(value, kind) or (
        isinstance(value, type) and kind not in (type, Callable)
    ):
        return False  # a class is not its own instance
    if not inner or kind in (type, Callable):
        return True
    if isinstance(value, Mapping):
        return issubclass(kind, Mapping)
    if isinstance(value, (str, bytes, bytearray)):
        return False  # a text is no list of texts
    # Of what is only to be gone through, each item is taken or reported by itself.
    return not issubclass(kind, (Sequence, Set)) or all(
        _fits(one, inner[0]) for one in typing.cast(Any, value)
    )
