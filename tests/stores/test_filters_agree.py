"""Filters find the same nodes in Qdrant Edge and in Qdrant's local mode: 0 differences.

Both are asked as channels ask them: by vector, by filter alone, and in lookups.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from typing import Any

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client.http import models

from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.native import metadata_filters

from ..support.stores import open_client
from .conftest import node_id

N_NODES = 40
ABSENT = object()
VALUES: dict[str, list[Any]] = {
    "kind": ["lamp", "chair", "Lamp", "", 3, ABSENT, None],
    "n": [0, 1, 2, 3, -7, 2.0, "3", ABSENT],
    "price": [0.5, 1.25, 3.0, 3, "1.25", None],
    "day": [
        *("2019-12-31", "2020-01-01", "2020-06-01T10:00:00Z", "2020-06-01 10:00:00"),
        *("2021-03-04T00:30:00+02:00", "soon", ABSENT),
    ],
    "tags": [["red"], ["red", "oak"], ["oak", "red", "3"], [], [3, 4], "red", ABSENT],
    "seen": [True, False, 1, "true", [True, False], ABSENT],
    "note": ["solid oak", "oak-red, solid", "OAK", "", ABSENT],
    "made": [{"by": "Ann", "year": 2020}, {"by": "Bo"}, "Ann", ABSENT],
    "parts": [
        [{"of": "oak", "n": 1}, {"of": "tin", "n": 2}],
        [{"of": "oak", "n": 2}],
        *({"of": "oak", "n": 2}, [], ABSENT),
    ],
    "at": [
        {"lon": 8.54, "lat": 47.37},
        [{"lon": 13.4, "lat": 52.5}, {"lon": 8.5, "lat": 47.3}],
        *({"lon": -120.0, "lat": -10.0}, "Zurich", ABSENT),
    ],
}


def make_nodes() -> list[TextNode]:
    rng = random.Random(11)
    nodes = []
    for number in range(N_NODES):
        drawn = {key: rng.choice(values) for key, values in VALUES.items()}
        source = RelatedNodeInfo(node_id=f"doc-{number % 4}")
        nodes.append(
            TextNode(
                id_=node_id(number),
                text=f"text {number}",
                metadata={k: v for k, v in drawn.items() if v is not ABSENT},
                embedding=[rng.gauss(0, 1) for _ in range(4)],
                relationships={NodeRelationship.SOURCE: source},
            )
        )
    return nodes


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[tuple[Collection, Collection]]:
    """Edge and local mode with the same nodes."""
    path = tmp_path_factory.mktemp("agree") / "text"
    with (
        warnings.catch_warnings(),
        QdrantEdgeVectorStore.open(path, dim=4) as edge,
        open_client("local") as client,
    ):
        # The module's mark does not reach module fixtures.
        warnings.filterwarnings("ignore", "Payload indexes have no effect")
        dense = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection("agree", vectors_config={edge.vector_name: dense})
        local = QdrantVectorStore("agree", client=client)
        for store in (edge, local):
            store.add(make_nodes())
        yield collection_of(edge), collection_of(local)


Outcome = frozenset[str] | type[MmragError]


def asked(collection: Collection, filters: MetadataFilters) -> list[Outcome]:
    """Return what a lookup, a search without a vector and one by vector find."""

    def searched(vector: list[float] | None) -> frozenset[str]:
        query = VectorStoreQuery(vector, similarity_top_k=99, filters=filters)
        return frozenset(hit.node_id for hit in collection.search(query))

    def looked_up() -> frozenset[str]:
        return frozenset(node.node_id for node in collection.nodes_where(filters))

    def outcome(find: Callable[[], frozenset[str]]) -> Outcome:
        try:
            return find()
        except MmragError as error:
            return type(error)

    return [
        outcome(looked_up),
        outcome(lambda: searched(None)),
        outcome(lambda: searched([1.0, 0.5, -0.5, 0.1])),
    ]


def differences(
    pair: tuple[Collection, Collection], given: list[MetadataFilters]
) -> tuple[list[tuple[object, ...]], int]:
    """Return what the two find differently, and how many filters select some nodes."""
    differing: list[tuple[object, ...]] = []
    n_selective = 0
    for filters in given:
        edge, local = (asked(collection, filters) for collection in pair)
        if len({*edge, *local}) > 1:
            differing.append((filters, edge, local))
        n_selective += isinstance(edge[0], frozenset) and 0 < len(edge[0]) < N_NODES
    return differing, n_selective


ASKED: list[tuple[str, Any]] = [
    *(("kind", "lamp"), ("kind", ["lamp", "chair"]), ("kind", "lamp,chair")),
    *(("n", 2), ("n", [1, 2]), ("n", "2"), ("price", 1.25), ("price", [0.5, 3.0])),
    *(("day", "2020-01-01"), ("day", "2020-06-01T10:00:00Z"), ("day", "soon")),
    *(("tags", "red"), ("tags", ["red", "oak"]), ("tags", 3), ("seen", "true")),
    *(("note", "oak"), ("made.by", "Ann"), ("none", "x")),
]
LEAVES = [
    MetadataFilter(key=key, operator=operator, value=value)
    for operator in FilterOperator
    for key, value in ASKED
]


def test_252_leaves_find_the_same(pair):
    assert len(LEAVES) == 252
    differing, n_selective = differences(
        pair, [MetadataFilters(filters=[leaf]) for leaf in LEAVES]
    )
    assert differing == []
    assert n_selective > 100


LATE = {*VALUES["day"][2:5]}


@pytest.mark.parametrize(
    ("key", "operator", "value", "passes"),
    [
        ("tags", "any", ["oak", "3"], lambda tags: {"oak", "3"} & {*tags}),
        ("tags", "all", ["red", "oak"], lambda tags: {"red", "oak"} <= {*tags}),
        ("tags", "contains", "red", lambda tags: "red" in tags),
        ("day", ">", "2020-01-01", lambda days: LATE & {*days}),
        (
            "day",
            "<=",
            "2020-06-01T12:00:00+02:00",
            lambda d: {*VALUES["day"][:4]} & {*d},
        ),
        ("n", ">=", "2", lambda ns: {2, 3} & {*ns}),
    ],
)
def test_operator_means_what_it_says(pair, key, operator, value, passes):
    # Not what the two agree on: both are asked by way of the same JSON.
    given = {n.node_id: n.metadata.get(key, []) for n in make_nodes()}
    listed = {i: v if isinstance(v, list) else [v] for i, v in given.items()}
    wanted = {i for i, values in listed.items() if passes(values)}
    leaf = MetadataFilter(key=key, operator=FilterOperator(operator), value=value)
    for collection in pair:
        assert {*asked(collection, MetadataFilters(filters=[leaf]))} == {
            frozenset(wanted)
        }


def built(leaves: list[MetadataFilter], n: int) -> list[MetadataFilters]:
    """Return random trees of conditions, of up to three floors."""
    rng = random.Random(648)

    def tree(floors: int) -> MetadataFilters:
        branches = [
            tree(floors - 1)
            if floors and rng.random() < 0.5
            else rng.choice(leaves).model_copy()
            for _ in range(rng.randint(1, 3))
        ]
        condition = rng.choice([*FilterCondition, None])
        return MetadataFilters(filters=branches, condition=condition)

    return [tree(2) for _ in range(n)]


@pytest.fixture(scope="module")
def answerable(pair) -> list[MetadataFilter]:
    """Return the leaves that are no errors: one would make its whole tree one."""
    edge, _ = pair
    return [
        leaf
        for leaf in LEAVES
        if isinstance(asked(edge, MetadataFilters(filters=[leaf]))[0], frozenset)
    ]


def test_648_trees_find_the_same(pair, answerable):
    differing, n_selective = differences(pair, built(answerable, 648))
    assert differing == []
    assert n_selective > 300


def field(key: str, **how: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, **how)


def match(key: str, **how: Any) -> models.FieldCondition:
    (made,) = (
        kind
        for kind in models.Match.__args__
        if {f.alias or name for name, f in kind.model_fields.items()} == how.keys()
    )
    return models.FieldCondition(key=key, match=made(**how))


ZURICH = models.GeoPoint(lon=8.54, lat=47.37)
AROUND = models.GeoLineString(
    points=[
        models.GeoPoint(lon=lon, lat=lat)
        for lon, lat in ((5, 45), (5, 55), (20, 55), (20, 45), (5, 45))
    ]
)
HOLE = models.GeoLineString(
    points=[
        models.GeoPoint(lon=lon, lat=lat)
        for lon, lat in ((13, 52), (13, 53), (14, 53), (14, 52), (13, 52))
    ]
)
NATIVE: list[Any] = [
    match("kind", value="lamp"),
    match("n", value=2),
    match("seen", value=True),
    match("seen", value=False),
    match("kind", any=["lamp", "chair"]),
    match("n", any=[0, 3]),
    match("kind", **{"except": ["lamp"]}),
    match("n", **{"except": [1, 2]}),
    match("note", text="oak solid"),
    match("note", text_any="oak tin"),
    match("note", phrase="solid oak"),
    match("kind", prefix="la"),
    match("kind", substring="am"),
    field("n", range=models.Range(gt=0, lte=2)),
    field("price", range=models.Range(gte=1.25)),
    field("day", range=models.DatetimeRange(gte=date(2020, 1, 1))),
    field("day", range=models.DatetimeRange(lt=datetime(2020, 6, 1, 10, 0, 1))),  # noqa: DTZ001 - naive is UTC
    field("day", range=models.DatetimeRange(gt=datetime.now(timezone.utc))),
    field("at", geo_radius=models.GeoRadius(center=ZURICH, radius=20_000.0)),
    field(
        "at",
        geo_bounding_box=models.GeoBoundingBox(
            top_left=models.GeoPoint(lon=8.0, lat=48.0),
            bottom_right=models.GeoPoint(lon=9.0, lat=47.0),
        ),
    ),
    field("at", geo_polygon=models.GeoPolygon(exterior=AROUND)),
    field("at", geo_polygon=models.GeoPolygon(exterior=AROUND, interiors=[HOLE])),
    field("tags", values_count=models.ValuesCount(gte=2)),
    field("tags", values_count=models.ValuesCount(lt=2)),
    field("tags", is_empty=True),
    field("tags", is_empty=False),
    field("price", is_null=True),
    field("price", is_null=False),
    models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")),
    models.IsNullCondition(is_null=models.PayloadField(key="kind")),
    models.HasIdCondition(has_id=[node_id(n) for n in (1, 2, 30, 99)]),
    models.HasVectorCondition(has_vector="text-dense"),
    models.HasVectorCondition(has_vector="none"),
    models.SliceCondition(slice=models.Slice(total=2, index=0)),
    models.NestedCondition(
        nested=models.Nested(
            key="parts",
            filter=models.Filter(must=[match("of", value="oak"), match("n", value=2)]),
        )
    ),
    models.NestedCondition(
        nested=models.Nested(
            key="parts[]", filter=models.Filter(must_not=[match("of", value="oak")])
        )
    ),
    match("parts[].of", value="tin"),
    match("made.year", value=2020),
    models.Filter(
        min_should=models.MinShould(
            conditions=[
                match("kind", value="lamp"),
                match("seen", value=True),
                match("n", any=[1, 2]),
            ],
            min_count=2,
        )
    ),
    models.Filter(should=[], must=[]),
    models.Filter(),
]


def natives() -> list[models.Filter]:
    """Return each condition in each clause, and random trees of them."""
    rng = random.Random(7)
    clauses = ("must", "should", "must_not")
    single = [
        models.Filter(**{clause: condition if n % 2 else [condition]})
        for (n, condition), clause in itertools.product(enumerate(NATIVE), clauses)
    ]

    def tree(floors: int) -> models.Filter:
        return models.Filter(
            **{
                clause: [
                    tree(floors - 1)
                    if floors and rng.random() < 0.4
                    else rng.choice(NATIVE)
                    for _ in range(rng.randint(1, 3))
                ]
                for clause in rng.sample(clauses, rng.randint(1, 2))
            }
        )

    return single + [tree(2) for _ in range(200)]


def test_filters_of_qdrants_own_find_the_same(pair):
    given = natives()
    assert len(given) > 300
    taken = [metadata_filters(one) for one in given]
    differing, n_selective = differences(pair, [one for one in taken if one])
    assert differing == []
    assert n_selective > 150


def test_filters_of_both_kinds_find_what_each_does(pair, answerable):
    rng = random.Random(3)
    mixed = []
    for mine, theirs in zip(built(answerable, 200), natives()[:200], strict=False):
        both = [mine, theirs, {"kind": "lamp"}][: rng.randint(2, 3)]
        joined = metadata_filters(both)
        assert joined is not None
        mixed.append(joined)
        alone = [asked(pair[0], f)[0] for f in map(metadata_filters, both) if f]
        assert asked(pair[0], joined)[0] == frozenset.intersection(*alone)
    differing, n_selective = differences(pair, mixed)
    assert differing == []
    assert n_selective > 50


async def test_asynchronous_searches_and_lookups_find_the_same(pair):
    filters = metadata_filters([{"kind": "lamp"}, models.Filter(must_not=NATIVE[2])])
    query = VectorStoreQuery(
        [1.0, 0.5, -0.5, 0.1], similarity_top_k=99, filters=filters
    )
    for collection in pair:
        found = frozenset(hit.node_id for hit in await collection.asearch(query))
        read = frozenset(n.node_id for n in await collection.anodes_where(filters))
        assert {found, read} == {asked(pair[0], filters)[0]}
        assert found


def test_documents_and_nodes_narrow_beside_filters(pair):
    query = VectorStoreQuery(
        [1.0, 0.5, -0.5, 0.1],
        similarity_top_k=99,
        filters=metadata_filters(models.Filter(must_not=match("kind", value="lamp"))),
        doc_ids=["doc-1", "doc-2"],
        node_ids=[node_id(n) for n in range(20)],
    )
    edge, local = ({hit.node_id for hit in one.search(query)} for one in pair)
    nodes = [n for n in make_nodes()[:20] if n.ref_doc_id in ("doc-1", "doc-2")]
    wanted = {n.node_id for n in nodes if n.metadata.get("kind") != "lamp"}
    assert edge == local == wanted
    assert 3 < len(wanted) < 10


def test_filter_without_a_vector_takes_the_lowest_ids(pair):
    filters = metadata_filters({"kind": "lamp"})
    query = VectorStoreQuery(similarity_top_k=2, filters=filters)
    everything = VectorStoreQuery(similarity_top_k=99, filters=filters)
    for collection in pair:
        ids = [hit.node_id for hit in collection.search(everything)]
        assert ids == sorted(ids)
        assert [hit.node_id for hit in collection.search(query)] == ids[:2]
