"""Bad input is reported by name, and the rest goes in."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import Document, ImageNode, TextNode
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.errors import InvalidSetting

from ..support.indexes import COLOURS, all_of, inline, painted, pictures, texts


def jpeg(mode: str = "RGB", side: int = 64, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new(mode, (side, side)).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    buffer = BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_folder_of_good_and_bad_files_gives_the_good_and_names_the_bad(
    open_index, tmp_path
):
    folder = tmp_path / "docs"
    painted(folder, "red", name="good.png")
    Image.new("CMYK", (8, 8)).save(folder / "cmyk.jpg")
    Image.new("P", (8, 8)).save(folder / "palette.png")
    Image.new("I;16", (8, 8), 40_000).save(folder / "deep.png")
    Image.new("RGB", (8, 8)).save(
        folder / "animated.gif", save_all=True, append_images=[Image.new("L", (8, 8))]
    )
    (folder / "good.txt").write_text("green")
    bad = {
        "zero.png": b"",
        "no picture.png": b"hello",
        "truncated.jpg": jpeg()[:-40],
        "truncated.png": (folder / "good.png").read_bytes()[:-20],
        "huge.png": huge_png(),
        "latin.txt": "Käse".encode("latin-1"),
        "binary.txt": b"a\0b",
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "to nothing.md").symlink_to(folder / "nothing.md")
    with open_index() as index:
        report = index.insert_directory(folder)
        assert sorted(Path(p.source).name for p in report.problems) == sorted(
            [*bad, "to nothing.md"]
        )
        assert all(p.reason.endswith(".") for p in report.problems)
        good = ["animated.gif", "cmyk.jpg", "deep.png", "good.png", "palette.png"]
        assert pictures(index) == good
        assert texts(index) == ["green"]
        assert report.n_added == 6


def test_bad_items_are_reported_and_the_rest_goes_in(open_index, tmp_path):
    index = open_index()
    report = index.insert(
        [
            Document(text="red", id_="good"),
            Document(text="x", id_="nan", metadata={"price": float("nan")}),
            Document(text="half \ud800 character", id_="surrogate"),
            ImageNode(image_path=str(tmp_path / "none.png"), id_="missing"),
            ImageNode(image="no base64!", id_="encoded"),
            ImageNode(image_url="http://localhost/a.png", id_="url"),
            TextNode(text="film", id_="film", metadata={"modality": "video"}),
            "no document",
            TextNode(text="blue", id_="also good"),
        ]
    )
    assert texts(index) == ["blue", "red"]
    assert [problem.source for problem in report.problems] == [
        "nan",
        "surrogate",
        "missing",
        "encoded",
        "url",
        "'no document'",
        "film",
    ]
    assert "channels for ['image', 'text']" in report.problems[-1].reason
    assert (report.n_added, report.ref_doc_ids[:1]) == (2, ["good"])


def test_text_declared_a_picture_goes_in_beside_real_pictures(open_index):
    index = open_index()
    said = TextNode(text="red", metadata={"modality": "image"})
    report = index.insert([said, *(ImageNode(image=inline(c)) for c in COLOURS)])
    assert (report.n_added, report.problems) == (7, [])
    assert len(all_of(index.channels[1])) == 7


def test_catalogue_without_a_name_is_refused(tmp_path):
    with pytest.raises(InvalidSetting, match="catalogue=''; expected a file's name"):
        MultiModalQdrantIndex.open(tmp_path / "store", catalogue="")
    assert not (tmp_path / "store").exists()
