from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from llama_index_mmrag.checks import needs, number, one_of, rows, whole
from llama_index_mmrag.errors import (
    InvalidQuery,
    InvalidSetting,
    InvalidVector,
    MissingExtra,
)

NO_NUMBERS = [None, True, np.True_, "1", b"1", [1], object(), float("nan"), 1j]


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), Fraction(1)])
def test_number_takes_what_counts_as_one(value):
    assert number(value, "x", at_least=1, at_most=1) == 1.0
    assert type(number(value, "x")) is float
    assert number(Decimal("0.5"), "x") == 0.5


@pytest.mark.parametrize("value", [*NO_NUMBERS, float("inf"), -float("inf"), 10**400])
def test_number_refuses_what_is_none(value):
    with pytest.raises(InvalidSetting, match="x is .*; expected a finite number"):
        number(value, "x")


@pytest.mark.parametrize(
    ("bounds", "good", "bad"),
    [
        ({"at_least": 0}, 0, -1e-9),
        ({"more_than": 0}, 1e-9, 0),
        ({"at_most": 1}, 1, 1.001),
        ({"less_than": 1}, 0.999, 1),
    ],
)
def test_each_bound_holds(bounds, good, bad):
    assert number(good, "x", **bounds) == good
    with pytest.raises(InvalidQuery, match=r"Give less\.$"):
        number(bad, "x", **bounds, advice="Give less.", error=InvalidQuery)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_takes_what_python_takes_as_an_index(value):
    assert whole(value, "n", at_least=3, at_most=3) == 3
    assert type(whole(value, "n")) is int


@pytest.mark.parametrize("value", [*NO_NUMBERS, 3.0, np.float64(3), "3", 2, 5])
def test_whole_refuses_the_rest(value):
    with pytest.raises(InvalidSetting, match="of at least 3 and at most 4"):
        whole(value, "n", at_least=3, at_most=4)


@pytest.mark.parametrize("value", ["c", 1, True, None, ["a"], np.array(["a", "b"])])
def test_one_of_lists_the_choices(value):
    assert one_of("b", "x", ("a", "b")) == "b"
    assert one_of(0, "x", (0, "b")) == 0
    with pytest.raises(InvalidSetting, match=r"expected 'a' or 'b'\. Take one\.$"):
        one_of(value, "x", ("a", "b"), advice="Take one.")


def test_rows_are_one_array_of_float32():
    found = rows([[1, 2], [3, 4]], "V", dim=2, n_rows=2)
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert rows(np.empty((0, 3)), "V").shape == (0, 3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[1.0], [2.0, 3.0]], "no array of numbers"),
        ([["a"]], "no array of numbers"),
        ([[1.0, 2.0, 3.0]], "expected 1 x 2"),
        ([[1.0, 2.0], [3.0, 4.0]], "expected 1 x 2"),
        (np.empty((1, 0)), "expected 1 x 2"),
        ([[1.0, float("nan")]], "not finite, first in row 0"),
    ],
)
def test_rows_refuse_other_shapes_and_numbers(values, said):
    with pytest.raises(InvalidVector, match=said):
        rows(values, "V", dim=2, n_rows=1)


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    assert needs("math", extra="train", for_="Arithmetic").sqrt(4) == 2
    with pytest.raises(MissingExtra, match=r"Magic needs .*no_such.*\[train\]"):
        needs("no_such_package", extra="train", for_="Magic")
