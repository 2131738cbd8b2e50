"""The tool as agents call it: blocks, provenance, pictures it may read, real agents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.agent.workflow.workflow_events import ToolCallResult
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.tools.calling import acall_tool, call_tool
from PIL import Image

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    MultiModalRetrieverTool,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidQuery, InvalidSetting

from ..support.agents import CallsOnce, agents, texts
from ..support.colours import channel, ids_of, image_node, text_node, uid, why
from ..support.openai_server import ToolCall
from ..support.stores import FaultyStore

pytestmark = [
    # QdrantVectorStore always asks for an index on doc_id; local mode says it has none.
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

NAME = "search_texts_and_pictures"


@pytest.fixture(scope="module")
def secrets(library: Path, index: MultiModalQdrantIndex) -> Path:
    """The folder around the library, with pictures and links that lead out of it."""
    shelf = library.parent
    (shelf / "library-secret").mkdir()
    for place in (shelf, shelf / "library-secret"):
        Image.new("RGB", (16, 12), "red").save(place / "secret.png")
    (library / "link.png").symlink_to(shelf / "secret.png")
    (library / "folder").symlink_to(shelf)
    (library / "loop.png").symlink_to(library / "loop.png")
    return shelf


@pytest.fixture
def tool(index: MultiModalQdrantIndex) -> MultiModalRetrieverTool:
    return index.as_tool()


@pytest.fixture
def seeing(index: MultiModalQdrantIndex, library: Path) -> MultiModalRetrieverTool:
    """A tool that may read the library's pictures."""
    return index.as_tool(image_roots=[library])


RED = [
    "[1] text from red.md:\nThe red cube is heavy.\n\nA red cube\n",
    "[2] image from red.png:\nA red cube\n",
    "<image>",
]


class TestSearching:
    async def test_labelled_texts_and_pictures_come_back(self, tool):
        here = tool.call(query="red", top_k=1)
        there = await tool.acall(query="red", top_k=1)
        for output in (here, there, tool(query="red", top_k=1)):
            assert texts(output) == RED
            assert output.is_error is False
            assert output.tool_name == NAME
            assert output.raw_input == {"query": "red", "top_k": 1}
        assert [type(block) for block in here.blocks].count(ImageBlock) == 1
        assert here.blocks == there.blocks

    def test_the_raw_output_has_the_provenance_of_entities_not_nodes(self, tool):
        one = tool.call(query="red", top_k=1).raw_output
        assert len(one) == 2
        assert len({why(result).entity_id for result in one}) == 1
        routes = {c.route for c in why(one[0]).contributions}
        assert routes == {"text→text", "text→image"}
        both = tool.call(query="red", top_k=2).raw_output
        assert len(both) == 3
        assert len({why(result).entity_id for result in both}) == 2

    @pytest.mark.parametrize(
        ("positional", "named"),
        [
            (("red",), {"top_k": 1}),
            (({"query": "red"},), {"top_k": 1}),
            (({"query": "blue", "top_k": 1},), {"query": "red"}),
            ((), {"input": "red", "top_k": 1}),
            ((), {"query": "red", "top_k": "1"}),
        ],
        ids=["text", "dict", "named wins", "input", "number as text"],
    )
    async def test_every_way_of_calling_asks_the_same(self, tool, positional, named):
        assert texts(tool.call(*positional, **named)) == RED
        assert texts(await tool.acall(*positional, **named)) == RED

    async def test_llama_indexs_own_way_of_calling_tools_works(self, tool):
        arguments = {"query": "red"}
        assert texts(call_tool(tool, arguments)) == texts(tool.call(query="red"))
        assert texts(await acall_tool(tool, arguments)) == texts(tool.call("red"))

    async def test_it_searches_as_deep_as_asked_whatever_the_retriever_does(
        self, open_store, encoder
    ):
        nodes = [text_node("red", name=f"red {n}") for n in range(30)]
        store = open_store("edge", nodes)
        retriever = MultiModalFusionRetriever(
            [channel("text", store, encoder, top_k=5)], top_k=3
        )
        tool = MultiModalRetrieverTool(retriever)
        assert len(tool.call(query="red", top_k=25).raw_output) == 25
        assert len((await tool.acall(query="red", top_k=25)).raw_output) == 25
        assert len(tool.call(query="red").raw_output) == 3
        assert len(retriever.retrieve("red")) == 3
        assert retriever.channels[0].top_k == 5

    def test_without_words_that_match_it_still_says_so_in_words(self, tmp_path):
        empty = MultiModalQdrantIndex.open(tmp_path / "e", embed_model=ColourEncoder())
        with empty:
            output = empty.as_tool().call(query="red")
        assert texts(output) == ["Nothing was found.\n"]
        assert (output.is_error, output.raw_output) == (False, [])

    def test_what_is_not_shown_is_counted(self, index):
        output = index.as_tool(max_images=0).call(query="red", top_k=1)
        assert texts(output) == RED[:2]
        (picture,) = [r for r in output.raw_output if r.node.class_name() != "TextNode"]
        path = Path(picture.node.image_path)
        away = path.rename(path.with_suffix(".away"))
        output = index.as_tool().call(query="red", top_k=1)
        away.rename(path)
        assert texts(output) == RED[:2], "its caption"
        output = index.as_tool(max_image_bytes=1).call(query="red", top_k=1)
        assert texts(output)[-1] == "Results that could not be shown: 1.\n"
        assert len(output.raw_output) == 1

    def test_a_route_that_gave_no_answer_is_named(self, open_store, encoder, paint):
        broken = open_store(FaultyStore, [image_node(paint("red"))])
        broken._error = ConnectionError("lost")
        retriever = MultiModalFusionRetriever(
            [
                channel("text", open_store("edge", [text_node("red")]), encoder),
                channel("image", broken, encoder),
            ]
        )
        output = MultiModalRetrieverTool(retriever).call(query="red")
        assert texts(output)[-1] == "Searches that gave no answer: text→image.\n"
        assert ids_of(output.raw_output) == [uid("text red")]


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({}, "query: Field required"),
            ({"query": 3}, "query: Input should be a valid string"),
            ({"query": "red", "top_k": 0}, "top_k: Input should be greater"),
            ({"query": "red", "top_k": 51}, "top_k: Input should be less"),
            ({"query": "red", "top_k": "many"}, "top_k: Input should be a valid int"),
            ({"query": "red", "k": 3}, "k: Extra inputs are not permitted"),
            ({"query": " "}, "neither words nor a picture"),
            ({"query": "red", "image_path": "red.png"}, "image_path: Extra inputs"),
        ],
    )
    async def test_they_are_an_error_that_says_what_to_do(self, tool, arguments, named):
        for output in (tool.call(**arguments), await tool.acall(**arguments)):
            assert output.is_error is True
            assert output.content.startswith("The search failed: ")
            assert named in output.content
            assert output.raw_input == arguments
            assert isinstance(output.exception, InvalidQuery)
            assert output.raw_output == str(output.exception)
        if "neither" not in named:
            assert "Call the tool again with query, top_k." in output.content

    async def test_a_store_that_fails_is_an_error_for_the_agent_not_a_crash(
        self, open_store, encoder
    ):
        store = open_store(FaultyStore, [text_node("red")])
        store._error = ConnectionError("lost")
        retriever = MultiModalFusionRetriever([channel("text", store, encoder)])
        tool = MultiModalRetrieverTool(retriever)
        for output in (tool.call(query="red"), await tool.acall(query="red")):
            assert output.is_error is True
            assert "ConnectionError: lost" in output.content

    @pytest.mark.parametrize(
        "budget",
        [
            {"max_images": -1},
            {"max_image_side": 0},
            {"max_image_bytes": 0},
            {"evidence_order": "page"},
            {"image_roots": "library"},
            {"filter_keys": "year"},
        ],
        ids=lambda setting: next(iter(setting)),
    )
    def test_a_setting_out_of_range_is_refused(self, index, budget):
        with pytest.raises(InvalidSetting, match=next(iter(budget))):
            index.as_tool(**budget)


class TestPicturesItMayRead:
    @pytest.mark.parametrize(
        "path", ["red.png", "{library}/red.png", "library/red.png"]
    )
    async def test_one_in_its_folders_is_searched_by(
        self, seeing, library, monkeypatch, path
    ):
        monkeypatch.chdir(library.parent)
        path = path.format(library=library)
        output = seeing.call(image_path=path, top_k=1)
        assert output.is_error is False, output.content
        assert "[1] image from red.png:\nA red cube\n" in texts(output)
        assert (await seeing.acall(image_path=path, top_k=1)).blocks == output.blocks
        routes = {c.route for r in output.raw_output for c in why(r).contributions}
        assert routes == {"image→image"}

    async def test_words_and_a_picture_are_searched_by_together(self, seeing):
        output = await seeing.acall(query="red", image_path="red.png", top_k=1)
        routes = {c.route for r in output.raw_output for c in why(r).contributions}
        assert routes == {"text→text", "text→image", "image→image"}

    @pytest.mark.parametrize("nothing", ["", None])
    def test_no_path_is_no_picture(self, seeing, nothing):
        output = seeing.call(query="red", image_path=nothing, top_k=1)
        assert texts(output) == RED

    @pytest.mark.parametrize(
        "path",
        [
            "{outside}/secret.png",
            "../secret.png",
            "{library}/../secret.png",
            "link.png",
            "{library}/link.png",
            "folder/secret.png",
            "loop.png",
            "{library}",
            "missing.png",
            "red.png\0",
            "x" * 5000,
            "~/secret.png",
            "file://{library}/red.png",
            "{library}-secret/secret.png",
        ],
    )
    async def test_any_other_is_refused_in_the_same_words(
        self, seeing, library, secrets, path
    ):
        asked = path.format(library=library, outside=secrets)
        arguments = {"query": "red", "image_path": asked}
        for output in (seeing.call(**arguments), await seeing.acall(**arguments)):
            assert output.is_error is True
            assert [type(block) for block in output.blocks] == [TextBlock]
            assert output.content == (
                f"The search failed: The folders that this tool may read have no "
                f"picture {asked!r}. Give a path relative to one of them, or search by "
                f"words."
            )

    @pytest.mark.parametrize(
        ("asked", "said"),
        [({"image_path": "red.md"}, "red.md"), ({"query": "", "image_path": ""}, "")],
        ids=["no picture", "nothing at all"],
    )
    async def test_what_cannot_be_searched_by_is_an_error(self, seeing, asked, said):
        for output in (seeing.call(**asked), await seeing.acall(**asked)):
            assert output.is_error is True
            assert said in output.content

    def test_by_default_there_are_none_and_the_model_is_not_told_of_paths(self, tool):
        assert "image_path" not in tool.metadata.get_parameters_dict()["properties"]
        output = tool.call(query="red", image_path="/etc/hostname")
        assert output.is_error is True


class TestSchema:
    @pytest.mark.parametrize("which", ["tool", "seeing"])
    def test_it_is_one_that_openai_takes(self, request, which):
        tool = request.getfixturevalue(which)
        described = tool.metadata.to_openai_tool()
        assert json.loads(json.dumps(described)) == described
        function = described["function"]
        assert function["name"] == NAME
        assert len(function["description"]) <= 1024
        parameters = function["parameters"]
        assert parameters["type"] == "object"
        assert all("description" in p for p in parameters["properties"].values())

    def test_words_are_required_where_no_picture_may_stand_alone(self, tool, seeing):
        parameters = tool.metadata.get_parameters_dict()
        assert list(parameters["properties"]) == ["query", "top_k"]
        assert parameters["required"] == ["query"]
        parameters = seeing.metadata.get_parameters_dict()
        assert set(parameters["properties"]) == {"query", "top_k", "image_path"}
        assert "required" not in parameters

    def test_name_and_description_can_be_given(self, index):
        tool = index.as_tool(name="cubes", description="Knows of cubes.")
        assert tool.metadata.name == "cubes"
        assert tool.metadata.description == "Knows of cubes."
        assert tool.call(query="red").tool_name == "cubes"

    def test_outputs_can_be_kept_as_json(self, tool):
        for output in (tool.call(query="red"), tool.call()):
            kept = json.loads(output.model_dump_json())
            assert kept["tool_name"] == NAME


@agents
class TestWithAgents:
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_a_function_agents_model_sees_labels_texts_and_pictures(
        self, tool, streaming
    ):
        model = CallsOnce(NAME, "The red cube is heavy [1].", query="red", top_k=1)
        llm = model.by_function()
        agent = FunctionAgent(tools=[tool], llm=llm, streaming=streaming)
        output = await agent.run("Is the red cube heavy?")
        assert str(output) == "The red cube is heavy [1]."
        assert model.told.role == "tool"
        assert texts(model.told) == RED

    async def test_an_agent_is_told_of_a_failed_search_and_goes_on(self, tool):
        model = CallsOnce(NAME, "I do not know.", query="red", top_k=99)
        workflow = AgentWorkflow.from_tools_or_functions(
            [tool], llm=model.by_function()
        )
        handler = workflow.run("Heavy?")
        results = [
            e async for e in handler.stream_events() if type(e) is ToolCallResult
        ]
        assert str(await handler) == "I do not know."
        assert [result.tool_output.is_error for result in results] == [True]
        told = model.told.content
        assert "top_k: Input should be less than or equal to 50" in told

    async def test_a_react_agent_reads_labels_texts_and_captions(self, tool):
        model = CallsOnce(NAME, "Heavy [1].", query="red", top_k=1)
        agent = ReActAgent(tools=[tool], llm=model.by_words())
        assert str(await agent.run("Is the red cube heavy?")) == "Heavy [1]."
        observed = model.told.content
        assert observed.startswith("Observation: [1] ")
        assert "The red cube is heavy." in observed
        assert "image from red.png:\nA red cube" in observed


@agents
class TestOverOpenAIsClient:
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_labels_texts_and_captions_reach_the_model_and_pictures_do_not(
        self, server, llm, tool, streaming
    ):
        server.script(ToolCall(NAME, {"query": "red", "top_k": 1}), "Heavy [1].")
        agent = FunctionAgent(tools=[tool], llm=llm, streaming=streaming)
        assert str(await agent.run("Is the red cube heavy?")) == "Heavy [1]."
        asked, answered = server.requests
        assert asked["tools"][0]["function"]["name"] == NAME
        told = answered["messages"][-1]
        assert (told["role"], told["tool_call_id"]) == ("tool", "call-1")
        # OpenAI's chat API takes text alone from a tool.
        assert isinstance(told["content"], str)
        for line in ("[1] ", "[2] ", "The red cube is heavy.", "A red cube"):
            assert line in told["content"]


class TestANarrowerRetriever:
    @pytest.fixture
    def retriever(self, open_store, encoder) -> MultiModalFusionRetriever:
        # From red to green, each further from red than the one before.
        nodes = [text_node("red " * (20 - n) + "green " * n) for n in range(20)]
        return MultiModalFusionRetriever(
            [channel("text", open_store("edge", nodes), encoder, top_k=4)], top_k=3
        )

    def test_a_smaller_top_k_gives_the_first_of_the_same_ranking(self, retriever):
        wide = retriever.with_top_k(15)
        assert wide.channels is retriever.channels, "with their sample for calibration"
        found = ids_of(wide.retrieve("red"))
        assert len(found) == 15
        assert ids_of(retriever.with_top_k(2).retrieve("red")) == found[:2]
        with pytest.raises(InvalidSetting, match="top_k is 0"):
            retriever.with_top_k(0)
