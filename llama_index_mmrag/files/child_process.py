"""Child processes of ours: a script that is asked one thing after another.

It is run by its path, not through `multiprocessing`, which would run the user's own
again. Code in C that hangs can be ended only with its process: a thread would hold its
memory and a processor until the program ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

GRACE_S = 10.0
"""A child that is asked to end is killed after so long."""


class ChildProcess(subprocess.Popen[bytes]):
    """A running script, which can import what this process can.

    Args:
        script: Its file.
        *args: Its arguments.

    Raises:
        OSError: There is no process to be had.
    """

    def __init__(self, script: Path, *args: str) -> None:
        path = os.pathsep.join(at for at in sys.path if at and isinstance(at, str))
        super().__init__(
            [sys.executable, str(script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.asked = cast("BinaryIO", self.stdin)
        self.answers = cast("BinaryIO", self.stdout)

    @contextmanager
    def within(self, seconds: float) -> Iterator[threading.Event]:
        """Kill it after so many seconds, and set the event that is given."""
        is_late = threading.Event()

        def stop() -> None:
            is_late.set()
            self.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield is_late
        finally:
            timer.cancel()

    def end(self, *, at_once: bool = False) -> None:
        """End it: it does so by itself when nobody asks any more. Again is no error.

        Args:
            at_once: Whether it may be busy.
        """
        if at_once:
            self.kill()
        for pipe in (self.asked, self.answers):
            try:
                pipe.close()
            except OSError:  # it died with our words in the pipe
                continue
        try:
            self.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()
