"""Index building beside a store in use: copy, optimise in a child process, swap.

Building the graph holds the interpreter for its whole run (14 s for 20,000 vectors of
512 numbers), so it never happens in the process that answers queries.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from llama_index_mmrag.errors import InvalidSetting, StoreUnusable
from llama_index_mmrag.stores.edge_folder import EdgeFolder

_SCRIPT = Path(__file__).with_name("edge_optimize.py")
_UNTIL_ITS_PARENT_ENDS = """
import ctypes, os, runpy, signal, sys
parent, script = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit("the process that wanted it has ended")
del sys.argv[:2]
runpy.run_path(script, run_name="__main__")
"""
"""Else it would write on into a copy that the next opening removes."""


def build_index(folder: EdgeFolder, *, timeout_s: float | None = None) -> int:
    """Build the search graph and serve it; return how many vectors it holds.

    Reads and writes go on meanwhile, but for the copy at the start and the swap at the
    end. Killed at any moment, the folder still opens with every acknowledged write.

    Args:
        folder: The open store's folder. Needs free space for a second copy.
        timeout_s: Give up after this many seconds; None waits.

    Raises:
        InvalidSetting: a build of this store is already running.
        StoreUnusable: the child failed or timed out; the store is as it was.
        StoreClosed: the store was closed meanwhile.
    """
    if not folder.building.acquire(blocking=False):
        raise InvalidSetting(
            f"An index build of the store in {str(folder.path)!r} is already running. "
            "Expected one at a time: wait for it."
        )
    try:
        copy = folder.begin_copy()
        try:
            _optimize_in_child(copy, timeout_s=timeout_s)
            folder.swap_in(copy)
        except BaseException:
            folder.drop_copy(copy)
            raise
        return folder.indexed_vectors()
    finally:
        folder.building.release()


def run_in_child(script: Path, shard: Path, *, timeout_s: float | None = None) -> None:
    """Run a script over a shard in a child process.

    Raises:
        CalledProcessError: It failed.
        TimeoutExpired: It took longer.
        OSError: It could not be started.
    """
    # The child finds the engine where this process found it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = str(os.getpid())
    subprocess.run(
        [sys.executable, "-c", _UNTIL_ITS_PARENT_ENDS, parent, str(script), str(shard)],
        check=True,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
    )


def _optimize_in_child(shard: Path, *, timeout_s: float | None) -> None:
    try:
        run_in_child(_SCRIPT, shard, timeout_s=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise StoreUnusable(
            f"Building the index of {str(shard.parent)!r} took longer than timeout_s="
            f"{timeout_s!r} and was stopped. The store is as it was; expect about 1 s "
            "for 1,000 vectors of 512 numbers."
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        raise StoreUnusable(
            f"The child process that builds the index of {str(shard.parent)!r} failed: "
            f"{reason}. The store is as it was; check memory and free disk space."
        ) from error
