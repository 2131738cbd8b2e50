"""The synthesizer over a real client of a scripted chat server, and without an LLM."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_mmrag import (
    MultiModalQdrantIndex,
    MultiModalQuery,
    MultiModalSynthesizer,
    describe_sources,
)
from llama_index_mmrag.answers.messages import (
    ABOUT_PICTURE,
    ABOUT_UNSEEN_PICTURE,
    INSTRUCTIONS,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.nodes.node import FusedNode
from llama_index_mmrag.provenance import Degradation, Provenance

from ..support.colours import Paint, ids_of, image_node, ranked, text_node, uid
from ..support.openai_server import Broken, Failure, Silence

QUESTION = "what is red?"
QUESTION_BLOCK = f"Question: {QUESTION}\nAnswer:"


@pytest.fixture
def index(tmp_path: Path, paint: Paint) -> Iterator[MultiModalQdrantIndex]:
    """A store with a red and a blue text, a red and a blue picture."""
    folder = tmp_path / "library"
    folder.mkdir()
    for colour in ("red", "blue"):
        (folder / f"{colour}.md").write_text(f"The {colour} cube is heavy.")
        paint(colour).rename(folder / f"{colour}.png")
    store = tmp_path / "store"
    with MultiModalQdrantIndex.open(store, embed_model=ColourEncoder()) as index:
        index.insert_directory(folder)
        yield index


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Return a list that fills with the paths of files that are opened."""
    paths: list[str] = []
    is_listening = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and is_listening:
            paths.append(str(arguments[0]))

    sys.addaudithook(hook)
    yield paths
    is_listening = False  # a hook cannot be removed


@pytest.fixture
def red_text() -> NodeWithScore:
    return ranked(text_node("red", file_name="a.md"), score=0.9)[0]


@pytest.fixture
def found(paint: Paint, red_text: NodeWithScore) -> list[NodeWithScore]:
    """A red picture with a caption, a text, and a blue picture without one."""
    red, blue = image_node(paint("red", size=(300, 100))), image_node(paint("blue"))
    red.text = "A red cube"
    return [*ranked(red), red_text, *ranked(blue, score=0.5)]


@pytest.fixture(params=["sync", "async", "stream", "astream"])
def answered(request, llm) -> Callable[..., Any]:
    """Return a function that answers by one of the four ways.

    It returns the whole answer and the response object.
    """
    mode, default = request.param, llm

    async def answer(
        nodes: Sequence[NodeWithScore],
        query: str | QueryBundle = QUESTION,
        *,
        llm: LLM | None = default,
        **settings: Any,
    ) -> tuple[str, Any]:
        streaming = mode.endswith("stream")
        synthesizer = MultiModalSynthesizer(llm, streaming=streaming, **settings)
        if mode in ("sync", "stream"):
            response = synthesizer.synthesize(query, list(nodes))
        else:
            response = await synthesizer.asynthesize(query, list(nodes))
        if mode == "stream":
            assert isinstance(response, StreamingResponse)
            return "".join(response.response_gen), response
        if mode == "astream":
            assert isinstance(response, AsyncStreamingResponse)
            return "".join([piece async for piece in response.response_gen]), response
        assert isinstance(response, Response)
        return response.response, response

    return answer


class TestWhatTheModelIsShown:
    async def test_labels_captions_and_pictures_in_the_order_of_the_ranking(
        self, server, answered, found
    ):
        await answered(found, max_image_side=64)
        (request,) = server.requests
        assert server.paths == ["/v1/chat/completions"]
        system, user = request["messages"]
        assert system == {"role": "system", "content": INSTRUCTIONS.format()}
        assert user["role"] == "user"
        assert server.shown == [
            "[1] image from red.png:\nA red cube\n",
            "<image/png, 64 x 21>",
            "[2] text from a.md:\nred\n",
            "[3] image from blue.png:\n",
            "<image/png, 16 x 12>",
            QUESTION_BLOCK,
        ]

    async def test_the_querys_own_pictures_come_after_the_sources_under_their_labels(
        self, server, llm, red_text, paint
    ):
        query = MultiModalQuery(
            QUESTION,
            image_path=str(paint("green")),
            images=[paint("blue", size=(9, 9)).read_bytes()],
        )
        MultiModalSynthesizer(llm).synthesize(query, [red_text])
        assert server.shown == [
            "[1] text from a.md:\nred\n",
            "The question's own picture 1:\n",
            "<image/png, 16 x 12>",
            "The question's own picture 2:\n",
            "<image/png, 9 x 9>",
            QUESTION_BLOCK,
        ]

    async def test_a_query_by_picture_alone_asks_about_the_picture(
        self, server, llm, red_text, paint
    ):
        query = QueryBundle("", image_path=str(paint("green")))
        MultiModalSynthesizer(llm).synthesize(query, [red_text])
        assert server.shown[1:] == [
            "The question's own picture 1:\n",
            "<image/png, 16 x 12>",
            f"Question: {ABOUT_PICTURE}\nAnswer:",
        ]

    async def test_a_model_without_eyes_is_shown_captions_and_no_picture(
        self, server, llm, found, paint
    ):
        query = QueryBundle("", image_path=str(paint("green")))
        response = MultiModalSynthesizer(llm, max_images=0).synthesize(query, found)
        assert server.requests[0]["messages"][1]["content"] == (
            "[1] image from red.png:\nA red cube\n"
            "[2] text from a.md:\nred\n"
            f"Question: {ABOUT_UNSEEN_PICTURE}\nAnswer:"
        )
        assert ids_of(response.source_nodes) == [uid("image red"), uid("text red")]
        (left_out,) = response.metadata["left_out"]
        assert left_out["node_id"] == uid("image blue")
        assert left_out["reason"] == "neither text nor a picture to show"

    async def test_source_nodes_are_what_was_shown_and_the_rest_is_reported(
        self, server, answered, paint, red_text
    ):
        pictures = [image_node(paint(c)) for c in ("red", "green", "blue")]
        nodes = [*ranked(*pictures), red_text]

        _, response = await answered(nodes, max_images=1)
        assert [block["type"] for block in server.blocks].count("image_url") == 1
        assert ids_of(response.source_nodes) == [uid("image red"), uid("text red")]
        reason = "over the budget of pictures (1)"
        assert response.metadata["left_out"] == [
            {"node_id": uid(f"image {colour}"), "reason": reason}
            for colour in ("green", "blue")
        ]

    async def test_what_was_shown_is_counted_the_querys_pictures_too(
        self, server, answered, found, paint
    ):
        query = QueryBundle(QUESTION, image_path=str(paint("green")))

        _, response = await answered(found, query, max_image_side=64)
        sent = [b["image_url"]["url"] for b in server.blocks if b["type"] != "text"]
        files = [base64.b64decode(url.partition(",")[2]) for url in sent]
        assert response.metadata["shown"] == {
            "n_texts": 2,
            "n_images": 3,
            "image_bytes": sum(map(len, files)),
            "image_pixels": 64 * 21 + 16 * 12 + 16 * 12,
        }

    async def test_pictures_beyond_the_budget_of_bytes_are_not_listed(
        self, server, answered, found
    ):
        _, response = await answered(found, max_image_bytes=90)
        # The red picture of 300 x 100 pixels has more than that, the blue one less.
        assert ids_of(response.source_nodes) == [uid("text red"), uid("image blue")]
        assert server.shown == [
            "[1] text from a.md:\nred\n",
            "[2] image from blue.png:\n",
            "<image/png, 16 x 12>",
            QUESTION_BLOCK,
        ]
        assert response.metadata["shown"]["image_bytes"] <= 90
        (left_out,) = response.metadata["left_out"]
        assert left_out["node_id"] == uid("image red")
        assert left_out["reason"].startswith("over the budget of bytes (90): it has ")

    async def test_an_unreadable_picture_is_reported_and_the_rest_is_answered(
        self, server, llm, found, paint
    ):
        server.script("Red [1].")
        paint("red").unlink()
        response = MultiModalSynthesizer(llm).synthesize(QUESTION, found)
        assert str(response) == "Red [1]."
        assert ids_of(response.source_nodes) == ids_of(found)
        assert response.metadata["shown"]["n_images"] == 1
        (left_out,) = response.metadata["left_out"]
        assert left_out["node_id"] == uid("image red")
        assert "red.png" in left_out["reason"]
        assert left_out["reason"].endswith("Its caption is shown.")
        assert response.metadata["citations"]["1"]["node_id"] == uid("image red")

    async def test_an_unreadable_picture_of_the_query_is_an_error_not_another_question(
        self, server, answered, red_text, tmp_path
    ):
        query = QueryBundle("what is this?", image_path=str(tmp_path / "gone.png"))

        with pytest.raises(ImageUnreadable, match=r"gone\.png"):
            await answered([red_text], query)
        assert server.requests == []

    async def test_bare_texts_are_labelled_in_their_order(self, server, llm):
        server.script("Tea [2], coffee [3].")
        synthesizer = MultiModalSynthesizer(llm)
        chunks = ["Coffee is brewed.", "Tea is steeped."]
        here = synthesizer.get_response(QUESTION, chunks)
        there = await synthesizer.aget_response(QUESTION, chunks)
        assert here == there == "Tea [2], coffee."
        for request in server.requests:
            assert request["messages"][1]["content"] == (
                "[1] text from chunk-1:\nCoffee is brewed.\n"
                "[2] text from chunk-2:\nTea is steeped.\n" + QUESTION_BLOCK
            )

    async def test_nodes_and_query_are_not_changed(self, llm, found, paint):
        query = QueryBundle(QUESTION, image_path=str(paint("green")))
        before = [n.model_dump() for n in found], query.to_dict()
        await MultiModalSynthesizer(llm).asynthesize(query, found)
        assert ([n.model_dump() for n in found], query.to_dict()) == before


class TestPrompts:
    async def test_they_can_be_given(self, server, llm, red_text):
        synthesizer = MultiModalSynthesizer(
            llm,
            instructions=PromptTemplate("Be brief."),
            question=PromptTemplate("Q: {query_str}"),
        )
        synthesizer.synthesize("{why}?", [red_text])
        system, user = server.requests[0]["messages"]
        assert system["content"] == "Be brief."
        assert user["content"] == "[1] text from a.md:\nred\nQ: {why}?"

    async def test_they_can_be_edited_alone_and_through_a_query_engine(
        self, server, llm, red_text, index
    ):
        brief = PromptTemplate("Be brief.")
        synthesizer = MultiModalSynthesizer(llm)
        assert set(synthesizer.get_prompts()) == {"instructions", "question"}
        synthesizer.update_prompts({"instructions": brief})
        await synthesizer.asynthesize(QUESTION, [red_text])
        engine = index.as_query_engine(llm)
        assert "response_synthesizer:instructions" in engine.get_prompts()
        engine.update_prompts({"response_synthesizer:instructions": brief})
        engine.query(QUESTION)
        for request in server.requests:
            system, user = request["messages"]
            assert system["content"] == "Be brief."
            assert str(user["content"]).count("Answer:") == 1


class TestCitations:
    @pytest.mark.parametrize(
        "pieces", [list, lambda said: [said]], ids=["by character", "whole"]
    )
    async def test_invented_ones_never_reach_the_reader(
        self, server, answered, found, pieces
    ):
        server.script(pieces("Red [1] and [9], not [0]. See [2, 7][1]."))

        answer, response = await answered(found)
        assert answer == "Red [1] and, not. See [2][1]."
        assert response.metadata["cited"] == {"1": 2, "2": 1}
        assert response.metadata["removed_citations"] == {"9": 1, "0": 1, "7": 1}
        assert describe_sources(response) == (
            "This answer used image red.png [1] and text a.md [2]."
        )

    async def test_a_stream_is_shown_as_it_comes_and_counted_where_it_is_left(
        self, server, llm, red_text
    ):
        synthesizer = MultiModalSynthesizer(llm, streaming=True)
        server.script(["Red ", "is [", "1", "].", " So."])
        response = synthesizer.synthesize(QUESTION, [red_text])
        assert list(response.response_gen) == ["Red", " is", " [1].", " So."]
        server.script(["Red [1]", " and [1]", " and [1]."])
        response = synthesizer.synthesize(QUESTION, [red_text])
        assert next(response.response_gen) == "Red [1]"
        response.response_gen.close()
        assert response.metadata["cited"] == {"1": 1}

    async def test_metadata_says_what_each_label_is(self, llm, found):
        response = MultiModalSynthesizer(llm).synthesize(QUESTION, found)
        metadata = response.metadata
        assert [
            (label, card["node_id"], card["modality"], card["name"], card["score"])
            for label, card in metadata["citations"].items()
        ] == [
            ("1", uid("image red"), "image", "red.png", 1.0),
            ("2", uid("text red"), "text", "a.md", 0.9),
            ("3", uid("image blue"), "image", "blue.png", 0.5),
        ]
        assert metadata["cited"] == metadata["removed_citations"] == {}
        assert metadata["left_out"] == metadata["degraded"] == []
        assert metadata[uid("text red")] == found[1].node.metadata
        assert describe_sources(response) == "This answer cites no source."

    async def test_metadata_says_which_routes_gave_no_answer(self, llm):
        lost = Degradation("image", "text→image", "deadline", "no answer within 1 s")
        routes = ("text→text", "text→image")
        provenance = Provenance("e1", 0.5, "rrf", (), routes, (lost,))
        result = FusedNode.of(text_node("red"), provenance)
        response = MultiModalSynthesizer(llm).synthesize(QUESTION, [result])
        assert response.metadata["requested"] == ["text→text", "text→image"]
        assert response.metadata["searched"] == ["text→text"]
        assert response.metadata["degraded"] == [asdict(lost)]

    async def test_additional_nodes_are_listed_and_neither_shown_nor_citable(
        self, server, llm, red_text
    ):
        server.script("Red [1][2].")
        more = ranked(text_node("green"))
        response = MultiModalSynthesizer(llm).synthesize(
            QUESTION, [red_text], additional_source_nodes=more
        )
        assert str(response) == "Red [1]."
        assert ids_of(response.source_nodes) == [uid("text red"), uid("text green")]
        assert list(response.metadata["citations"]) == ["1"]
        assert server.shown == ["[1] text from a.md:\nred\n" + QUESTION_BLOCK]


class TestFailures:
    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            (Failure(500), openai.InternalServerError),
            (Silence(), openai.APITimeoutError),
        ],
        ids=["server", "timeout"],
    )
    async def test_an_error_is_the_clients_own(
        self, server, make_llm, answered, found, reply, error
    ):
        server.script(reply)
        with pytest.raises(error):
            await answered(
                found, llm=make_llm(timeout=0.2 if reply == Silence() else 60)
            )

    @pytest.mark.parametrize("mode", ["stream", "astream"])
    async def test_a_stream_that_breaks_off_raises_and_keeps_its_counts(
        self, server, llm, red_text, mode
    ):
        server.script(Broken(["Red [1]", " and [9] blue", " and"]))
        synthesizer = MultiModalSynthesizer(llm, streaming=True)
        if mode == "stream":
            response = synthesizer.synthesize(QUESTION, [red_text])
        else:
            response = await synthesizer.asynthesize(QUESTION, [red_text])
        shown = []
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - two ways to read
            if mode == "stream":
                shown.extend(response.response_gen)
            else:
                async for piece in response.response_gen:
                    shown.append(piece)  # noqa: PERF401 - what came first counts
        assert "".join(shown) == "Red [1] and blue and"
        assert response.metadata["cited"] == {"1": 1}
        assert response.metadata["removed_citations"] == {"9": 1}

    async def test_a_model_that_takes_no_chat_messages_is_shown_captions(
        self, server, make_llm, found, caplog
    ):
        caplog.set_level("INFO")
        completes = MockLLM()
        response = MultiModalSynthesizer(completes).synthesize(QUESTION, found)
        assert "A red cube" in str(response), "a mock says what it is shown"
        assert response.metadata["shown"]["n_images"] == 0
        assert "MockLLM is no chat model" in caplog.text

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"max_images": -1}, "max_images is -1; expected"),
            ({"max_image_side": 0}, "max_image_side is 0; expected"),
            ({"max_image_bytes": 0}, "max_image_bytes is 0; expected"),
            ({"evidence_order": "page"}, "evidence_order is 'page'.*'doc"),
        ],
    )
    def test_a_setting_out_of_range_is_refused(self, settings, said):
        with pytest.raises(InvalidSetting, match=said):
            MultiModalSynthesizer(**settings)


class TestNothingToShow:
    @pytest.mark.parametrize("with_llm", [True, False])
    async def test_no_results_give_the_empty_response_and_ask_nobody(
        self, server, llm, answered, with_llm
    ):
        writer = llm if with_llm else None
        answer, response = await answered([], llm=writer, empty_response="None.")
        assert (answer, response.source_nodes, server.requests) == ("None.", [], [])
        assert response.metadata["citations"] == response.metadata["cited"] == {}

    async def test_results_that_cannot_be_shown_ask_nobody_and_are_reported(
        self, server, answered, paint
    ):
        lost = ranked(image_node(paint("red")))
        paint("red").write_bytes(b"")

        answer, response = await answered(lost)
        assert answer == "Nothing was found that answers this."
        assert (response.source_nodes, server.requests) == ([], [])
        assert response.metadata["left_out"][0]["node_id"] == uid("image red")


class TestWithoutAnLLM:
    async def test_the_answer_is_the_evidences_own_with_checked_citations(
        self, answered, found
    ):
        answer, response = await answered(found, llm=None)
        assert answer == "Picture: “A red cube” [1].\n\nred [2]"
        assert response.metadata["cited"] == {"1": 1, "2": 1}
        assert ids_of(response.source_nodes) == ids_of(found)

    async def test_footnotes_of_a_quoted_text_cite_nothing(self, answered):
        nodes = ranked(text_node("The cube [2] is red."), text_node("Water is wet."))
        answer, response = await answered(nodes, "Which cube is red?", llm=None)
        assert answer == "The cube (2) is red. [1]"
        assert response.metadata["cited"] == {"1": 1}
        assert response.metadata["removed_citations"] == {}

    def test_it_needs_no_key_no_network_and_no_default_llm(self, tmp_path):
        script = """
            import socket, sys
            from llama_index.core import Settings
            from llama_index.core.schema import TextNode

            def refuse(*_):
                raise AssertionError("asked for")

            type(Settings).llm = property(refuse)
            type(Settings).embed_model = property(refuse)
            socket.socket.connect = refuse
            from llama_index_mmrag import MultiModalQdrantIndex
            from llama_index_mmrag.embeddings.colour import ColourEncoder

            encoder = ColourEncoder()
            with MultiModalQdrantIndex.open(sys.argv[1], embed_model=encoder) as index:
                index.insert([TextNode(text="The cube is red.")])
                print(index.as_query_engine().query("What is red?"))
                streamed = index.as_query_engine(streaming=True).query("What is red?")
                print("".join(streamed.response_gen))
                print(index.as_tool().call(query="red").content)
            assert not [m for m in sys.modules if m.split(".")[0] == "openai"]
        """
        finished = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "store")],
            check=False,
            capture_output=True,
            text=True,
            env={},
        )
        assert finished.returncode == 0, finished.stderr
        *answers, label, text = finished.stdout.splitlines()[:4]
        assert answers == ["The cube is red. [1]"] * 2
        assert label.startswith("[1] text from ")
        assert text == "The cube is red."


class TestInAQueryEngine:
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_query_and_aquery_answer_alike(
        self, server, llm, index, streaming, paint
    ):
        server.script("Heavy [1], red [2], light [9].")
        engine = RetrieverQueryEngine(
            index.as_retriever(top_k=2),
            response_synthesizer=MultiModalSynthesizer(llm, streaming=streaming),
        )
        query = QueryBundle("red", image_path=str(paint("red")))
        here, there = engine.query(query), await engine.aquery(query)
        texts = [
            str(here.get_response() if streaming else here),
            str(await there.get_response() if streaming else there),
        ]
        assert texts == ["Heavy [1], red [2], light."] * 2
        for response in (here, there):
            cards = response.metadata["citations"].values()
            assert sorted((card["modality"], card["name"]) for card in cards) == [
                ("image", "red.png"),
                ("text", "red.md"),
            ]
            assert response.metadata["removed_citations"] == {"9": 1}
            assert all(card["found_by"] for card in cards)
        assert server.requests[0]["messages"] == server.requests[1]["messages"]
        assert "The question's own picture 1:\n" in server.shown

    async def test_without_an_llm_it_quotes_what_was_found(self, index):
        engine = index.as_query_engine(top_k=2)
        here, there = engine.query("red"), await engine.aquery("red")
        assert str(here) == str(there) == "The red cube is heavy. [1]"
        assert describe_sources(here) == "This answer used text red.md [1]."


class Recorder(BaseEventHandler):
    """Keeps the names of the events that it is told of."""

    names: list[str] = []  # noqa: RUF012 - a pydantic field

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.names.append(event.class_name())


class TestInstrumentation:
    @pytest.mark.parametrize("nodes", ["some", "none"])
    async def test_start_end_and_the_callback_come_once_each(
        self, answered, red_text, nodes
    ):
        recorder, debug = Recorder(), LlamaDebugHandler(print_trace_on_end=False)
        dispatcher = get_dispatcher()
        dispatcher.add_event_handler(recorder)
        try:
            shown = [red_text] if nodes == "some" else []
            await answered(shown, callback_manager=CallbackManager([debug]))
        finally:
            dispatcher.event_handlers.remove(recorder)
        events = [name for name in recorder.names if name.startswith("Synthesize")]
        assert events == ["SynthesizeStartEvent", "SynthesizeEndEvent"]
        ((start, end),) = debug.get_event_pairs(CBEventType.SYNTHESIZE)
        assert start.payload == {"query_str": QUESTION}
        assert list(end.payload) == ["response"]

    def test_the_llm_shares_the_callback_manager(self, llm):
        manager = CallbackManager([])
        synthesizer = MultiModalSynthesizer(llm, callback_manager=manager)
        assert synthesizer.callback_manager is llm.callback_manager is manager


class TestReadingPictures:
    async def test_each_file_is_opened_once(self, answered, found, paint, opened):
        query = QueryBundle(QUESTION, image_path=str(paint("green")))
        opened.clear()
        await answered(found, query)
        pictures = sorted(Path(path).name for path in opened if path.endswith(".png"))
        assert pictures == ["blue.png", "green.png", "red.png"]

    async def test_the_event_loop_goes_on_while_they_are_read(
        self, llm, red_text, paint
    ):
        big = paint("green", size=(3000, 3000))
        query = QueryBundle(QUESTION, image_path=str(big))
        shown = ranked(image_node(big))
        gaps = [0.0]
        loop = asyncio.get_running_loop()

        async def tick() -> None:
            while True:
                before = loop.time()
                await asyncio.sleep(0.005)
                gaps.append(loop.time() - before)

        # OpenAI's client imports half of itself when it is first asked.
        await MultiModalSynthesizer(llm).asynthesize(query, shown)
        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0.01)
        started = loop.time()
        await MultiModalSynthesizer(llm).asynthesize(query, [*shown, red_text])
        took = loop.time() - started
        await asyncio.sleep(0.01)
        ticking.cancel()
        assert max(gaps) < took / 3


class TestDescribeSources:
    def test_it_lists_what_was_cited_in_the_order_of_mention(self):
        cards = {
            "1": {"modality": "text", "name": "a.md"},
            "2": {"modality": "image", "name": "cat.png"},
            "3": {"modality": "text", "name": "b.md"},
        }
        cited = {"2": 1, "3": 4, "1": 1}
        response = Response("", metadata={"citations": cards, "cited": cited})
        assert describe_sources(response) == (
            "This answer used image cat.png [2], text b.md [3] and text a.md [1]."
        )
        response = Response("", metadata={"citations": cards, "cited": {"2": 1}})
        assert describe_sources(response) == "This answer used image cat.png [2]."

    def test_an_answer_of_another_synthesizer_cites_no_source(self):
        assert describe_sources(Response("")) == "This answer cites no source."
