"""Processor time: a bound for what a library does in C, where no exception reaches."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDED = -getattr(signal, "SIGPROF", 0) or None
"""What a process returns that took more; None where the system (Windows) has no such
timer, and only the file's deadline holds."""


@contextmanager
def at_most(cpu_s: float) -> Iterator[None]:
    """End this process, a child, if what is within takes more processor time.

    Other than a deadline it does not depend on what else the machine does.
    """
    if ENDED is None:
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
