"""Fields that a new index is filtered by: declared, kept, and not gained later."""

from __future__ import annotations

import json
import shutil

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.stores.filter_fields import FILTER_FIELDS

DECLARED = {"year": "integer", "shop": "keyword", "is_new": "bool", "sold": "datetime"}


def open_one(place, **how):
    return MultiModalQdrantIndex.open(place, embed_model=ColourEncoder(), **how)


def indexes_of(index):
    return {c.name: c.collection.store.client.indexes for c in index.channels}


@pytest.fixture
def made(tmp_path):
    with open_one(tmp_path / "s", filter_fields=DECLARED) as index:
        nodes = [
            TextNode(text=f"red {year}", metadata={"year": year, "page": year % 100})
            for year in range(1990, 2020)
        ]
        index.insert(nodes)
    return tmp_path / "s"


def test_new_store_has_ours_and_the_declared_ones_whatever_opens_it_later(made):
    with open_one(made) as index:
        for found in indexes_of(index).values():
            assert found.items() >= {**FILTER_FIELDS, **DECLARED}.items()
        only = MetadataFilters(
            filters=[MetadataFilter(key="year", value=2015, operator=">")]
        )
        results = index.as_retriever(filters=only).retrieve("red")
        assert {r.node.text for r in results} == {
            f"red {year}" for year in range(2016, 2020)
        }
    with open_one(made, filter_fields={"year": "integer"}) as index:
        assert len(index.channels) == 2


@pytest.mark.parametrize("fields", [{"city": "keyword"}, {"year": "float"}])
def test_store_gains_none_later_and_loses_nothing(made, fields):
    with pytest.raises(CollectionMismatch, match="open\\(NEW, filter_fields"):
        open_one(made, filter_fields=fields)
    with open_one(made) as index:
        assert "city" not in indexes_of(index)["text"]
        assert len(index.as_retriever(top_k=30).retrieve("red")) == 30


@pytest.mark.parametrize(
    "fields",
    [{"": "keyword"}, {" ": "integer"}, {"a": "colour"}, {"page": "keyword"},
     {3: "integer"}, {"a": None}, {"doc_id": "integer"}],
)  # fmt: skip
def test_what_is_no_field_is_refused_before_anything_is_made(tmp_path, fields):
    with pytest.raises(InvalidSetting, match="filter_fields"):
        open_one(tmp_path / "s", filter_fields=fields)
    assert not (tmp_path / "s").exists()


def test_repaired_store_keeps_them(made):
    entries = json.loads((made / "mmrag.json").read_text())["collections"]
    assert entries["text"]["filter_fields"] == DECLARED
    shutil.rmtree(made / "text")
    repair_store(made, embed_model=ColourEncoder())
    with open_one(made, filter_fields=DECLARED) as index:
        for found in indexes_of(index).values():
            assert found.items() >= {**FILTER_FIELDS, **DECLARED}.items()


def test_local_mode_scans_and_takes_them_all():
    client = QdrantClient(":memory:")
    for fields in (DECLARED, {"city": "keyword"}):
        with MultiModalQdrantIndex.open(
            client=client,
            embed_model=ColourEncoder(),
            filter_fields=fields,
            catalogue=False,
        ) as index:
            index.insert([TextNode(text="red", metadata={"city": "Ulm"})])
            only = MetadataFilters(filters=[MetadataFilter(key="city", value="Ulm")])
            assert len(index.as_retriever(filters=only).retrieve("red")) == 1
