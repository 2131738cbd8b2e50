"""Filters that a model sets: only on allowed keys, and only to narrow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools import ToolOutput
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalRetrieverTool,
    RetrieverChannel,
)
from llama_index_mmrag.errors import InvalidSetting

from ..support.colours import channel, ids_of, image_node, text_node, uid

KEYS = {"shop": "name of the shop", "year": "year of printing"}


def where(key: str, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def found(output: ToolOutput) -> list[str]:
    assert output.is_error is False, output.content
    return sorted(result.node.get_content() for result in output.raw_output)


@pytest.fixture(params=["edge", "local"])
def retriever(request, open_store, encoder) -> MultiModalFusionRetriever:
    nodes = [
        text_node(f"red {shop} {year}", shop=shop, year=year)
        for shop in "AB"
        for year in (2023, 2024, 2025)
    ]
    store = open_store(request.param, nodes)
    return MultiModalFusionRetriever([channel("text", store, encoder)])


@pytest.fixture
def tool(retriever) -> MultiModalRetrieverTool:
    return MultiModalRetrieverTool(retriever, filter_keys=KEYS)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([{"key": "year", "operator": ">=", "value": 2025}], ["A 2025", "B 2025"]),
        ([{"key": "year", "operator": "<", "value": 2024}], ["A 2023", "B 2023"]),
        ([{"key": "shop", "value": "A"}], ["A 2023", "A 2024", "A 2025"]),
        (
            [
                {"key": "shop", "operator": "!=", "value": "A"},
                {"key": "year", "operator": "in", "value": [2023, 2025]},
            ],
            ["B 2023", "B 2025"],
        ),
        (
            [
                {"key": "shop", "operator": "nin", "value": ["A"]},
                {"key": "year", "operator": "<=", "value": 2023},
            ],
            ["B 2023"],
        ),
        ([{"key": "shop", "value": "C"}], []),
    ],
)
async def test_every_condition_holds_for_every_result(tool, filters, expected):
    arguments = {"query": "red", "top_k": 9, "filters": filters}
    expected = [f"red {each}" for each in expected]
    assert found(tool.call(**arguments)) == expected
    assert found(await tool.acall(**arguments)) == expected


@pytest.mark.parametrize("none", [None, []])
def test_no_conditions_filter_nothing_out(tool, none):
    assert len(found(tool.call(query="red", top_k=9, filters=none))) == 6
    assert len(found(tool.call(query="red", top_k=9))) == 6


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], ["red A 2023", "red A 2024", "red A 2025"]),
        ([{"key": "shop", "operator": "!=", "value": "A"}], []),
        ([{"key": "shop", "value": "B"}], []),
        (
            [{"key": "shop", "operator": "in", "value": ["A", "B"]}],
            ["red A 2023", "red A 2024", "red A 2025"],
        ),
        ([{"key": "year", "operator": ">", "value": 2024}], ["red A 2025"]),
    ],
)
def test_a_model_cannot_widen_what_the_developer_allows(retriever, asked, expected):
    allowed = retriever.with_filters(where("shop", "A"))
    tool = MultiModalRetrieverTool(allowed, filter_keys=KEYS)
    assert found(tool.call(query="red", top_k=9, filters=asked)) == expected
    # One call's conditions are not the next one's.
    assert len(found(tool.call(query="red", top_k=9))) == 3
    assert len(retriever.retrieve("red")) == 6


def test_channels_keep_their_own_filters_too(open_store, encoder, paint):
    texts = open_store("edge", [text_node(f"red {s}", shop=s, secret=s) for s in "AB"])
    pictures = [image_node(paint(c), shop="A", secret="B") for c in ("red", "blue")]
    retriever = MultiModalFusionRetriever(
        [
            channel("text", texts, encoder, filters=where("secret", "A")),
            channel("image", open_store("edge", pictures), encoder),
        ],
        filters=where("shop", "A"),
    )
    tool = MultiModalRetrieverTool(retriever, filter_keys=["secret"])
    b_alone = tool.call(query="red", filters=[{"key": "secret", "value": "B"}])
    assert ids_of(b_alone.raw_output) == [uid("image red"), uid("image blue")]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ([{"key": "secret", "value": "x"}], "Input should be 'shop' or 'year'"),
        ([{"key": "shop", "operator": "or", "value": "x"}], "Input should be '=='"),
        ([{"key": "shop", "operator": "in", "value": "A"}], "expected a list"),
        ([{"key": "shop", "value": ["A"]}], "expected a single text or number"),
        ([{"key": "shop", "value": None}], "filters.0.value"),
        ([{"key": "shop", "value": "A", "condition": "or"}], "Extra inputs"),
        ([{"filters": [], "condition": "or"}], "filters.0.key"),
        ({"shop": "A"}, "valid list"),
        ([{"key": "shop", "value": "A"}] * 11, "at most 10 items"),
    ],
)
async def test_anything_else_is_an_error_that_tells_the_model_why(tool, filters, said):
    here = tool.call(query="red", filters=filters)
    there = await tool.acall(query="red", filters=filters)
    assert here.is_error is there.is_error is True
    assert said in here.content
    assert here.content == there.content


def test_by_default_a_model_is_offered_no_filters_and_has_none(retriever):
    tool = MultiModalRetrieverTool(retriever)
    assert "filters" not in tool.metadata.get_parameters_dict()["properties"]
    output = tool.call(query="red", filters=[{"key": "shop", "value": "A"}])
    assert output.is_error is True
    assert "Extra inputs" in output.content


def test_a_model_is_told_the_keys_what_they_hold_and_the_operators(tool):
    described = tool.metadata.to_openai_tool()
    assert json.loads(json.dumps(described)) == described
    parameters = described["function"]["parameters"]
    assert list(parameters["properties"]) == ["query", "top_k", "filters"]
    assert parameters["properties"]["filters"]["description"] == (
        "Conditions that every result meets. Keys: shop (name of the shop), year "
        "(year of printing)."
    )
    condition = parameters["$defs"]["Condition"]["properties"]
    assert condition["key"]["enum"] == ["shop", "year"]
    assert condition["operator"]["enum"] == (
        ["==", "!=", ">", ">=", "<", "<=", "in", "nin"]
    )


def test_keys_need_no_description(retriever):
    tool = MultiModalRetrieverTool(retriever, filter_keys=["shop"])
    properties = tool.metadata.get_parameters_dict()["properties"]
    assert properties["filters"]["description"].endswith("Keys: shop.")


class Mute(BaseRetriever):
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return []


def test_a_channel_that_cannot_filter_is_refused_before_any_model_asks():
    retriever = MultiModalFusionRetriever([RetrieverChannel("bm25", retriever=Mute())])
    MultiModalRetrieverTool(retriever)
    with pytest.raises(InvalidSetting, match="bm25"):
        MultiModalRetrieverTool(retriever, filter_keys=KEYS)
