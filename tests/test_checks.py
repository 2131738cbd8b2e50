from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from llama_index_mmrag.checks import (
    instance,
    listed,
    needs,
    no_keywords,
    number,
    numbers,
    one_of,
    rows,
    truth,
    whole,
)
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import (
    InvalidQuery,
    InvalidSetting,
    InvalidVector,
    MissingExtra,
)
from llama_index_mmrag.fusion import RRF, Fusion

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


@pytest.mark.parametrize("value", [1, "true", None, np.True_, []])
def test_truth_is_true_or_false(value):
    assert (truth(True, "x"), truth(False, "x")) == (True, False)
    with pytest.raises(InvalidSetting, match="expected True or False"):
        truth(value, "x")


def test_instance_takes_its_kinds_and_none_where_that_is_a_value():
    assert instance("a", "x", int, str) == "a"
    assert instance(None, "x", str, or_none=True) is None
    for value, kinds in ((None, [str]), (b"a", [str]), (str, [type, str])):
        with pytest.raises(InvalidSetting, match="x is .*; expected"):
            instance(value, "x", *kinds)


@pytest.mark.parametrize("value", ["ab", b"ab", {"a": 1}, None, 5, ["a", 1], iter("a")])
def test_listed_takes_collections_of_one_kind(value):
    assert listed(["a", "b"], "x", str) == listed(("a", "b"), "x", str) == ("a", "b")
    assert listed([], "x", str) == ()
    with pytest.raises(InvalidQuery, match=r"x(\[1\])? is .*; expected"):
        listed(value, "x", str, error=InvalidQuery)


@pytest.mark.parametrize(
    "value", [None, "a", [1.0], {1: 1.0}, {"a": "1"}, {"a": True}, {"a": -1}]
)
def test_numbers_go_by_name(value):
    given = {"a": np.float32(1)}
    assert numbers(given, "x", at_least=0) == {"a": 1.0}
    assert numbers(given, "x") is not given
    with pytest.raises(InvalidQuery, match="x"):
        numbers(value, "x", at_least=0, error=InvalidQuery)


def test_keywords_that_are_not_known_are_named():
    no_keywords({}, "f")
    with pytest.raises(InvalidSetting, match=r"f\(\) got the keyword 'a'"):
        no_keywords({"a": 1}, "f")


@checked
def taking(
    texts: Sequence[str],
    *,
    flag: bool = False,
    fusion: Fusion | None = None,
    call: Callable[[str], None] = print,
    names: Mapping[str, float] | Sequence[str] = (),
    only_for_checkers: Unknown = 1,  # type: ignore[name-defined]  # noqa: F821
    **more: object,
) -> int:
    return len(texts)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"texts": "ab"}, r"taking: texts is 'ab'; expected Sequence\[str\]"),
        ({"texts": ["a", 1]}, "texts is"),
        ({"texts": {"a": 1}}, "texts is"),
        ({"flag": 1}, "flag is 1; expected bool"),
        ({"fusion": "rrf"}, r"expected Fusion \| None"),
        ({"fusion": RRF}, r"expected Fusion \| None"),
        ({"call": "print"}, "call is 'print'"),
        ({"names": "ab"}, "names is 'ab'"),
        ({"names": None}, "names is None"),
    ],
)
def test_arguments_are_what_their_annotations_say(wrong, said):
    right = {"texts": ("a", "b"), "fusion": RRF(), "names": {"a": 1}, "call": str}
    assert taking(**right) == 2
    assert taking(["a"], flag=True, only_for_checkers="x", more=object()) == 1
    with pytest.raises(InvalidSetting, match=said):
        taking(**{**right, **wrong})
    with pytest.raises(TypeError):
        taking()
