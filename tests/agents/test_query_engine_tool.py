"""A query engine as agents call it: the answer, and the blocks of what it cites."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import TextBlock
from llama_index.core.base.response.schema import PydanticResponse, Response
from llama_index.core.indices.query.query_transform.base import (
    IdentityQueryTransform,
)
from llama_index.core.query_engine import (
    RetrieverQueryEngine,
    RouterQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import QueryBundle
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool, ToolOutput
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from pydantic import BaseModel

from llama_index_mmrag import (
    KeepPicture,
    MultiModalQdrantIndex,
    MultiModalQueryEngineTool,
    MultiModalRetrieverTool,
    MultiModalSynthesizer,
)
from llama_index_mmrag.errors import InvalidSetting

from ..support.agents import CallsOnce, agents, texts
from ..support.openai_server import ToolCall

NAME = "ask_texts_and_pictures"
BLUE = [{"key": "file_name", "operator": "==", "value": "blue.md"}]


def engine_of(index: MultiModalQdrantIndex, llm: Any, **settings: Any) -> Any:
    return RetrieverQueryEngine(
        index.as_retriever(top_k=2),
        response_synthesizer=MultiModalSynthesizer(llm, **settings),
    )


@pytest.fixture(params=["retriever", "engine"])
def either(request, index) -> Any:
    """Return one of our tools, that may set a filter on the file's name."""
    if request.param == "engine":
        engine = index.as_query_engine()
        return MultiModalQueryEngineTool(engine, filter_keys=["file_name"])
    return MultiModalRetrieverTool(index.as_retriever(), filter_keys=["file_name"])


async def both(tool: MultiModalQueryEngineTool, **arguments: Any) -> ToolOutput:
    """Return what both ways of calling return, which is the same."""
    here, there = tool.call(**arguments), await tool.acall(**arguments)
    assert here.blocks == there.blocks
    assert here.is_error is there.is_error
    assert type(here.raw_output) is type(there.raw_output)
    return there


class TestTheAnswer:
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_it_comes_with_what_it_cites_under_its_labels(
        self, server, llm, index, streaming
    ):
        server.script("Light, not red [3]; see [2] and [9].")
        tool = MultiModalQueryEngineTool(engine_of(index, llm, streaming=streaming))
        output = await both(tool, query="red")
        assert texts(output) == [
            "Light, not red [3]; see [2] and.\n",
            "\nSources:\n",
            "[2] image from red.png:\nA red cube\n",
            "<image>",
            "[3] text from blue.md:\nThe blue cube is light.\n",
        ]
        assert output.tool_name == NAME
        assert output.raw_input == {"query": "red"}

    async def test_the_raw_output_is_the_response_with_all_sources(
        self, server, llm, index
    ):
        server.script("Heavy [1].")
        tool = MultiModalQueryEngineTool(engine_of(index, llm))
        output = await both(tool, query="red")
        response = output.raw_output
        assert isinstance(response, Response)
        assert len(response.source_nodes) == 3
        assert response.metadata["cited"] == {"1": 1}
        assert response.metadata["citations"]["1"]["found_by"]
        assert output.model_dump_json()

    async def test_one_that_cites_nothing_comes_alone(self, server, llm, index):
        server.script("I do not know.")
        tool = MultiModalQueryEngineTool(engine_of(index, llm))
        assert texts(await both(tool, query="red")) == ["I do not know.\n"]

    async def test_pictures_have_a_budget_and_the_rest_is_counted(
        self, server, llm, index
    ):
        server.script("Heavy [1][2].")
        tool = MultiModalQueryEngineTool(engine_of(index, llm), max_image_bytes=9)
        assert texts(await both(tool, query="red"))[2:] == [
            "[1] text from red.md:\nThe red cube is heavy.\n\nA red cube\n",
            "Results that could not be shown: 1.\n",
        ]

    async def test_an_object_is_its_json_and_stays_an_object(self, server, llm, index):
        class Weight(BaseModel):
            text: str

        server.script(ToolCall("Weight", {"text": "Heavy [1][9]."}))
        engine = engine_of(index, llm, output_cls=Weight)
        output = await both(MultiModalQueryEngineTool(engine), query="red")
        assert texts(output)[0] == '{"text":"Heavy [1]."}\n'
        assert isinstance(output.raw_output, PydanticResponse)
        assert output.raw_output.response == Weight(text="Heavy [1].")

    async def test_without_an_llm_it_is_the_evidences_own(self, index):
        tool = MultiModalQueryEngineTool(index.as_query_engine())
        output = await both(tool, query="Is the red cube heavy?", top_k=1)
        assert texts(output)[0].startswith("The red cube is heavy. [1]")

    async def test_another_synthesizers_sources_are_all_returned(
        self, server, llm, index
    ):
        server.script("Heavy.")
        engine = RetrieverQueryEngine(
            index.as_retriever(top_k=1),
            response_synthesizer=get_response_synthesizer(llm=llm),
        )
        assert texts(await both(MultiModalQueryEngineTool(engine), query="red")) == [
            "Heavy.\n",
            "\nSources:\n",
            "[1] text from red.md:\nThe red cube is heavy.\n\nA red cube\n",
            "[2] image from red.png:\nA red cube\n",
            "<image>",
        ]


class TestArguments:
    async def test_top_k_is_the_models_and_left_out_the_engines(self, index):
        tool = MultiModalQueryEngineTool(index.as_query_engine(top_k=1))
        usual = await both(tool, query="red")
        more = await both(tool, query="red", top_k=2)
        again = await both(tool, query="red", top_k=None)
        shown = [len(o.raw_output.source_nodes) for o in (usual, more, again)]
        assert shown == [2, 3, 2]

    async def test_filters_narrow_and_never_widen(self, index):
        tool = MultiModalQueryEngineTool(
            index.as_query_engine(), filter_keys=["file_name"]
        )
        output = await both(tool, query="red", filters=BLUE)
        assert texts(output)[0] == "The blue cube is light. [1]\n"
        refused = await both(tool, query="red", filters=[{"key": "x", "value": "y"}])
        assert refused.is_error is True

    async def test_a_picture_in_an_allowed_folder_is_asked_about(self, index, library):
        tool = MultiModalQueryEngineTool(index.as_query_engine(), image_roots=[library])
        output = await both(tool, image_path="red.png", top_k=1)
        assert texts(output)[0].startswith("The picture is most like “A red cube”")
        outside = await both(tool, query="red", image_path="../secret.png")
        assert outside.is_error is True
        assert "no picture '../secret.png'" in outside.content

    async def test_an_empty_question_is_an_error_for_the_model(self, index):
        tool = MultiModalQueryEngineTool(index.as_query_engine())
        output = await both(tool, query="")
        assert output.is_error is True
        assert output.content.startswith("The search failed: ")

    async def test_another_engine_is_asked_with_words_and_pictures_alone(
        self, index, library
    ):
        inner = index.as_query_engine(top_k=1)
        engine = TransformQueryEngine(inner, KeepPicture(IdentityQueryTransform()))
        tool = MultiModalQueryEngineTool(engine, image_roots=[library])
        properties = tool.metadata.get_parameters_dict()["properties"]
        assert list(properties) == ["query", "image_path"]
        output = await both(tool, query="", image_path="red.png")
        assert texts(output)[0].startswith("The picture is most like")
        with pytest.raises(InvalidSetting, match="TransformQueryEngine takes no filt"):
            MultiModalQueryEngineTool(engine, filter_keys=["file_name"])

    def test_its_answer_can_be_the_agents(self, index):
        tool = MultiModalQueryEngineTool(index.as_query_engine(), return_direct=True)
        assert tool.metadata.return_direct is True

    @pytest.mark.parametrize("budget", [{"max_images": -1}, {"max_image_bytes": 0}])
    def test_a_budget_out_of_range_is_refused(self, index, budget):
        with pytest.raises(InvalidSetting, match=next(iter(budget))):
            MultiModalQueryEngineTool(index.as_query_engine(), **budget)


class TestLlamaIndexsOwnTool:
    async def test_it_passes_on_words_and_returns_the_text_and_the_response(
        self, index
    ):
        tool = QueryEngineTool.from_defaults(index.as_query_engine(top_k=1))
        output = await tool.acall(input="Is the red cube heavy?")
        assert output.content.startswith("The red cube is heavy. [1]")
        assert [type(block) for block in output.blocks] == [TextBlock]
        assert output.raw_output.metadata["cited"] == {"1": 1, "2": 1}

    async def test_ours_can_stand_where_it_stands_in_a_router(self, server, llm, index):
        server.script('[{"choice": 1, "reason": "It knows of cubes."}]')
        router = RouterQueryEngine.from_defaults(
            [MultiModalQueryEngineTool(index.as_query_engine())],
            llm=llm,
            selector=LLMSingleSelector.from_defaults(llm=llm),
        )
        answer = router.query("Is the red cube heavy?")
        assert str(answer).startswith("The red cube is heavy. [1]")


@agents
class TestWithAgents:
    async def test_a_function_agent_over_openais_client_sets_filters(
        self, server, llm, either
    ):
        call = ToolCall(either.metadata.name, {"query": "red", "filters": BLUE})
        server.script(call, "Light [1].")
        agent = FunctionAgent(tools=[either], llm=llm, streaming=False)
        assert str(await agent.run("What is in the blue file?")) == "Light [1]."
        asked, answered = server.requests
        offered = asked["tools"][0]["function"]["parameters"]["$defs"]["Condition"]
        assert offered["properties"]["key"]["const"] == "file_name"
        told = answered["messages"][-1]["content"]
        assert "[1] text from blue.md:\nThe blue cube is light.\n" in told
        assert "red.md" not in told

    async def test_a_function_agents_model_sees_the_answer_and_its_picture(self, index):
        tool = MultiModalQueryEngineTool(index.as_query_engine())
        question = "Is the red cube heavy?"
        model = CallsOnce(NAME, "Heavy [1].", query=question, top_k=1)
        agent = FunctionAgent(tools=[tool], llm=model.by_function())
        assert str(await agent.run(question)) == "Heavy [1]."
        assert texts(model.told)[0] == (
            "The red cube is heavy. [1]\n\nPicture: “A red cube” [2].\n"
        )
        assert texts(model.told)[-1] == "<image>"

    async def test_a_react_agent_sets_filters_and_reads_the_labels(self, either):
        model = CallsOnce(either.metadata.name, "Light [1].", query="red", filters=BLUE)
        agent = ReActAgent(tools=[either], llm=model.by_words())
        assert str(await agent.run("What of the blue one?")) == "Light [1]."
        observed = model.told.content
        assert "[1] text from blue.md:\nThe blue cube is light." in observed
        assert "red.md" not in observed

    async def test_a_workflows_step_calls_it_and_reads_the_raw_output(self, either):
        class Names(Workflow):
            @step
            async def look(self, event: StartEvent) -> StopEvent:
                output = await either.acall(query=event.question, top_k=1)
                raw = output.raw_output
                results = raw if isinstance(raw, list) else raw.source_nodes
                return StopEvent(
                    result=[r.provenance.contributions[0].route for r in results]
                )

        result = await Names(timeout=20).run(question="red")
        assert result == ["text→text", "text→text"]


async def test_the_engines_own_query_is_not_changed(index):
    engine = index.as_query_engine(top_k=1)
    tool = MultiModalQueryEngineTool(engine)
    assert tool.query_engine is engine
    await both(tool, query="red", top_k=2)
    assert len(engine.query(QueryBundle("red")).source_nodes) == 2
