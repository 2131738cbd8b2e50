"""Settings of LlamaIndex's engines that change what becomes of a query's picture."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever, TransformRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_mmrag import KeepPicture, provenance_of

from .engines import condensing_chat, hyde, simple
from .world import EXPECTED, NAMES, STORED_SIZE, World, open_world, pictures_in

FIXED = "LlamaIndex changed this: update docs/compatibility.md"


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    with open_world(tmp_path, "sync") as opened:
        yield opened


def names(results: list[NodeWithScore]) -> list[str]:
    return [NAMES[result.node.node_id] for result in results]


def fusion(world: World, prompt: str) -> QueryFusionRetriever:
    """Return one whose second query is `prompt`: LlamaIndex's mock echoes."""
    return QueryFusionRetriever(
        [world.retriever],
        llm=world.clerk("unasked"),
        query_gen_prompt=prompt,
        num_queries=2,
        similarity_top_k=10,
        use_async=False,
    )


def test_generated_queries_have_no_picture_and_the_query_itself_keeps_it(world):
    results = fusion(world, "{query} Or the green door?").retrieve(world.query("both"))
    assert names(results) == list(EXPECTED["both"])
    routes = [provenance_of(result).requested for result in results]
    assert routes[0] == ("text→text", "text→image", "image→image")


def test_generated_query_equal_to_the_query_loses_its_picture(world):
    # Results are kept by the query's words: the second search replaces the first.
    results = fusion(world, "{query}").retrieve(world.query("both"))
    assert names(results) == list(EXPECTED["text"]), FIXED


def test_condensing_a_conversation_loses_the_picture(world):
    history = [ChatMessage("Hello."), ChatMessage("Hello!", role="assistant")]
    # The mock says its prompt again: the condensed question is the last one.
    engine = condensing_chat(world, condense_prompt=PromptTemplate("{question}"))
    query = world.query("both")
    assert names(engine.chat(query).source_nodes) == list(EXPECTED["both"])
    after = engine.chat(query, chat_history=history).source_nodes
    assert names(after) == list(EXPECTED["text"]), FIXED

    kept = condensing_chat(world, skip_condense=True)
    answered = kept.chat(query, chat_history=history)
    assert names(answered.source_nodes) == list(EXPECTED["both"])


def test_image_query_of_the_deprecated_engine_searches_by_picture(world):
    engine = simple(world, image_qa_template=PromptTemplate("{query_str}"))
    path = str(world.query("picture").image_path)
    response = engine.image_query(path, "Which door is this?")
    assert names(response.source_nodes) == list(EXPECTED["picture"])
    assert pictures_in(world.heard) == [("red", STORED_SIZE), ("magenta", STORED_SIZE)]


async def test_transform_retriever_has_no_asynchronous_search_of_its_own(
    world, monkeypatch
):
    threads: list[threading.Thread] = []
    transform = KeepPicture(hyde(world))
    run = transform.run

    def watched(query: QueryBundle, metadata: dict | None = None) -> QueryBundle:
        threads.append(threading.current_thread())
        return run(query, metadata)

    monkeypatch.setattr(transform, "run", watched)
    results = await TransformRetriever(world.retriever, transform).aretrieve(
        world.query("both")
    )
    assert names(results) == list(EXPECTED["both"])
    assert threads == [threading.main_thread()], FIXED
    assert "_aretrieve" not in vars(TransformRetriever), FIXED


async def test_one_engine_answers_many_questions_at_once(world):
    engine = RetrieverQueryEngine(world.retriever, world.synthesizer())
    asked = ["text", "picture", "both"] * 8
    answers = await asyncio.gather(*(engine.aquery(world.query(a)) for a in asked))
    found = [names(answer.source_nodes) for answer in answers]
    assert found == [list(EXPECTED[a]) for a in asked]
