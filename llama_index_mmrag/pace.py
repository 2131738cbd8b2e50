"""How long a channel's searches take, to tell whether one is worth a thread."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_S = 0.001
"""A thread for a search costs 0.1 to 0.2 ms, and much of Python's work in it waits for
the interpreter's lock: searches shorter than a few times that gain nothing by one."""

N_IN_A_ROW = 4
"""Searches that must have been quick before the next one is taken to be."""


@dataclass(slots=True)
class Pace:
    """What a channel's latest searches took.

    One that was not quick, encoding included, and the channel gets threads again.
    """

    _n_quick: int = 0

    @property
    def is_quick(self) -> bool:
        """Whether the last `N_IN_A_ROW` searches took less than `QUICK_S` each."""
        return self._n_quick >= N_IN_A_ROW

    def note(self, duration_s: float) -> None:
        """Take note of a search."""
        # Two threads that count at once may lose one of two: it comes again.
        self._n_quick = self._n_quick + 1 if duration_s < QUICK_S else 0
