"""Each line that people type by habit means what it means there, or says our word.

None reaches a network: every socket is watched.
"""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from llama_index_mmrag.errors import MmragError

from ..support.network import watched
from .pages import FOLDER, page_of
from .rows import PAGES, Library, Row, names, rows_of, typed

ROWS = [row for page in PAGES for row in rows_of(page)]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Library:
    return Library.made_in(tmp_path_factory.mktemp("library"))


@pytest.fixture
def known(
    tmp_path, monkeypatch, unset, library, no_network
) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    if find_spec("openai") is not None:
        monkeypatch.setattr("openai.OpenAI.__init__", _nobody_makes_one)
        monkeypatch.setattr("openai.AsyncOpenAI.__init__", _nobody_makes_one)
    with names(library, tmp_path) as known:
        yield known


def _nobody_makes_one(self: Any, *args: Any, **kwargs: Any) -> None:
    raise AssertionError("a client of OpenAI's was made")


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
    assert unset._llm is None


def test_the_watch_sees_who_asks_a_network():
    with watched() as asked, pytest.raises(OSError):  # noqa: PT011 - no such name
        socket.getaddrinfo("nowhere.invalid", 443)
    assert asked == ["socket.getaddrinfo: nowhere.invalid"]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_lists_the_rows(page):
    """Write it anew by `python -m tests.habits.pages`."""
    assert (FOLDER / f"{page}.md").read_text(encoding="utf-8") == page_of(page)


def test_no_line_is_listed_twice():
    lines = [row.typed for row in ROWS]
    assert len(lines) == len(set(lines))
