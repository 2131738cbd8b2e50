"""Damage to an index is noticed, and what can be read of it is saved."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import Document, ImageNode, TextNode

from llama_index_mmrag import Blend, MultiModalQdrantIndex
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreFull,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.index import repairing
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.stores import checking, edge_folder, manifest_file
from llama_index_mmrag.stores.checking import check_store
from llama_index_mmrag.stores.edge_record import RECORD

from ..support.damage import truncate_a_status, zero_the_vectors
from ..support.indexes import COLOURS, CountingEncoder, contents, inline

N = 12


def items() -> list[Any]:
    texts = [Document(text=f"{COLOURS[i % 6]} text {i}", id_=f"d{i}") for i in range(N)]
    return [*texts, *(ImageNode(image=inline(c), id_=f"p-{c}") for c in COLOURS[:3])]


@pytest.fixture
def root(open_index, tmp_path) -> Path:
    with open_index(path=tmp_path / "store") as index:
        index.insert([*items()[1:], Document(text="gone", id_="gone")])
        index.insert(Document(text="before", id_="d0"))
    with open_index(path=tmp_path / "store") as index:
        index.insert(items()[0])
        index.delete_ref_doc("gone")
    return tmp_path / "store"


def shard_in(folder: Path) -> Path:
    return next(folder.glob("shard-*"))


def stored(root: Path, encoder: CountingEncoder, **settings: Any) -> Any:
    with MultiModalQdrantIndex.open(root, embed_model=encoder, **settings) as index:
        return contents(index)


def repaired(root: Path, encoder: CountingEncoder) -> repairing.Repair:
    return repair_store(root, embed_model=encoder)


# Noticing


def test_closed_store_is_whole_and_open_too_and_after_a_write(root, open_index):
    n_points = {"text": N, "image": 3}
    found = check_store(root)
    assert (found.n_points, found.damaged, found.unrecorded) == (n_points, {}, ())
    with open_index(path=root) as index:
        assert index.check() == found
        index.insert(Document(text="more", id_="more"))
        found = index.check()
        assert found.is_whole
        assert found.unrecorded == ("text",)
    assert check_store(root).n_points == {"text": N + 1, "image": 3}


def test_store_that_was_killed_is_not_damaged(root):
    (root / "text" / RECORD).unlink()
    found = check_store(root)
    assert found.is_whole
    assert found.unrecorded == ("text",)
    zero_the_vectors(shard_in(root / "text"))
    assert "of 12 points can be read whole" in str(check_store(root).damaged["text"])


def test_full_disk_is_no_damage(root, encoder, monkeypatch):
    (root / "text" / RECORD).unlink()

    def full(_: Path) -> None:
        raise StoreFull("there is no room")

    monkeypatch.setattr(edge_folder, "room_to_open", full)
    for look in (check_store, lambda root: repaired(root, encoder)):
        with pytest.raises(StoreFull):
            look(root)


@pytest.mark.parametrize("kind", ["local", "server"])
def test_collections_of_a_server_are_counted(kind, open_index):
    index = open_index(kind)
    index.insert(items())
    found = index.check()
    assert (found.n_points, found.damaged) == ({"text": N, "image": 3}, {})


def gone(picture: Path) -> None:
    picture.unlink()


def truncated(picture: Path) -> None:
    os.truncate(picture, 20)


@pytest.mark.parametrize("damage", [gone, truncated])
def test_damaged_picture_is_noticed_and_its_document_is_to_be_inserted_again(
    damage, root, encoder, open_index
):
    before = stored(root, encoder)
    picture = next((root / "media").iterdir())
    whole = picture.read_bytes()
    damage(picture)
    assert picture.name[:12] in str(check_store(root).damaged["media"])
    encoder.taken()
    done = repaired(root, encoder)
    assert len(done.insert_again) == 1
    assert encoder.taken() == (0, 0)
    assert not done.n_copied
    with open_index(path=root) as index:
        index.insert(items())
    assert picture.read_bytes() == whole
    assert check_store(root).is_whole
    assert stored(root, encoder) == before


def test_picture_that_is_gone_is_told_until_a_repair(root, open_index, monkeypatch):
    lost, damaged, _ = (root / "media").iterdir()
    lost.unlink()
    truncated(damaged)
    with open_index(path=root) as index:
        index.insert(Document(text="more", id_="more"))
    (root / "text" / RECORD).unlink()  # as if killed
    assert len(check_store(root).damaged["media"]) == 2

    def killed(path: Path) -> None:
        path.rename(path.with_name(f"{path.name}.damaged"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(repairing, "put_aside", killed)
        with pytest.raises(KeyboardInterrupt):
            repaired(root, CountingEncoder(modality_gap=0.75))
    assert len(check_store(root).damaged["media"]) == 2
    done = repaired(root, CountingEncoder(modality_gap=0.75))
    assert len(done.insert_again) == 2
    assert check_store(root).is_whole


def test_all_of_very_many_pictures_are_noted(root, monkeypatch):
    many = {f"{number:012x}" for number in range(200_000)}
    with monkeypatch.context() as patched:
        patched.setattr(checking, "_beginnings", lambda _: many)
        checking.note_media(root)
    assert len(check_store(root).damaged["media"]) == len(many)


# Repairing


def truncate_the_vectors(shard: Path) -> None:
    os.truncate(next(shard.rglob("chunk_0.mmap")), 1000)


def remove_the_segment(shard: Path) -> None:
    next(shard.rglob("segment.json")).unlink()


def zero_the_payloads(shard: Path) -> None:
    with next(shard.rglob("payload_storage/page_0.dat")).open("r+b") as file:
        file.write(bytes(1 << 16))


def empty_the_description(shard: Path) -> None:
    (shard.parent / "store.json").write_text("")


def remove_the_description(shard: Path) -> None:
    (shard.parent / "store.json").unlink()


def flip_the_record(shard: Path) -> None:
    record = shard.parent / RECORD
    record.write_bytes(record.read_bytes().replace(b"12", b"13", 1))


def remove_the_log(shard: Path) -> None:
    shutil.rmtree(shard / "wal")


def remove_the_segments(shard: Path) -> None:
    shutil.rmtree(shard / "segments")


def remove_the_ids(shard: Path) -> None:
    remove_the_log(shard)
    next(shard.rglob("*id_tracker.mappings")).unlink()


def zero_the_ids(shard: Path) -> None:
    remove_the_log(shard)
    mappings = next(shard.rglob("*id_tracker.mappings"))
    mappings.write_bytes(bytes(mappings.stat().st_size))


def remove_the_versions(shard: Path) -> None:
    remove_the_log(shard)
    next(shard.rglob("*id_tracker.versions")).unlink()


def remove_the_tracker(shard: Path) -> None:
    remove_the_log(shard)
    next(shard.rglob("payload_storage/tracker.dat")).unlink()


def truncate_the_tracker(shard: Path) -> None:
    remove_the_log(shard)
    os.truncate(next(shard.rglob("payload_storage/tracker.dat")), 30)


def flip_a_place(shard: Path) -> None:
    remove_the_log(shard)
    with next(shard.rglob("payload_storage/tracker.dat")).open("r+b") as file:
        file.seek(4 + 16 * 2 + 8)  # the third point's, which lies elsewhere then
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    "damage",
    [
        truncate_the_vectors,
        zero_the_vectors,
        remove_the_segment,
        truncate_a_status,
        zero_the_payloads,
        empty_the_description,
        remove_the_description,
        flip_the_record,
        remove_the_log,
        remove_the_segments,
        remove_the_ids,
        zero_the_ids,
        remove_the_versions,
        remove_the_tracker,
        truncate_the_tracker,
        flip_a_place,
    ],
)
def test_every_point_that_is_whole_is_there_after_the_repair(damage, root, encoder):
    before = stored(root, encoder)
    damage(shard_in(root / "text"))
    files = {p: p.stat().st_size for p in (root / "text").rglob("*") if p.is_file()}
    assert list(check_store(root).damaged) == ["text"]
    encoder.taken()
    done = repaired(root, encoder)
    assert encoder.taken() == (0, 0)
    n_lost = None if damage is flip_the_record else 0
    assert (done.n_copied, done.n_lost) == ({"text": N}, {"text": n_lost})
    assert (done.insert_again, done.kept_aside) == ((), ("text.damaged",))
    for file, size in files.items():
        if file.name != ".lock":
            kept = root / "text.damaged" / file.relative_to(root / "text")
            assert kept.stat().st_size == size
    assert stored(root, encoder) == before
    assert check_store(root).is_whole
    assert (root / "text.damaged").is_dir(), "also after an opening"


def test_vector_that_is_lost_is_made_anew(root, encoder):
    before = stored(root, encoder)
    shard = shard_in(root / "text")
    remove_the_log(shard)
    zero_the_vectors(shard)
    encoder.taken()
    done = repaired(root, encoder)
    assert done.n_encoded["text"] == encoder.taken()[0] > 0
    assert done.n_copied["text"] + done.n_encoded["text"] == N
    assert stored(root, encoder) == before


def test_vectors_that_stop_the_engine_cost_no_words(root, encoder):
    before = stored(root, encoder)
    shard = shard_in(root / "text")
    remove_the_log(shard)
    status = next(shard.rglob("vector_storage*/deleted/status.dat"))
    status.write_bytes(b"\xff" * status.stat().st_size)
    encoder.taken()
    done = repaired(root, encoder)
    assert (done.n_encoded, done.n_lost) == ({"text": N}, {"text": 0})
    assert encoder.taken()[0] == N
    assert stored(root, encoder) == before


def test_what_cannot_be_read_is_counted_and_inserted_again(root, encoder, open_index):
    before = stored(root, encoder)
    shutil.rmtree(shard_in(root / "text") / "segments")
    remove_the_log(shard_in(root / "text"))
    done = repaired(root, encoder)
    assert (done.n_copied, done.n_lost) == ({"text": 0}, {"text": N})
    with open_index(path=root) as index:
        assert index.insert(items()).n_added == N
    assert stored(root, encoder) == before


def test_metadata_of_which_a_bit_flipped_are_not_believed(root, encoder, open_index):
    noted = Document(text="more", id_="more", metadata={"note": "certain"})
    with open_index(path=root) as index:
        index.insert(noted)
    before = stored(root, encoder)
    shard = shard_in(root / "text")
    remove_the_log(shard)
    page = next(shard.rglob("payload_storage/page_0.dat"))
    page.write_bytes(page.read_bytes().replace(b"certain", b"certaim", 1))
    assert repaired(root, encoder).n_lost == {"text": 1}
    with open_index(path=root) as index:
        assert index.insert([*items(), noted]).n_added == 1
    assert stored(root, encoder) == before


def test_folder_that_is_gone_is_made_anew(root, encoder, open_index):
    shutil.rmtree(root / "text")
    assert repaired(root, encoder).kept_aside == ()
    with open_index(path=root) as index:
        assert index.insert(items()).n_added == N


def test_composed_vectors_are_made_of_the_parts_and_give_back_their_nodes(
    open_index, encoder, tmp_path
):
    root, early = tmp_path / "early", {"composition": Blend(0.5)}
    with open_index(path=root, **early) as index:
        index.insert(items())
    before = stored(root, encoder, **early)
    for name in ("composed", "text"):
        for part in ("segments", "wal"):
            shutil.rmtree(shard_in(root / name) / part)
        done = repaired(root, encoder)
        assert done.n_lost == {name: 0}
        assert done.n_encoded[name] > 0
        assert stored(root, encoder, **early) == before
        shutil.rmtree(root / f"{name}.damaged")


def test_whole_store_is_not_repaired(root, encoder):
    before = sorted(root.rglob("*"))
    with pytest.raises(InvalidSetting, match="is not damaged"):
        repaired(root, encoder)
    assert sorted(root.rglob("*")) == before


def test_open_store_is_not_repaired(root, encoder, open_index):
    with open_index(path=root), pytest.raises(StoreInUse):
        repaired(root, encoder)


def test_full_disk_is_told_before_anything_is_written(root, encoder, monkeypatch):
    zero_the_vectors(shard_in(root / "text"))
    before = sorted(root.rglob("*"))
    usage = shutil._ntuple_diskusage(1 << 40, (1 << 40) - 9, 9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreFull, match="Repairing the store"):
        repaired(root, encoder)
    assert sorted(root.rglob("*")) == before


def test_store_of_another_encoder_is_not_repaired(root):
    zero_the_vectors(shard_in(root / "text"))
    with pytest.raises(ValueError, match="was filled by"):
        repaired(root, CountingEncoder(modality_gap=0.5))


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def an_older_copy(root: Path, encoder: CountingEncoder) -> None:
    """Repair a collection, and put back the copy of the manifest from before."""
    copy = root / "mmrag.copy.json"
    older = copy.read_bytes()
    truncate_the_vectors(shard_in(root / "text"))
    repaired(root, encoder)
    assert copy.read_bytes() == (root / "mmrag.json").read_bytes() != older
    copy.write_bytes(older)


def test_older_copy_takes_no_collections_place(root, encoder):
    before = stored(root, encoder)
    an_older_copy(root, encoder)
    flip_a_bit(root / "mmrag.json")
    there = sorted(p.name for p in root.iterdir())
    with pytest.raises(StoreUnusable, match=r"mmrag\.json"):
        repaired(root, encoder)
    assert sorted(p.name for p in root.iterdir()) == there
    flip_a_bit(root / "mmrag.json")  # again: as it was
    assert stored(root, encoder) == before


def test_copy_that_cannot_be_written_is_none(root, encoder, monkeypatch):
    def full(file: Path, content: Any) -> None:
        if file.name == "mmrag.copy.json":
            raise OSError(28, "No space left on device")
        replace(file, content)

    replace = manifest_file._replace
    monkeypatch.setattr(manifest_file, "_replace", full)
    truncate_the_vectors(shard_in(root / "text"))
    repaired(root, encoder)
    assert not (root / "mmrag.copy.json").exists()
    monkeypatch.undo()
    stored(root, encoder)
    copy = root / "mmrag.copy.json"
    assert copy.read_bytes() == (root / "mmrag.json").read_bytes()


def test_manifest_of_a_later_version_is_not_replaced(root, encoder):
    later = json.loads((root / "mmrag.json").read_text()) | {"format": 99}
    del later["crc32"]
    (root / "mmrag.json").write_text(json.dumps(later))
    with pytest.raises(StoreUnusable, match="format 99"):
        repaired(root, encoder)
    assert json.loads((root / "mmrag.json").read_text()) == later


@pytest.mark.parametrize("refused", [StoreInUse, CollectionMismatch])
def test_manifest_of_an_open_store_or_of_others_is_not_put_back(
    refused, root, encoder, open_index
):
    if refused is StoreInUse:
        open_index(path=root)
    else:
        encoder = CountingEncoder(modality_gap=0.5)
    flip_a_bit(root / "mmrag.json")
    there = (root / "mmrag.json").read_bytes()
    with pytest.raises(refused):
        repaired(root, encoder)
    assert (root / "mmrag.json").read_bytes() == there


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink])
def test_manifest_is_put_back_from_its_copy(damage, root, encoder):
    file = root / "mmrag.json"
    before, there = file.read_bytes(), stored(root, encoder)
    damage(file)
    for refused in (check_store, lambda root: stored(root, encoder)):
        with pytest.raises(StoreUnusable, match=r"mmrag\.json.*mmrag repair --store"):
            refused(root)
    kept = ["mmrag.json.damaged"] if file.exists() else []
    done = repaired(root, encoder)
    assert (done.may_lack_points, [*done.kept_aside]) == (False, kept)
    assert file.read_bytes() == before
    assert check_store(root).is_whole
    assert stored(root, encoder) == there


def test_copy_of_the_manifest_is_checked_and_made_anew(root, encoder):
    file, copy = root / "mmrag.json", root / "mmrag.copy.json"
    flip_a_bit(copy)
    assert "mmrag.copy.json" in str(check_store(root).damaged["manifest"])
    assert repaired(root, encoder).kept_aside == ("mmrag.copy.json.damaged",)
    assert copy.read_bytes() == file.read_bytes()
    for damage in (flip_a_bit, Path.unlink):
        damage(copy)
        stored(root, encoder)  # an opening does it too
        assert copy.read_bytes() == file.read_bytes()


def test_damage_is_repaired_beside_that_of_the_manifest(root, encoder):
    before = stored(root, encoder)
    truncate_the_vectors(shard_in(root / "text"))
    flip_a_bit(root / "mmrag.json")
    aside = repaired(root, encoder).kept_aside
    assert aside == ("mmrag.json.damaged", "text.damaged")
    assert stored(root, encoder) == before


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def remove_the_pointer(shard: Path) -> None:
    (shard.parent / "store.json").unlink()


@pytest.mark.parametrize("damage", [truncate_the_vectors, remove_the_pointer])
def test_killed_after_its_switch_the_next_repair_puts_aside(
    damage, root, encoder, monkeypatch
):
    before = stored(root, encoder)
    damage(shard_in(root / "text"))
    with monkeypatch.context() as patched:
        patched.setattr(repairing, "put_aside", interrupted)
        with pytest.raises(KeyboardInterrupt):
            repaired(root, encoder)
    assert stored(root, encoder) == before
    assert repaired(root, encoder).kept_aside == ("text.damaged",)
    assert stored(root, encoder) == before
    with pytest.raises(InvalidSetting, match="not damaged"):
        repaired(root, encoder)


@pytest.mark.parametrize("step", ["switch_places", "points_left", "note_media"])
def test_interrupted_it_is_as_it_was_or_repaired(step, root, encoder, monkeypatch):
    before = stored(root, encoder)
    truncate_the_vectors(shard_in(root / "text"))
    there = sorted(p.name for p in root.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(repairing, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            repaired(root, encoder)
    if step != "note_media":
        assert sorted(p.name for p in root.iterdir()) == there
        with pytest.raises(StoreUnusable, match="is damaged"):
            stored(root, encoder)
        repaired(root, encoder)
    assert stored(root, encoder) == before


def test_integers_are_ids_too(root, encoder, open_index):
    with open_index(path=root) as index:
        node = TextNode(text="red", id_="7", embedding=[1.0, 0.0, 0.0, 0.0])
        assert index.channels[0].vector_store.add([node]) == ["7"]
    before = stored(root, encoder)
    truncate_the_vectors(shard_in(root / "text"))
    assert repaired(root, encoder).n_lost == {"text": 0}
    assert stored(root, encoder) == before


def no_record(folder: Path) -> None:
    (folder / RECORD).unlink()


def half_a_record(folder: Path) -> None:
    os.truncate(folder / RECORD, 40)


@pytest.mark.parametrize("record", [no_record, half_a_record])
def test_where_nobody_knows_what_there_was_nothing_is_said_of_it(record, root, encoder):
    record(root / "text")
    zero_the_vectors(shard_in(root / "text"))
    zero_the_payloads(shard_in(root / "text"))
    remove_the_log(shard_in(root / "text"))
    done = repaired(root, encoder)
    assert (done.n_copied, done.n_lost) == ({"text": 0}, {"text": None})
    assert done.may_lack_points


def test_path_that_is_no_store_is_told_as_one(tmp_path, encoder):
    (tmp_path / "file").write_text("a note")
    for look in (check_store, lambda root: repaired(root, encoder)):
        for name in ("none", "file", "."):
            with pytest.raises(StoreUnusable, match="There is no store in"):
                look(tmp_path / name)
