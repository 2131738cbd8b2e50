"""`mmrag check` and `mmrag repair`: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llama_index_mmrag.cli import repair as repair_command

from ..compression.test_live import Seeing, documents, opened
from ..support.command_line import refused, run
from ..support.damage import zero_the_vectors


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with opened(tmp_path / "store") as index:
        index.insert(documents(20))
    monkeypatch.setattr(repair_command, "chosen_encoder", lambda *_: Seeing())
    return tmp_path / "store"


def test_whole_store(store: Path) -> None:
    done = run("check", "--store", store)
    assert done.exit_code == 0
    assert "text: 20 points; all files compared." in done.stdout
    assert "No damage was found." in done.stdout
    said = json.loads(run("check", "-s", store, "--json").stdout)
    assert said == {
        "n_points": {"text": 20, "image": 0}, "damaged": {}, "unrecorded": []
    }  # fmt: skip
    refused(run("repair", "--store", store), "is not damaged")


def test_damaged_store_is_told_repaired_and_whole(store: Path) -> None:
    zero_the_vectors(store / "text")
    done = run("check", "--store", store)
    assert done.exit_code == 1
    assert "Damaged: text: shard-" in done.stderr
    assert "chunk_0.mmap: other content than when it was closed" in done.stderr
    done = run("repair", "--store", store)
    assert done.exit_code == 0
    assert "text: 20 points copied, 0 encoded anew, 0 lost." in done.stdout
    assert "Kept: text.damaged" in done.stdout
    assert run("check", "--store", store).exit_code == 0


@pytest.mark.parametrize("command", ["check", "repair"])
def test_folder_without_a_store_is_refused(command: str, tmp_path: Path) -> None:
    refused(run(command, "--store", tmp_path), "There is no store in")
