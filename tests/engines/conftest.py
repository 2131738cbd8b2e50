"""Collects what the cells showed, and writes it to the page when asked to.

    MMRAG_WRITE_COMPATIBILITY=1 python -m pytest tests/engines/test_conformance.py

All cells must run in one process: without `-n` and `-k`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from . import page
from .engines import CELLS, ENGINES
from .world import ASKED, WAYS


@pytest.fixture(scope="session")
def is_writing() -> bool:
    """Whether the page is about to be written, and so not to be compared with."""
    return bool(os.environ.get("MMRAG_WRITE_COMPATIBILITY"))


@pytest.fixture(scope="session")
def shown(is_writing) -> Iterator[dict[page.Cell, tuple[page.Note, ...] | None]]:
    """Return where each cell writes its notes."""
    marks: dict[page.Cell, tuple[page.Note, ...] | None] = {}
    yield marks
    if is_writing:
        missing = len(CELLS) - len(marks)
        assert not missing, f"{missing} cells failed or did not run; page left as it is"
        unstreamed = {
            (engine.name, asked, way): None
            for engine in ENGINES
            for asked in ASKED
            for way in WAYS
            if way not in engine.ways
        }
        page.write({**marks, **unstreamed})
