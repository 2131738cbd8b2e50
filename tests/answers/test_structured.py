"""Structured answers: objects through a real client, their texts' citations checked."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from llama_index.core.base.response.schema import PydanticResponse, Response
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, ConfigDict, RootModel

from llama_index_mmrag import (
    MultiModalQdrantIndex,
    MultiModalQuery,
    MultiModalSynthesizer,
    describe_sources,
)
from llama_index_mmrag.answers.structured import map_strings
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidSetting

from ..support.colours import Paint, ids_of, image_node, ranked, text_node, uid
from ..support.openai_server import Reply, ToolCall


class Step(BaseModel):
    """One step."""

    text: str
    tools: list[str] = []


class Manual(BaseModel):
    """How it is done."""

    title: str
    steps: list[Step]
    n_minutes: int = 0


WRITTEN = {
    "title": "Cubes [1][9]",
    "steps": [
        {"text": "Lift it [1, 2] {gently} [7].", "tools": ["[2]", "[8]", "glove [8]"]},
        {"text": "Put it down."},
    ],
    "n_minutes": 9,
}
CHECKED = Manual(
    title="Cubes [1]",
    steps=[
        Step(text="Lift it [1][2] {gently}.", tools=["[2]", "glove"]),
        Step(text="Put it down."),
    ],
    n_minutes=9,
)

WAYS = ["function", "schema", "prompt"]
"""How a client gets an object out of a model: a tool, `response_format`, or begging."""


def reply_of(way: str, value: dict[str, Any]) -> Reply:
    if way == "function":
        return ToolCall("Manual", value)
    return Manual.model_validate(value).model_dump_json()


@pytest.fixture
def llms(make_llm: Any) -> dict[str, OpenAILike]:
    return {
        "function": make_llm(is_function_calling_model=True),
        "schema": make_llm(should_use_structured_outputs=True),
        "prompt": make_llm(),
    }


@pytest.fixture
def found(paint: Paint) -> list[NodeWithScore]:
    red = image_node(paint("red"))
    red.text = "A red cube {size}"
    return ranked(red, text_node("red", file_name="a.md"))


async def ask(
    synthesizer: MultiModalSynthesizer, mode: str, query: Any, nodes: Any
) -> Any:
    if mode == "sync":
        return synthesizer.synthesize(query, nodes)
    return await synthesizer.asynthesize(query, nodes)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("way", WAYS)
class TestThroughAClient:
    @pytest.mark.parametrize("wrapped", [False, True])
    async def test_the_answer_is_an_object_whose_texts_cite_what_was_shown(
        self, server, llms, found, way, mode, wrapped
    ):
        server.script(reply_of(way, WRITTEN))
        settings = {"llm": llms[way], "output_cls": Manual}
        if wrapped:
            settings = {"llm": llms[way].as_structured_llm(Manual)}
        synthesizer = MultiModalSynthesizer(**settings)
        response = await ask(synthesizer, mode, "What is red?", found)
        assert isinstance(response, PydanticResponse)
        assert response.response == CHECKED
        assert ids_of(response.source_nodes) == [uid("image red"), uid("text red")]
        assert response.metadata["cited"] == {"1": 2, "2": 2}
        assert response.metadata["removed_citations"] == {"9": 1, "7": 1, "8": 2}
        assert describe_sources(response) == (
            "This answer used image red.png [1] and text a.md [2]."
        )

    async def test_labels_and_pictures_are_in_the_request_as_for_a_text(
        self, server, llms, found, paint, way, mode
    ):
        server.script(reply_of(way, WRITTEN))
        query = MultiModalQuery("What is {red}?", image_path=str(paint("green")))
        synthesizer = MultiModalSynthesizer(llms[way], output_cls=Manual)
        await ask(synthesizer, mode, query, found)
        assert server.shown == [
            "[1] image from red.png:\nA red cube {size}\n",
            "<image/png, 16 x 12>",
            "[2] text from a.md:\nred\n",
            "The question's own picture 1:\n",
            "<image/png, 16 x 12>",
            "Question: What is {red}?\nAnswer:",
        ]
        (request,) = server.requests
        assert [m["role"] for m in request["messages"]] == ["system", "user"]
        says_how = {
            "function": request.get("tools"),
            "schema": request.get("response_format"),
            "prompt": "JSON schema" in request["messages"][0]["content"],
        }
        assert [name for name, said in says_how.items() if said] == [way]
        # OpenAI's endpoint refuses the one without the other: docs/answers.md says so.
        has_choice_without_tools = "tool_choice" in request and "tools" not in request
        assert has_choice_without_tools is (way == "prompt")

    async def test_an_answer_that_is_no_such_object_is_an_error(
        self, server, llms, found, way, mode
    ):
        server.script("I would rather not.")
        synthesizer = MultiModalSynthesizer(llms[way], output_cls=Manual)
        with pytest.raises(ValueError, match=r"(?i)json|tool call"):
            await ask(synthesizer, mode, "What is red?", found)

    async def test_where_nothing_was_found_nobody_is_asked(
        self, server, llms, way, mode
    ):
        synthesizer = MultiModalSynthesizer(llms[way], output_cls=Manual)
        response = await ask(synthesizer, mode, "What is red?", [])
        assert isinstance(response, Response)
        assert str(response) == "Nothing was found that answers this."
        assert server.requests == []


class TestInAQueryEngine:
    async def test_query_and_aquery_return_the_object(
        self, server, llms, tmp_path, paint
    ):
        server.script(reply_of("function", WRITTEN))
        store = tmp_path / "store"
        with MultiModalQdrantIndex.open(store, embed_model=ColourEncoder()) as index:
            index.insert([text_node("red cube"), image_node(paint("red"))])
            engine = RetrieverQueryEngine(
                index.as_retriever(top_k=2),
                response_synthesizer=MultiModalSynthesizer(
                    llms["function"], output_cls=Manual
                ),
            )
            here, there = engine.query("red"), await engine.aquery("red")
        assert here.response == there.response == CHECKED
        assert here.title == "Cubes [1]"  # PydanticResponse's own short cut
        assert len(here.source_nodes) == 2

    async def test_bare_texts_are_answered_by_an_object_too(self, server, llms):
        server.script(reply_of("function", {**WRITTEN, "title": "[1][2]"}))
        synthesizer = MultiModalSynthesizer(llms["function"], output_cls=Manual)
        answer = synthesizer.get_response("Why?", ["Because."])
        assert isinstance(answer, Manual)
        assert answer.title == "[1]"
        assert await synthesizer.aget_response("Why?", ["Because."]) == answer


class TestSettings:
    async def test_what_makes_no_object_is_refused(self, llms):
        llm = llms["function"]
        structured = llm.as_structured_llm(Manual)
        MultiModalSynthesizer(structured, output_cls=Manual)
        refused: list[tuple[str, dict[str, Any]]] = [
            ("output_cls is Manual.*no LLM", {"llm": None, "output_cls": Manual}),
            (r"Step.*StructuredLLM.*Manual", {"llm": structured, "output_cls": Step}),
            (r"streaming is True.*Manual", {"llm": structured, "streaming": True}),
            (
                r"streaming is True.*Manual",
                {"llm": llm, "output_cls": Manual, "streaming": True},
            ),
        ]
        for said, settings in refused:
            with pytest.raises(InvalidSetting, match=said):
                MultiModalSynthesizer(**settings)


class Colour(str, enum.Enum):
    RED = "red [9]"


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    names: set[str] = set()
    pair: tuple[str, int] = ("a [9]", 9)
    by_name: dict[str, list[Step]] = {}
    colour: Colour = Colour.RED
    nothing: None = None
    raw: bytes = b"[9]"


class TestStringsAtAnyDepth:
    @staticmethod
    def cut(text: str) -> str:
        return text.replace("[9]", "")

    def test_every_string_is_edited_and_nothing_else(self):
        given = Anything(
            names={"x[9]", "y"},
            by_name={"[9]": [Step(text="z[9]")]},
            more="w[9]",
            deep=[("[9]v", {"k": "u[9]"})],
        )
        before = given.model_dump()
        edited = map_strings(given, self.cut)
        assert edited.model_dump() == {
            "names": {"x", "y"},
            "pair": ("a ", 9),
            "by_name": {"[9]": [{"text": "z", "tools": []}]},
            "colour": Colour.RED,
            "nothing": None,
            "raw": b"[9]",
            "more": "w",
            "deep": [("v", {"k": "u"})],
        }
        assert given.model_dump() == before

    def test_emptied_entries_go_and_what_was_empty_or_unset_stays(self):
        edited = map_strings(Step(text="a"), self.cut)
        assert edited.model_dump(exclude_unset=True) == {"text": "a"}
        edited = map_strings(Step(text="[9]", tools=["[9]", "", "a"]), self.cut)
        assert edited == Step(text="", tools=["", "a"])
        Lines = RootModel[list[str]]
        assert map_strings(Lines(["a[9]", "[9]"]), self.cut).root == ["a"]
