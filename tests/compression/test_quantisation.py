"""A store's quantisation: kept with it, used by its searches, and never another's."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting, StoreUnusable
from llama_index_mmrag.stores import QdrantEdgeVectorStore, Quantisation
from llama_index_mmrag.stores.quantisation import SCHEMES, rescoring
from llama_index_mmrag.vectors import unit_rows

ROWS = unit_rows(np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32))


def filled(folder: Path, quantisation: Quantisation | None) -> QdrantEdgeVectorStore:
    store = QdrantEdgeVectorStore.open(folder, dim=16, quantisation=quantisation)
    store.add(
        [
            TextNode(id_=str(uuid.UUID(int=i)), text=str(i), embedding=row.tolist())
            for i, row in enumerate(ROWS)
        ]
    )
    store.build_index()
    return store


def found(store: QdrantEdgeVectorStore, row: np.ndarray) -> list[tuple[int, float]]:
    query = VectorStoreQuery(query_embedding=row.tolist(), similarity_top_k=5)
    return [(uuid.UUID(i).int, score) for i, score, _ in store.query_ids(query)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rescored_searches_find_what_exact_ones_do(scheme, tmp_path):
    # So many candidates that every vector is rescored: only the codes' use is tested.
    store = filled(tmp_path / "s", Quantisation(scheme, 40.0))
    for row in ROWS[:20]:
        scores = ROWS @ row
        exact = np.argsort(-scores)[:5]
        ids, values = zip(*found(store, row), strict=True)
        tolerance = 2e-3 if scheme == "float16" else 1e-5
        np.testing.assert_allclose(values, scores[exact], atol=tolerance)
        if scheme != "float16":
            assert list(ids) == exact.tolist()
    store.close()


def test_more_oversampling_finds_more(tmp_path):
    recalls = []
    for times in (1.0, 8.0):
        store = filled(tmp_path / str(times), Quantisation("binary", times))
        right = [
            {i for i, _ in found(store, row)}
            & {*np.argsort(-(ROWS @ row))[:5].tolist()}
            for row in ROWS[:100]
        ]
        recalls.append(sum(map(len, right)) / 500)
        store.close()
    assert recalls[0] < 0.9
    assert recalls[1] > recalls[0] + 0.1


def test_store_remembers_it_and_refuses_another(tmp_path):
    filled(tmp_path / "s", Quantisation("int8", 4.0)).close()
    with QdrantEdgeVectorStore.open(tmp_path / "s", dim=16) as store:
        assert store.quantisation == Quantisation("int8", 4.0)
        copy = QdrantEdgeVectorStore.from_dict(store.to_dict())
        assert copy.quantisation == store.quantisation
    with pytest.raises(CollectionMismatch, match="has the quantisation.*int8"):
        QdrantEdgeVectorStore.open(tmp_path / "s", quantisation=Quantisation("binary"))
    filled(tmp_path / "plain", None).close()
    with pytest.raises(CollectionMismatch, match="has the quantisation None"):
        QdrantEdgeVectorStore.open(
            tmp_path / "plain", quantisation=Quantisation("int8")
        )


def test_description_that_is_damaged_is_told(tmp_path):
    filled(tmp_path / "s", Quantisation("int8")).close()
    for content in ("{", '{"scheme": "int3"}', "[1]", '{"more": 1}'):
        (tmp_path / "s" / "quantisation.json").write_text(content, encoding="utf-8")
        with pytest.raises(StoreUnusable, match=r"quantisation\.json"):
            QdrantEdgeVectorStore.open(tmp_path / "s")


@pytest.mark.parametrize(
    "settings",
    [("int4",), ("int8", 0.5), ("int8", float("nan")), ("int8", float("inf"))],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(InvalidSetting, match="expected"):
        Quantisation(*settings)


def test_nothing_is_rescored_where_there_are_no_codes():
    assert rescoring(None) is rescoring(Quantisation("float16")) is None
