"""The manifest: what is read is kept, and what is written is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.stores.manifest import (
    Place,
    check_manifest,
    places_in,
    switch_places,
    write_manifest,
)

from ..support.damage import DAMAGES, little_memory

CARD = {"class": "MockEmbedding", "space": "mock-ä"}
PLACE = {"folder": "text-0123456789ab", "alignment": None, "space": "mock"}


def written(root: Path, **content: Any) -> None:
    (root / "mmrag.json").write_text(json.dumps(content), encoding="utf-8")


def content(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "mmrag.json").read_text("utf-8"))
    return found


def test_new_store_has_the_first_format_and_nothing_else(tmp_path):
    write_manifest(tmp_path, {"text": CARD})
    plain = {"format": 1, "encoders": {"text": CARD}}
    as_text = (tmp_path / "mmrag.json").read_text(encoding="utf-8")
    assert as_text == json.dumps(plain, indent=2) + "\n"
    check_manifest(tmp_path, {"text": CARD})
    assert places_in(tmp_path) == {}


def test_switch_changes_what_it_names_and_keeps_what_it_does_not_know(tmp_path):
    known = {"folder": "image-1", "alignment": "alignment.npz", "space": "s", "by": 7}
    before = {
        "format": 2,
        "encoders": {"text": CARD, "image": CARD},
        "compressed": {"image": known},
        "later": {"of": ["another", 1.5]},
    }
    written(tmp_path, **before)
    switch_places(tmp_path, {"text": Place(**PLACE)})
    after = before | {"compressed": {"image": known, "text": PLACE}}
    assert content(tmp_path) == after
    assert places_in(tmp_path) == {"image": Place(**known), "text": Place(**PLACE)}


def test_first_switch_makes_the_second_format(tmp_path):
    write_manifest(tmp_path, {"text": CARD})
    switch_places(tmp_path, {"text": Place(**PLACE)})
    assert content(tmp_path) == {
        "format": 2,
        "encoders": {"text": CARD},
        "compressed": {"text": PLACE},
    }


@pytest.mark.parametrize("name", ["", "..", ".", "../elsewhere", "/etc", "a/b"])
@pytest.mark.parametrize("field", ["folder", "alignment"])
def test_name_that_leads_out_of_the_store_is_refused(name, field, tmp_path):
    place = PLACE | {field: name}
    written(tmp_path, format=2, encoders={}, compressed={"text": place})
    with pytest.raises(StoreUnusable, match=f"{field}.*is no name of a file"):
        places_in(tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        *("", "{", "[]", "{}", '{"encoders": 3}', '{"encoders": [1]}', "\xff"),
        '{"format": 1}',
        '{"format": 1, "encoders": ["text"]}',
        '{"format": 2, "encoders": {}, "compressed": {"text": {"folder": "a"}}}',
    ],
)
def test_what_is_no_manifest_is_told(broken, tmp_path):
    (tmp_path / "mmrag.json").write_bytes(broken.encode("latin-1"))
    with pytest.raises(StoreUnusable, match=r"mmrag\.json"):
        check_manifest(tmp_path, {"text": CARD})


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_lies_in_its_place_is_one_sentence(damage, tmp_path):
    written(tmp_path, format=1, encoders={})
    damage(tmp_path / "mmrag.json")
    with (
        little_memory(),
        pytest.raises(StoreUnusable, match=r"mmrag\.json.*Restore the file"),
    ):
        check_manifest(tmp_path, {"text": CARD})


def test_format_that_is_no_number_is_told(tmp_path):
    written(tmp_path, format=True, encoders={})
    with pytest.raises(StoreUnusable, match="format: .*valid integer"):
        check_manifest(tmp_path, {"text": CARD})


def test_format_of_a_later_version_is_no_damage(tmp_path):
    written(tmp_path, format=3, encoders="elsewhere")
    with pytest.raises(CollectionMismatch, match="format 3; this version reads 1"):
        check_manifest(tmp_path, {"text": CARD})
