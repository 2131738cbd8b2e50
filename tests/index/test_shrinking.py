"""A folder that shrinks is not believed at once: it may be a share without its disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.stores.catalogue import CATALOGUE

from ..support.indexes import contents

N = 40


@pytest.fixture
def share(tmp_path) -> Path:
    share = tmp_path / "share"
    share.mkdir()
    for n in range(N):
        (share / f"{n}.txt").write_text(f"red {n}")
    return share


@pytest.fixture
def index(open_index, share, tmp_path):
    index = open_index(path=tmp_path / "store")
    index.insert_directory(share)
    return index


def empty(share: Path) -> None:
    for file in share.iterdir():
        file.unlink()


def pull(share: Path) -> None:
    shutil.rmtree(share)


def lose(n: int):  # noqa: ANN201
    def lost(share: Path) -> None:
        for file in sorted(share.iterdir())[:n]:
            file.unlink()

    return lost


def other_device(share: Path) -> None:
    """Take one file away; the test says that the device is another one, too."""
    lose(1)(share)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (empty, "is empty"),
        (pull, "is gone"),
        (lose(N // 2 + 1), f"lacks {N // 2 + 1} of the {N} files known"),
        (other_device, "another device"),
    ],
)
@pytest.mark.parametrize("has_catalogue", [True, False])
def test_what_may_not_be_mounted_removes_nothing_until_it_is_allowed(
    harm, said, has_catalogue, index, share, tmp_path, caplog
):
    before = contents(index)
    harm(share)
    # What it was on; there is one disk here.
    index._catalogue.set_device("share", "7" if harm is other_device else "0")
    if harm is not other_device:
        index._catalogue.set_device("share", device(tmp_path))
    if not has_catalogue and harm is not other_device:
        (tmp_path / "store" / CATALOGUE).unlink()
    report = index.refresh(share)
    assert said in report.not_removed
    assert "allow_gone=True" in report.not_removed
    assert report.not_removed in caplog.text
    assert (report.n_removed, contents(index)) == (0, before)
    n_left = len(list(share.iterdir())) if share.exists() else 0
    again = index.refresh(share)
    assert again.not_removed == report.not_removed, "it stays in doubt"
    report = index.refresh(share, allow_gone=True)
    assert (report.not_removed, report.n_removed) == ("", N - n_left)
    assert len(index.ref_doc_ids()) == n_left
    if share.exists():
        assert index.refresh(share).not_removed == ""


def device(folder: Path) -> str:
    return str(folder.stat().st_dev)


@pytest.mark.parametrize("n", [1, 19, N // 2])
def test_what_looks_like_a_deletion_is_one(n, index, share):
    lose(n)(share)
    report = index.refresh(share)
    assert (report.not_removed, report.n_removed) == ("", n)


def test_small_folder_that_lost_most_of_it_is_believed(open_index, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    for n in range(10):
        (small / f"{n}.txt").write_text(f"red {n}")
    index = open_index()
    index.insert_directory(small)
    lose(9)(small)
    assert index.refresh(small).n_removed == 9


def test_new_files_do_not_hide_that_the_old_ones_are_gone(index, share):
    lose(N - 1)(share)
    for n in range(200):
        (share / f"new {n}.txt").write_text(f"green {n}")
    report = index.refresh(share)
    assert (report.n_added, report.n_removed) == (200, 0)
    assert f"lacks {N - 1} of the {N}" in report.not_removed


def test_folder_whose_files_were_all_renamed_has_lost_none(index, share, encoder):
    encoder.taken()
    for file in sorted(share.iterdir()):
        file.rename(file.with_stem(f"renamed {file.stem}"))
    report = index.refresh(share)
    assert (report.not_removed, report.n_removed, encoder.taken()) == ("", N, (0, 0))


def test_changed_files_go_in_though_nothing_is_removed(index, share):
    lose(N - 5)(share)
    changed = sorted(share.iterdir())[0]
    changed.write_text("blue")
    report = index.refresh(share)
    assert report.n_added == 1
    assert report.not_removed


def test_folder_on_another_device_that_lacks_nothing_is_known_there_from_now_on(
    index, share
):
    catalogue = index._catalogue
    catalogue.set_device("share", "7")
    assert index.refresh(share).not_removed == ""
    assert catalogue.device("share") == device(share)


def test_part_of_a_root_is_not_believed_to_be_empty_either(open_index, share):
    below = share / "below"
    below.mkdir()
    (below / "deep.txt").write_text("green")
    index = open_index()
    index.insert_directory(share)
    (below / "deep.txt").unlink()
    assert "is empty" in index.refresh(below).not_removed
    assert index.refresh(share).n_removed == 1, "of the whole it is one file"


def test_known_file_that_is_gone_is_told_and_removed_when_allowed(index, share):
    (share / "0.txt").unlink()
    report = index.refresh(share / "0.txt")
    assert report.not_removed.startswith(f"The file {str(share / '0.txt')!r} is gone")
    assert report.n_removed == 0
    assert index.refresh(share / "0.txt", allow_gone=True).n_removed == 1
    assert len(index.ref_doc_ids()) == N - 1


def test_folder_that_is_gone_and_of_which_nothing_is_known_is_an_error(
    open_index, tmp_path
):
    with pytest.raises(MmragError, match="no file or folder"):
        open_index().refresh(tmp_path / "nothing")


def test_inserting_says_nothing_of_what_is_gone(index, share):
    empty(share)
    assert index.insert_directory(share).not_removed == ""
    assert len(index.ref_doc_ids()) == N
