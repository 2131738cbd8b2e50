"""A child process that is asked one thing after another, each within a deadline.

Code in C that hangs can be ended only with its process: a thread would hold the engine,
its memory and a processor until the program ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer
from typing import Any


class ChildFailed(Exception):
    """A child died, or was ended at its deadline; the message says which."""


class Child:
    """A running child; its answers are lines of JSON.

    Args:
        script: Its file, run by path, with what this process can import.
        *args: Its arguments.
    """

    def __init__(self, script: Path, *args: str) -> None:
        places = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(  # noqa: S603 - a file of ours
            [sys.executable, str(script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": places},
        )

    def answer(self, *, within_s: float, to: bytes = b"") -> Any:
        """Return the child's next answer, after sending it `to`.

        Raises:
            ChildFailed: There is none; the child is ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        late = Event()

        def end_it() -> None:
            late.set()
            self._process.kill()

        timer = Timer(within_s, end_it)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(to)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:  # it is gone, and its pipe with it
            line = b""
        finally:
            timer.cancel()
        if late.is_set() or not line.endswith(b"\n"):
            self.end()
            raise ChildFailed(
                f"took longer than {within_s:g} s and was ended"
                if late.is_set()
                else f"died with the exit status {self._process.returncode}"
            )
        return json.loads(line)

    @property
    def ended(self) -> bool:
        """Whether it is gone, by itself or by others."""
        return self._process.poll() is not None

    def end(self) -> None:
        """End it at once, whatever it does; again is no error."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            try:
                pipe.close()
            except OSError:
                continue  # what was written to one that is gone
        self._process.wait()
