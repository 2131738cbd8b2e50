"""docs/architecture.md is true: its drawing, its walks and the files it names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .test_layers import FLOORS, PACKAGE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_HOPS = 20
MOST_CHANGES = 100


def hops_under(title: str) -> list[str]:
    """Return a walk's numbered hops, each as "file:function"."""
    _, _, section = PAGE.partition(f"## {title}\n")
    return re.findall(r"(?m)^\d+\. `([\w/]+\.py:\w+)`", section.partition("\n## ")[0])


@pytest.fixture(scope="module")
def counted() -> dict[str, dict[str, Any]]:
    """Return what benchmarks/walks.py counts, by a walk's name."""
    done = subprocess.run(
        [sys.executable, "benchmarks/walks.py", "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return dict(json.loads(done.stdout))


def test_the_drawing_has_the_floors_of_the_layer_test():
    chain = next(line for line in PAGE.splitlines() if line.count("-->") > 1)
    drawn = [set(floor.split(" & ")) for floor in chain.strip().split(" --> ")]
    assert [{room.replace("__init__", "init") for room in f} for f in FLOORS] == drawn


@pytest.mark.parametrize(
    ("title", "walk"),
    [("A query's walk", "`retrieve`"), ("A page's walk", "inserting a page")],
)
def test_functions_of_a_written_walk_are_called_in_its_order(counted, title, walk):
    row = next(row for name, row in counted.items() if name.startswith(walk))
    hops = hops_under(title)
    assert 10 < len(hops) <= MOST_HOPS
    calls = iter(row["calls"])
    missed = next((hop for hop in hops if hop not in calls), None)
    assert missed is None, "not called, or not in this order"


@pytest.mark.parametrize("walk", ["`retrieve` over three nodes", "inserting a page"])
def test_walk_is_short(counted, walk):
    row = next(row for name, row in counted.items() if name.startswith(walk))
    assert row["n_changes"] <= MOST_CHANGES


def test_files_that_the_page_names_exist():
    named = set(re.findall(r"`((?:\w+/)?\w+\.py)\b", PAGE))
    assert len(named) > 20
    assert [
        x for x in named if not any((r / x).exists() for r in (PACKAGE, ROOT))
    ] == []
