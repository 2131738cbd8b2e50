"""Files that are replaced: what lies in the way is not written to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_index_mmrag.errors import StoreFull
from llama_index_mmrag.files.writing import replacing, reserve

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


MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has a disk in memory


@pytest.fixture
def with_a_hole() -> Iterator[Path]:
    """Yield a file of 1 MB on a disk in memory, of which nothing is written."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        file = Path(folder, "hole")
        with file.open("wb") as opened:
            opened.truncate(1 << 20)
        yield file


@pytest.mark.skipif(not MEMORY.is_mount(), reason="this file system takes only disks")
def test_holes_on_a_disk_in_memory_get_their_room_or_stay(with_a_hole, monkeypatch):
    usage = shutil._ntuple_diskusage(1 << 30, 1 << 30, 1 << 19)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(StoreFull, match=r"Reading .* about 1\.0 MB .* has 0\.5 MB"):
            reserve([with_a_hole], with_a_hole.parent, for_="Reading")
    assert with_a_hole.stat().st_blocks == 0
    reserve([with_a_hole], with_a_hole.parent, for_="Reading")
    assert with_a_hole.stat().st_blocks * 512 == 1 << 20
    assert with_a_hole.read_bytes() == bytes(1 << 20)


def test_holes_on_other_disks_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("llama_index_mmrag.files.writing._is_in_memory", lambda _: 0)
    with (tmp_path / "hole").open("wb") as opened:
        opened.truncate(1 << 20)
    reserve([tmp_path / "hole"], tmp_path, for_="Reading")
    assert (tmp_path / "hole").stat().st_blocks * 512 < 1 << 20
