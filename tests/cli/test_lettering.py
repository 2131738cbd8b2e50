"""Pictures that are read, by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder

from ..support.command_line import refused, run
from ..support.lettering import ColourReader


@pytest.fixture
def docs(tmp_path) -> Path:
    """Return a folder with two pictures."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for colour in ("red", "blue"):
        Image.new("RGB", (32, 32), colour).save(folder / f"{colour}.png")
    return folder


@pytest.fixture(autouse=True)
def asked(monkeypatch) -> list[dict[str, Any]]:
    """Return what indexes are opened with, whose encoder and reader see colours."""
    opened, asked = MultiModalQdrantIndex.open, []

    def in_colours(*places: Any, **how: Any) -> MultiModalQdrantIndex:
        asked.append(dict(how))
        how["embed_model"] = ColourEncoder(modality_gap=0.75)
        if how["read_pictures"] is not None:
            how["read_pictures"] = ColourReader(name=how["read_pictures"])
        return opened(*places, **how)

    monkeypatch.setattr(MultiModalQdrantIndex, "open", in_colours)
    return asked


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), None),
        (("--read-pictures",), "rapidocr"),
        (("--read-pictures", "rapidocr"), "rapidocr"),
        (("--read-pictures", "tesseract"), "tesseract"),
        (("--read-pictures=tesseract",), "tesseract"),
    ],
)
def test_engine_may_be_named(options, name, docs, tmp_path, asked):
    for before in (True, False):
        given = (*options, docs) if before else (docs, *options)
        said = run("index", "--store", tmp_path / str(before), *given)
        assert (said.exit_code, said.stderr) == (0, "")
        n_nodes = 2 if name is None else 4
        assert f"{n_nodes} nodes added" in said.stdout
        assert asked.pop()["read_pictures"] == name


def test_advice_is_given_once(docs, tmp_path):
    index = ("index", docs, "--store", tmp_path / "s")
    said = run(*index).stdout.replace("\n", " ")
    assert "2 pictures may have lettering" in said
    assert "--read-pictures" in said
    assert "about 1 min" in said
    assert "lettering" not in run(*index).stdout
    as_json = run("index", docs, "--store", tmp_path / "t", "--json")
    assert "lettering" not in as_json.stdout
    read = run("index", docs, "--store", tmp_path / "u", "--read-pictures")
    assert "lettering" not in read.stdout


def test_another_engine_is_refused_or_reads_all_anew(docs, tmp_path):
    index = ("index", docs, "--store", tmp_path / "s", "--read-pictures")
    assert run(*index).exit_code == 0
    said = run(*index, "tesseract")
    refused(said, "was read by rapidocr 1 (en); asked for, or installed, is tesseract")
    assert "--encoder" not in said.stderr
    anew = run(*index, "tesseract", "--reread", "lettering")
    assert anew.exit_code == 0
    assert run("index", docs, "--store", tmp_path / "s").exit_code == 0
    nothing = run("index", docs, "--store", tmp_path / "t", "--reread", "lettering")
    refused(nothing, "--read-pictures")


@pytest.mark.parametrize("reread", [(), ("--reread", "lettering")])
def test_pictures_whose_files_are_not_there_are_told_of(docs, tmp_path, reread):
    other, store = tmp_path / "other", ("--store", tmp_path / "s")
    other.mkdir()
    read = ("--read-pictures",)
    assert run("index", docs, *store, *(read if reread else ())).exit_code == 0
    docs.rename(tmp_path / "away")
    said = run("index", other, *store, *read, *reread)
    assert "2 parts left out" in said.stdout
    told = said.stderr.replace("\n", " ")
    for name in ("red.png", "blue.png"):
        assert told.count(f"{docs / name}: Its lettering was not read") == 1
    assert "left out" not in run("index", other, *store).stdout
    (tmp_path / "away").rename(docs)
    assert "2 nodes added" in run("index", docs, *store, *read).stdout
