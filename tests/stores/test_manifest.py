"""The manifest: what is read is kept, and what is written is what it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag.composition import Blend
from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.stores import QdrantEdgeVectorStore, Quantisation
from llama_index_mmrag.stores.format import CollectionEntry, Place, entry_of
from llama_index_mmrag.stores.manifest import (
    check_manifest,
    entries_in,
    index_id_of,
    stored_composition,
    switch_places,
    write_manifest,
)

from ..support.damage import DAMAGES, little_memory

CARD = {"class": "MockEmbedding", "space": "mock-ä"}
ID = "0123456789abcdef" * 2
ENTRY = {
    "encoder": CARD,
    "vector": "text-dense",
    "dim": 4,
    "distance": "cosine",
    "composition": None,
    "oversampling": None,
    "folder": "text",
}
PLACE = {
    "folder": "text-0123456789ab",
    "alignment": None,
    "space": "mock",
    "dim": 2,
    "oversampling": 2.0,
}


def written(root: Path, **content: Any) -> None:
    (root / "mmrag.json").write_text(json.dumps(content), encoding="utf-8")


def store_of(root: Path, **entry: Any) -> None:
    written(root, format=3, index_id=ID, collections={"text": ENTRY | entry})


def content(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "mmrag.json").read_text("utf-8"))
    found.pop("crc32", None)
    return found


def entry() -> CollectionEntry:
    return CollectionEntry(**ENTRY)


def test_new_store_has_an_id_of_its_own_and_what_its_collections_are(tmp_path):
    assert index_id_of(tmp_path) is None
    write_manifest(tmp_path, {"text": entry()})
    found = content(tmp_path)
    assert found.keys() == {"format", "index_id", "collections"}
    assert (found["format"], found["collections"]) == (3, {"text": ENTRY})
    assert found["index_id"] == index_id_of(tmp_path)
    assert len(bytes.fromhex(found["index_id"])) == 16
    check_manifest(tmp_path, {"text": CARD}, None)
    (tmp_path / "other").mkdir()
    write_manifest(tmp_path / "other", {"text": entry()})
    assert index_id_of(tmp_path / "other") != index_id_of(tmp_path)


def test_id_stays_where_it_is_written_again_and_moves_with_the_store(tmp_path):
    store_of(tmp_path)
    write_manifest(tmp_path, {"text": entry()})
    switch_places(tmp_path, {"text": Place(**PLACE)})
    shutil.copytree(tmp_path, tmp_path / "moved")
    assert index_id_of(tmp_path / "moved") == ID


def test_digit_that_changed_is_noticed(tmp_path):
    write_manifest(tmp_path, {"text": entry()})
    file, index_id = tmp_path / "mmrag.json", index_id_of(tmp_path)
    file.write_text(file.read_text().replace(str(index_id), ID))
    with pytest.raises(StoreUnusable, match=r"mmrag\.json.*its checksum"):
        index_id_of(tmp_path)


@pytest.mark.parametrize(
    ("quantisation", "oversampling"),
    [(None, None), (Quantisation("int8", 3.0), 3.0), (Quantisation("float16"), None)],
)
def test_entry_is_what_the_collection_is(quantisation, oversampling, tmp_path):
    settings = {"dim": 4, "quantisation": quantisation, "distance": "dot"}
    with QdrantEdgeVectorStore.open(tmp_path / "composed", **settings) as store:
        found = entry_of(store, encoder=None, composition=Blend(0.25))
    assert found.model_dump(exclude={"alignment", "space"}) == ENTRY | {
        "encoder": None,
        "distance": "dot",
        "composition": "blend-v1(alpha=0.25)",
        "oversampling": oversampling,
        "words": None,
        "reader": None,
        "filter_fields": {},
        "folder": "composed",
    }


def test_switch_changes_what_it_names_and_keeps_what_it_does_not_know(tmp_path):
    image = ENTRY | {"folder": "image-1", "alignment": "a.npz", "space": "s", "by": 7}
    before = {
        "format": 3,
        "index_id": ID,
        "collections": {"text": ENTRY | {"map": [0.5]}, "image": image},
        "later": {"of": ["another", 1.5]},
    }
    written(tmp_path, **before)
    switch_places(tmp_path, {"text": Place(**PLACE)})
    text = ENTRY | {"map": [0.5]} | PLACE
    assert content(tmp_path) == before | {"collections": {"text": text, "image": image}}
    assert entries_in(tmp_path)["image"].alignment == "a.npz"


def test_card_does_not_change_when_the_collection_is_compressed(tmp_path):
    store_of(tmp_path)
    switch_places(tmp_path, {"text": Place(**PLACE)})
    check_manifest(tmp_path, {"text": CARD}, None)
    with pytest.raises(CollectionMismatch, match="was filled by"):
        check_manifest(tmp_path, {"text": CARD | {"space": "other"}}, None)


def test_collection_that_the_manifest_does_not_name_is_refused(tmp_path):
    written(tmp_path, format=3, index_id=ID, collections={})
    with pytest.raises(CollectionMismatch, match="text collection.*filled by None"):
        check_manifest(tmp_path, {"text": CARD}, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("vector", "other"), ("dim", 8), ("distance", "dot"), ("oversampling", 4.0)],
)
def test_collection_that_is_not_what_the_manifest_says_is_refused(
    field, value, tmp_path
):
    store_of(tmp_path, **{field: value})
    before = content(tmp_path)
    with pytest.raises(CollectionMismatch, match=f"text collection.*says.*{field}"):
        write_manifest(tmp_path, {"text": entry()})
    assert content(tmp_path) == before


def test_composition_is_remembered(tmp_path):
    composed = ENTRY | {"encoder": None, "composition": "blend-v1(alpha=0.25)"}
    written(tmp_path, format=3, index_id=ID, collections={"composed": composed})
    assert stored_composition(tmp_path) == Blend(0.25)
    check_manifest(tmp_path, {}, Blend(0.25))
    with pytest.raises(CollectionMismatch, match="composition"):
        check_manifest(tmp_path, {}, None)


@pytest.mark.parametrize(
    "name", ["", "..", ".", "../elsewhere", "/etc", "a/b", "a\\b", "C:a", "a\0b", 7]
)
@pytest.mark.parametrize("field", ["folder", "alignment"])
def test_name_that_leads_out_of_the_store_is_refused(name, field, tmp_path):
    store_of(tmp_path, **{field: name})
    before = content(tmp_path)
    with pytest.raises(StoreUnusable, match=rf"{field}.*(is no name|valid string)"):
        entries_in(tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("given", ["", "../x", "0" * 31, "0" * 33, "0" * 32 + "\n", 7])
def test_id_that_is_none_is_refused(given, tmp_path):
    written(tmp_path, format=3, index_id=given, collections={})
    with pytest.raises(StoreUnusable, match="index_id"):
        index_id_of(tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        *("", "{", "[]", "{}", '{"encoders": 3}', "\xff", '{"format": 3}'),
        f'{{"format": 3, "index_id": "{ID}", "collections": ["text"]}}',
        f'{{"format": 3, "index_id": "{ID}", "collections": {{"text": {{}}}}}}',
        f'{{"format": 3, "index_id": "{ID}", "collections": {{"text": 7}}}}',
    ],
)
def test_what_is_no_manifest_is_told(broken, tmp_path):
    (tmp_path / "mmrag.json").write_bytes(broken.encode("latin-1"))
    with pytest.raises(StoreUnusable, match=r"mmrag\.json"):
        check_manifest(tmp_path, {"text": CARD}, None)


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_lies_in_its_place_is_one_sentence(damage, tmp_path):
    store_of(tmp_path)
    damage(tmp_path / "mmrag.json")
    with (
        little_memory(),
        pytest.raises(StoreUnusable, match=r"mmrag\.json.*Restore the file"),
    ):
        check_manifest(tmp_path, {"text": CARD}, None)


@pytest.mark.parametrize("given", [True, "3", 3.5, None])
def test_format_that_is_no_number_is_told(given, tmp_path):
    written(tmp_path, format=given, index_id=ID, collections={})
    with pytest.raises(StoreUnusable, match="format: .*valid integer"):
        check_manifest(tmp_path, {"text": CARD}, None)


@pytest.mark.parametrize("other", [0, 1, 2, 4, 10**9])
def test_other_format_is_no_damage_and_makes_way_for_a_new_store(other, tmp_path):
    written(tmp_path, format=other, encoders="elsewhere")
    with pytest.raises(
        StoreUnusable, match=rf"format {other}; this.*mmrag index DIR --store NEW"
    ):
        check_manifest(tmp_path, {"text": CARD}, None)
    assert content(tmp_path) == {"format": other, "encoders": "elsewhere"}
