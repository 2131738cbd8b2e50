"""Rules of the layer test: each takes a package's folder and lists what breaks it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


@cache
def trees(package: Path) -> dict[str, ast.Module]:
    """Return each file by its name: "nodes.node", "nodes" for the folder's own."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


def room_of(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def imports_of(tree: ast.AST, *, at_once: bool = False) -> Iterator[str]:
    """Yield the dotted names that a file imports; `at_once`: when it is imported."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = "." * child.level + (child.module or "")
            yield from (f"{module}.{alias.name}" for alias in child.names)
        elif not at_once or not (
            isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            )
        ):
            yield from imports_of(child, at_once=at_once)


@cache
def inner_imports(package: Path) -> dict[str, set[str]]:
    """Return, for each file, those of the package that it imports by name."""
    files = trees(package)

    def file_of(name: str) -> str:
        inner = name.partition(".")[2]
        while inner and inner not in files:
            inner = inner.rpartition(".")[0]
        return inner or "__init__"

    return {
        name: {
            file_of(found)
            for found in imports_of(tree)
            if room_of(found) == package.name
        }
        for name, tree in files.items()
    }


def imports_that_do_not_point_down(
    package: Path, floors: Sequence[set[str]]
) -> list[str]:
    """Relative ones too: no rule would see where they point."""
    floor = {room: -at for at, rooms in enumerate(floors) for room in rooms}
    return [
        f"{name} imports {other}"
        for name, others in inner_imports(package).items()
        for other in others
        if room_of(other) != room_of(name)
        and floor[room_of(other)] >= floor[room_of(name)]
    ] + [
        f"{name} imports {found}"
        for name, tree in trees(package).items()
        for found in imports_of(tree)
        if found.startswith(".")
    ]


def circles(package: Path) -> list[str]:
    try:
        TopologicalSorter(inner_imports(package)).prepare()
    except CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def questions_about_kinds(
    package: Path, kinds: set[str], helpers: set[str], *, but_in: str
) -> list[str]:
    """List where `isinstance` of one of `kinds` is asked, or a helper imported."""
    asked = [
        (name, ast.unparse(node))
        for name, tree in trees(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in {"isinstance", "issubclass"}
        and kinds & set(re.findall(r"\w+", ast.unparse(node)))
    ]
    imported = [
        (name, f"import {found}")
        for name, tree in trees(package).items()
        for found in imports_of(tree)
        if found.rpartition(".")[2] in helpers
    ]
    return [
        f"{name}: {said}"
        for name, said in asked + imported
        if room_of(name) not in {but_in, "__init__"}
    ]


def impure_imports(package: Path, pure: re.Pattern[str], never: set[str]) -> list[str]:
    """List what pure files import but numpy, pure files and the standard library."""
    files = [name for name in trees(package) if pure.fullmatch(name)]
    known = {"numpy", package.name} | sys.stdlib_module_names - never
    outer = [
        (name, found)
        for name in files
        for found in imports_of(trees(package)[name])
        if room_of(found) not in known
    ]
    inner = [
        (name, other)
        for name in files
        for other in inner_imports(package)[name]
        if not pure.fullmatch(other)
    ]
    return [f"{name} imports {other}" for name, other in outer + inner]


def imports_at_once(package: Path, heavy: set[str]) -> list[str]:
    return [
        f"{name} imports {found}"
        for name, tree in trees(package).items()
        for found in imports_of(tree, at_once=True)
        if room_of(found) in heavy
    ]
