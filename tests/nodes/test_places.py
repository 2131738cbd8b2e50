"""Paths below roots: named by the root, and spelled as the disk has them."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from llama_index.core.schema import ImageNode, TextNode

from llama_index_mmrag.nodes.places import here, named, place, placed, stored

PLACES = {"docs": "/mnt/docs", "media": "/mnt/docs/store/media", "all": ""}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/mnt/docs/a.png", "docs/a.png"),
        ("/mnt/docs/store/media/a.png", "media/a.png"),
        ("/mnt/docs2/a.png", "all/mnt/docs2/a.png"),
        ("/mnt/docs", "all/mnt/docs"),
        ("/mnt/docs/" + normalize("NFD", "ü.md"), "docs/ü.md"),
        ("mnt/docs/a.png", None),
        ("", None),
    ],
)
def test_path_is_named_by_the_innermost_root_that_holds_it(path, expected):
    assert named(path, PLACES) == expected


def test_other_spellings_are_found_on_the_disk(tmp_path):
    # composed, decomposed, and neither: a Vietnamese e with two marks
    names = ["ü", normalize("NFD", "ö"), "\u1eb9\u0302"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text("red")
    for name in names:
        found = here(tmp_path.as_posix(), f"{normalize('NFC', name)}/a.md")
        assert found == (tmp_path / name / "a.md").as_posix()
    assert here(tmp_path.as_posix(), "ä/a.md") == (tmp_path / "ä" / "a.md").as_posix()
    assert here("/mnt/docs", "../static/a.png") == "/mnt/static/a.png"


def test_what_is_stored_and_placed_again_is_as_it_was():
    metadata = {"root": "docs", "file_path": "/mnt/docs/a.md", "n": 1}
    text = TextNode(text="a", metadata=metadata)
    image = ImageNode(
        text="b",
        image_path="/mnt/docs/pix/b.png",
        metadata={**metadata, "image_file": "docs/pix/b.png"},
    )
    nodes = [text, image, TextNode(text="c", metadata={"root": ["x"], "file_path": 3})]
    before = [node.model_copy(deep=True) for node in nodes]
    kept = stored(nodes, PLACES)
    assert [n.metadata.get("file_path") for n in kept] == ["a.md", "a.md", 3]
    assert kept[1].image_path == "pix/b.png"
    assert stored(kept, PLACES) == kept, "what is relative stays so"
    assert placed(kept, {"other": "/x"}) == kept, "the root is not known"
    copies = placed(kept, PLACES)
    assert nodes == before == copies
    assert kept[1].image_path == "pix/b.png"
    assert place(kept, PLACES) == before
    assert kept[1].image_path == "/mnt/docs/pix/b.png"
