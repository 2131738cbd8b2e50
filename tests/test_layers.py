"""The package's layers: imports point from glue to I/O to pure code, and cost nothing.

Pure code is numpy and the standard library without files, threads or the network. I/O
(stores, encoders, pictures) knows nothing of what is built on it.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import llama_index_mmrag

PACKAGE = Path(llama_index_mmrag.__file__).parent
NAME = "llama_index_mmrag"
SOURCES = {
    ".".join((NAME, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

PURE = re.compile(
    rf"{NAME}\.(errors|provenance|citations|composition|fusion(\..+)?|embeddings\.conse"
    r"|alignment\.(calibration|transforms|chain|fitting|running_mean|diagnose|recall"
    r"|found|pairs|settings)"
    r"|evaluation\.(metrics|significance)|compression\.recall)"
)
"""Those that do not exist yet are held to it from their first day."""

BUILT_ON_IO = re.compile(
    rf"{NAME}\.(accepts|channels|composed_query|early_fusion|routes|ranking|retriever"
    r"|postprocessor|synthesizer|tool|index|opening|cli|report|ingestion|compression)"
    r"(\..+)?"
)
IO = re.compile(rf"{NAME}\.(stores|embeddings|alignment|images|nodes)(\..+)?")

NOT_PURE = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "shutil",
    "socket", "subprocess", "tempfile", "threading", "urllib",
}  # fmt: skip

HEAVY = {
    "av", "clip", "onnx", "onnxruntime", "openai", "peft", "pypdf", "ranx", "skimage",
    "tokenizers", "torch", "torchvision", "transformers",
}  # fmt: skip
"""Optional, or slow to import: only where they are used."""

LONG = {
    "index.py": "the one object of the user: opening, writing and reading by turns",
    "stores/edge.py": "LlamaIndex's whole vector store interface, documented",
}
"""Files of more than `MOST_LINES`, each with its reason."""

MOST_LINES = 350


def imports_of(path: Path, *, in_functions: bool = False) -> Iterator[str]:
    """Yield the modules that a file imports when it is itself imported.

    Args:
        path: The file.
        in_functions: Yield those that wait in functions too.
    """
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")), in_functions)


def _imports(node: ast.AST, in_functions: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield inner if inner in SOURCES else str(child.module)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # for type checkers alone
        elif in_functions or not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef
        ):
            yield from _imports(child, in_functions)


def root_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_patterns_find_the_layers() -> None:
    pure = {name for name in SOURCES if PURE.fullmatch(name)}
    assert {f"{NAME}.provenance", f"{NAME}.fusion.rrf", f"{NAME}.citations"} <= pure
    assert any(IO.fullmatch(name) for name in SOURCES)
    assert f"{NAME}.retriever" in SOURCES


@pytest.mark.parametrize("name", [n for n in SOURCES if PURE.fullmatch(n)])
def test_pure_code_imports_numpy_and_pure_code_only(name: str) -> None:
    for module in imports_of(SOURCES[name], in_functions=True):
        root = root_of(module)
        if root == NAME:
            assert PURE.fullmatch(module), f"{name} imports {module}"
        elif root != "numpy":
            assert root in sys.stdlib_module_names, f"{name} imports {module}"
            assert root not in NOT_PURE, f"{name} imports {module}"


@pytest.mark.parametrize("name", [n for n in SOURCES if IO.fullmatch(n)])
def test_input_and_output_know_nothing_of_what_is_built_on_them(name: str) -> None:
    for module in imports_of(SOURCES[name], in_functions=True):
        assert not BUILT_ON_IO.fullmatch(module), f"{name} imports {module}"


@pytest.mark.parametrize("name", SOURCES)
def test_heavy_packages_are_imported_where_they_are_used(name: str) -> None:
    heavy = {root_of(module) for module in imports_of(SOURCES[name])} & HEAVY
    assert not heavy


def test_imports_have_no_cycle() -> None:
    graph = {
        name: {m for m in imports_of(path) if m in SOURCES and m != name}
        for name, path in SOURCES.items()
        if name != NAME  # the package's own page imports everything
    }
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index(f"{NAME}.fusion.rrf") < order.index(f"{NAME}.retriever")


PROGRAM = f"""
import json, sys
seen = []  # urllib3 binds to ::1 on import to see whether there is IPv6: left out
def watch(event, args):
    if event in {{"socket.connect", "socket.getaddrinfo",
                 "socket.sendto", "subprocess.Popen", "os.system"}}:
        seen.append(event)
sys.addaudithook(watch)
import {NAME}
heavy = sorted({HEAVY!r} & set(sys.modules))
print(json.dumps([seen, heavy]))
"""


def test_importing_the_package_connects_to_nothing_and_loads_no_model_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    connections, heavy = json.loads(done.stdout)
    assert connections == []
    assert heavy == []
    assert done.stderr == ""


def test_files_are_short_or_have_a_reason() -> None:
    long = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES.values()
        if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert long == set(LONG), "list a long file with its reason, or unlist a short one"


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_printed_and_no_user_error_is_an_assertion(name: str) -> None:
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]
    bare = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare


@pytest.mark.parametrize("name", SOURCES)
def test_no_source_names_a_folder_of_the_machine_it_was_written_on(name: str) -> None:
    source = SOURCES[name].read_text(encoding="utf-8")
    assert not re.search(r"['\"]/(work|root|home|tmp)/", source)
