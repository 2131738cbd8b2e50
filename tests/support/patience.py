"""Time limits that hold on a busy machine too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

IDLE_S = 0.003
"""What the slowest of 20 pauses takes at most where nothing else runs."""


def slowness() -> float:
    """Return how many times longer than on an idle machine a pause takes now.

    A pause is what every deadline is made of: a thread started, a millisecond waited,
    the waiting thread woken.
    """
    slowest_s = 0.0
    for _ in range(20):
        started = time.monotonic()
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        thread.join()
        slowest_s = max(slowest_s, time.monotonic() - started)
    return max(1.0, slowest_s / IDLE_S)


def patient(limit_s: float) -> float:
    """Return the time that takes `limit_s` on an idle machine, on this one, now."""
    return limit_s * slowness()


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Fail where the block takes longer than `limit_s` would be on this machine.

    Measured before and after: others come and go meanwhile.
    """
    before, started = slowness(), time.monotonic()
    yield
    took_s = time.monotonic() - started
    allowed_s = limit_s * max(before, slowness())
    assert took_s < allowed_s, f"took {took_s:.2f} s, expected at most {allowed_s:.2f}"
