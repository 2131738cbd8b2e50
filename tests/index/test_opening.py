"""Where an index is opened, and what is said where it cannot be."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import Document, ImageNode
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.index.encoders import encoders_of
from llama_index_mmrag.nodes.node import modality_of
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.checking import check_store

from ..support.indexes import all_of, contents, inline, run_code, texts


@pytest.mark.parametrize(
    ("places", "named"),
    [
        ({}, "no place; expected exactly one"),
        ({"path": ""}, "path=''; expected a folder"),
        ({"url": ""}, "url=''; expected a folder"),
        ({"path": "", "url": "http://localhost:1"}, "path and url; expected exactly"),
        ({"path": "x", "url": "http://localhost:1"}, "path and url; expected exactly"),
    ],
)
def test_exactly_one_place_is_opened(places, named, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSetting, match=named):
        MultiModalQdrantIndex.open(**places, embed_model=encoder)
    assert list(tmp_path.iterdir()) == []


def test_servers_address_in_the_environment_is_named_and_not_read(encoder, monkeypatch):
    monkeypatch.setenv("QDRANT_URL", "http://localhost:1")
    with pytest.raises(InvalidSetting, match=r'url=os.environ\["QDRANT_URL"\]'):
        MultiModalQdrantIndex.open(embed_model=encoder)


@pytest.mark.parametrize(
    "address",
    [
        *("http://localhost:6333", "https://x.cloud:6333", "grpc://h:6334"),
        *("localhost:6333", "127.0.0.1:6333"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_address_is_no_folder_and_none_is_made(
    address, kind, encoder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSetting, match=r"expected a folder.* as url="):
        MultiModalQdrantIndex.open(kind(address), embed_model=encoder)
    with pytest.raises(InvalidSetting, match=r"expected a folder.*QdrantVectorStore"):
        QdrantEdgeVectorStore.open(kind(address), dim=2)
    assert list(tmp_path.iterdir()) == []


def test_client_that_is_falsy_is_a_client(encoder):
    class EmptyLooking(QdrantClient):
        def __len__(self) -> int:
            return 0

    client = EmptyLooking(":memory:")
    with MultiModalQdrantIndex.open(client=client, embed_model=encoder) as index:
        index.insert(Document(text="red"))
    assert client.count("mmrag-text").count == 1, "and a given client is not closed"
    client.close()


def test_server_that_does_not_answer_is_told_and_its_client_closed(
    encoder, monkeypatch
):
    closed, close = [], QdrantClient.close
    monkeypatch.setattr(
        QdrantClient, "close", lambda self, **_: (closed.append(1), close(self))
    )
    with pytest.raises(
        StoreUnusable, match="failed at the Qdrant server.*Check that it runs"
    ):
        MultiModalQdrantIndex.open(url="http://127.0.0.1:9", embed_model=encoder)
    assert closed


def test_reopened_index_finds_what_is_there(open_index, tmp_path, encoder):
    with open_index(path=tmp_path / "store") as index:
        index.insert([Document(text="red", id_="a"), Document(text="blue", id_="b")])
        before = contents(index)
    with open_index(path=tmp_path / "store") as index:
        assert contents(index) == before
        assert index.ref_doc_ids() == ["a", "b"]
        (hit, *_) = index.as_retriever().retrieve("red")
        assert hit.node.get_content() == "red"


@pytest.mark.parametrize("which", ["embed_model", "image_embed_model"])
def test_store_filled_by_another_encoder_is_refused(which, open_index, tmp_path):
    open_index(path=tmp_path / "store").close()
    with pytest.raises(CollectionMismatch, match=r"colour-v1-gap0\.75.*gap0\.5"):
        open_index(path=tmp_path / "store", **{which: ColourEncoder(modality_gap=0.5)})
    open_index(path=tmp_path / "store")


def test_encoder_without_pictures_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InvalidSetting, match="MockEmbedding.*as embed_model"):
        MultiModalQdrantIndex.open(
            tmp_path / "store", image_embed_model=MockEmbedding(embed_dim=3)
        )
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("old", ["text_embed_model", "early_fusion"])
def test_old_names_say_the_new_ones(old, open_index):
    new = {"text_embed_model": "image_embed_model", "early_fusion": "composition"}[old]
    with pytest.raises(InvalidSetting, match=f"open.. takes no '{old}'.*{new}"):
        open_index(**{old: None})


def test_encoder_of_settings_is_used_where_none_is_given(unset, tmp_path, encoder):
    unset.embed_model = encoder
    with MultiModalQdrantIndex.open(tmp_path / "store") as index:
        assert all(channel.embed_model is encoder for channel in index.channels)
    unset.embed_model = MockEmbedding(embed_dim=3)
    with MultiModalQdrantIndex.open(
        tmp_path / "other", image_embed_model=encoder
    ) as index:
        texts, pictures = index.channels
        assert (texts.embed_model, pictures.embed_model) == (unset.embed_model, encoder)


def test_none_of_settings_is_none(unset, encoder):
    unset.embed_model = None  # LlamaIndex makes a mock of it
    found = encoders_of(None, encoder)
    assert found.of == {"text": encoder, "image": encoder}
    assert encoders_of(None, None).whence["texts"] == "is the default"


def test_settings_are_not_read_where_nothing_was_set(unset):
    assert encoders_of(None, None).whence == dict.fromkeys(
        ("texts", "pictures"), "is the default"
    )
    assert unset._embed_model is None


def test_encoder_of_texts_alone_leaves_pictures_to_the_offline_one(unset, caplog):
    caplog.set_level("INFO")
    found = encoders_of(MockEmbedding(embed_dim=3), None)
    assert isinstance(found.of["image"], OfflineMultiModalEmbedding)
    assert "MockEmbedding encodes no pictures: the offline encoder does" in caplog.text


def test_mismatch_says_where_the_encoders_come_from(unset, open_index, tmp_path):
    open_index(path=tmp_path / "store").close()
    unset.embed_model = ColourEncoder(modality_gap=0.5)
    for given, whence in [
        (
            {},
            "of texts is Settings.embed_model and of pictures is Settings.em",
        ),
        (
            {"embed_model": ColourEncoder(), "image_embed_model": ColourEncoder()},
            "of texts is the argument embed_model and of pictures is the argument im",
        ),
    ]:
        with pytest.raises(CollectionMismatch, match=whence):
            MultiModalQdrantIndex.open(tmp_path / "store", **given)


def test_texts_may_have_an_encoder_of_their_own(open_index, encoder):
    class Longer(ColourEncoder):
        @property
        def dimension(self) -> int:
            return 5

        def _get_text_embedding(self, text: str) -> list[float]:
            return [*super()._get_text_embedding(text), 0.0]

    index = open_index(embed_model=Longer(), image_embed_model=encoder)
    index.insert([Document(text="red"), ImageNode(image=inline("red"))])
    stored = [[len(n.embedding) for n in all_of(c)] for c in index.channels]
    assert stored == [[5], [4]]
    hits = index.as_retriever().retrieve("red")
    assert {modality_of(hit.node) for hit in hits} == {"text", "image"}


def test_folder_in_use_is_refused_in_this_process(open_index, tmp_path):
    first = open_index(path=tmp_path / "store")
    with pytest.raises(StoreInUse, match="this process"):
        open_index(path=tmp_path / "store")
    first.insert(Document(text="red"))
    assert texts(first) == ["red"], "the first one works on"


def test_file_in_the_way_is_an_unusable_store(open_index, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreUnusable, match="file"):
            open_index(path=path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="users are told apart on POSIX")
def test_folder_of_somebody_else_is_an_unusable_store(tmp_path):
    code = """
import os, sys
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import StoreUnusable
if os.geteuid() == 0:
    os.setegid(65534); os.seteuid(65534)
for path in sys.argv[1:]:
    try:
        MultiModalQdrantIndex.open(path, embed_model=ColourEncoder())
    except StoreUnusable as error:
        print(error)
"""
    folders = [tmp_path / "not writable", tmp_path / "not readable"]
    for folder, mode in zip(folders, (0o555, 0o000), strict=True):
        folder.mkdir()
        folder.chmod(mode)
    tmp_path.chmod(0o755)
    said = run_code(code, folders[0] / "store", folders[1])
    for folder in folders:
        folder.chmod(0o755)
    first, second = said.splitlines()
    assert "not writable" in first
    assert "not readable" in second


def test_broken_manifest_is_told(open_index, tmp_path):
    open_index(path=tmp_path / "store").close()
    (tmp_path / "store" / "mmrag.json").write_text("{}")
    with pytest.raises(StoreUnusable, match="mmrag.json"):
        open_index(path=tmp_path / "store")


def test_manifest_that_is_gone_is_not_made_anew(open_index, tmp_path):
    open_index(path=tmp_path / "store").close()
    (tmp_path / "store" / "mmrag.json").unlink()
    with pytest.raises(StoreUnusable, match=r"mmrag\.json.*is gone.*mmrag repair"):
        open_index(path=tmp_path / "store")
    with pytest.raises(StoreUnusable, match=r"mmrag\.json.*it is gone"):
        check_store(tmp_path / "store")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("lose", [shutil.rmtree, empty])
@pytest.mark.parametrize("name", ["text", "image"])
def test_folder_that_the_manifest_names_is_not_made_anew(
    name, lose, open_index, tmp_path
):
    with open_index(path=tmp_path / "store") as index:
        index.insert([Document(text="red"), ImageNode(image=inline("red"))])
    lose(tmp_path / "store" / name)
    before = sorted((tmp_path / "store").rglob("*"))
    with pytest.raises(StoreUnusable, match=f"{name}.*which is (gone|empty)"):
        open_index(path=tmp_path / "store")
    assert sorted((tmp_path / "store").rglob("*")) == before


def test_missing_extra_names_the_command_that_installs_it(tmp_path):
    code = """
import shutil
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.errors import MissingExtra
try:
    MultiModalQdrantIndex.open(sys.argv[1])
except MissingExtra as error:
    print(error)
"""
    said = run_code(code, tmp_path / "store")
    assert said.count('pip install "llama-index-mmrag[offline]"') == 1, said
    assert not (tmp_path / "store").exists(), "and nothing was made"


@pytest.mark.parametrize(
    "modalities", [("text",), ("image",), ("text", "text", "image"), ()]
)
def test_index_needs_one_channel_for_each_modality(modalities, open_index):
    given = {c.name: c for c in open_index().channels}
    with pytest.raises(InvalidSetting, match="one for each modality"):
        MultiModalQdrantIndex([given[name] for name in modalities])


def test_folder_with_files_of_others_is_refused_and_left_as_it_was(tmp_path, encoder):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreUnusable, match=r"no store.*'thesis\.txt'"):
        MultiModalQdrantIndex.open(tmp_path, embed_model=encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_store_whose_first_opening_was_interrupted_is_opened(tmp_path, encoder):
    MultiModalQdrantIndex.open(tmp_path, embed_model=encoder).close()
    (tmp_path / "mmrag.json").rename(tmp_path / "mmrag.part")
    (tmp_path / "mmrag.copy.json").unlink()
    (tmp_path / "media.txt").unlink(missing_ok=True)
    (tmp_path / ".DS_Store").touch()
    with MultiModalQdrantIndex.open(tmp_path, embed_model=encoder) as index:
        assert index.insert(Document(text="red")).n_added == 1
