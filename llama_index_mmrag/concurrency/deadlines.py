"""Deadlines: the point in time at which nobody waits any longer."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time, and the timeout that set it."""

    at: float
    """On the clock of `time.monotonic`."""
    timeout_s: float

    @property
    def left_s(self) -> float:
        """Seconds from now to the deadline, at least 0."""
        return max(0.0, self.at - time.monotonic())

    def earlier_by(self, share: float) -> Deadline:
        """Return the deadline that leaves `share` of the time, from 0 to 1, unused.

        It still goes by the timeout that somebody set.
        """
        return Deadline(self.at - share * self.timeout_s, self.timeout_s)

    def or_in(self, least_s: float) -> Deadline:
        """Return the deadline, or that in `least_s` seconds, if it is later."""
        return Deadline(max(self.at, time.monotonic() + least_s), self.timeout_s)


def deadline_in(timeout_s: float, *, before: Deadline | None = None) -> Deadline:
    """Return the deadline `timeout_s` seconds from now, or `before` if that is sooner.

    None is no deadline.
    """
    at = time.monotonic() + timeout_s
    return before if before and before.at <= at else Deadline(at, timeout_s)
