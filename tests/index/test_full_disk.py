"""What a disk has no room for is `StoreFull`, whichever file of the index it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import Document, ImageNode

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.errors import StoreFull

from ..support.indexes import inline


def a_page(index: MultiModalQdrantIndex, folder: Path) -> None:
    folder.mkdir()
    link = f"data:image/png;base64,{inline('red')}"
    (folder / "page.md").write_text(f"# Red\n\nIt ![is]({link})")
    index.insert_directory(folder)


@pytest.mark.parametrize(
    ("file", "n_bytes", "write"),
    [
        ("in-flight.json", r"\d+ bytes", lambda i: i().insert(Document(text="red"))),
        ("*.png", r"\d+ bytes", lambda i: i().insert(ImageNode(image=inline("red")))),
        ("media/*", r"\d+ bytes", lambda i: a_page(i(), i.keywords["path"] / "../d")),
        ("mmrag.json", r"\d+ bytes", lambda i: i()),
        ("store.json", "", lambda i: i()),
    ],
)
def test_file_without_room_says_what_it_needs_and_what_there_is(
    file: str,
    n_bytes: str,
    write: Callable[[Any], object],
    open_index,
    tmp_path,
    monkeypatch,
):
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).match(file):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreFull, match=f"needs.*{n_bytes}.* disk has .* [MGb]"):
        write(partial(open_index, path=tmp_path / "store"))
