"""Deadlines: the point in time at which nobody waits any longer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llama_index_mmrag.errors import InvalidSetting


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
        """Return the deadline that leaves `share` of the time, from 0 to 1, unused."""
        spare_s = share * self.timeout_s
        return Deadline(self.at - spare_s, self.timeout_s - spare_s)


def deadline_in(timeout_s: float | None) -> Deadline | None:
    """Return the deadline `timeout_s` seconds from now; None for none."""
    if timeout_s is None:
        return None
    return Deadline(time.monotonic() + timeout_s, timeout_s)


def sooner(one: Deadline | None, other: Deadline | None) -> Deadline | None:
    """Return the deadline that comes first; None is no deadline."""
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda deadline: deadline.at)


def check_timeout(timeout_s: float | None, *, of: str) -> None:
    """Check a timeout.

    Args:
        timeout_s: Seconds; None for no deadline.
        of: Whose it is, for the message.

    Raises:
        InvalidSetting: It is not more than 0.
    """
    if timeout_s is not None and not timeout_s > 0:
        msg = (
            f"{of}: timeout_s is {timeout_s!r}, expected more than 0, or None for no "
            f"deadline."
        )
        raise InvalidSetting(msg)
