"""LlamaIndex's engines with our parts in them, and what LlamaIndex keeps from them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from llama_index.core import VectorStoreIndex
from llama_index.core.chat_engine.multi_modal_condense_plus_context import (
    MultiModalCondensePlusContextChatEngine,
)
from llama_index.core.chat_engine.multi_modal_context import (
    MultiModalContextChatEngine,
)
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import (
    CitationQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SimpleMultiModalQueryEngine,
    SubQuestionQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import (
    BaseRetriever,
    QueryFusionRetriever,
    RouterRetriever,
    TransformRetriever,
)
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool, RetrieverTool

from llama_index_mmrag import CaptionsAsText, KeepPicture, MultiModalSynthesizer

from .claims import Claim
from .world import ASKED, WAYS, Asked, Way, World


class Note(Enum):
    """A claim that LlamaIndex does not let hold, and why; a footnote of the table."""

    TEXT_MODE = (
        Claim.PICTURES,
        "Without `multimodal=True` LlamaIndex's synthesizer sends texts alone: "
        "captions arrive, pictures do not.",
    )
    QUERY_PICTURE = (
        Claim.QUERY_PICTURE,
        "LlamaIndex searches with the query's picture, but its synthesizers and chat "
        "engines show the model `query_str` alone. `MultiModalSynthesizer` shows the "
        "picture too.",
    )
    CITATION_IDS = (
        Claim.NODE_IDS,
        "`CitationQueryEngine` splits sources into new nodes with new ids; "
        "`provenance_of` still leads back to the nodes that were found.",
    )
    HYDE_LOST_IT = (
        Claim.FINDS,
        "LlamaIndex's query transforms make a new query of the words alone, so that "
        "the picture is not searched for. Wrap them: "
        "`KeepPicture(HyDEQueryTransform())`.",
    )
    HYDE_HID_IT = (
        Claim.QUERY_PICTURE,
        "The picture that the transform dropped is not there to be shown either.",
    )
    SUB_QUESTIONS = (
        Claim.FINDS,
        "`SubQuestionQueryEngine` asks its sub-questions as plain strings: the picture "
        "is not searched for.",
    )
    CHAT_CAPTIONS = (
        Claim.CAPTIONS,
        "LlamaIndex's multimodal chat engines and `SimpleMultiModalQueryEngine` send "
        "the pictures of image nodes and leave their text out. Give them "
        "`node_postprocessors=[CaptionsAsText()]`; `index.as_chat_engine()` does.",
    )
    OTHER_RETRIEVER = (
        Claim.ANSWERS,
        "The other retriever, LlamaIndex's `VectorIndexRetriever`, cannot answer a "
        "query without words, and `QueryFusionRetriever` fails with it.",
    )

    @property
    def claim(self) -> Claim:
        return self.value[0]

    @property
    def reason(self) -> str:
        return self.value[1]


Limits = Mapping[Note, Callable[[Asked, Way], bool]]


def always(_: Asked, __: Way) -> bool:
    return True


def with_picture(asked: Asked, _: Way) -> bool:
    return asked != "text"


@dataclass(frozen=True)
class Engine:
    """One row of the table."""

    name: str
    build: Callable[[World], Any]
    limits: Limits = field(default_factory=dict)
    kind: Literal["query", "chat"] = "query"
    streams: bool = True

    @property
    def ways(self) -> tuple[Way, ...]:
        return WAYS if self.streams else WAYS[:2]

    def notes(self, asked: Asked, way: Way) -> tuple[Note, ...]:
        """Return the notes to one cell, in the order of all notes."""
        return tuple(
            note
            for note in Note
            if note in self.limits and self.limits[note](asked, way)
        )


def ours(world: World, retriever: BaseRetriever | None = None) -> RetrieverQueryEngine:
    return RetrieverQueryEngine(retriever or world.retriever, world.synthesizer())


def ours_whole(world: World) -> RetrieverQueryEngine:
    """Return an engine inside another one, which does not stream."""
    synthesizer = MultiModalSynthesizer(world.whole_llm)
    return RetrieverQueryEngine(world.retriever, synthesizer)


def from_args(world: World, **settings: Any) -> RetrieverQueryEngine:
    return RetrieverQueryEngine.from_args(
        world.retriever, llm=world.llm, streaming=world.streaming, **settings
    )


def text_mode(world: World) -> RetrieverQueryEngine:
    synthesizer = get_response_synthesizer(llm=world.llm, streaming=world.streaming)
    return RetrieverQueryEngine(world.retriever, synthesizer)


def citation(world: World, **settings: Any) -> CitationQueryEngine:
    return CitationQueryEngine.from_args(
        None,  # type: ignore[arg-type] - the retriever stands in for the index
        retriever=world.retriever,
        llm=world.llm,
        streaming=world.streaming,
        **settings,
    )


def selector(world: World) -> LLMSingleSelector:
    choice = json.dumps([{"choice": 1, "reason": "The only one."}])
    return LLMSingleSelector.from_defaults(world.clerk(choice))


def routed(world: World) -> RouterQueryEngine:
    tool = QueryEngineTool.from_defaults(ours(world), description="Doors.")
    return RouterQueryEngine(selector(world), [tool], llm=world.whole_llm)


def sub_questions(world: World) -> SubQuestionQueryEngine:
    split = [{"sub_question": "Where is the green one?", "tool_name": "doors"}]
    return SubQuestionQueryEngine(
        LLMQuestionGenerator.from_defaults(world.clerk(json.dumps(split))),
        world.synthesizer(),
        [QueryEngineTool.from_defaults(ours_whole(world), "doors", "Doors.")],
        verbose=False,
    )


def hyde(world: World) -> HyDEQueryTransform:
    return HyDEQueryTransform(world.clerk("The green door is on the left."))


def fused(world: World, *retrievers: BaseRetriever) -> RetrieverQueryEngine:
    retriever = QueryFusionRetriever(
        [*retrievers, world.retriever],
        llm=world.clerk("unasked"),
        mode=FUSION_MODES.RECIPROCAL_RANK,
        num_queries=1,
        similarity_top_k=10,
    )
    return ours(world, retriever)


def texts_alone(world: World) -> BaseRetriever:
    index = VectorStoreIndex(world.texts, embed_model=world.encoder)
    return index.as_retriever(similarity_top_k=2)


def routed_retriever(world: World) -> RetrieverQueryEngine:
    tool = RetrieverTool.from_defaults(world.retriever, description="Doors.")
    retriever = RouterRetriever(selector(world), [tool], llm=world.whole_llm)
    return ours(world, retriever)


def simple(world: World, **settings: Any) -> SimpleMultiModalQueryEngine:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return SimpleMultiModalQueryEngine(
            world.retriever,  # type: ignore[arg-type] - any multimodal retriever
            multi_modal_llm=world.llm,
            **settings,
        )


def chat(cls: Any, world: World, **settings: Any) -> Any:
    # The default memory opens a database that it leaves to the garbage collector.
    memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
    return cls.from_defaults(
        world.retriever, multi_modal_llm=world.llm, memory=memory, **settings
    )


def captioned(build: Callable[..., Any]) -> Callable[[World], Any]:
    return lambda world: build(world, node_postprocessors=[CaptionsAsText()])


def context_chat(world: World, **settings: Any) -> Any:
    return chat(MultiModalContextChatEngine, world, **settings)


def condensing_chat(world: World, **settings: Any) -> Any:
    return chat(MultiModalCondensePlusContextChatEngine, world, **settings)


QUERY_PICTURE: Limits = {Note.QUERY_PICTURE: with_picture}
CHAT: Limits = {Note.CHAT_CAPTIONS: always, **QUERY_PICTURE}
HYDE: Limits = {Note.HYDE_LOST_IT: with_picture, Note.HYDE_HID_IT: with_picture}

ENGINES = (
    Engine("`RetrieverQueryEngine` with `MultiModalSynthesizer`", ours),
    Engine(
        "`RetrieverQueryEngine.from_args` with `MultiModalSynthesizer`",
        lambda world: from_args(world, response_synthesizer=world.synthesizer()),
    ),
    Engine(
        "`RetrieverQueryEngine.from_args(multimodal=True)`",
        lambda world: from_args(world, multimodal=True),
        QUERY_PICTURE,
    ),
    Engine(
        "`RetrieverQueryEngine` with LlamaIndex's synthesizer for texts",
        text_mode,
        {Note.TEXT_MODE: always, **QUERY_PICTURE},
    ),
    Engine(
        "`CitationQueryEngine(multimodal=True)`",
        lambda world: citation(world, multimodal=True),
        {Note.CITATION_IDS: always, **QUERY_PICTURE},
    ),
    Engine(
        "`CitationQueryEngine(multimodal=True)` with `MultiModalSynthesizer`",
        lambda world: citation(
            world, multimodal=True, response_synthesizer=world.synthesizer()
        ),
        {Note.CITATION_IDS: always},
    ),
    Engine("`RouterQueryEngine`", routed),
    Engine(
        "`SubQuestionQueryEngine`",
        sub_questions,
        {Note.SUB_QUESTIONS: with_picture},
    ),
    Engine(
        "`TransformQueryEngine` with `KeepPicture(HyDEQueryTransform())`",
        lambda world: TransformQueryEngine(ours(world), KeepPicture(hyde(world))),
    ),
    Engine(
        "`TransformQueryEngine` with `HyDEQueryTransform` alone",
        lambda world: TransformQueryEngine(ours(world), hyde(world)),
        HYDE,
    ),
    Engine("`QueryFusionRetriever` around ours", fused),
    Engine(
        "`QueryFusionRetriever` of a `VectorIndexRetriever` and ours",
        lambda world: fused(world, texts_alone(world)),
        {
            Note.OTHER_RETRIEVER: lambda asked, _: asked == "picture",
        },
    ),
    Engine("`RouterRetriever`", routed_retriever),
    Engine(
        "`TransformRetriever` with `KeepPicture(HyDEQueryTransform())`",
        lambda world: ours(
            world, TransformRetriever(world.retriever, KeepPicture(hyde(world)))
        ),
    ),
    Engine(
        "`TransformRetriever` with `HyDEQueryTransform` alone",
        lambda world: ours(world, TransformRetriever(world.retriever, hyde(world))),
        {Note.HYDE_LOST_IT: with_picture},
    ),
    Engine(
        "`MultiModalContextChatEngine` with `CaptionsAsText`",
        captioned(context_chat),
        QUERY_PICTURE,
        kind="chat",
    ),
    Engine("`MultiModalContextChatEngine` alone", context_chat, CHAT, kind="chat"),
    Engine(
        "`MultiModalCondensePlusContextChatEngine` with `CaptionsAsText`",
        captioned(condensing_chat),
        QUERY_PICTURE,
        kind="chat",
    ),
    Engine(
        "`MultiModalCondensePlusContextChatEngine` alone",
        condensing_chat,
        CHAT,
        kind="chat",
    ),
    Engine(
        "`SimpleMultiModalQueryEngine` (deprecated) with `CaptionsAsText`",
        captioned(simple),
        QUERY_PICTURE,
        streams=False,
    ),
    Engine(
        "`SimpleMultiModalQueryEngine` (deprecated) alone",
        simple,
        CHAT,
        streams=False,
    ),
)

CELLS = [
    (engine, asked, way) for engine in ENGINES for asked in ASKED for way in engine.ways
]
