"""Each argument of LlamaIndex's and Qdrant's is taken here, or answered with our word.

A new version of theirs that brings an argument fails here, and not at a user's.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.chat_engine import (
    MultiModalCondensePlusContextChatEngine,
    MultiModalContextChatEngine,
)
from llama_index.core.indices.base import BaseIndex
from llama_index.core.indices.multi_modal.retriever import (
    MultiModalVectorIndexRetriever,
)
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from llama_index_mmrag import Channel, MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import MmragError

POSITIONS = {"self", "cls", "index", "retriever", "documents", "kwargs"}
"""What is no keyword."""

QA = (
    *("response_mode", "text_qa_template", "refine_template", "summary_template"),
    *("simple_template", "chat_content_qa_template", "chat_content_refine_template"),
    *("use_async", "multimodal"),
)
CITING = (
    *("citation_chunk_size", "citation_chunk_overlap", "text_splitter"),
    *("citation_qa_template", "citation_refine_template", "metadata_mode"),
    *("citation_chat_content_qa_template", "citation_chat_content_refine_template"),
)

REFUSED: dict[str, set[str]] = {
    "retriever": {"embed_model"},
    "engine": {*QA, *CITING},
    "chat": set(),
    "index": {"callback_manager"},
    "channel": {
        *("collection_name", "query", "using", "prefetch", "limit", "offset"),
        *("with_payload", "with_vectors", "lookup_from", "consistency"),
        *("shard_key_selector", "timeout"),
    },
    "open": {
        *("port", "grpc_port", "https", "prefix"),
        *("host", "force_disable_check_same_thread", "grpc_options"),
        *("auth_token_provider", "cloud_inference", "local_inference_batch_size"),
        *("check_compatibility", "pool_size", "headers"),
    },
}
"""What is answered with our word, or as not taken; all else is taken."""

PASSED_ON = {
    *("chat_history", "memory", "system_prompt", "context_template"),
    *("context_prompt", "condense_prompt", "skip_condense"),
}
"""Arguments of a chat engine of LlamaIndex's, which takes any value for them."""

THEIRS: list[tuple[str, Any]] = [
    ("retriever", VectorIndexRetriever),
    ("retriever", MultiModalVectorIndexRetriever),
    ("engine", RetrieverQueryEngine.from_args),
    ("engine", CitationQueryEngine.from_args),
    ("chat", MultiModalContextChatEngine.from_defaults),
    ("chat", MultiModalCondensePlusContextChatEngine.from_defaults),
    ("index", BaseIndex.from_documents),
    ("channel", QdrantClient.query_points),
    ("open", QdrantClient),
]
CASES = [
    pytest.param(ours, name, id=f"{theirs.__qualname__}-{name}")
    for ours, theirs in THEIRS
    for name in inspect.signature(theirs).parameters
    if name not in POSITIONS
]


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Iterator[MultiModalQdrantIndex]:
    folder = tmp_path_factory.mktemp("store")
    with MultiModalQdrantIndex.open(folder, embed_model=ColourEncoder()) as opened:
        yield opened


@pytest.fixture
def ours(index) -> dict[str, Callable[..., Any]]:
    llm = MockFunctionCallingLLM(is_chat_model=True)
    store = index.channels[0].vector_store
    encoder = index.channels[0].embed_model

    def chat(**given: Any) -> Any:
        modes = {"context_template": "context", "condense_prompt": "best"}
        mode = next((modes[name] for name in given if name in modes), "best")
        memory = ChatMemoryBuffer.from_defaults(token_limit=3000)
        return index.as_chat_engine(mode, **{"llm": llm, "memory": memory, **given})

    return {
        "retriever": index.as_retriever,
        "engine": index.as_query_engine,
        "chat": chat,
        "index": lambda **given: MultiModalQdrantIndex.from_documents([], **given),
        "channel": lambda **given: Channel(
            "text", vector_store=store, embed_model=encoder, **given
        ),
        "open": MultiModalQdrantIndex.open,
    }


@pytest.mark.parametrize(("called", "name"), CASES)
def test_argument_is_taken_or_answered_and_never_ignored(called, name, ours):
    if called == "chat" and name in PASSED_ON:
        ours[called](**{name: None} if name != "memory" else {})  # that it has
        return
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which, is asked below
        ours[called](**{name: object()})
    is_refused = f"takes no '{name}'" in str(raised.value)
    assert is_refused == (name in REFUSED[called]), str(raised.value)
    if is_refused:
        assert isinstance(raised.value, MmragError)


@pytest.mark.parametrize(
    "name",
    re.findall(r'kwargs\.get\("(\w+)"', inspect.getsource(QdrantVectorStore.query)),
)
def test_what_a_store_is_given_with_a_query_is_taken_or_answered(name, index):
    with pytest.raises(MmragError) as raised:
        index.as_retriever(vector_store_kwargs={name: object()})
    is_refused = f"vector_store_kwargs has {name!r}" in str(raised.value)
    assert is_refused == (name != "qdrant_filters")


def test_nothing_is_listed_that_nobody_types():
    typed = {(case.values[0], case.values[1]) for case in CASES}
    listed = {(ours, name) for ours, names in REFUSED.items() for name in names}
    assert listed <= typed
