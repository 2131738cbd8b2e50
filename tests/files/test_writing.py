"""Files that are replaced: what lies in the way is not written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llama_index_mmrag.files.writing import replacing

from ..support.patience import within


def replaced(path: Path) -> None:
    with replacing(path, by="new") as file:
        file.write(b"now")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("what", ["file", "link", "pipe"])
def test_what_lies_in_the_way_is_removed(what, tmp_path):
    path, other, in_the_way = (tmp_path / name for name in ("a", "other", "new"))
    path.write_text("before")
    other.write_text("not ours")
    if what == "link":
        in_the_way.symlink_to(other)
    elif what == "pipe":
        os.mkfifo(in_the_way)
    else:
        in_the_way.write_text("left over")
    with within(2):
        replaced(path)
    assert (path.read_text(), path.is_symlink()) == ("now", False)
    assert other.read_text() == "not ours"
    assert not in_the_way.exists()


def test_folder_in_the_way_is_an_error_and_nothing_is_changed(tmp_path):
    (tmp_path / "a").write_text("before")
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one, the system says
        replaced(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "before"
