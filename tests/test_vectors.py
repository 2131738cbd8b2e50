from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llama_index_mmrag.vectors import has_direction, unit_rows, wide_unit_rows


@pytest.mark.parametrize("size", [1e-300, 1e-45, 1e-200, 1.0, 1e200, 1e300])
def test_direction_is_kept_at_any_size(size):
    rows = np.array([[3.0, -4.0], [1.0, 1.0]]) * size
    expected = [[3 / 5, -4 / 5], [1 / sqrt(2), 1 / sqrt(2)]]
    assert unit_rows(rows) == pytest.approx(np.array(expected), abs=1e-6)
    assert wide_unit_rows(rows) == pytest.approx(np.array(expected), rel=1e-14)


@given(
    arrays(
        np.float32,
        (3, 4),
        elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
    )
)
def test_rows_have_length_one_or_were_zeros(rows):
    before = rows.copy()
    lengths = np.linalg.norm(unit_rows(rows), axis=1)
    assert lengths == pytest.approx(rows.any(axis=1).astype(float), abs=1e-6)
    assert (rows == before).all()


def test_no_rows_stay_none():
    assert unit_rows(np.empty((0, 3))).shape == (0, 3)
    assert has_direction(np.empty((0, 3))).shape == (0,)


def test_what_is_not_finite_has_no_direction():
    rows = np.array([[0, 1], [0, 0], [np.nan, 1], [np.inf, 1], [-1, 0]])
    assert has_direction(rows).tolist() == [True, False, False, False, True]
