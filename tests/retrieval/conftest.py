"""What the tests of searching share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(params=["edge", "local", "server"])
def kind(request) -> str:
    return str(request.param)


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Yield an event for what is stuck to wait for; it is set at the end."""
    event = threading.Event()
    yield event
    event.set()
