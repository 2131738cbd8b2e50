"""Each line that people type by habit means what it means there, or says our word.

None reaches a network: every socket is watched.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from llama_index_mmrag.errors import MmragError

from .pages import FOLDER, page_of
from .rows import PAGES, Library, Row, names, rows_of, typed

ROWS = [row for page in PAGES for row in rows_of(page)]
LOCAL = ("127.0.0.1", "::1", "localhost")


class Watch:
    """Notes each address outside this machine that is asked for while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self.asked: list[Any] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on or event not in ("socket.connect", "socket.getaddrinfo"):
            return
        address = args[1] if event == "socket.connect" else args[0]
        host = address[0] if isinstance(address, tuple) else address
        if host not in LOCAL and host is not None:
            self.asked.append((event, address))


WATCH = Watch()
sys.addaudithook(WATCH)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Library:
    return Library.made_in(tmp_path_factory.mktemp("library"))


@pytest.fixture
def known(tmp_path, monkeypatch, unset, library) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-this-must-go-nowhere")
    with names(library, tmp_path) as known:
        WATCH.is_on, WATCH.asked = True, []
        yield known
        WATCH.is_on = False


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("row", ROWS, ids=[row.typed[:60] for row in ROWS])
def test_a_line_means_what_it_means_there_or_says_our_word(row: Row, known, unset):
    error = typed(row, known)
    if "chat" in row.typed:
        gc.collect()  # LlamaIndex's memory leaves a database open
    if row.outcome == "runs":
        if error is not None:
            raise error
    else:
        assert type(error).__name__ == row.outcome, repr(error)
        said = str(error)
        # Python's own sentence tells nobody what to do.
        assert isinstance(error, MmragError) or "has no attribute" not in said
        assert said.endswith((".", ")"))
    assert WATCH.asked == []
    assert unset._llm is None


def test_the_watch_sees_who_asks_a_network():
    import socket

    WATCH.is_on, WATCH.asked = True, []
    try:
        with pytest.raises(OSError):  # noqa: PT011 - there is no such name anywhere
            socket.getaddrinfo("nowhere.invalid", 443)
        assert WATCH.asked == [("socket.getaddrinfo", "nowhere.invalid")]
    finally:
        WATCH.is_on, WATCH.asked = False, []


@pytest.mark.parametrize("page", PAGES)
def test_the_page_lists_the_rows(page):
    """Write it anew by `python -m tests.habits.pages`."""
    assert (FOLDER / f"{page}.md").read_text(encoding="utf-8") == page_of(page)


def test_no_line_is_listed_twice():
    lines = [row.typed for row in ROWS]
    assert len(lines) == len(set(lines))
