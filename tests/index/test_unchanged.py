"""Nothing for nothing: what is as it was is neither opened nor encoded again."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import ImageNode

from llama_index_mmrag import Blend, MultiModalQdrantIndex
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.stores.catalogue import CATALOGUE

from ..support.indexes import Open, contents, painted, texts

_opened: list[Path] = []
_watched: list[Path] = []


def _watch(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _watched and isinstance(args[0], (str, bytes)):
        path = Path(os.fsdecode(args[0]))
        if any(folder in path.parents for folder in _watched):
            _opened.append(path)


sys.addaudithook(_watch)  # for good: it does nothing where nothing is watched


@contextmanager
def opens_in(folder: Path) -> Iterator[list[str]]:
    """Collect the names of the folder's files that are opened meanwhile."""
    names: list[str] = []
    _watched.append(folder)
    try:
        yield names
    finally:
        _watched.clear()
        names.extend(sorted({path.name for path in _opened}))
        _opened.clear()


def age(folder: Path, by_s: float = 60) -> None:
    """Make all files of a folder look older: nobody waits for two seconds."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        stat = path.stat()
        ns = stat.st_mtime_ns - int(by_s * 1e9)
        os.utime(path, ns=(stat.st_atime_ns, ns))


@pytest.fixture
def aged(folder) -> Path:
    """A folder of fruit.md, which shows pix/apple.png, grass.txt and sky.png."""
    age(folder)
    return folder


@pytest.fixture
def run(open_index, tmp_path) -> Callable[..., MultiModalQdrantIndex]:
    """Open the index of this test, and its catalogue, once more."""
    last: list[MultiModalQdrantIndex] = []

    def opened(**settings: object) -> MultiModalQdrantIndex:
        for index in last:
            index.close()
        last[:] = [open_index(path=tmp_path / "store", **settings)]
        return last[0]

    return opened


def is_fresh(
    index: MultiModalQdrantIndex, folder: Path, open_index: Open, **settings: object
) -> bool:
    fresh = open_index(**settings)
    fresh.insert_directory(folder)
    return contents(index) == contents(fresh)


def test_second_run_opens_no_file(run, aged, encoder):
    first = run().insert_directory(aged)
    encoder.taken()
    for again in ("insert_directory", "refresh"):
        index = run()
        with opens_in(aged) as opened:
            report = getattr(index, again)(aged)
        assert opened == []
        assert encoder.taken() == (0, 0)
        assert (report.n_added, report.n_unchanged, report.n_removed) == (0, 4, 0)
        assert (report.n_documents, report.ref_doc_ids) == (
            first.n_documents,
            first.ref_doc_ids,
        )


def test_files_that_changed_just_before_the_run_are_hashed_in_the_next(run, folder):
    run().insert_directory(folder)
    with opens_in(folder) as opened:
        report = run().insert_directory(folder)
    assert opened == ["apple.png", "fruit.md", "grass.txt", "sky.png"]
    assert report.n_unchanged == 4


def test_change_within_a_tick_of_the_clock_is_seen(run, folder, open_index):
    file = folder / "grass.txt"
    before = file.stat()
    run().insert_directory(folder)
    file.write_text("plain straw")  # as long
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    index = run()
    index.refresh(folder)
    assert is_fresh(index, folder, open_index)


def test_checksum_compares_what_size_and_time_hide(run, aged, open_index):
    file = aged / "grass.txt"
    before = file.stat()
    run().insert_directory(aged)
    file.write_text("plain straw")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    index = run()
    assert index.refresh(aged).n_added == 0
    with opens_in(aged) as opened:
        report = index.refresh(aged, checksum=True)
    assert opened == ["apple.png", "fruit.md", "grass.txt", "sky.png"]
    assert (report.n_added, report.n_removed, report.n_unchanged) == (1, 1, 3)
    assert is_fresh(index, aged, open_index)


def test_touched_file_is_hashed_once(run, aged, encoder):
    run().insert_directory(aged)
    age(aged, by_s=5)
    encoder.taken()
    for expected in (["apple.png", "fruit.md", "grass.txt", "sky.png"], []):
        with opens_in(aged) as opened:
            report = run().insert_directory(aged)
        assert (opened, report.n_unchanged, encoder.taken()) == (expected, 4, (0, 0))


@pytest.mark.parametrize("ahead_s", [30, 3e9, 1e10])
def test_clock_that_went_backwards_costs_a_hash(ahead_s, run, aged, open_index):
    """Files seem to come from the future; the last is beyond what sqlite can hold."""
    file = aged / "grass.txt"
    try:
        os.utime(file, (0, time.time() + ahead_s))
    except (OSError, OverflowError):
        pytest.skip("this disk has no such times")
    run().insert_directory(aged)
    with opens_in(aged) as opened:
        assert run().insert_directory(aged).n_unchanged == 4
    assert opened == ["grass.txt"]
    file.write_text("plain straw")
    os.utime(file, (0, time.time() + ahead_s))
    index = run()
    index.refresh(aged)
    assert is_fresh(index, aged, open_index)


def test_changed_picture_changes_its_page_though_that_is_as_it_was(
    run, aged, open_index
):
    run().insert_directory(aged)
    painted(aged / "pix", "cyan", name="apple.png")
    index = run()
    with opens_in(aged) as opened:
        report = index.insert_directory(aged)
    assert "sky.png" not in opened
    assert (report.n_added, report.n_removed) == (1, 1)
    assert is_fresh(index, aged, open_index)


def test_picture_alone_and_picture_of_a_page_follow_the_page(run, aged, open_index):
    page = aged / "fruit.md"
    run().insert_directory(aged)
    page.write_text("# Fruit\n\nA red one.\n\n![it](sky.png)\n")
    age(aged)
    index = run()
    index.refresh(aged)
    assert is_fresh(index, aged, open_index)
    page.unlink()
    index = run()
    index.refresh(aged)
    assert is_fresh(index, aged, open_index)


def test_page_that_lacks_a_picture_is_read_again_until_it_is_there(
    run, aged, open_index
):
    (aged / "pix" / "apple.png").rename(aged / "apple later.png")
    run().insert_directory(aged)
    for _ in range(2):
        with opens_in(aged) as opened:
            report = run().insert_directory(aged)
        assert opened == ["fruit.md"]
        assert len(report.problems) == 1, "it is said each time"
    (aged / "apple later.png").rename(aged / "pix" / "apple.png")
    index = run()
    index.refresh(aged)
    assert is_fresh(index, aged, open_index)


def test_link_that_means_another_picture_now_is_followed(run, aged, open_index):
    (aged / "below").mkdir()
    painted(aged / "static" / "pix", "blue", name="it.png")
    (aged / "below" / "page.md").write_text("Blue.\n\n![it](/pix/it.png)\n")
    age(aged)
    run().insert_directory(aged)
    painted(aged / "pix", "yellow", name="it.png")
    age(aged)
    index = run()
    index.refresh(aged)
    assert is_fresh(index, aged, open_index)


def test_picture_in_a_hidden_folder_is_known_too(run, aged, open_index):
    painted(aged / ".assets", "blue", name="it.png")
    (aged / "page.md").write_text("Blue.\n\n![it](.assets/it.png)\n")
    age(aged)
    run().insert_directory(aged)
    with opens_in(aged) as opened:
        run().insert_directory(aged)
    assert opened == []
    painted(aged / ".assets", "cyan", name="it.png")
    index = run()
    index.insert_directory(aged)
    assert is_fresh(index, aged, open_index)


@pytest.mark.parametrize(
    "settings", [{"chunk_size": 100}, {"chunk_overlap": 0}, {"encoding": "cp1252"}]
)
def test_other_settings_read_everything_again(settings, run, aged, open_index):
    (aged / "grass.txt").write_text("The grass is green and long. " * 60)
    (aged / "cafe.txt").write_bytes("café".encode("cp1252"))
    age(aged)
    run().insert_directory(aged)
    given = ReadSettings(**settings)
    index = run(settings=given)
    index.insert_directory(aged)
    fresh = open_index(settings=given)
    fresh.insert_directory(aged)
    assert texts(index) == texts(fresh)


# What a row says of a collection is asked for


def test_document_that_was_deleted_is_inserted_again(run, aged, open_index):
    run().insert_directory(aged)
    index = run()
    assert index.delete_ref_doc(str(aged / "grass.txt")) == 1
    with opens_in(aged) as opened:
        report = index.insert_directory(aged)
    assert (report.n_added, opened) == (1, ["grass.txt"])
    assert is_fresh(index, aged, open_index)


def test_points_that_others_removed_or_added_are_noticed(run, aged, open_index):
    run().insert_directory(aged)
    index = run()
    text = index.channels[0].vector_store
    grass = next(n for n in text.get_nodes() if "green grass" in n.get_content())
    one_more = grass.model_copy(update={"id_": "7d1e0b0e-6c1b-5b0e-8f43-0d7a3c9a5a11"})
    one_more.embedding = list(index.channels[0].embed_model.get_text_embedding("red"))
    text.add([one_more])
    with opens_in(aged) as opened:
        assert index.insert_directory(aged).n_removed == 1
    assert opened == ["grass.txt"]
    text.delete_nodes([grass.node_id])
    with opens_in(aged) as opened:
        assert index.insert_directory(aged).n_added == 1
    assert opened == ["grass.txt"]
    assert is_fresh(index, aged, open_index)


def test_one_of_many_that_is_missing_is_found_by_few_calls(run, tmp_path, monkeypatch):
    many = tmp_path / "many"
    many.mkdir()
    for n in range(300):
        (many / f"{n}.txt").write_text(f"red {n}")
    age(many)
    run().insert_directory(many)
    index = run()
    index.delete_ref_doc(str(many / "77.txt"))
    collection = type(index.channels[0].collection)
    ask = collection.ids_of_documents
    asked = []
    monkeypatch.setattr(
        collection,
        "ids_of_documents",
        lambda self, ids, *given: (asked.append(len(ids)), ask(self, ids, *given))[1],
    )
    with opens_in(many) as opened:
        assert index.insert_directory(many).n_added == 1
    assert opened == ["77.txt"]
    assert len(asked) < 50


@pytest.mark.parametrize("harm", ["deleted", "garbage", "of another index"])
def test_without_its_catalogue_a_store_is_the_same(
    harm, run, aged, open_index, tmp_path, encoder
):
    run().insert_directory(aged)
    index = run()
    before = contents(index)
    file = tmp_path / "store" / CATALOGUE
    if harm == "deleted":
        file.unlink()
    elif harm == "garbage":
        file.write_bytes(b"x" * 10_000)
    else:
        other = open_index(path=tmp_path / "other")
        other.insert_directory(aged)
        shutil.copy(tmp_path / "other" / CATALOGUE, file)
    encoder.taken()
    index = run()
    report = index.insert_directory(aged)
    assert (report.n_unchanged, report.n_added, encoder.taken()) == (4, 0, (0, 0))
    assert contents(index) == before
    with opens_in(aged) as opened:
        run().insert_directory(aged)
    assert opened == []


def test_without_a_catalogue_everything_is_opened(run, aged, tmp_path):
    for _ in range(2):
        with opens_in(aged) as opened:
            report = run(catalogue=False).insert_directory(aged)
        assert len(opened) == 4
    assert report.n_unchanged == 4
    assert not (tmp_path / "store" / CATALOGUE).exists()


def test_catalogue_lies_where_it_is_told(run, aged, tmp_path):
    place = tmp_path / "elsewhere" / "it.sqlite"
    run(catalogue=place).insert_directory(aged)
    assert place.exists()
    assert not (tmp_path / "store" / CATALOGUE).exists()
    with opens_in(aged) as opened:
        run(catalogue=place).insert_directory(aged)
    assert opened == []


def test_file_that_changes_while_it_is_read_is_read_again(
    run, aged, open_index, monkeypatch
):
    file = aged / "grass.txt"
    before, opens = file.read_bytes(), Path.open

    def changing(path: Path, mode: str = "r", **how: Any) -> Any:
        if path != file or mode != "rb":
            return opens(path, mode, **how)
        patched.undo()
        file.write_text("plain straw")
        age(aged, by_s=30)
        patched.setattr(Path, "open", changing)
        return BytesIO(before)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", changing)
        run().insert_directory(aged)
    index = run()
    assert "green grass" in texts(index)
    index.refresh(aged)
    assert "plain straw" in texts(index)
    assert is_fresh(index, aged, open_index)


def test_failed_document_is_tried_again(run, aged, encoder, monkeypatch):
    index = run()
    with monkeypatch.context() as patched:

        def fails(_: object, text: str) -> list[float]:
            if "green" in text:
                raise ConnectionError("no such model")
            return [1.0, 0.0, 0.0, 0.0]

        patched.setattr(type(encoder), "_get_text_embedding", fails)
        assert len(index.insert_directory(aged).problems) == 1
    report = run().insert_directory(aged)
    assert (report.n_added, report.n_unchanged) == (1, 3)


def test_root_that_moved_between_two_sessions_is_as_it_was(
    run, aged, tmp_path, encoder, caplog
):
    run().insert_directory(aged)
    encoder.taken()
    moved = tmp_path / "elsewhere" / "docs"
    moved.parent.mkdir()
    aged.rename(moved)
    index = run()
    with opens_in(moved) as opened:
        report = index.refresh(moved)
    assert (report.n_added, report.n_removed, report.n_unchanged) == (0, 0, 4)
    assert (opened, encoder.taken()) == ([], (0, 0))
    assert "moved" in caplog.text
    found = [result.node for result in index.as_retriever().retrieve("blue")]
    shown = {node.image_path for node in found if isinstance(node, ImageNode)}
    assert shown == {str(moved / "sky.png"), str(moved / "pix" / "apple.png")}
    assert run().refresh(moved).n_unchanged == 4


# Renamed and copied files


def test_a_hundred_renamed_files_cost_no_encoder_call(
    run, tmp_path, open_index, encoder
):
    many = tmp_path / "many"
    for n in range(60):
        painted(many, "red", name=f"{n}.png", side=8 + n)
    for n in range(40):
        (many / f"{n}.txt").write_text(f"red {n}")
    run().insert_directory(many)
    for path in sorted(many.iterdir()):
        path.rename(path.with_stem(f"renamed {path.stem}"))
    encoder.taken()
    index = run()
    report = index.refresh(many)
    assert encoder.taken() == (0, 0)
    assert (report.n_added, report.n_removed) == (100, 100)
    assert is_fresh(index, many, open_index)


def test_renamed_page_takes_its_pictures_along(run, folder, open_index, encoder):
    run().insert_directory(folder)
    (folder / "fruit.md").rename(folder / "apples.md")
    encoder.taken()
    index = run()
    report = index.refresh(folder)
    assert (report.n_added, report.n_removed, encoder.taken()) == (2, 2, (0, 0))
    assert is_fresh(index, folder, open_index)


@pytest.mark.parametrize("rule", [None, Blend(0.5)])
def test_page_that_moves_with_its_pictures_is_not_encoded(
    rule, run, folder, open_index, encoder
):
    run(composition=rule).insert_directory(folder)
    below = folder / "below"
    below.mkdir()
    for name in ("fruit.md", "pix"):
        (folder / name).rename(below / name)
    encoder.taken()
    index = run(composition=rule)
    index.refresh(folder)
    assert encoder.taken() == (0, 0)
    assert is_fresh(index, folder, open_index, composition=rule)


def test_copy_is_not_encoded_and_the_first_stays(run, folder, open_index, encoder):
    run().insert_directory(folder)
    (folder / "copies").mkdir()
    for name in ("grass.txt", "sky.png"):
        shutil.copy(folder / name, folder / "copies" / name)
    encoder.taken()
    index = run()
    report = index.refresh(folder)
    assert (report.n_added, report.n_removed, encoder.taken()) == (2, 0, (0, 0))
    assert is_fresh(index, folder, open_index)


def test_copy_of_another_root_is_not_encoded(run, folder, tmp_path, encoder):
    run().insert_directory(folder)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    encoder.taken()
    report = run().insert_directory(other)
    assert (report.n_added, encoder.taken()) == (4, (0, 0))


def test_file_of_the_same_content_whose_nodes_are_gone_is_encoded(
    run, folder, open_index, encoder
):
    run().insert_directory(folder)
    index = run()
    index.delete_ref_doc(str(folder / "grass.txt"))
    (folder / "grass.txt").rename(folder / "straw.txt")
    encoder.taken()
    assert index.refresh(folder).n_added == 1
    assert encoder.taken() == (1, 0)
    assert is_fresh(index, folder, open_index)


def test_two_files_that_swap_their_names_keep_their_own(run, tmp_path, open_index):
    two = tmp_path / "two"
    two.mkdir()
    (two / "a.txt").write_text("red")
    (two / "b.txt").write_text("blue")
    age(two)
    run().insert_directory(two)
    (two / "a.txt").rename(two / "c.txt")
    (two / "b.txt").rename(two / "a.txt")
    (two / "c.txt").rename(two / "b.txt")
    index = run()
    index.refresh(two)
    assert is_fresh(index, two, open_index)
