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
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from PIL import Image
from qdrant_client import QdrantClient

from llama_index_mmrag import Blend, Concatenate, MultiModalQdrantIndex
from llama_index_mmrag.alignment import Chain
from llama_index_mmrag.compression import (
    Candidates,
    CompressSettings,
    IndexCompression,
    live,
    places,
)
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreClosed,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.files.sealing import unsealed
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.format import CollectionEntry
from llama_index_mmrag.stores.manifest import entries_in, switch_places
from llama_index_mmrag.stores.quantisation import Quantisation

from ..support.damage import zero_the_vectors

N = 240
FILES = ["image", "mmrag.copy.json", "mmrag.json", "text"]
"""What a store without pictures holds."""
QUERIES = [f"document {i}" for i in range(40)]
EARLY = {"composition": Blend(0.5)}


def trying(
    min_recall: float, smallest: Any = "memory", **tried: Any
) -> CompressSettings:
    return CompressSettings(
        min_recall=min_recall, smallest=smallest, candidates=Candidates(**tried)
    )


PCA: dict[str, Any] = {
    "reductions": ("pca",), "quantisations": ("int8",), "oversamplings": (2.0,)
}  # fmt: skip
PCA_INT8 = trying(0.7, dims=(16,), **PCA)
PCA_AGAIN = trying(0.5, "disk", dims=(12,), **PCA)
INT8 = trying(0.7, reductions=(), quantisations=("int8",))


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


def switched(root: Path, settings: CompressSettings = PCA_INT8) -> IndexCompression:
    with opened(root) as index:
        return index.compress(settings, apply=True)


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


def manifest(root: Path) -> str:
    return (root / "mmrag.json").read_text(encoding="utf-8")


def folder_of(root: Path) -> Path:
    return root / entries_in(root)["text"].folder


def check_nothing_is_lost(root: Path) -> None:
    with opened(root) as index:
        assert index.channels[0].vector_store.count() == N
        assert best(index, "document 7") == "document 7"


@pytest.fixture
def root(tmp_path) -> Path:
    with opened(tmp_path / "store") as index:
        index.insert(documents())
    return tmp_path / "store"


@pytest.fixture
def compressed(root) -> Path:
    assert switched(root).switched == ("text",)
    return root


def test_measuring_changes_nothing(root):
    before = manifest(root)
    with opened(root) as index:
        done = index.compress(PCA_INT8)
        assert done.reports["text"].chosen.name == "PCA 16, int8 x2"
        assert done.switched == ()
        assert "Got 0 vectors" in done.refused["image"]
        index.insert(Document(text="more"))
    assert manifest(root) == before
    assert sorted(p.name for p in root.iterdir()) == FILES


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


def test_smaller_store_and_one_that_is_repaired_keep_their_words(tmp_path):
    root, queries = tmp_path / "store", ("17", "document 200", "3 or 5")

    def by_words() -> list[list[str]]:
        with opened(root) as index:
            only = index.as_retriever(top_k=3, vector_store_query_mode="sparse")
            return [[hit.node.text for hit in only.retrieve(q)] for q in queries]

    with opened(root, hybrid=True) as index:
        index.insert(documents())
    before = by_words()
    assert before[0] == ["document 17"]
    assert switched(root).switched == ("text",)
    assert by_words() == before
    zero_the_vectors(next(folder_of(root).glob("shard-*")))
    repair_store(root, embed_model=Seeing())
    assert by_words() == before


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
        nodes = index.channels[0].vector_store.get_nodes()
        (node,) = (n for n in nodes if n.get_content() == f"document {N + 1}")
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
    other = compressed.parent / "second"
    with opened(other) as index:
        index.insert(documents(300))
    switched(other)
    for name in ("alignment.npz", "alignment.json"):
        shutil.copy(folder_of(other) / name, folder_of(compressed) / name)
    with pytest.raises(CollectionMismatch, match="went through a transform into"):
        opened(compressed)


def test_transform_that_is_gone_is_told(compressed):
    (folder_of(compressed) / "alignment.json").unlink()
    with pytest.raises(CollectionMismatch, match="its transform cannot be used"):
        opened(compressed)


@pytest.mark.parametrize("name", ["alignment.npz", "alignment.json"])
def test_lost_transform_costs_an_encoding_and_no_text(name, compressed):
    with opened(compressed) as index:
        before = stored(index)
    (folder_of(compressed) / name).unlink()
    done = repair_store(compressed, embed_model=Seeing())
    assert (done.n_copied, done.n_encoded) == ({"text": 0}, {"text": N})
    assert done.n_lost == {"text": 0}
    with opened(compressed) as index:
        assert stored(index) == before
    check_nothing_is_lost(compressed)


def test_manifest_that_leads_out_of_the_store_is_refused(compressed):
    content = unsealed(json.loads(manifest(compressed)))
    content["collections"]["text"]["folder"] = "../elsewhere"
    (compressed / "mmrag.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StoreUnusable, match="is no name of a file"):
        opened(compressed)


def no_transform(place: Path) -> None:
    (place / "alignment.npz").unlink()


def empty_description(place: Path) -> None:
    (place / "store.json").write_text("")


def no_segment(place: Path) -> None:
    next(place.rglob("segment.json")).unlink()


@pytest.mark.parametrize(
    "damage", [no_transform, empty_description, no_segment, zero_the_vectors]
)
def test_damaged_one_does_not_cost_the_one_that_it_replaced(damage, root):
    switched(root)
    damage(folder_of(root))
    with pytest.raises((CollectionMismatch, StoreUnusable)):
        opened(root)
    with QdrantEdgeVectorStore.open(root / "text") as before:
        assert before.count() == N
        assert np.isfinite(before.sample_vectors(N)).all()


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
    switched(root, INT8)
    with opened(root) as index:
        assert isinstance(index.channels[0].embed_model, Seeing)
        assert index.channels[0].vector_store.quantisation == Quantisation("int8", 2.0)
        assert best(index, "document 7") == "document 7"


def test_encoder_of_texts_alone_is_wrapped_too(tmp_path):
    encoders = {"embed_model": Hashed(), "image_embed_model": Seeing()}
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


@pytest.mark.parametrize(("key", "value"), [("odd", 1), ("doc_id", "d7")])
def test_filters_work_with_and_without_a_payload_index(compressed, key, value):
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value)])
    with opened(compressed) as index:
        hits = index.as_retriever(top_k=N).with_filters(filters).retrieve("document 7")
    assert hits[0].node.get_content() == "document 7"
    assert {hit.node.metadata["odd"] for hit in hits} == {1}
    assert key == "odd" or len(hits) == 1


def test_questions_of_users_decide(root):
    with opened(root) as index:
        done = index.compress(PCA_INT8, queries=[f"question {i}" for i in range(200)])
    assert done.reports["text"].queries == "200 given"


def test_index_on_a_server_is_measured_as_one_in_a_folder_and_not_switched(tmp_path):
    client = QdrantClient(":memory:")
    how = {"client": client, "embed_model": Seeing(), "catalogue": False}
    with MultiModalQdrantIndex.open(**how) as index, opened(tmp_path / "s") as other:
        for one in (index, other):
            one.insert(documents(160))
        done, expected = index.compress(PCA_INT8), other.compress(PCA_INT8)
        assert done.refused == expected.refused
        assert done.switched == ()
        (on_server, row), (in_folder, its) = (
            (of.reports["text"], of.reports["text"].chosen) for of in (done, expected)
        )
        assert (on_server.n_vectors, on_server.queries) == (160, in_folder.queries)
        assert row.name == its.name
        # Local mode lists points in another order: the engine writes its bounds down
        # with more or fewer digits, and other queries are drawn.
        assert row.disk == pytest.approx(its.disk, rel=0.01)
        assert on_server.held_out == pytest.approx(in_folder.held_out, abs=0.2)
        with pytest.raises(InvalidSetting, match="apply switches.*compress_collection"):
            index.compress(PCA_INT8, apply=True)
    client.close()


CHILD = """
import os, sys
sys.path.insert(0, sys.argv[2])
from tests.compression import test_live
import llama_index_mmrag.compression.live as live
stop = sys.argv[3]
def killed(*args, **kwargs):
    print("here", flush=True)
    sys.stdin.read()
setattr(live, stop, killed)
test_live.switched(sys.argv[1])
"""


@pytest.mark.parametrize("stop", ["_copy", "switch_places"])
def test_killed_on_the_way_it_is_as_before_and_cleaned_up(root, stop):
    here = Path(__file__).parent
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, root, here.parents[1], stop],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "here\n"
    (half_built,) = root.glob("text-*")
    with pytest.raises(StoreInUse):
        opened(root)
    assert half_built.exists(), "what somebody is building is left alone"
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    with opened(root) as index:
        assert index.channels[0].vector_store.dim == 32
        assert best(index, "document 7") == "document 7"
        assert index.compress(PCA_INT8, apply=True).switched == ("text",)
    assert not half_built.exists()


def test_interrupted_it_leaves_nothing_behind(root, monkeypatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "switch_places", interrupt)
    with opened(root) as index:
        with pytest.raises(KeyboardInterrupt):
            index.compress(PCA_INT8, apply=True)
        assert sorted(p.name for p in root.iterdir()) == FILES
        index.insert(Document(text="still mine"))


def test_index_with_early_fusion_is_quantised_and_never_transformed(tmp_path):
    root = tmp_path / "store"
    with opened(root, **EARLY) as index:
        index.insert(documents())
        done = index.compress(PCA_INT8, queries=QUERIES, apply=True)
        assert done.switched == ("text", "composed")
        for report in done.reports.values():
            assert report.chosen.transform == Chain(), "not the PCA that was asked for"
    with opened(root, **EARLY) as index:
        index.insert(documents(N + 1))
        text, _, composed = index.channels
        assert text.vector_store.quantisation == Quantisation("int8", 2.0)
        assert composed.vector_store.quantisation == Quantisation("int8", 2.0)
        assert composed.vector_store.count() == N + 1
        assert best(index, f"document {N}") == f"document {N}"
        early = index.as_retriever(top_k=1, search="composed")
        (hit,) = early.retrieve(f"document {N}")
        assert hit.node.get_content() == f"document {N}"
    with pytest.raises(CollectionMismatch, match="composition"):
        opened(root)


def test_pictures_are_asked_for_by_texts_and_not_by_composed_vectors(tmp_path):
    pictures = []
    for i in range(N):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (8, 8), (i, i * 7 % 256, 0)).save(path)
        pictures.append(ImageNode(id_=f"p{i}", image_path=str(path)))
    with opened(tmp_path / "store", composition=Concatenate(0.5)) as index:
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
        before = manifest(root)
        with pytest.raises(StoreClosed, match="was replaced by.*Open the index again"):
            index.compress(INT8, apply=True)
    assert manifest(root) == before


def test_interrupted_after_the_switch_the_new_one_stays(root, monkeypatch):
    def interrupted(*args: Any) -> None:
        switch_places(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "switch_places", interrupted)
    with opened(root) as index:
        with pytest.raises(KeyboardInterrupt):
            index.compress(PCA_INT8, apply=True)
        with pytest.raises(StoreClosed, match="was replaced by"):
            index.insert(Document(text="lost?"))
    check_nothing_is_lost(root)


def test_opening_during_the_switch_leaves_the_new_one_alone(root, monkeypatch):
    def outrun(root: Path) -> dict[str, CollectionEntry]:
        known = entries_in(root)
        monkeypatch.setattr(places, "entries_in", entries_in)
        # Another process compresses between this one's look at the manifest and the
        # next thing it does.
        switched(root)
        return known

    monkeypatch.setattr(places, "entries_in", outrun)
    with pytest.raises(StoreInUse, match="was compressed while it was opened"):
        opened(root)
    check_nothing_is_lost(root)


def test_folder_that_is_gone_is_told_and_not_made_anew(root):
    switched(root, INT8)
    shutil.rmtree(folder_of(root))
    with pytest.raises(StoreUnusable, match="which is gone. Restore it from a backup"):
        opened(root)


def test_composed_vectors_of_half_precision_are_written_once(tmp_path, monkeypatch):
    half = trying(0.7, "disk", quantisations=("float16",))
    with opened(tmp_path / "store", **EARLY) as index:
        index.insert(documents())
        assert index.compress(half, apply=True).switched == ("text", "composed")
    with opened(tmp_path / "store", **EARLY) as index:
        written: list[int] = []
        add = QdrantEdgeVectorStore.add

        def counted(self: Any, nodes: list[Any], **settings: Any) -> list[str]:
            written.append(len(nodes))
            return add(self, nodes, **settings)

        monkeypatch.setattr(QdrantEdgeVectorStore, "add", counted)
        index.insert(documents())
        assert written == []
        index.insert(documents(N + 1))
        assert written == [1, 1]


def test_collection_that_has_the_smallest_codes_already_is_left_alone(root):
    switched(root, INT8)
    before = manifest(root)
    again = switched(root, INT8)
    report = again.reports["text"]
    assert (again.switched, report.chosen) == ((), None)
    assert report.before.name.startswith("all 32, int8")
    assert "kept as all 32, int8 x2 already" in again.refused["text"]
    assert manifest(root) == before

    smaller = trying(0.3, reductions=(), quantisations=("turbo1", "int8"))
    done = switched(root, smaller)
    report = done.reports["text"]
    assert done.switched == ("text",)
    assert report.chosen.quantisation.scheme == "turbo1"
    assert f"{report.before.memory:.0f} to" in report.verdict()
