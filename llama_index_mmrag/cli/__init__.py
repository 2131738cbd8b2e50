"""The command line, a file for each command.

In go options (`options.py`), checked by Typer; out come a table or JSON on stdout, and
sentences on stderr (`output.py`). Start at `app.py`, then `search.py`. A command
imports what it works with when it runs: --help takes no time.

Exit codes: 0 done; 1 nothing was found, something was skipped under --strict, or no
setting keeps a promised recall; 2 wrong use or an error, told in a sentence; 3
nothing was removed, since the folder may not be mounted; 130 interrupted.
"""

from __future__ import annotations

import io
import logging
import os
import sys

from llama_index_mmrag.cli.app import app

# Importing a command registers it; --help lists them in this order.
# isort: off
import llama_index_mmrag.cli.index  # noqa: F401
import llama_index_mmrag.cli.search  # noqa: F401
import llama_index_mmrag.cli.ask  # noqa: F401
import llama_index_mmrag.cli.align  # noqa: F401
import llama_index_mmrag.cli.finetune  # noqa: F401
import llama_index_mmrag.cli.diagnose  # noqa: F401
import llama_index_mmrag.cli.compress  # noqa: F401
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    # What is skipped or degraded is in the output already.
    logging.getLogger("llama_index_mmrag").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character still gets the rest.
            stream.reconfigure(errors="backslashreplace")
    if not sys.stderr.isatty():
        # Read by huggingface_hub and transformers when they are imported: their bars
        # do not ask what they are drawn on.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    app()
