"""A query's pictures survive whatever rewrites its words."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.indices.query.query_transform import (
    DecomposeQueryTransform,
    HyDEQueryTransform,
    StepDecomposeQueryTransform,
)
from llama_index.core.indices.query.query_transform.base import (
    BaseQueryTransform,
    IdentityQueryTransform,
    ImageOutputQueryTransform,
)
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.retrievers import TransformRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_mmrag import (
    KeepPicture,
    MultiModalFusionRetriever,
    MultiModalQuery,
    MultiModalSynthesizer,
)

from ..support.colours import (
    channel,
    dumped,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)


def saying(*replies: str) -> MockFunctionCallingLLM:
    """Return a chat model that says its lines one by one, and no more than those."""
    left = list(replies)

    def reply(messages: Any, **_: Any) -> ChatMessage:
        return ChatMessage(role="assistant", content=left.pop(0))

    return MockFunctionCallingLLM(is_chat_model=True, response_generator=reply)


TRANSFORMS = {
    "hyde": lambda: HyDEQueryTransform(llm=saying("A green door.")),
    "hyde alone": lambda: HyDEQueryTransform(
        llm=saying("A green door."), include_original=False
    ),
    "decompose": lambda: DecomposeQueryTransform(llm=saying("What is green?")),
    "step": lambda: StepDecomposeQueryTransform(llm=saying("What is green?")),
}
REWRITTEN = {
    "hyde": ("blue things", ["A green door.", "blue things"]),
    "hyde alone": ("blue things", ["A green door."]),
    "decompose": ("What is green?", ["What is green?"]),
    "step": ("What is green?", ["What is green?"]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_words_are_rewritten_and_the_picture_stays(name):
    query = QueryBundle("blue things", image_path="red.png", embedding=[1.0, 0.0])
    before = copy.deepcopy(query)

    rewritten = KeepPicture(TRANSFORMS[name]()).run(query)

    assert (rewritten.query_str, rewritten.embedding_strs) == REWRITTEN[name]
    assert rewritten.image_path == "red.png"
    assert rewritten.embedding is None, "a vector of the old words"
    assert query == before
    dropped = TRANSFORMS[name]().run(query)
    assert dropped.image_path is None, "LlamaIndex keeps it now: update the docs"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_all_pictures_and_part_weights_stay(name):
    pictures = {"image_path": "grey.png", "images": ["red.png", b"\x89PNG"]}
    weights = {"text": 0.5, "image#2": 2.0}
    query = MultiModalQuery("blue things", **pictures, part_weights=weights)
    before = copy.deepcopy(query)

    rewritten = KeepPicture(TRANSFORMS[name]()).run(query)

    assert isinstance(rewritten, MultiModalQuery)
    assert (rewritten.query_str, rewritten.embedding_strs) == REWRITTEN[name]
    assert rewritten.image_path == "grey.png"
    assert list(rewritten.images) == pictures["images"]
    assert rewritten.part_weights == weights
    assert query == before


def test_query_of_words_alone_is_rewritten_as_without_the_wrapper():
    kept = KeepPicture(TRANSFORMS["hyde"]()).run("blue things")
    assert kept == TRANSFORMS["hyde"]().run("blue things")


@pytest.mark.parametrize("words", ["", "  "])
@pytest.mark.parametrize("name", ["hyde", "decompose", "step"])
def test_query_by_picture_alone_is_left_as_it_is(name, words):
    query = QueryBundle(words, image_path="red.png")
    same = KeepPicture(TRANSFORMS[name]()).run(query)
    assert same == query
    assert same is not query, "what comes later may write to it"


BLUE = {
    "query_str": "blue",
    "image_path": "red.png",
    "custom_embedding_strs": ["navy"],
}


def test_identity_gives_back_a_copy_of_the_query():
    query = QueryBundle(**copy.deepcopy(BLUE))
    same = KeepPicture(IdentityQueryTransform()).run(query)
    assert same == query
    same.image_path = None
    same.custom_embedding_strs.append("sky")
    assert query == QueryBundle(**BLUE)


class Careless(BaseQueryTransform):
    """Writes to the query that it gets, as LlamaIndex's retrievers do."""

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None: ...

    def _run(self, query_bundle: QueryBundle, metadata: dict[str, Any]) -> QueryBundle:
        query_bundle.query_str = str(metadata["words"])
        query_bundle.image_path = metadata.get("image_path")
        (query_bundle.custom_embedding_strs or []).append("more")
        return query_bundle


def test_transform_that_writes_to_its_query_does_not_reach_the_callers():
    query = QueryBundle(**copy.deepcopy(BLUE))
    rewritten = KeepPicture(Careless()).run(query, metadata={"words": "green"})
    assert rewritten == QueryBundle(
        "green", image_path="red.png", custom_embedding_strs=["navy", "more"]
    )
    assert query == QueryBundle(**BLUE)


def test_picture_of_the_transform_itself_replaces_the_queries():
    metadata = {"words": "green", "image_path": "cropped.png"}
    query = MultiModalQuery("blue", image_path="red.png", images=["grey.png"])
    rewritten = KeepPicture(Careless()).run(query, metadata=metadata)
    assert rewritten.image_path == "cropped.png"
    assert list(rewritten.images) == ["grey.png"]


def test_transforms_may_be_nested_and_chained():
    inner = KeepPicture(DecomposeQueryTransform(llm=saying("What is green?")))
    query = QueryBundle("blue", image_path="red.png")
    rewritten = KeepPicture(KeepPicture(ImageOutputQueryTransform())).run(
        inner.run(query)
    )
    assert rewritten.query_str.startswith("What is green?")
    assert rewritten.image_path == "red.png"


def test_prompts_are_those_of_the_wrapped_transform():
    hyde = HyDEQueryTransform(llm=MockLLM())
    transform = KeepPicture(hyde)
    assert transform.get_prompts() == hyde.get_prompts()
    prompt = PromptTemplate("Say something green of {context_str}")
    transform.update_prompts({"hyde_prompt": prompt})
    assert hyde.get_prompts()["hyde_prompt"] == prompt

    engine = TransformQueryEngine(
        RetrieverQueryEngine(None, MultiModalSynthesizer()), transform
    )
    assert engine.get_prompts()["query_transform:hyde_prompt"] == prompt


@pytest.fixture
def retriever(open_store, paint) -> MultiModalFusionRetriever:
    colours = ("red", "green", "blue")
    texts = open_store("local", [text_node(c, entity=c) for c in colours])
    pictures = open_store("local", [image_node(paint(c), entity=c) for c in colours])
    return retriever_of(channel("text", texts), channel("image", pictures))


def firsts(results: Sequence[NodeWithScore]) -> dict[str, str]:
    """Return what each route found first."""
    hits = [hit for result in results for hit in why(result).contributions]
    return {hit.route: hit.node_id for hit in hits if hit.rank == 1}


GREEN = {"text→text": uid("text green"), "text→image": uid("image green")}


def hyde() -> HyDEQueryTransform:
    return HyDEQueryTransform(llm=saying("It is green."), include_original=False)


async def test_new_words_and_the_old_picture_are_searched_for_and_answered_from(
    retriever, paint
):
    query = QueryBundle("blue", image_path=str(paint("red")))
    before = copy.deepcopy(query)
    expected = retriever.retrieve(QueryBundle("green", image_path=query.image_path))
    inner = RetrieverQueryEngine(retriever, MultiModalSynthesizer())

    results = TransformRetriever(retriever, KeepPicture(hyde())).retrieve(query)
    awaited = await TransformRetriever(retriever, KeepPicture(hyde())).aretrieve(query)
    answer = TransformQueryEngine(inner, KeepPicture(hyde())).query(query)
    later = await TransformQueryEngine(inner, KeepPicture(hyde())).aquery(query)
    dropped = TransformQueryEngine(inner, hyde()).query(query)

    assert firsts(results) == {**GREEN, "image→image": uid("image red")}
    assert why(results[-1]).requested == ("text→text", "text→image", "image→image")
    for found in (results, awaited, answer.source_nodes, later.source_nodes):
        assert dumped(found) == dumped(expected)
    assert firsts(dropped.source_nodes) == GREEN, "LlamaIndex keeps it now"
    assert query == before
