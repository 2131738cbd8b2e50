"""`mmrag compress`: what it prints, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from llama_index_mmrag import MultiModalQdrantIndex, compression

from ..compression.test_live import FILES, Seeing, best, documents, opened
from ..support import command_line
from ..support.command_line import refused


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with opened(tmp_path / "store") as index:
        index.insert(documents(160))
    open_with = MultiModalQdrantIndex.open

    def with_its_encoder(*places: Any, **settings: Any) -> MultiModalQdrantIndex:
        return open_with(*places, **(settings | {"embed_model": Seeing()}))

    monkeypatch.setattr(MultiModalQdrantIndex, "open", with_its_encoder)
    # A shorter list than the default: clustering for product codes takes seconds.
    few = partial(compression.Candidates, quantisations=("int8", "turbo1"))
    monkeypatch.setattr(compression, "Candidates", few)
    return tmp_path / "store"


def run(*arguments: object) -> Result:
    return command_line.run("compress", *arguments)


def test_table_says_what_is_picked_and_nothing_is_changed(store: Path) -> None:
    before = (store / "mmrag.json").read_bytes()
    done = run("--store", store, "--min-recall", "0.5")
    assert done.exit_code == 0
    assert "text: 160 vectors; queries: 80 stored vectors" in done.stdout
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert sum(line.endswith(" picked") for line in lines) == 1
    assert "Picked " in done.stdout
    assert "bytes a vector" in done.stdout
    assert "Nothing was changed; --apply switches" in done.stdout
    assert "The image collection stays as it is: Got 0 vectors" in done.stderr
    assert (store / "mmrag.json").read_bytes() == before


def test_apply_switches_and_the_store_opens_as_before(store: Path) -> None:
    done = run("--store", store, "--min-recall", "0.5", "--apply", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["switched"] == ["text"]
    assert list(said["refused"]) == ["image"]
    chosen = said["collections"]["text"]["chosen"]
    assert chosen in [row["name"] for row in said["collections"]["text"]["rows"]]
    with MultiModalQdrantIndex.open(store) as index:
        assert best(index, "document 7") == "document 7"


def test_promise_that_nothing_keeps_ends_with_one_and_a_sentence(store: Path) -> None:
    done = run("--store", store, "--min-recall", "1", "--apply")
    assert done.exit_code == 1
    assert "misses" in done.stdout
    told = " ".join(done.stderr.split())
    assert "The text collection stays as it is: No setting that saves memory" in told
    assert sorted(p.name for p in store.iterdir()) == FILES


def test_questions_are_read_from_a_file(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(f"question {i}\n" for i in range(60)), encoding="utf-8")
    done = run("--store", store, "--min-recall", "0.4", "--queries", file)
    assert done.exit_code == 0
    assert "queries: 60 given" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--min-recall 1.5", "min_recall is 1.5"),
        ("--smallest cheap", "'cheap' is not one of 'memory', 'disk'"),
        ("--queries nowhere.txt", "nowhere.txt"),
        ("--queries latin1.txt", "'latin1.txt' is not UTF-8"),
        ("--seed -1", "'--seed'"),
        ("--store none", "There is no store"),
    ],
)
def test_wrong_use_ends_with_two_and_a_sentence(
    store, arguments, said, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin1.txt").write_bytes("où est le chat ?\n".encode("latin-1") * 30)
    refused(run("--store", store, *arguments.split()), said)
