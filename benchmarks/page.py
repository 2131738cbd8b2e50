"""What the benchmarks share: arguments, how a report begins, tables, where both go."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "data": {"type": Path, "default": Path("../shared/data")},
    "out": {"type": Path, "default": RESULTS},
    "seed": {"type": int, "default": 0},
    "threads": {"type": int, "default": os.cpu_count() or 1},
    "book": {"default": "psychology"},
}
PRIVATE = frozenset({"--data", "--cache", "--out", "--before"})
"""Arguments whose values are paths of one machine, which a report does not tell."""


def parser(description: str | None, *names: str) -> argparse.ArgumentParser:
    """Return a parser that knows those of `ARGUMENTS` that are named."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in names:
        made.add_argument(f"--{name}", **ARGUMENTS[name])
    return made


def header(*packages: str) -> dict[str, Any]:
    """Return what a report begins with: call it before anything is measured."""
    words = iter(sys.argv[1:])
    told = [word for word in words if word not in PRIVATE or not next(words, True)]
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}, "
        f"{platform.system()}",
        "load_average_before": round(os.getloadavg()[0], 1),
        "command": shlex.join(
            ["python", f"benchmarks/{Path(sys.argv[0]).name}", *told]
        ),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
    }


def first_line(report: Mapping[str, Any]) -> str:
    """Return when, where and how a report was made, without a full stop."""
    return (
        f"{report['date']}, {report['machine']}, load average "
        f"{report['load_average_before']} before; `{report['command']}`"
    )


def facts(report: Mapping[str, Any]) -> list[str]:
    """Return a report's single values as a list in Markdown."""
    return [
        f"- {name}: {json.dumps(value) if isinstance(value, dict) else value}"
        for name, value in report.items()
    ]


def last_line(report: Mapping[str, Any]) -> str:
    known = (f"{name} {number}" for name, number in report["versions"].items())
    return f"Versions: {', '.join(known)}."


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows)]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def share(value: float, within: Sequence[float], spec: str = ".3f") -> str:
    """Return a figure with its interval in brackets."""
    return f"{value:{spec}} [{within[0]:{spec}}, {within[1]:{spec}}]"


def write(
    name: str, report: Mapping[str, Any], lines: Iterable[str], *, out: Path = RESULTS
) -> str:
    """Write the report as JSON and as a page; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    page = "\n".join(lines) + "\n"
    as_json = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (out / f"{name}.json").write_text(as_json, encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    return page


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()).strip() or "unknown processor"
