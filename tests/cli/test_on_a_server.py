"""The commands over `--url`, against Qdrant's local mode behind HTTP."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.schema import Document
from PIL import Image
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.cli.place import Place
from llama_index_mmrag.embeddings.colour import ColourEncoder

from ..support import command_line
from ..support.command_line import Run, refused
from ..support.loopback import KEY
from ..support.qdrant_over_http import READ_ONLY, qdrant

pytestmark = [
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure"),
    pytest.mark.filterwarnings("ignore:Batch upload failed"),
]
COMMANDS = ("index", "search", "ask", "check", "repair", "diagnose", "compress")


@pytest.fixture
def run(monkeypatch, tmp_path) -> Run:
    """Return `command_line.run`, with the small encoder and a catalogue in a file."""
    opened = MultiModalQdrantIndex.open

    def in_colours(*places: Any, **settings: Any) -> MultiModalQdrantIndex:
        settings["embed_model"] = ColourEncoder(modality_gap=0.75)
        settings["catalogue"] = tmp_path / "catalogue.sqlite"
        return opened(*places, **settings)

    monkeypatch.setattr(MultiModalQdrantIndex, "open", in_colours)
    for name in ("QDRANT_API_KEY", "QDRANT_URL"):
        monkeypatch.delenv(name, raising=False)
    return command_line.run


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "grass.md").write_text("# Grass\n\ngreen grass\n\n![red](apple.png)\n")
    Image.new("RGB", (16, 16), "red").save(folder / "apple.png")
    return folder


@pytest.fixture
def url() -> Iterator[str]:
    with qdrant(KEY, READ_ONLY) as address:
        yield address


def test_folder_goes_to_a_server_and_is_searched_there(run, docs, url, monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    at = ("--url", url, "--timeout", "5")
    indexed = run("index", docs, *at)
    assert indexed.exit_code == 0, indexed.output
    assert "2 nodes added" in indexed.stdout
    assert "2 unchanged" in run("index", docs, "--refresh", *at).stdout
    monkeypatch.setenv("QDRANT_API_KEY", READ_ONLY)
    found = json.loads(run("search", "red", *at, "--json").stdout)
    assert len(found) == 2
    assert run("ask", "green", *at).exit_code == 0
    checked = run("check", *at)
    assert checked.exit_code == 0
    assert "text: 1 points; counted by the server." in checked.stdout
    assert "image: 1 points" in checked.stdout
    assert run("diagnose", *at).exit_code == 0
    (docs / "sky.md").write_text("blue sky")
    refused(run("index", docs, *at), "403 Forbidden")


def test_key_may_be_an_option_and_is_never_shown(run, docs, url):
    at = ("--url", url, "--collection", "text=docs", "--collection", "image=photos")
    done = [
        run("index", docs, *at, "--api-key", KEY, "--composition", "blend"),
        run("search", "red", *at, "--api-key", KEY, "--search", "composed"),
        run("index", docs, *at, "--api-key", KEY, "--composition", "concat"),
        run("search", "red", *at, "--api-key", f"{KEY}\n"),
        run("search", "red", *at, "--api-key", "wrong-one"),
    ]
    assert [one.exit_code for one in done] == [0, 0, 2, 2, 2]
    assert "was made for Blend(alpha=0.5)" in done[2].stderr
    assert "api_key is empty, or has a character" in done[3].stderr
    assert "401 Invalid API key" in " ".join(done[4].stderr.split())
    assert not any(KEY in one.output or "wrong-one" in one.output for one in done)
    assert KEY not in repr(Place(url=url, api_key=KEY))
    client = QdrantClient(url, api_key=KEY, check_compatibility=False)
    names = {one.name for one in client.get_collections().collections}
    assert names == {"docs", "photos", "docs-composed"}
    client.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_server_without_that_index_is_told_and_nothing_is_made(command, run, docs, url):
    at = ("--url", url, "--collection", "none", "--api-key", KEY)
    if command == "index":
        refused(run("index", docs / "none", *at), "There is no file or folder")
    elif command == "repair":
        refused(run("repair", *at), "repair is for a folder")
    else:
        words = ("red",) if command in {"search", "ask"} else ()
        refused(run(command, *words, *at), "There is no collection 'none-text' on the")
    client = QdrantClient(url, api_key=KEY, check_compatibility=False)
    assert client.get_collections().collections == []
    client.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_one_place_is_given_and_what_is_for_it(command, run, docs, monkeypatch):
    words = (docs,) if command == "index" else ()
    nowhere = "Give either" if command == "diagnose" else "exactly one of --store"
    refused(run(command, *words), nowhere)
    refused(run(command, *words, "--store", "s", "--url", "u"), "exactly one of --sto")
    for option in (("--api-key", KEY), ("--collection", "c"), ("--timeout", "3")):
        refused(run(command, *words, "--store", "s", *option), f"{option[0]} is for a")
    refused(run(command, *words, "--store", "s", "--grpc"), "--grpc is for a server")
    refused(run(command, *words, "--store", "http://h:1"), "given as --url http://h:1")
    refused(run(command, *words, "--grpc"), "exactly one of --store")
    twice = ("--collection", "text=a", "--collection", "text=b")
    said = "is for a folder" if command == "repair" else "text=a and text=b"
    refused(run(command, *words, "--url", "http://h:1", *twice), said)


def test_key_of_the_environment_is_for_servers_alone(run, docs, tmp_path, monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    assert run("index", docs, "--store", tmp_path / "store").exit_code == 0


def test_server_that_is_not_there_is_a_sentence(run, docs):
    for words in (("index", docs), ("search", "red"), ("check",), ("compress",)):
        ended = run(*words, "--url", "http://127.0.0.1:9")
        refused(ended, "failed at the Qdrant server http://127.0.0.1:9")


def test_compression_is_measured_and_not_applied(run, url, tmp_path):
    at = ("--url", url, "--api-key", KEY)
    with MultiModalQdrantIndex.open(url=url, api_key=KEY) as index:
        index.insert([Document(text=f"red {n}") for n in range(120)])
    done = run("compress", *at, "--min-recall", "0.2", "--top-k", "3")
    assert "text: 120 vectors; queries: 60 stored vectors" in done.stdout, done.output
    assert "The image collection stays as it is: Got 0 vectors" in done.stderr
    refused(run("compress", *at, "--apply"), "apply switches the collections of a f")
    client = QdrantClient(url, api_key=KEY, check_compatibility=False)
    assert len(client.get_collections().collections) == 2
    client.close()


def test_commands_over_a_real_server(run, docs, monkeypatch):
    url, key = os.environ.get("QDRANT_URL"), os.environ.get("QDRANT_API_KEY", "")
    if not url:
        pytest.skip("QDRANT_URL names no server")
    name = f"test-{uuid.uuid4().hex}"
    at = ("--url", url, "--collection", name, *(("--api-key", key) if key else ()))
    try:
        for grpc in ((), ("--grpc",)):
            assert run("index", docs, *at, *grpc).exit_code == 0
            assert run("search", "red", *at, *grpc).exit_code == 0
            assert run("check", *at, *grpc).exit_code == 0
    finally:
        client = QdrantClient(url, api_key=key or None, check_compatibility=False)
        for modality in ("text", "image"):
            client.delete_collection(f"{name}-{modality}")
        client.close()
