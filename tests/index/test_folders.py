"""Folders: read, read again, and followed as their files change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.schema import Document

from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.nodes.node import entity_of, modality_of, provenance_of

from ..support.indexes import contents, painted, pictures, texts


def test_section_and_its_picture_are_one_entity(open_index, folder):
    index = open_index()
    report = index.insert_directory(folder)
    # fruit.md, grass.txt, sky.png; the apple belongs to its page
    assert (report.n_documents, report.n_added) == (3, 4)
    hits = index.as_retriever(top_k=1).retrieve("red")
    assert [modality_of(hit.node) for hit in hits] == ["text", "image"]
    assert len({entity_of(hit.node) for hit in hits}) == 1
    provenance = provenance_of(hits[0])
    assert provenance.score == pytest.approx(
        sum(c.amount for c in provenance.contributions), abs=1e-9
    )


def test_folder_inserted_again_encodes_nothing(filled, folder, encoder):
    encoder.taken()
    report = filled.insert_directory(folder)
    assert (report.n_added, report.n_unchanged, report.n_removed) == (0, 4, 0)
    assert encoder.taken() == (0, 0)


def test_changed_file_is_replaced(filled, folder):
    (folder / "grass.txt").write_text("yellow straw")
    report = filled.insert_directory(folder)
    assert (report.n_added, report.n_removed) == (1, 1)
    assert "yellow straw" in texts(filled)
    assert "green grass" not in texts(filled)


def test_changed_picture_under_its_old_name_is_encoded_again(
    filled, open_index, folder, encoder
):
    encoder.taken()
    painted(folder / "pix", "cyan", name="apple.png")
    report = filled.insert_directory(folder)
    assert (report.n_added, report.n_removed, encoder.taken()) == (1, 1, (0, 1))
    fresh = open_index()
    fresh.insert_directory(folder)
    assert contents(filled) == contents(fresh)


def test_picture_that_turns_unreadable_is_reported_and_stays_as_it_was(filled, folder):
    (folder / "sky.png").write_bytes(b"")
    for again in (filled.insert_directory, filled.refresh):
        report = again(folder)
        assert [Path(p.source).name for p in report.problems] == ["sky.png"]
        assert pictures(filled) == ["apple.png", "sky.png"]


def test_picture_of_a_page_that_turns_unreadable_leaves_with_a_word(filled, folder):
    (folder / "pix" / "apple.png").unlink()
    report = filled.insert_directory(folder)
    assert "apple.png" in report.problems[0].reason
    assert pictures(filled) == ["sky.png"]
    assert any("A red one." in text for text in texts(filled))


def test_refresh_equals_a_fresh_build_of_the_folder(open_index, folder):
    index = open_index()
    index.insert(Document(text="white", id_="from elsewhere"))
    index.insert_directory(folder)
    (folder / "grass.txt").unlink()
    (folder / "sky.png").rename(folder / "heaven.png")
    (folder / "fruit.md").write_text("# Fruit\n\nA yellow one.")
    (folder / "new.txt").write_text("cyan")
    report = index.refresh(folder)
    # grass, sky, and the page's old text and picture
    assert report.n_removed == 4
    fresh = open_index()
    fresh.insert(Document(text="white", id_="from elsewhere"))
    fresh.insert_directory(folder)
    assert contents(index) == contents(fresh)
    assert index.refresh(folder).n_added == 0


def test_refresh_leaves_other_folders_alone(open_index, folder):
    other = folder.parent / "docs2"
    shutil.copytree(folder, other)
    index = open_index()
    index.insert_directory(folder)
    index.insert_directory(other)
    shutil.rmtree(folder)
    folder.mkdir()
    assert index.refresh(folder, allow_gone=True).n_removed == 4
    assert {each.partition("/")[0] for each in index.ref_doc_ids()} == {other.name}


def test_refresh_keeps_what_another_reader_made_of_files_that_are_there(
    open_index, folder
):
    (folder / "prices.csv").write_text("green,blue\n1,2")
    index = open_index()
    index.insert_directory(folder)
    reader = SimpleDirectoryReader(
        str(folder), required_exts=[".csv"], filename_as_id=True
    )
    index.insert(reader.load_data())
    before = contents(index)
    assert index.refresh(folder).n_removed == 0
    assert contents(index) == before


def test_refresh_keeps_a_readable_file_that_is_there_but_was_not_discovered(
    open_index, folder
):
    hidden = folder / ".drafts" / "draft.txt"
    hidden.parent.mkdir()
    hidden.write_text("magenta")
    index = open_index()
    index.insert_directory(folder)
    index.insert_directory(hidden)
    assert "docs/.drafts/draft.txt" in index.ref_doc_ids()
    assert index.refresh(folder).n_removed == 0
    hidden.unlink()
    report = index.refresh(folder)
    assert (report.n_removed, "magenta" in texts(index)) == (1, False)


def test_refresh_deletes_all_that_is_gone_in_one_write_for_each_store(
    open_index, tmp_path
):
    gone = tmp_path / "many"
    gone.mkdir()
    for n in range(20):
        (gone / f"{n}.txt").write_text(f"red {n}")
    painted(gone, "blue")
    index = open_index()
    index.insert_directory(gone)
    shutil.rmtree(gone)
    gone.mkdir()
    writes = []
    for channel in index.channels:
        write = channel.vector_store.client.write
        channel.vector_store.client.write = lambda batch, write=write: (
            writes.append(batch),
            write(batch),
        )
    assert index.refresh(gone, allow_gone=True).n_removed == 21
    assert len(writes) == 2


def test_folder_that_cannot_be_listed_is_not_gone(open_index, folder, monkeypatch):
    (folder / "below").mkdir()
    (folder / "below" / "deep.txt").write_text("magenta")
    index = open_index()
    index.insert_directory(folder)
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    report = index.refresh(folder)
    assert [Path(p.source).name for p in report.problems] == ["below"]
    assert "magenta" in texts(index)


def test_progress_counts_what_is_written(open_index, folder, capsys, monkeypatch):
    index = open_index()
    encode = index.channels[0].vector_store.add
    written = []

    def add(nodes: Any) -> Any:
        written.append(capsys.readouterr().err)
        return encode(nodes)

    monkeypatch.setattr(
        type(index.channels[0].vector_store), "add", lambda _, nodes: add(nodes)
    )
    index.insert_directory(folder, show_progress=True)
    assert "4/4" not in written[0]
    assert "4/4" in capsys.readouterr().err


def test_missing_folder_is_an_error(open_index, tmp_path):
    index = open_index()
    for read in (index.insert_directory, index.refresh):
        with pytest.raises(MmragError, match="no file or folder"):
            read(tmp_path / "nothing")


def test_documents_are_refreshed_like_inserted(open_index):
    index = open_index()
    index.insert(Document(text="red", id_="a"))
    report = index.refresh([Document(text="blue", id_="a")])
    assert (report.n_added, report.n_removed, texts(index)) == (1, 1, ["blue"])
