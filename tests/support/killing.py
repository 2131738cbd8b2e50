"""Processes that are killed between two steps of their work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from llama_index_mmrag.stores.edge_folder import EdgeFolder

STEPS = {"os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events between which a process is killed; a replacement is a rename."""


def die_at(step: int) -> None:
    """Kill this process before its n-th rename, removal or write from now on."""
    seen = count()

    def stepped() -> None:
        if next(seen) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, _: object) -> None:
        if event in STEPS:
            stepped()

    def written(self: EdgeFolder, *args: Any, **settings: Any) -> None:
        stepped()
        write(self, *args, **settings)

    write = EdgeFolder.write
    EdgeFolder.write = written  # type: ignore[method-assign]
    sys.addaudithook(heard)


def killed_at(step: int, work: Callable[..., object], *given: object) -> bool:
    """Return whether a process was killed before the n-th step of its work.

    It comes from a server of its own: one with this process's threads could hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, work.__module__])
    process = context.Process(target=_dying, args=(step, work, given))
    process.start()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def _dying(step: int, work: Callable[..., object], given: tuple[object, ...]) -> None:
    die_at(step)
    work(*given)
