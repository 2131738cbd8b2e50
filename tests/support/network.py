"""Whoever asks a network is found out: by a hook of Python's that sees every socket.

As a script it runs another one so, and says what was asked for:
`python network.py SCRIPT ARGUMENTS`.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = ("127.0.0.1", "::1", "localhost", "", None)


class _Watch:
    """Notes each address outside this machine that is asked for while it is on."""

    def __init__(self) -> None:
        self.asked: list[str] | None = None

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.asked is None or event not in ("socket.connect", "socket.getaddrinfo"):
            return
        address = args[1] if event == "socket.connect" else args[0]
        host = address[0] if isinstance(address, tuple) else address
        # A path is a socket of this machine's own.
        if host not in _HERE and not str(host).startswith("/"):
            self.asked.append(f"{event}: {host}")


_WATCH = _Watch()
sys.addaudithook(_WATCH)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Yield the addresses that are asked for meanwhile, by any thread."""
    _WATCH.asked = asked = []
    try:
        yield asked
    finally:
        _WATCH.asked = None


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent)  # as Python does for a script
    with watched() as asked:
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        finally:
            if asked:
                sys.exit(f"asked a network: {asked}")
