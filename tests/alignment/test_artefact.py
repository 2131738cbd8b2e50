"""Saved alignments: bit-exact round trip, no pickle, other files refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama_index_mmrag.alignment import (
    PCA,
    Alignment,
    Center,
    Chain,
    Columns,
    Mix,
    Normalize,
    Perceptron,
    Project,
    Truncate,
)
from llama_index_mmrag.errors import InvalidSetting

from ..support.damage import DAMAGES, little_memory

RNG = np.random.default_rng(1)


def drawn(*shapes: int | tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.normal(size=shape) for shape in shapes]


PARTS = (
    Columns(0, 2),
    Perceptron(*drawn((4, 3), 4, (2, 4), 2)),
    Project(*drawn((2, 3), 2)),
)
HEAD = Chain(
    (
        Mix(PARTS, (1.0, 0.1, 1 / 3)),
        PCA(*drawn(2), [[1.0, 0.0], [0.0, 1.0]]),
        Truncate(2),
    )
)


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "heads.npz"
    fitted().save(path)
    return path


def fitted(**changes) -> Alignment:
    known = {
        "text": Chain((Center([0.1, 0.2]), Normalize())),
        "image": HEAD,
        "fitted_on": "12 made-up pairs",
        "text_space": "texts-v1",
        "image_space": "pictures-v1",
        "figures": {"recall_at_10": 0.5},
    }
    return Alignment(**{**known, **changes})


def test_loaded_equals_saved_to_the_bit(saved):
    loaded, original = Alignment.load(saved), fitted()
    rows = RNG.normal(size=(5, 3))
    assert loaded.image == original.image
    assert loaded.text == original.text
    assert loaded.query is None
    np.testing.assert_array_equal(loaded.image.apply(rows), HEAD.apply(rows))
    assert loaded == original


def test_query_transform_is_kept(tmp_path):
    query = Chain((Center([9.0, 9.0]), Normalize()))
    fitted(query=query).save(tmp_path / "three.npz")
    assert Alignment.load(tmp_path / "three.npz").query == query


def test_card_says_what_it_was_fitted_on(saved):
    card = json.loads(saved.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["fitted_on"] == "12 made-up pairs"
    assert card["dim"] == 2
    assert card["figures"] == {"recall_at_10": 0.5}
    assert card["date"] == fitted().date
    assert card["sha256"]["image"] == HEAD.sha


def test_nothing_else_is_left_in_the_folder(saved):
    assert sorted(p.name for p in saved.parent.iterdir()) == ["heads.json", "heads.npz"]


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        (np.float32([0.1 + 1e-3, 0.2]), "not those that its card describes"),
        (np.zeros(3, dtype=np.float32), r"shape \(3,\), not \[2\]"),
        (np.array([{"a": 1}, None], dtype=object), "allow_pickle"),
    ],
    ids=["of another alignment", "of another shape", "pickled"],
)
def test_other_arrays_are_refused(saved, mean, said):
    np.savez(saved, **{**np.load(saved), "text.steps.0.mean": mean})
    with pytest.raises(InvalidSetting, match=said):
        Alignment.load(saved)


@pytest.mark.parametrize(
    "card",
    [
        "{",
        "[]",
        '{"format": "something else"}',
        '{"format": "llama-index-mmrag alignment 1"}',
        '{"format": "llama-index-mmrag alignment 1", "transforms": {"text": '
        '{"kind": "no such kind"}}}',
        '{"format": "llama-index-mmrag alignment 1", "transforms": []}',
    ],
)
def test_card_that_is_none_is_refused(saved, card):
    saved.with_suffix(".json").write_text(card, encoding="utf-8")
    with pytest.raises(InvalidSetting, match="Expected what Alignment.save writes"):
        Alignment.load(saved)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_damaged_arrays_are_refused(saved, content):
    saved.write_bytes(content)
    with pytest.raises(InvalidSetting, match="cannot be used"):
        Alignment.load(saved)


@pytest.mark.parametrize(("place", "value"), [(8, 1), (8, 32), (10, 99)])
def test_bit_that_flipped_in_the_archives_directory_is_damage(saved, place, value):
    # zipfile then asks for a password, or for another compression.
    content = bytearray(saved.read_bytes())
    content[content.index(b"PK\x01\x02") + place] |= value
    saved.write_bytes(content)
    with pytest.raises(InvalidSetting, match="cannot be used"):
        Alignment.load(saved)


def repacked(saved: Path, **arrays: Any) -> None:
    np.savez_compressed(saved, **{**np.load(saved), **arrays})


def of_terabytes(saved: Path) -> None:
    header = BytesIO()
    kind = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(header, kind)
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("more.npy", header.getvalue() + bytes(8))


def with_a_header_of(content: str) -> Callable[[Path], None]:
    def damage(saved: Path) -> None:
        text = content.encode()
        size = len(text).to_bytes(2, "little")
        with zipfile.ZipFile(saved, "a") as archive:
            archive.writestr("more.npy", b"\x93NUMPY\x01\x00" + size + text)

    return damage


@pytest.mark.parametrize(
    ("bomb", "said"),
    [
        (lambda saved: repacked(saved, more=np.zeros(300_000_000 // 4)), "would take"),
        (of_terabytes, "is said to have 4,398,046,511,"),
        (with_a_header_of("(" * 3000), "header cannot be read"),
        (with_a_header_of("-" * 3000 + "1"), "header cannot be read"),
        (with_a_header_of("{'descr': '<f4'"), "header cannot be read"),
    ],
    ids=["zip bomb", "terabytes", "nested", "signs", "cut"],
)
def test_sizes_are_read_before_arrays(saved, bomb, said):
    bomb(saved)
    with little_memory(), pytest.raises(InvalidSetting, match=said):
        Alignment.load(saved)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_whatever_lies_in_the_place_of_a_file_is_one_sentence(suffix, damage, saved):
    damage(saved.with_suffix(suffix))
    with little_memory(), pytest.raises(InvalidSetting, match="cannot be used"):
        Alignment.load(saved)


def test_missing_files_are_named(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="nothing"):
        Alignment.load(tmp_path / "nothing.npz")
    with pytest.raises(InvalidSetting, match=r"end in '\.npz'"):
        Alignment.load(tmp_path / "heads.pkl")


def test_other_encoders_are_refused():
    fitted().check_encoders(text_space="texts-v1", image_space="pictures-v1")
    with pytest.raises(InvalidSetting, match="image encoder's space is 'texts-v1'"):
        fitted().check_encoders(text_space="texts-v1", image_space="texts-v1")
