"""Time limits that hold on a busy machine too."""

from __future__ import annotations

import threading
import time

IDLE_S = 0.003
"""What the pause below takes at most where nothing else runs."""


def pause_s() -> float:
    """Return what it costs now to start a thread, wait a millisecond and be woken."""
    started = time.monotonic()
    thread = threading.Thread(target=time.sleep, args=(0.001,))
    thread.start()
    thread.join()
    return time.monotonic() - started


def patient(limit_s: float) -> float:
    """Return `limit_s` of an idle machine as what it is on this one, now.

    The slowest of some pauses counts: whoever must be in time can be that unlucky in
    each step of his. Ask after what is timed as well as before: others come and go.
    """
    slowest = max(pause_s() for _ in range(20))
    return limit_s * max(1.0, slowest / IDLE_S)
