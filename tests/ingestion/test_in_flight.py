"""A writer that is killed leaves each document in one version, whenever it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import Document
from qdrant_client import QdrantClient

from llama_index_mmrag import Blend, MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import MissingExtra, StoreFull, StoreUnusable
from llama_index_mmrag.files.reading import MOST_BYTES
from llama_index_mmrag.ingestion import in_flight
from llama_index_mmrag.ingestion.in_flight import IN_FLIGHT, InFlight
from llama_index_mmrag.stores.edge_layout import copy_sparse
from llama_index_mmrag.stores.locks import FolderLock

from ..support.damage import little_memory
from ..support.indexes import contents, painted, texts

KILLED = """
import os, sys
from pathlib import Path
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.edge_collection import EdgeCollection
from llama_index_mmrag.ingestion.in_flight import InFlight
from tests.ingestion.test_in_flight import Picky

left = int(sys.argv[3])

def counted(owner, name):
    # Killed between any two of the writer's steps: before it, and after it.
    step = getattr(owner, name)
    def stepped(*args, **kwargs):
        killed_at_zero()
        done = step(*args, **kwargs)
        killed_at_zero()
        return done
    setattr(owner, name, stepped)

def killed_at_zero():
    global left
    left -= 1
    if left < 0:
        os._exit(9)

index = MultiModalQdrantIndex.open(sys.argv[1], embed_model=Picky())
for owner, name in (
    (Collection, "add"), (Collection, "remove"), (InFlight, "begin"), (InFlight, "end")
):
    counted(owner, name)
index.refresh(Path(sys.argv[2]))
index.close()
"""


class Picky(ColourEncoder):
    """Cannot encode everything."""

    def _get_text_embedding(self, text: str) -> list[float]:
        if "unspeakable" in text:
            raise ValueError("unspeakable")
        return super()._get_text_embedding(text)


def written(folder: Path, version: str) -> None:
    (folder / "page.md").write_text(
        f"# Fruit\n\nA red one, {version}.\n\n![it](apple.png)\n\n## Both\n\nGreen."
    )
    (folder / "partly.md").write_text(
        f"# Red\n\n{version} ![it](apple.png)\n\n# Blue\n\nunspeakable {version}"
    )
    (folder / f"{version}.txt").write_text(f"blue, of {version}")


def opened(store: Path) -> MultiModalQdrantIndex:
    return MultiModalQdrantIndex.open(store, embed_model=Picky())


def of_documents(index: MultiModalQdrantIndex) -> dict[str, list[object]]:
    """Return what there is of each document, by its file's name."""
    found: dict[str, list[object]] = {}
    for channel, nodes in contents(index).items():
        for node_id, node in sorted(nodes.items()):
            name = Path(node["document"]).name
            found.setdefault(name, []).append((channel, node_id, node))
    return found


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "docs"
    painted(folder, "red", name="apple.png")
    written(folder, "old")
    return folder


def test_killed_at_any_step_each_document_is_in_one_version(folder, tmp_path):
    first, fresh = tmp_path / "first", tmp_path / "fresh"
    (folder / "going.md").write_text("# Red\n\n![it](apple.png)")
    with opened(first) as index:
        index.insert_directory(folder)
        before = of_documents(index)
    (folder / "old.txt").unlink()
    (folder / "going.md").unlink()
    written(folder, "new")
    with opened(fresh) as index:
        index.insert_directory(folder)
        after = of_documents(index)
    for name in ("page.md", "partly.md"):
        assert before[name] != after[name]
    seen = set()
    for n_steps in range(60):
        store = tmp_path / f"killed at {n_steps}"
        copy_sparse(first, store)
        command = [sys.executable, "-c", KILLED, store, folder, str(n_steps)]
        code = subprocess.run(command, check=False, timeout=120).returncode
        with opened(store) as index:
            assert not (store / IN_FLIGHT).exists()
            there = of_documents(index)
            for name in before.keys() | after.keys() | there.keys():
                versions = (before.get(name), after.get(name))
                assert there.get(name) in versions, (n_steps, name)
            seen.add(there["page.md"] == after["page.md"])
        if code == 0:
            break
    else:
        pytest.fail("it was never through")
    assert seen == {False, True}
    assert n_steps > 6
    with opened(tmp_path / "killed at 3") as index:
        index.refresh(folder)
        assert of_documents(index) == after


def test_note_that_cannot_be_read_says_what_to_do(folder, tmp_path):
    store = tmp_path / "store"
    with opened(store) as index:
        index.insert_directory(folder)
        whole = contents(index)
    note = store / IN_FLIGHT
    for damage in (
        *("", "{", "[1]", "null", "[" * 100_000, '{"a": {"text": [1]}}'),
        '{"a": {"sound": [["b"], []]}}',  # no collection of the store's
        '{"a": {"text": [["b"], []], "image": [[1], []]}}',
        json.dumps(dict.fromkeys(range(120_000), {})),
        json.dumps(dict.fromkeys(range(1_200_000), {})),
        '{"a": {"text": [[' + '"",' * 600_000 + "1], []]}}",
    ):
        note.write_text(damage)
        with (
            little_memory(),
            pytest.raises(StoreUnusable, match="Remove the file") as told,
        ):
            opened(store)
        assert "\n" not in str(told.value)
    note.unlink()
    for other in (note.mkdir, lambda: os.mkfifo(note)):
        other()
        with pytest.raises(StoreUnusable, match="no regular file"):
            opened(store)
        note.rmdir() if note.is_dir() else note.unlink()
    with opened(store) as index:
        assert contents(index) == whole


class Down(ColourEncoder):
    """Cannot encode pictures."""

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        raise MissingExtra("down")


def test_an_encoder_that_is_down_leaves_all_as_it_was(folder, tmp_path):
    store = tmp_path / "store"
    with opened(store) as index:
        index.insert_directory(folder)
        whole = contents(index)
    written(folder, "new")
    painted(folder, "blue", name="apple.png")
    with MultiModalQdrantIndex.open(store, embed_model=Down()) as index:
        with pytest.raises(MissingExtra):
            index.insert_directory(folder)
        assert contents(index) == whole
        assert not (store / IN_FLIGHT).exists()


def test_a_write_that_failed_is_taken_back_before_the_next(
    folder, tmp_path, monkeypatch
):
    store = tmp_path / "store"
    with opened(store) as index:
        index.insert_directory(folder)
        before = of_documents(index)
        written(folder, "new")
        painted(folder, "blue", name="apple.png")
        pictures = index.channels[1].collection

        def full(nodes: Any) -> None:
            raise StoreFull("no room")

        with monkeypatch.context() as patched:
            patched.setattr(pictures, "add", full)
            with pytest.raises(StoreFull):
                index.insert_directory(folder / "page.md")
        assert (store / IN_FLIGHT).exists()
        index.insert(Document(text="green"))
        there = of_documents(index)
        assert there["page.md"] == before["page.md"]
        assert not (store / IN_FLIGHT).exists()


def test_nodes_whose_removal_was_cut_off_are_removed_by_the_next_opening(
    folder, tmp_path, monkeypatch
):
    def opened() -> MultiModalQdrantIndex:
        return MultiModalQdrantIndex.open(
            tmp_path / "store", embed_model=Picky(), composition=Blend(0.5)
        )

    def killed(_: Any) -> None:
        raise OSError

    with opened() as index:
        index.insert_directory(folder)
        before = contents(index)
        going = [min(before["text"]), *before["image"]]
        monkeypatch.setattr(index.channels[1].collection, "remove", killed)
        with pytest.raises(OSError, match="^$"):
            index.delete_nodes(going)
    with opened() as index:
        after = contents(index)
        for name, nodes in before.items():
            assert after[name].keys() == nodes.keys() - going


def test_note_that_ends_while_another_opens_stops_nothing(tmp_path, monkeypatch):
    client = QdrantClient(":memory:")

    def opened() -> MultiModalQdrantIndex:
        return MultiModalQdrantIndex.open(
            client=client, embed_model=Picky(), catalogue=tmp_path / "cat.sqlite"
        )

    note = tmp_path / f"{opened().index_id}.{IN_FLIGHT}"
    note.write_text("{}")

    class JustFreed(FolderLock):
        def __init__(self, path: Path) -> None:
            note.unlink(missing_ok=True)
            super().__init__(path)

    monkeypatch.setattr(in_flight, "FolderLock", JustFreed)
    assert opened().insert(Document(text="green")).n_added == 1


@pytest.fixture
def disk(monkeypatch) -> Callable[[int], None]:
    """Return what leaves so many bytes free; the campaign fills real disks."""

    def leave(free: int) -> None:
        usage = shutil._ntuple_diskusage(1 << 40, (1 << 40) - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return leave


@pytest.mark.parametrize("composition", [None, Blend(0.5)])
def test_a_write_that_was_refused_is_not_done_later(
    composition, folder, tmp_path, disk
):
    def opened() -> MultiModalQdrantIndex:
        return MultiModalQdrantIndex.open(
            tmp_path / "store", embed_model=Picky(), composition=composition
        )

    with opened() as index:
        index.insert_directory(folder)
        before = contents(index)
        disk(1 << 20)
        (folder / "page.md").write_text("# Fruit\n\nAnother one.")
        for write in (
            lambda: index.insert(Document(text="green", id_="new")),
            lambda: index.insert_directory(folder / "page.md"),
            lambda: index.delete_ref_doc("docs/partly.md"),
        ):
            with pytest.raises(StoreFull, match="Nothing was written"):
                write()
            assert not (tmp_path / "store" / IN_FLIGHT).exists()
    disk(1 << 30)
    with opened() as index:
        assert contents(index) == before
        assert index.delete_ref_doc("docs/partly.md") == len(
            [n for n in before["text"].values() if n["document"] == "docs/partly.md"]
            + [n for n in before["image"].values() if n["document"] == "docs/partly.md"]
        )


def test_a_write_that_was_cut_off_waits_for_room(folder, tmp_path, disk, caplog):
    store = tmp_path / "store"
    with opened(store) as index:
        index.insert_directory(folder)
    written(folder, "new")
    command = [sys.executable, "-c", KILLED, store, folder, "5"]
    assert subprocess.run(command, check=False, timeout=120).returncode == 9
    assert (store / IN_FLIGHT).exists()
    disk(1 << 20)
    caplog.clear()
    with opened(store) as index:
        (line,) = [r for r in caplog.records if r.levelname == "WARNING"]
        assert "before the next write" in line.getMessage()
        assert index.as_retriever().retrieve("red")
        with pytest.raises(StoreFull):
            index.insert(Document(text="green"))
        assert (store / IN_FLIGHT).exists()
        disk(1 << 30)
        index.insert(Document(text="green"))
        assert not (store / IN_FLIGHT).exists()
        versions = {t.rpartition(" ")[2] for t in texts(index) if "A red one" in t}
        assert len(versions) == 1


KILLED_ON_A_SERVER = """
import os, sys
from pathlib import Path
from llama_index_mmrag.stores.qdrant_collection import QdrantCollection
from tests.ingestion.test_in_flight import on_a_server

with on_a_server(*map(Path, sys.argv[1:3])) as index:
    QdrantCollection.remove = lambda *_: os._exit(9)
    index.refresh(Path(sys.argv[3]))
"""


@contextlib.contextmanager
def on_a_server(
    path: Path, catalogue: Path | None = None
) -> Iterator[MultiModalQdrantIndex]:
    """Yield an index in Qdrant's local mode, which is a server's client too."""
    client = QdrantClient(path=str(path))
    if catalogue == Path("cache"):
        catalogue = None
    with contextlib.closing(client):
        yield MultiModalQdrantIndex.open(
            client=client, embed_model=Picky(), catalogue=catalogue
        )


@pytest.mark.parametrize("place", ["here/cat.sqlite", "cache"])
def test_note_of_a_server_is_beside_its_catalogue(place, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_INDEX_CACHE_DIR", str(tmp_path / "cached"))
    catalogue = tmp_path / place if place != "cache" else Path(place)
    with on_a_server(tmp_path / "q", catalogue) as index:
        index.insert_directory(folder)
    written(folder, "new")
    command = [sys.executable, "-c", KILLED_ON_A_SERVER]
    command += [tmp_path / "q", catalogue, folder]
    assert subprocess.run(command, check=False, timeout=120).returncode == 9
    (note,) = tmp_path.rglob(f"*.{IN_FLIGHT}")
    assert sorted(note.parent.glob("*.sqlite"))
    with on_a_server(tmp_path / "q", catalogue) as index:
        assert not note.exists()
        (page,) = [t for t in texts(index) if "A red one" in t]
        assert "new" in page


def test_note_of_a_writer_that_lives_is_left_to_it(folder, tmp_path, monkeypatch):
    client = QdrantClient(":memory:")

    def opened() -> MultiModalQdrantIndex:
        return MultiModalQdrantIndex.open(
            client=client, embed_model=Picky(), catalogue=tmp_path / "cat.sqlite"
        )

    index = opened()
    pictures = index.channels[1].collection
    add = pictures.add

    def add_while_another_opens(nodes: Any) -> Any:
        assert list(tmp_path.glob(f"*.{IN_FLIGHT}"))
        opened()
        return add(nodes)

    monkeypatch.setattr(pictures, "add", add_while_another_opens)
    index.insert_directory(folder)
    assert len([t for t in texts(index) if "A red one" in t]) == 1
    assert not list(tmp_path.glob(f"*.{IN_FLIGHT}"))


def test_place_of_a_servers_note_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    index = MultiModalQdrantIndex.open(
        client=QdrantClient(":memory:"),
        embed_model=Picky(),
        catalogue=tmp_path / "cat.sqlite",
    )
    (tmp_path / f"{IN_FLIGHT}.part").mkdir()
    assert index.insert(Document(text="green")).n_added == 1
    assert "may be in two versions" in caplog.text


def test_many_documents_are_removed_with_notes_that_can_be_read(tmp_path, monkeypatch):
    begin, sizes = InFlight.begin, []

    def watched(self: InFlight, *args: Any) -> None:
        begin(self, *args)
        sizes.append((tmp_path / "store" / IN_FLIGHT).stat().st_size)

    with opened(tmp_path / "store") as index:
        ids = [f"{n:0200}" for n in range(9_000)]
        index.insert([Document(text="red", id_=one) for one in ids[:300]])
        monkeypatch.setattr(InFlight, "begin", watched)
        assert index._writer.delete_all(ids) == 300
    assert max(sizes) < MOST_BYTES
