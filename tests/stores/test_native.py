"""Filters and search parameters in every form that users give them."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.vector_stores.types import (
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient
from qdrant_client.http import models

from llama_index_mmrag.errors import InvalidQuery, InvalidSetting
from llama_index_mmrag.stores import QdrantEdgeVectorStore, UnsupportedQuery
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.edge_filters import filter_of
from llama_index_mmrag.stores.native import (
    NativeFilter,
    metadata_filters,
    search_params_of,
)
from llama_index_mmrag.stores.rescoring import RescoringVectorStore

from .conftest import DIM, asking, make_nodes

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

LAMP = MetadataFilter(key="kind", value="lamp")
LAMPS = MetadataFilters(filters=[LAMP])
IS_LAMP = models.FieldCondition(key="kind", match=models.MatchValue(value="lamp"))
BELOW_9 = models.FieldCondition(key="n", range=models.Range(lt=9))
FORMS: dict[str, Any] = {
    "MetadataFilters": LAMPS,
    "a condition": LAMP,
    "a dictionary": {"kind": "lamp"},
    "a models.Filter": models.Filter(must=IS_LAMP),
    "a list of one": [LAMPS],
    "a list of several kinds": [
        MetadataFilters(filters=[LAMP], condition=FilterCondition.OR),
        {"kind": "lamp"},
        models.Filter(should=[IS_LAMP]),
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_means_the_same_in_every_method(readable, form):
    collection, filters = collection_of(readable), metadata_filters(FORMS[form])
    query = asking([1.0] * DIM, filters=filters)
    for found in (collection.nodes_where(filters), collection.search(query)):
        assert len(found) == 8
    if collection.is_light:  # an embedded store, whose own methods take all forms
        assert readable.count(FORMS[form]) == 8
        assert len(readable.ids_where(FORMS[form])) == 8
        assert len(readable.get_nodes(filters=FORMS[form])) == 8
        everything = asking([1.0] * DIM, filters=FORMS[form])
        assert len(readable.query(everything).ids) == 8


def test_all_of_a_dictionary_and_of_a_list_must_hold(readable):
    for given in ({"kind": "lamp", "n": 4}, [{"kind": "lamp"}, {"n": 4}]):
        (found,) = collection_of(readable).nodes_where(metadata_filters(given))
        assert found.metadata["n"] == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "kind == lamp",
            r"filters is 'kind == lamp'; expected MetadataFilters, a list",
        ),
        (3, "filters is 3"),
        ([], r"filters is \[\], without a condition"),
        ({}, r"filters is \{\}, without a condition"),
        ([{"n": 1}, "n"], r"filters\[1\] is 'n'"),
        ({"n": [1, 2]}, r"filters has 'n': \[1, 2\].*MetadataFilters with an operator"),
        ({"n": None}, "filters has 'n': None"),
        ({"must": [IS_LAMP]}, "or a models.Filter"),
        ({3: "lamp"}, "filters has 3: 'lamp'"),
        (IS_LAMP, r"A single condition of Qdrant's: models.Filter\(must=\[...\]\)"),
        (models.Filter, "filters is <class"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_is(given, said):
    with pytest.raises(InvalidSetting, match=said):
        metadata_filters(given)


def test_both_names_of_the_one_argument_are_a_conflict():
    assert metadata_filters(None, query_filter={"n": 1}) is not None
    with pytest.raises(InvalidSetting, match="query_filter are one argument"):
        metadata_filters({"n": 1}, query_filter={"n": 1})
    with pytest.raises(InvalidSetting, match="Channel 'a': query_filter is 3"):
        metadata_filters(None, "Channel 'a': filters", query_filter=3)  # type: ignore[arg-type]


def test_filter_is_as_it_was_when_it_was_given(readable):
    mine = models.Filter(must=[IS_LAMP])
    filters = metadata_filters(mine)
    mine.must = None
    assert len(collection_of(readable).nodes_where(filters)) == 8


def test_store_that_does_not_know_native_filters_finds_nothing(readable):
    # As LlamaIndex's conditions, which is what such a store reads of them.
    filters = metadata_filters([{"kind": "lamp"}, models.Filter(must=[IS_LAMP])])
    (_, native) = filters.filters
    assert (native.key, native.operator.value) == (
        "a models.Filter, for Qdrant's stores alone",
        "==",
    )
    plain = [MetadataFilter(key=f'"{native.key}"', value=native.value)]
    found = collection_of(readable).nodes_where(MetadataFilters(filters=plain))
    assert found == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            models.SliceCondition(slice=models.Slice(total=2, index=2)),
            r"^The condition \{'slice'.* built: index must be less than total",
        ),
        (
            models.FieldCondition(key="my key", match=models.MatchValue(value=1)),
            "my key.*in double quotes",
        ),
        (models.FieldCondition(key="n"), "compares with nothing"),
        (
            models.FieldCondition(
                key="at",
                geo_radius=models.GeoRadius(
                    center=models.GeoPoint(lon=500, lat=0), radius=1
                ),
            ),
            "lon` = 500",
        ),
        (
            models.Filter(
                min_should=models.MinShould(conditions=[IS_LAMP], min_count=-1)
            ),
            "min_count",
        ),
    ],
)
def test_what_edge_cannot_compare_is_named(tmp_path, condition, said):
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        for clause in ("must", "should", "must_not"):
            with pytest.raises(InvalidQuery, match=said):
                store.count(models.Filter(**{clause: [condition]}))


def test_condition_of_a_later_client_is_named():
    later = NativeFilter(native={"must": [{"later": 3}]})
    with pytest.raises(UnsupportedQuery, match="Qdrant Edge has no condition 'later'"):
        filter_of(later, indexes={})


# What LlamaIndex's own index passes on


@pytest.fixture
def edge(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "store", dim=DIM) as store:
        store.add(make_nodes(24))
        yield store


async def test_vector_store_kwargs_are_obeyed(edge):
    index = VectorStoreIndex.from_vector_store(edge, embed_model=MockEmbedding(DIM))
    how = {"qdrant_filters": models.Filter(must=[BELOW_9])}
    retriever = index.as_retriever(
        similarity_top_k=24, filters=LAMPS, vector_store_kwargs=how
    )
    for found in (retriever.retrieve("any"), await retriever.aretrieve("any")):
        assert sorted(hit.metadata["n"] for hit in found) == [1, 4, 7]
    how = {"search_params": models.SearchParams(exact=True)}
    retriever = index.as_retriever(similarity_top_k=24, vector_store_kwargs=how)
    assert len(retriever.retrieve("any")) == 24


def test_wrong_vector_store_kwargs_are_refused(edge):
    with pytest.raises(InvalidSetting, match="qdrant_filters.* is 3"):
        edge.query(asking([1.0] * DIM), qdrant_filters=3)
    with pytest.raises(InvalidSetting, match="search_params is 3"):
        edge.query(asking([1.0] * DIM), search_params=3)


# Search parameters


def test_search_params_are_taken_as_a_mapping_and_as_qdrants_own():
    given = models.SearchParams(
        hnsw_ef=64,
        exact=False,
        indexed_only=True,
        quantization=models.QuantizationSearchParams(oversampling=2.0),
    )
    wanted = {
        "hnsw_ef": 64,
        "exact": False,
        "indexed_only": True,
        "quantization": {"ignore": False, "oversampling": 2.0},
    }
    assert search_params_of(given) == search_params_of(wanted) == wanted
    assert search_params_of(None) == search_params_of({}) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("exact", "search_params is 'exact'; expected Mapping"),
        (models.SearchParams, "search_params is <class"),
        ({"ef": 3}, "A name in search_params is 'ef'; expected 'hnsw_ef'"),
        ({"hnsw_ef": 0}, r"search_params\['hnsw_ef'\] is 0"),
        ({"exact": 1}, r"search_params\['exact'\] is 1"),
        (
            {"quantization": {"oversampling": 0.5}},
            r"search_params\['quantization'\]\['oversampling'\] is 0.5",
        ),
        ({"quantization": True}, r"\['quantization'\] is True; expected Mapping"),
        ({"acorn": {"max_selectivity": 2}}, "is 2"),
    ],
)
def test_search_params_that_mean_nothing_are_refused(given, said):
    with pytest.raises(InvalidSetting, match=said):
        search_params_of(given)


def test_edge_takes_every_search_param(edge):
    plain = edge.query(asking([1.0] * DIM)).ids
    given = {
        "hnsw_ef": 64,
        "exact": True,
        "quantization": {"ignore": True, "rescore": False, "oversampling": 2.0},
        "acorn": {"enable": True, "max_selectivity": 0.5},
    }
    assert edge.query(asking([1.0] * DIM), search_params=given).ids == plain
    rows = edge.query_ids(asking([1.0] * DIM), search_params={"indexed_only": True})
    assert [node_id for node_id, _, _ in rows] == plain


class Watched(QdrantClient):
    """A client of local mode that remembers how it searched."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.asked: list[dict[str, Any]] = []

    def query_points(self, *args: Any, **how: Any) -> Any:
        self.asked.append({"search_params": how.pop("search_params"), **how})
        return super().query_points(*args, **how)


@pytest.fixture
def client():
    opened = Watched()
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", [QdrantVectorStore, RescoringVectorStore])
def test_search_params_and_filters_reach_the_client_as_one_filter(client, kind):
    store = kind("c", client=client)
    store.add(make_nodes(24))
    collection = collection_of(store)
    query = asking(
        [1.0] * DIM, filters=metadata_filters([LAMPS, FORMS["a models.Filter"]])
    )
    assert len(collection.search(query, search_params={"hnsw_ef": 64})) == 8
    (asked,) = client.asked
    assert asked["search_params"] == models.SearchParams(hnsw_ef=64)
    collection.search(query)
    rescored = client.asked[-1]["search_params"]
    assert (rescored is None) == (kind is QdrantVectorStore)


class Hiding(QdrantVectorStore):
    """A store that shows lamps alone, by what it adds to each query."""

    _only: MetadataFilters = PrivateAttr(default=LAMPS)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> Any:
        both = [f for f in (query.filters, self._only) if f is not None]
        query.filters = MetadataFilters(filters=both)
        return super().query(query, **kwargs)


def test_what_a_subclass_hides_stays_hidden(client):
    store = Hiding("c", client=client)
    store.add(make_nodes(24))
    collection = collection_of(store)
    below = metadata_filters(
        MetadataFilters(filters=[MetadataFilter(key="n", value=9, operator="<")])
    )
    collection.check_filters(below)
    found = collection.search(asking([1.0] * DIM, filters=below))
    assert sorted(hit.said["n"] for hit in found) == [1, 4, 7]
    # LlamaIndex takes a filter of Qdrant's instead of what the subclass added.
    with pytest.raises(InvalidSetting, match="A Hiding cannot apply a models.Filter"):
        collection.check_filters(metadata_filters(models.Filter(must=[BELOW_9])))
