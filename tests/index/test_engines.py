"""What people of LlamaIndex type to ask an index."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import Document, ImageNode
from llama_index.core.vector_stores.types import VectorStoreQueryMode

from llama_index_mmrag import Blend
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import modality_of

from ..support.indexes import COLOURS, inline


@pytest.fixture
def index(open_index) -> Any:
    index = open_index()
    index.insert([Document(text=f"{c} text", id_=f"t-{c}") for c in COLOURS])
    index.insert([ImageNode(image=inline(c), text=c, id_=f"p-{c}") for c in COLOURS])
    return index


def chatty(**settings: Any) -> Any:
    """Return a chat model that says how much it was shown."""

    def reply(messages: Any) -> ChatMessage:
        blocks = [block for message in messages for block in message.blocks]
        pictures = sum(block.block_type == "image" for block in blocks)
        words = " ".join(getattr(block, "text", "") for block in blocks)
        return ChatMessage(f"{pictures} pictures; red text: {'red text' in words}")

    return MockFunctionCallingLLM(
        is_chat_model=True, response_generator=reply, **settings
    )


def modalities(results: Any) -> list[str]:
    return [modality_of(result.node) for result in results]


# Depth


def test_similarity_top_k_is_top_k_and_may_be_set(index):
    retriever = index.as_retriever(similarity_top_k=2, complete_entities=False)
    assert len(retriever.retrieve("red")) == 2
    retriever.similarity_top_k = 1
    assert retriever.similarity_top_k == len(retriever.retrieve("red")) == 1
    assert len(retriever.with_top_k(12).retrieve("red")) > 6
    with pytest.raises(InvalidSetting, match="top_k is 0"):
        retriever.similarity_top_k = 0
    with pytest.raises(InvalidSetting, match="top_k and similarity_top_k"):
        index.as_retriever(top_k=1, similarity_top_k=1)


@pytest.mark.parametrize(("texts", "pictures"), [(3, 3), (1, 4), (4, 1)])
def test_texts_and_pictures_are_counted_apart_in_one_ranking(texts, pictures, index):
    settings: dict[str, Any] = {"complete_entities": False}
    ranked = index.as_retriever(top_k=100, **settings).retrieve("red")
    found = index.as_retriever(
        similarity_top_k=texts, image_similarity_top_k=pictures, **settings
    ).retrieve("red")
    seen = modalities(found)
    assert (seen.count("text"), seen.count("image")) == (texts, pictures)
    places = [[r.node_id for r in ranked].index(r.node_id) for r in found]
    assert places == sorted(places)


def test_composed_vectors_are_of_neither_modality(open_index):
    index = open_index(composition=Blend(0.5))
    retriever = index.as_retriever(image_similarity_top_k=1)
    assert [channel.name for channel in retriever.channels] == ["text", "image"]
    with pytest.raises(InvalidSetting, match='composed.*"parts"'):
        index.as_retriever(image_similarity_top_k=1, search="both")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vector_store_query_mode": "svm"}, "'svm'; expected 'default', 'sparse'"),
        ({"vector_store_query_mode": VectorStoreQueryMode.HYBRID}, "--store NEW --hyb"),
        ({"vector_store_query_mode": "text_search"}, "--store NEW --hybrid"),
        ({"mmr_threshold": 0.5}, "mmr_threshold belongs to a mmr search"),
        ({"alpha": 0.5}, "alpha belongs to a hybrid search"),
        ({"sparse_top_k": 5}, "sparse_top_k belongs to a hybrid search"),
        ({"similarity_topk": 5}, "as_retriever.. takes no 'similarity_topk'. Use sim"),
        ({"response_mode": "compact"}, "response_synthesizer="),
        ({"limit": 5}, "called top_k"),
    ],
)
def test_what_a_retriever_does_not_take_is_told(settings, said, index):
    with pytest.raises(InvalidSetting, match=said):
        index.as_retriever(**settings)


# Query engines


def test_llama_indexs_own_citation_engine_takes_the_index(index):
    engine = CitationQueryEngine.from_args(
        index, llm=chatty(), similarity_top_k=2, citation_chunk_size=512
    )
    assert len(engine.query("red").source_nodes) >= 2


def test_engine_takes_llama_indexs_names(index, unset):
    engine = index.as_query_engine(multi_modal_llm=chatty(), similarity_top_k=2)
    assert "red text: True" in str(engine.query("red"))
    unset.llm = chatty()
    assert "red text: True" in str(index.as_query_engine().query("red"))
    assert "pictures;" not in str(index.as_query_engine(None).query("red"))
    monologue = get_response_synthesizer(llm=MockLLM(), response_mode="compact")
    engine = index.as_query_engine(response_synthesizer=monologue, top_k=1)
    assert "red" in str(engine.query("red"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"text_qa_template": "x"}, "takes no 'text_qa_template'. Use instructions"),
        ({"max_image": 1}, "takes no 'max_image'. Use max_images"),
        ({"use_async": True}, "Use aquery"),
        ({"llm": 7}, "llm is 7"),
    ],
)
def test_what_an_engine_does_not_take_is_told(settings, said, index):
    with pytest.raises(InvalidSetting, match=said):
        index.as_query_engine(**settings)


def test_settings_of_a_synthesizer_that_is_given_are_not_ignored(index):
    given = get_response_synthesizer(llm=MockLLM())
    manager = CallbackManager()
    engine = index.as_query_engine(response_synthesizer=given, callback_manager=manager)
    assert engine.retriever.callback_manager is manager
    for settings in ({"max_images": 1}, {"llm": MockLLM()}, {"streaming": True}):
        with pytest.raises(InvalidSetting, match=f"and {next(iter(settings))}, which"):
            index.as_query_engine(response_synthesizer=given, **settings)


# Chat engines


def buffer() -> ChatMemoryBuffer:
    """Return a memory without a database, which LlamaIndex's default leaves open."""
    return ChatMemoryBuffer.from_defaults(token_limit=3000)


@pytest.mark.parametrize(
    "mode", ["best", "context", "condense_plus_context", ChatMode.BEST]
)
async def test_chat_shows_pictures_and_what_they_say(mode, index):
    chat = index.as_chat_engine(
        mode,
        chatty(),
        top_k=2,
        system_prompt="Be brief.",
        memory=buffer(),
    )
    told = chat.chat("red")
    assert str(told) == str(await chat.achat("red"))
    assert "1 pictures; red text: True" in str(told)
    assert "image" in modalities(told.source_nodes)


def test_chat_remembers_in_what_it_is_given(index):
    memory = buffer()
    chat = index.as_chat_engine("context", llm=chatty(), memory=memory)
    chat.chat("red")
    assert [message.role for message in memory.get()] == ["user", "assistant"]


def test_other_chats(index, unset):
    unset.llm = chatty()
    question = index.as_chat_engine(
        "condense_question", top_k=2, max_images=0, memory=buffer()
    )
    assert "0 pictures; red text: True" in str(question.chat("red"))
    simple = index.as_chat_engine("simple", system_prompt="Be brief.", memory=buffer())
    assert "0 pictures; red text: False" in str(simple.chat("green"))


@pytest.mark.parametrize(
    ("mode", "settings", "said"),
    [
        ("best", {"llm": None}, "needs a model.*Settings.llm"),
        ("react", {}, "index.as_tool.."),
        ("openai", {}, "index.as_query_engine_tool.."),
        ("chatty", {}, "chat_mode is 'chatty'; expected 'best'"),
        ("best", {"similarity_topk": 2}, "takes no 'similarity_topk'"),
        ("simple", {"top_k": 2}, "takes no 'top_k'"),
        ("condense_question", {"system_prompt": "x"}, "takes no 'system_prompt'"),
    ],
)
def test_what_no_chat_takes_is_told(mode, settings, said, index):
    with pytest.raises(InvalidSetting, match=said):
        index.as_chat_engine(mode, **{"llm": chatty(), **settings})


# Tools


def test_tool_is_as_deep_as_its_retriever(index):
    for settings, n in [({"top_k": 1}, 1), ({"similarity_top_k": 3}, 3), ({}, 5)]:
        tool = index.as_tool(complete_entities=False, **settings)
        assert len(tool.call(query="red").raw_output) == n
    assert len(tool.call(query="red", top_k=2).raw_output) == 2
    asked = index.as_tool(top_k=1, default_top_k=4, complete_entities=False)
    assert len(asked.call(query="red").raw_output) == 4
    with pytest.raises(InvalidSetting, match="takes no 'deep'"):
        index.as_tool(deep=3)


def test_engine_is_a_tool(index):
    tool = index.as_query_engine_tool(chatty(), name="ask", top_k=2, max_images=1)
    output = tool.call(query="red")
    assert (tool.metadata.name, output.is_error) == ("ask", False)
    assert "red text: True" in output.content
