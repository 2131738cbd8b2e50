"""An index that is compressed while it is in use: the same nodes, fewer bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import Document, ImageNode
from PIL import Image

from llama_index_mmrag import Blend, Concatenate, MultiModalQdrantIndex
from llama_index_mmrag.alignment import Chain
from llama_index_mmrag.compression import Candidates, CompressSettings
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreClosed,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.manifest import Place, places_in, switch_places
from llama_index_mmrag.stores.quantisation import Quantisation

N = 240
PCA_INT8 = CompressSettings(
    min_recall=0.7,
    candidates=Candidates(
        reductions=("pca",), dims=(16,), quantisations=("int8",), oversamplings=(2.0,)
    ),
)
INT8 = CompressSettings(
    min_recall=0.7, candidates=Candidates(reductions=(), quantisations=("int8",))
)

PCA_AGAIN = CompressSettings(
    min_recall=0.5,
    smallest="disk",
    candidates=Candidates(
        reductions=("pca",), dims=(12,), quantisations=("int8",), oversamplings=(2.0,)
    ),
)
QUERIES = [f"document {i}" for i in range(40)]


class Hashed(BaseEmbedding):
    """32 numbers from 12 that a text's hash decides."""

    model_name: str = "hashed-32"

    @classmethod
    def class_name(cls) -> str:
        return "Hashed"

    def _get_text_embedding(self, text: str) -> list[float]:
        seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        spread = np.random.default_rng(9).normal(size=(32, 12))
        row = spread @ np.random.default_rng(seed).normal(size=12)
        unit: list[float] = (row / np.linalg.norm(row)).tolist()
        return unit

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class Seeing(Hashed, MultiModalEmbedding):
    """The same for pictures, by their paths."""

    @classmethod
    def class_name(cls) -> str:
        return "Seeing"

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_text_embedding(str(img_file_path))

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)


def documents(n: int = N) -> list[Document]:
    return [
        Document(
            text=f"document {i}",
            id_=f"d{i}",
            metadata={"odd": i % 2},
            excluded_embed_metadata_keys=["odd"],
        )
        for i in range(n)
    ]


def opened(root: Path, **encoders: Any) -> MultiModalQdrantIndex:
    encoders.setdefault("embed_model", Seeing())
    return MultiModalQdrantIndex.open(root, **encoders)


def best(index: MultiModalQdrantIndex, query: str) -> str:
    (hit, *_) = index.as_retriever(top_k=1).retrieve(query)
    return str(hit.node.get_content())


def stored(index: MultiModalQdrantIndex) -> dict[str, Any]:
    """Return all nodes of the text collection, without their vectors."""
    nodes = index.channels[0].vector_store.get_nodes()
    return {
        node.node_id: node.model_copy(update={"embedding": None}).to_dict()
        for node in nodes
    }


@pytest.fixture
def root(tmp_path) -> Path:
    with opened(tmp_path / "store") as index:
        index.insert(documents())
    return tmp_path / "store"


@pytest.fixture
def compressed(root) -> Path:
    with opened(root) as index:
        done = index.compress(PCA_INT8, apply=True)
    assert done.switched == ("text",)
    return root


def test_measuring_changes_nothing(root):
    before = (root / "mmrag.json").read_text(encoding="utf-8")
    with opened(root) as index:
        done = index.compress(PCA_INT8)
        chosen = done.reports["text"].chosen
        assert chosen is not None
        assert chosen.name == "PCA 16, int8 x2"
        assert done.switched == ()
        assert "Got 0 vectors" in done.refused["image"]
        index.insert(Document(text="more"))
    assert (root / "mmrag.json").read_text(encoding="utf-8") == before
    assert sorted(p.name for p in root.iterdir()) == ["image", "mmrag.json", "text"]


def test_reopened_it_has_the_same_nodes_in_fewer_bytes(root):
    with opened(root) as index:
        before = stored(index)
        index.compress(PCA_INT8, apply=True)
    with opened(root) as index:
        assert stored(index) == before
        assert best(index, "document 7") == "document 7"
        store = index.channels[0].vector_store
        assert (store.dim, store.quantisation) == (16, Quantisation("int8", 2.0))
        assert store.client.indexed_vectors() == N, "the codes are made"
        assert store.client.indexes["doc_id"] == "keyword"


def test_reader_goes_on_with_the_old_one_and_cannot_write_to_it(root):
    with opened(root) as index:
        retriever = index.as_retriever(top_k=1)
        index.compress(PCA_INT8, apply=True)
        assert retriever.retrieve("document 7")[0].node.get_content() == "document 7"
        with pytest.raises(StoreClosed, match="was replaced by.*Open the index again"):
            index.insert(Document(text="lost?"))
        assert index.channels[0].vector_store.count() == N
        with opened(root.parent / "other") as other:
            other.insert(Document(text="elsewhere"))
    with opened(root) as index:
        index.insert(Document(text="not lost"))
        assert best(index, "not lost") == "not lost"
    assert not (root / "text").exists(), "the old one is removed once it is closed"


def test_inserting_goes_through_the_same_transform_and_encodes_only_what_is_new(
    compressed,
):
    with opened(compressed) as index:
        report = index.insert(documents(N + 2))
        assert (report.n_added, report.n_unchanged) == (2, N)
        assert best(index, f"document {N + 1}") == f"document {N + 1}"
        (node,) = index.channels[0].vector_store.get_nodes(
            node_ids=[
                n for n, d in stored(index).items() if d["text"] == f"document {N + 1}"
            ]
        )
        wanted = index.channels[0].embed_model.get_text_embedding(node.get_content())
        np.testing.assert_allclose(node.embedding, wanted, atol=1e-6)
        index.delete_ref_doc("d7")
        assert index.channels[0].vector_store.count() == N + 1


def test_only_the_encoder_that_filled_it_opens_it(compressed):
    class Other(Seeing):
        model_name: str = "another"

    with pytest.raises(CollectionMismatch, match="was filled by.*hashed-32"):
        opened(compressed, embed_model=Other())


def test_another_transform_in_its_place_is_refused(compressed):
    place = json.loads((compressed / "mmrag.json").read_text(encoding="utf-8"))
    folder = compressed / place["compressed"]["text"]["folder"]
    other = compressed.parent / "second"
    with opened(other) as index:
        index.insert(documents(300))
        index.compress(PCA_INT8, apply=True)
    theirs = json.loads((other / "mmrag.json").read_text(encoding="utf-8"))
    for name in ("alignment.npz", "alignment.json"):
        source = other / theirs["compressed"]["text"]["folder"] / name
        (folder / name).write_bytes(source.read_bytes())
    with pytest.raises(CollectionMismatch, match="went through a transform into"):
        opened(compressed)


def test_transform_that_is_gone_is_told(compressed):
    place = json.loads((compressed / "mmrag.json").read_text(encoding="utf-8"))
    folder = compressed / place["compressed"]["text"]["folder"]
    (folder / "alignment.json").unlink()
    with pytest.raises(CollectionMismatch, match="its transform cannot be used"):
        opened(compressed)


def test_manifest_that_leads_out_of_the_store_is_refused(compressed):
    manifest = compressed / "mmrag.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["compressed"]["text"]["folder"] = "../elsewhere"
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StoreUnusable, match="is no name of a file"):
        opened(compressed)


def test_refitting_builds_on_what_is_stored_and_says_so(compressed):
    with opened(compressed) as index:
        before = index.channels[0].embed_model.space_id
        done = index.compress(PCA_AGAIN, apply=True)
        assert "reduced before" in str(done)
    with opened(compressed) as index:
        assert index.channels[0].vector_store.dim == 12
        assert best(index, "document 7") == "document 7"
        assert index.channels[0].embed_model.space_id != before
        assert index.insert(documents(N + 1)).n_added == 1
        assert best(index, f"document {N}") == f"document {N}"


def test_quantised_alone_keeps_the_encoder_as_it_is(root):
    with opened(root) as index:
        index.compress(INT8, apply=True)
    with opened(root) as index:
        assert isinstance(index.channels[0].embed_model, Seeing)
        assert index.channels[0].vector_store.quantisation == Quantisation("int8", 2.0)
        assert best(index, "document 7") == "document 7"


def test_encoder_of_texts_alone_is_wrapped_too(tmp_path):
    encoders = {"embed_model": Seeing(), "text_embed_model": Hashed()}
    with opened(tmp_path / "s", **encoders) as index:
        index.insert(documents())
        index.compress(PCA_INT8, apply=True)
    with opened(tmp_path / "s", **encoders) as index:
        model = index.channels[0].embed_model
        assert model.class_name() == "TransformedTextEmbedding"
        assert (model.dimension, best(index, "document 7")) == (16, "document 7")
        assert json.dumps(model.to_dict())
        one, two = model.get_text_embedding_batch(["a", "b"])
        assert model.get_text_embedding_batch([]) == []
        # A product of one row may add in another order than that of two.
        assert one == pytest.approx(model.get_text_embedding("a"), abs=1e-6)
        assert two == pytest.approx(model.get_query_embedding("b"), abs=1e-6)


async def test_searches_after_the_switch_are_the_same_async(compressed):
    with opened(compressed) as index:
        retriever = index.as_retriever(top_k=5)
        sync = [(h.node_id, h.score) for h in retriever.retrieve("document 9")]
        asynchronous = await retriever.aretrieve("document 9")
    assert [(h.node_id, h.score) for h in asynchronous] == sync


def test_filters_work_with_and_without_a_payload_index(compressed):
    from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

    with opened(compressed) as index:
        for key, value, expected in (("odd", 1, N // 2), ("doc_id", "d7", 1)):
            filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value)])
            retriever = index.as_retriever(top_k=N).with_filters(filters)
            hits = retriever.retrieve("document 7")
            assert hits[0].node.get_content() == "document 7"
            if key == "doc_id":
                assert len(hits) == expected
            else:
                assert {h.node.metadata["odd"] for h in hits} == {1}


def test_questions_of_users_decide(root):
    with opened(root) as index:
        done = index.compress(PCA_INT8, queries=[f"question {i}" for i in range(200)])
    assert done.reports["text"].queries == "200 given"


def test_index_of_a_server_is_sent_elsewhere():
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    index = MultiModalQdrantIndex.open(client=client, embed_model=Seeing())
    with pytest.raises(InvalidSetting, match="compress_collection"):
        index.compress()
    client.close()


CHILD = """
import os, sys
sys.path[:0] = [sys.argv[2], sys.argv[3]]
import test_live
import llama_index_mmrag.compression.live as live
stop = sys.argv[4]
def killed(*args, **kwargs):
    print("here", flush=True)
    sys.stdin.read()
setattr(live, stop, killed)
with test_live.opened(sys.argv[1]) as index:
    index.compress(test_live.PCA_INT8, apply=True)
"""


@pytest.mark.parametrize("stop", ["_copy", "switch_places"])
def test_killed_on_the_way_it_is_as_before_and_cleaned_up(root, stop):
    import llama_index_mmrag

    package = str(Path(llama_index_mmrag.__file__).parents[1])
    here = str(Path(__file__).parent)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), package, here, stop],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    half_built = [p for p in root.iterdir() if p.name.startswith("text-")]
    assert len(half_built) == 1
    with pytest.raises(StoreInUse):
        opened(root)
    assert half_built[0].exists(), "what somebody is building is left alone"
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    with opened(root) as index:
        assert index.channels[0].vector_store.dim == 32
        assert best(index, "document 7") == "document 7"
        assert index.compress(PCA_INT8, apply=True).switched == ("text",)
    assert not half_built[0].exists()


def test_interrupted_it_leaves_nothing_behind(root, monkeypatch):
    from llama_index_mmrag.compression import live

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "switch_places", interrupt)
    with opened(root) as index:
        with pytest.raises(KeyboardInterrupt):
            index.compress(PCA_INT8, apply=True)
        assert sorted(p.name for p in root.iterdir()) == ["image", "mmrag.json", "text"]
        index.insert(Document(text="still mine"))


def test_index_with_early_fusion_is_quantised_and_never_transformed(tmp_path):
    root = tmp_path / "store"
    early = {"early_fusion": Blend(0.5)}
    with opened(root, **early) as index:
        index.insert(documents())
        done = index.compress(PCA_INT8, queries=QUERIES, apply=True)
        assert done.switched == ("text", "composed")
        for report in done.reports.values():
            assert report.chosen is not None
            assert report.chosen.transform == Chain(), "not the PCA that was asked for"
    with opened(root, **early) as index:
        index.insert(documents(N + 1))
        text, _, composed = index.channels
        assert text.vector_store.quantisation == Quantisation("int8", 2.0)
        assert composed.vector_store.quantisation == Quantisation("int8", 2.0)
        assert composed.vector_store.count() == N + 1
        assert best(index, f"document {N}") == f"document {N}"
        (hit,) = index.as_retriever(top_k=1, fusion_stage="early").retrieve(
            f"document {N}"
        )
        assert hit.node.get_content() == f"document {N}"
    with pytest.raises(CollectionMismatch, match="early_fusion"):
        opened(root)


def test_pictures_are_asked_for_by_texts_and_not_by_composed_vectors(tmp_path):
    pictures = [
        ImageNode(id_=f"p{i}", image_path=picture(tmp_path / f"{i}.png", i))
        for i in range(N)
    ]
    early = {"early_fusion": Concatenate(0.5)}
    with opened(tmp_path / "store", **early) as index:
        index.insert([*documents(), *pictures])
        done = index.compress(INT8)
    assert {name: report.queries for name, report in done.reports.items()} == {
        "text": f"{N // 2} stored vectors, each leaving itself out",
        "image": f"{N // 4} stored vectors, each leaving itself out, and {N // 4} "
        "texts of the same space",
        "composed": f"{N} stored vectors, each leaving itself out",
    }


def test_one_that_was_replaced_is_not_compressed_again(root):
    with opened(root) as index:
        index.compress(PCA_INT8, apply=True)
        before = (root / "mmrag.json").read_text(encoding="utf-8")
        with pytest.raises(StoreClosed, match="was replaced by.*Open the index again"):
            index.compress(INT8, apply=True)
    assert (root / "mmrag.json").read_text(encoding="utf-8") == before


def test_interrupted_after_the_switch_the_new_one_stays(root, monkeypatch):
    from llama_index_mmrag.compression import live

    def interrupted(*args: Any) -> None:
        switch_places(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "switch_places", interrupted)
    with opened(root) as index:
        with pytest.raises(KeyboardInterrupt):
            index.compress(PCA_INT8, apply=True)
        with pytest.raises(StoreClosed, match="was replaced by"):
            index.insert(Document(text="lost?"))
    with opened(root) as index:
        assert index.channels[0].vector_store.count() == N
        assert best(index, "document 7") == "document 7"


def test_opening_during_the_switch_leaves_the_new_one_alone(root, monkeypatch):
    from llama_index_mmrag.compression import places

    def outrun(root: Path) -> dict[str, Place]:
        known = places_in(root)
        monkeypatch.setattr(places, "places_in", places_in)
        # Another process compresses between this one's look at the manifest and the
        # next thing it does.
        with opened(root) as index:
            index.compress(PCA_INT8, apply=True)
        return known

    monkeypatch.setattr(places, "places_in", outrun)
    with pytest.raises(StoreInUse, match="was compressed while it was opened"):
        opened(root)
    with opened(root) as index:
        assert index.channels[0].vector_store.count() == N
        assert best(index, "document 7") == "document 7"


def test_folder_that_is_gone_is_told_and_not_made_anew(root):
    with opened(root) as index:
        index.compress(INT8, apply=True)
    (place,) = places_in(root).values()
    shutil.rmtree(root / place.folder)
    with pytest.raises(CollectionMismatch, match="Restore the folder"):
        opened(root)


def test_composed_vectors_of_half_precision_are_written_once(tmp_path, monkeypatch):
    half = CompressSettings(
        min_recall=0.7,
        smallest="disk",
        candidates=Candidates(quantisations=("float16",)),
    )
    early = {"early_fusion": Blend(0.5)}
    with opened(tmp_path / "store", **early) as index:
        index.insert(documents())
        assert index.compress(half, apply=True).switched == ("text", "composed")
    with opened(tmp_path / "store", **early) as index:
        written: list[int] = []
        store, add = QdrantEdgeVectorStore, QdrantEdgeVectorStore.add

        def counted(self: Any, nodes: list[Any], **settings: Any) -> list[str]:
            written.append(len(nodes))
            return add(self, nodes, **settings)

        monkeypatch.setattr(store, "add", counted)
        index.insert(documents())
        assert written == []
        index.insert(documents(N + 1))
        assert written == [1, 1]


def picture(path: Path, number: int) -> str:
    Image.new("RGB", (8, 8), (number, number * 7 % 256, 0)).save(path)
    return str(path)


def test_collection_that_has_the_smallest_codes_already_is_left_alone(root):
    with opened(root) as index:
        index.compress(INT8, apply=True)
    before = (root / "mmrag.json").read_text(encoding="utf-8")
    with opened(root) as index:
        again = index.compress(INT8, apply=True)
    assert again.switched == ()
    report = again.reports["text"]
    assert report.chosen is None
    assert report.before.name.startswith("all 32, int8")
    assert "kept as all 32, int8 x2 already" in again.refused["text"]
    assert (root / "mmrag.json").read_text(encoding="utf-8") == before

    smaller = CompressSettings(
        min_recall=0.3,
        candidates=Candidates(reductions=(), quantisations=("turbo1", "int8")),
    )
    with opened(root) as index:
        done = index.compress(smaller, apply=True)
    chosen = done.reports["text"].chosen
    assert done.switched == ("text",)
    assert chosen is not None
    assert chosen.quantisation is not None
    assert chosen.quantisation.scheme == "turbo1"
    assert (
        f"{done.reports['text'].before.memory:.0f} to" in done.reports["text"].verdict()
    )
