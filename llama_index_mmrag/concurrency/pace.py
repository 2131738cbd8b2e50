"""How long a channel's searches take, to tell whether one is worth a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

QUICK_S = 0.001
"""A thread for a search costs 0.1 to 0.2 ms, and much of Python's work in it waits for
the interpreter's lock: searches shorter than a few times that gain nothing by one."""

N_IN_A_ROW = 4
"""Searches that must have been quick before the next one is taken to be."""


OVERDUE_S = 10 * QUICK_S
"""A search that is still going on then says so itself, and is not waited for first."""


@dataclass(slots=True)
class Pace:
    """What a channel's latest searches took, and whether one is stuck.

    One that was not quick, encoding included, and the channel gets threads again.
    """

    _n_quick: int = 0
    _begun: dict[object, float] = field(default_factory=dict)

    @property
    def is_quick(self) -> bool:
        """Whether the last `N_IN_A_ROW` searches took less than `QUICK_S` each."""
        if self._n_quick < N_IN_A_ROW:
            return False
        begun = list(self._begun.values())  # others begin and end meanwhile
        return not begun or time.perf_counter() - min(begun) < OVERDUE_S

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Take note of how long a search takes, one that fails too."""
        search = object()
        began_s = self._begun[search] = time.perf_counter()
        try:
            yield
        finally:
            del self._begun[search]
            self.note(time.perf_counter() - began_s)

    def note(self, duration_s: float) -> None:
        """Take note of a search."""
        # Two threads that count at once may lose one of two: it comes again.
        self._n_quick = self._n_quick + 1 if duration_s < QUICK_S else 0
