"""Checks of what a caller gave: each says what was given, expected, and what to do.

A check returns the value in its plain type, so that a setting is checked and kept in
one line. Settings are checked once, where they come in. Pure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from typing import Any, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.checks.packages import needs as needs
from llama_index_mmrag.checks.shown import shown
from llama_index_mmrag.errors import InvalidSetting, InvalidVector, MmragError
from llama_index_mmrag.vectors import Vectors

T = TypeVar("T")


def one_of(
    value: T,
    name: str,
    choices: Collection[object],
    *,
    advice: str = "",
    error: type[MmragError] = InvalidSetting,
) -> T:
    """Return `value`, which is one of `choices`.

    Args:
        value: What was given.
        name: What it is called where it was given, such as "Channel 'text': mode".
        choices: What may be given, in the order to be listed; `get_args` of a Literal.
        advice: A sentence that says what to do, where the list does not say it.
        error: What is raised.

    Example:
        >>> one_of("late", "stage", ("late", "early"))
        'late'
        >>> one_of("soon", "stage", ("late", "early"))
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: stage is 'soon'; expected 'late' or \
'early'.
    """
    # Compared by type as well: 1 is no True, and an array is equal to nothing.
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    *most, last = map(repr, choices)
    listed = f"{', '.join(most)} or {last}" if most else last
    raise error(_said(value, name, listed, advice))


def number(  # noqa: PLR0913 - four bounds, and what is said
    value: object,
    name: str,
    *,
    at_least: float | None = None,
    more_than: float | None = None,
    at_most: float | None = None,
    less_than: float | None = None,
    advice: str = "",
    error: type[MmragError] = InvalidSetting,
) -> float:
    """Return `value` as a float that is finite and within its bounds.

    Numbers are what Python, numpy and their kind count as such; truth values, NaN,
    infinity, texts and None are none.

    Args:
        value: What was given.
        name: What it is called where it was given.
        at_least: Least value that is allowed; None for no such bound.
        more_than: Value that it must exceed.
        at_most: Largest value that is allowed.
        less_than: Value that it must stay below.
        advice: A sentence that says what to do.
        error: What is raised.

    Example:
        >>> number(0.5, "alpha", at_least=0, at_most=1)
        0.5
        >>> number(float("nan"), "alpha", at_least=0, at_most=1)
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: alpha is nan; expected a finite \
number of at least 0 and at most 1.
    """
    found = _as_float(value)
    given = (at_least, more_than, at_most, less_than)
    bounds = dict(zip(_TESTS, given, strict=True))
    if found is None or not isfinite(found) or not _is_within(found, bounds):
        raise error(_said(value, name, f"a finite number{_told(bounds)}", advice))
    return found


def whole(
    value: object,
    name: str,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    advice: str = "",
    error: type[MmragError] = InvalidSetting,
) -> int:
    """Return `value` as an int within its bounds.

    Whole is what has `__index__`: `np.int64(5)` is, and `True`, `5.0` and "5" are not.

    Args:
        value: What was given.
        name: What it is called where it was given.
        at_least: Least value that is allowed; None for no such bound.
        at_most: Largest value that is allowed.
        advice: A sentence that says what to do.
        error: What is raised.

    Example:
        >>> whole(np.int64(5), "top_k", at_least=1)
        5
        >>> whole(True, "top_k", at_least=1)
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: top_k is True; expected a whole \
number of at least 1.
    """
    bounds = {"of at least": at_least, "at most": at_most}
    try:
        found = None if isinstance(value, (bool, np.bool_)) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        found = None
    if found is None or not _is_within(found, bounds):
        raise error(_said(value, name, f"a whole number{_told(bounds)}", advice))
    return found


def truth(value: bool, name: str) -> bool:
    """Return `value`, which is True or False; what counts as such elsewhere is none."""
    return one_of(value, name, (True, False))


def instance(  # noqa: PLR0913 - what is taken, and what is said
    value: T,
    name: str,
    *kinds: Any,
    or_none: bool = False,
    advice: str = "",
    error: type[MmragError] = InvalidSetting,
) -> T:
    """Return `value`, which is of one of the kinds; a class is not its own instance.

    Args:
        value: What was given.
        name: What it is called where it was given.
        *kinds: Classes and protocols; `bool` takes True and False alone.
        or_none: Whether None, for "not given", is taken too.
        advice: A sentence that says what to do.
        error: What is raised.

    Example:
        >>> instance("a", "name", str)
        'a'
        >>> instance(1, "name", str, or_none=True)
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: name is 1; expected str or None.
    """
    if (isinstance(value, kinds) and not isinstance(value, type)) or (
        or_none and value is None
    ):
        return value
    told = [kind.__name__ for kind in kinds] + ["None"] * or_none
    raise error(_said(value, name, " or ".join(told), advice))


def listed(
    values: Iterable[T],
    name: str,
    *kinds: Any,
    advice: str = "",
    error: type[MmragError] = InvalidSetting,
) -> tuple[T, ...]:
    """Return the items of a list or another collection, each of one of the kinds.

    A text is no list, and a mapping is none either.
    """
    if not isinstance(values, Collection) or isinstance(
        values, (str, bytes, bytearray, Mapping)
    ):
        of = " or ".join(kind.__name__ for kind in kinds)
        raise error(_said(values, name, f"a list of {of}", advice or "Use [...]."))
    return tuple(
        instance(value, f"{name}[{n}]", *kinds, advice=advice, error=error)
        for n, value in enumerate(values)
    )


def numbers(
    values: Mapping[str, float],
    name: str,
    *,
    at_least: float | None = None,
    advice: str = "",
    error: type[MmragError] = InvalidSetting,
) -> dict[str, float]:
    """Return a copy of a mapping from names to numbers, each as `number` has it."""
    if not isinstance(values, Mapping):
        raise error(_said(values, name, "a mapping of names to numbers", advice))
    return {
        instance(key, f"A name in {name}", str, error=error): number(
            value, f"{name}[{key!r}]", at_least=at_least, advice=advice, error=error
        )
        for key, value in values.items()
    }


def no_keywords(given: Iterable[str], of: str) -> None:
    """Do nothing if nothing was given besides the arguments that `of` knows.

    What is not known must not be dropped: a filter under another name would hide
    nothing.
    """
    for keyword in given:
        raise InvalidSetting(
            f"{of}() got the keyword {keyword!r}, which it does not know; expected "
            f"those of its signature alone. Leave it out."
        )


_ADDRESS = re.compile(
    r":memory:|[A-Za-z][A-Za-z0-9+.-]+:[/\\].*|[A-Za-z0-9][A-Za-z0-9.-]+:[0-9]+/?",
    re.DOTALL,
)
"""With a scheme or a port. One letter is a drive; `Path` makes "http:/…" of "http://…"."""


def no_address(value: str, name: str, *, advice: str) -> str:
    """Return the name of a folder, which is not the address of a server.

    Args:
        value: What was given.
        name: What it is called where it was given.
        advice: A sentence that says where addresses go.

    Raises:
        InvalidSetting: It is an address: a folder "http:/…" would be made.

    Example:
        >>> no_address("http://localhost", "path", advice="Give it as url=.")
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: path is 'http://localhost'; expected \
a folder. Give it as url=.
    """
    if _ADDRESS.fullmatch(value):
        raise InvalidSetting(_said(value, name, "a folder", advice))
    return value


def rows(
    values: ArrayLike,
    name: str,
    *,
    dim: int | None = None,
    n_rows: int | None = None,
    advice: str = "Check the encoder's output.",
    error: type[MmragError] = InvalidVector,
) -> Vectors:
    """Return vectors as one array of finite float32 numbers, shape `(n, dim)`.

    Args:
        values: An array of two axes, or lists of numbers.
        name: What the vectors are called in messages, such as "The text vectors".
        dim: Their length, at least 1; None takes any.
        n_rows: How many there must be; None takes any number, none too.
        advice: A sentence that says what to do.
        error: What is raised.

    Example:
        >>> rows([[1.0, float("inf")]], "The text vectors")
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidVector: The text vectors have numbers that are \
not finite, first in row 0; expected finite numbers. Check the encoder's output.
    """
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, refused below
            array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as cause:
        raise error(
            f"{name} are no array of numbers ({cause}); expected one. {advice}"
        ) from cause
    wanted = (n_rows, dim)
    fits = array.ndim == 2 and array.shape[1] > 0
    if not fits or any(
        w is not None and w != n for w, n in zip(wanted, array.shape, strict=True)
    ):
        shape = " x ".join("any" if w is None else str(w) for w in wanted)
        raise error(f"{name} have the shape {array.shape}; expected {shape}. {advice}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise error(
            f"{name} have numbers that are not finite, first in row {int(bad[0])}; "
            f"expected finite numbers. {advice}"
        )
    return array


_TESTS: dict[str, Any] = {
    "of at least": operator.ge,
    "greater than": operator.gt,
    "at most": operator.le,
    "less than": operator.lt,
}


def _is_within(found: float, bounds: Mapping[str, float | None]) -> bool:
    given = [(name, bound) for name, bound in bounds.items() if bound is not None]
    return all(_TESTS[name](found, bound) for name, bound in given)


def _told(bounds: Mapping[str, float | None]) -> str:
    told = (f"{name} {b:g}" for name, b in bounds.items() if b is not None)
    return f" {' and '.join(told)}".rstrip()


def _as_float(value: object) -> float | None:
    # What float() takes besides numbers: texts and truth values.
    if isinstance(value, (bool, np.bool_, str, bytes, bytearray)):
        return None
    try:
        return float(value) if isinstance(value, SupportsFloat) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _said(value: object, name: str, expected: str, advice: str) -> str:
    told = f" {advice}" if advice else ""
    return f"{name} is {shown(value)}; expected {expected}.{told}"
