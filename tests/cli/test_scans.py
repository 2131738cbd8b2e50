"""Scans, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder

from ..support.command_line import refused, run
from ..support.scanned import GreyReader, scanned


@pytest.fixture
def docs(tmp_path) -> Path:
    """Return a folder with a scan of two pages."""
    return scanned(tmp_path / "docs" / "a.pdf", 10, 20).parent


@pytest.fixture(autouse=True)
def asked(monkeypatch) -> list[dict[str, Any]]:
    """Return what indexes are opened with, whose reader sees greys."""
    opened, asked = MultiModalQdrantIndex.open, []

    def in_grey(*places: Any, **how: Any) -> MultiModalQdrantIndex:
        asked.append(dict(how))
        how["embed_model"] = ColourEncoder(modality_gap=0.75)
        if how["read_scans"] is not None:
            how["read_scans"] = GreyReader(name=how["read_scans"])
        return opened(*places, **how)

    monkeypatch.setattr(MultiModalQdrantIndex, "open", in_grey)
    return asked


def test_scans_are_told_of_and_read_where_that_is_asked_for(docs, tmp_path):
    index = ("index", docs, "--store", tmp_path / "s")
    said = run(*index)
    assert said.exit_code == 0
    assert "2 pages of scans not read" in said.stdout
    assert "--read-scans tesseract" in said.stdout
    strict = run(*index, "--strict")
    assert strict.exit_code == 1
    assert "2 pages of scans not read" in strict.stderr
    assert "--read-scans tesseract" in strict.stderr
    read = run(*index, "--read-scans", "tesseract", "--strict", "--json")
    assert read.exit_code == 0
    report = json.loads(read.stdout)
    assert (report["pages_read"], report["pages_unread"]) == (2, 0)
    said = run(*index, "--read-scans", "rapidocr")
    refused(said, "was read by tesseract 1 (en); asked for, or installed, is rapidocr")
    anew = run(*index, "--read-scans", "rapidocr", "--reread", "scans")
    assert "2 pages of scans read (" in anew.stdout


def test_minutes_and_pictures_are_settings(docs, tmp_path, asked):
    index = ("index", docs, "--store", tmp_path / "s", "--read-scans", "rapidocr")
    options = ("--scan-minutes", "0.000001", "--page-pictures", "all")
    said = run(*index, *options)
    assert said.exit_code == 0
    settings = asked[-1]["settings"]
    assert (settings.scan_minutes, settings.page_pictures) == (1e-6, "all")
    assert "1 page of scans read (" in said.stdout
    assert "1 page of scans not read, about " in said.stdout
    refused(run(*index, "--scan-minutes", "0"), "scan_minutes is 0")
