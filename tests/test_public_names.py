"""The package's page: every public name, loaded when it is first used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import llama_index_mmrag as mmrag

STARTING = f"""
import json, sys, time
before, started = set(sys.modules), time.process_time()
import {mmrag.__name__}
spent = time.process_time() - started
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps([spent, sorted(new - sys.stdlib_module_names)]))
"""


def imports_for_type_checkers() -> dict[str, str]:
    """Return name → module of the imports that run under a type checker alone."""
    tree = ast.parse(Path(mmrag.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: f"{statement.module}"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_type_checkers_and_programs_find_the_same_names():
    assert sorted(imports_for_type_checkers()) == sorted(mmrag.__all__)


@pytest.mark.parametrize(("name", "module"), imports_for_type_checkers().items())
def test_name_is_what_type_checkers_take_it_for(name, module):
    assert getattr(mmrag, name) is getattr(import_module(module), name)
    assert name in dir(mmrag)


def test_star_takes_all_of_them():
    taken: dict[str, object] = {}
    exec(f"from {mmrag.__name__} import *", taken)
    assert set(mmrag.__all__) <= set(taken)


def test_modules_are_attributes_and_what_is_unknown_is_not():
    assert mmrag.errors is sys.modules["llama_index_mmrag.errors"]
    assert not hasattr(mmrag, "nonsense")
    with pytest.raises(ImportError, match="nonsense"):
        from llama_index_mmrag import nonsense  # noqa: F401


def test_importing_the_package_loads_nothing_and_takes_no_time():
    told = subprocess.run(
        [sys.executable, "-c", STARTING],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    spent_s, loaded = json.loads(told.stdout)
    assert loaded == [mmrag.__name__]
    assert spent_s < 0.1
