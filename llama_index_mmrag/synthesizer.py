"""The synthesizer: labelled sources to an LLM, checked citations back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, ContentBlock, TextBlock
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.synthesis import (
    SynthesizeEndEvent,
    SynthesizeStartEvent,
)
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers.base import BaseSynthesizer, QueryTextType
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.types import RESPONSE_TEXT_TYPE
from llama_index_instrumentation import get_dispatcher

from llama_index_mmrag.citations import CitationChecker
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.evidence import (
    Evidence,
    encode_picture,
    gather_evidence,
    picture_block,
)
from llama_index_mmrag.extractive import extract_answer
from llama_index_mmrag.nodes import provenance_of
from llama_index_mmrag.query import pictures_of
from llama_index_mmrag.routes import athread

dispatcher = get_dispatcher(__name__)

INSTRUCTIONS = PromptTemplate(
    "Answer the question from the numbered sources alone: texts and pictures. After "
    "each statement cite the sources it rests on, as [1] or [1][2]. Cite a picture "
    "when you use what it shows. If the sources do not answer the question, say so."
)
"""Goes to the model as the system message."""

QUESTION = PromptTemplate("Question: {query_str}\nAnswer:")
"""Follows the sources."""

ABOUT_PICTURE = "What do the sources say about this picture?"
"""The question where a query has a picture and no words."""


class MultiModalSynthesizer(BaseSynthesizer):
    """Answers from texts and pictures, and cites only what it was shown.

    Every source stands under its label before its content; captions go with their
    pictures, which are read once and scaled to a budget; the query's own pictures come
    last. Labels in the answer that name no source are removed, also while it streams.

    `response.source_nodes` lists what was shown, in the order of the labels.
    `response.metadata` has, beside LlamaIndex's entry for each node:

    - "citations": label → node id, modality, name, score and the routes that found it;
    - "cited": label → how often the answer cites it (complete once a stream has ended);
    - "removed_citations": label → how often it was removed, having no source;
    - "left_out": results that were not shown, each with the reason;
    - "degraded": the routes that gave no answer to this query.

    Args:
        llm: A chat model; one with eyes to use the pictures. None answers with the
            evidence's own sentences, with the same citations.
        embed_model: Ranks the sentences of an answer without an LLM by meaning.
        max_images: Most pictures shown; 0 shows captions only.
        max_image_side: Longest side of a picture in pixels.
        streaming: Answer piece by piece.
        instructions: The system message; editable as the prompt "instructions".
        question: What follows the sources; editable as the prompt "question".
        callback_manager: LlamaIndex's.
        empty_response: The answer where nothing was found.
    """

    def __init__(  # noqa: PLR0913 - a budget, two prompts and the base class's own
        self,
        llm: LLM | None = None,
        *,
        embed_model: BaseEmbedding | None = None,
        max_images: int = 6,
        max_image_side: int = 1024,
        streaming: bool = False,
        instructions: BasePromptTemplate | None = None,
        question: BasePromptTemplate | None = None,
        callback_manager: CallbackManager | None = None,
        empty_response: str = "Nothing was found that answers this.",
    ) -> None:
        # The base class would ask Settings for an LLM, which needs OpenAI's package.
        super().__init__(
            llm=llm or MockLLM(),
            callback_manager=callback_manager,
            streaming=streaming,
            empty_response=empty_response,
        )
        self._writer = llm
        self._embed_model = embed_model
        self._max_images = max_images
        self._max_image_side = max_image_side
        self._instructions = instructions or INSTRUCTIONS
        self._question = question or QUESTION

    def _get_prompts(self) -> PromptDictType:
        return {"instructions": self._instructions, "question": self._question}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        self._instructions = prompts.get("instructions", self._instructions)
        self._question = prompts.get("question", self._question)

    @dispatcher.span
    def synthesize(
        self,
        query: QueryTextType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """Return the answer to `query` from `nodes`, best first."""
        bundle = QueryBundle(query) if isinstance(query, str) else query
        dispatcher.event(SynthesizeStartEvent(query=query))
        with self._callback_manager.event(
            CBEventType.SYNTHESIZE, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:
            task = _Task(self, bundle, nodes, additional_source_nodes)
            response = task.respond(self._write(task, response_kwargs))
            event.on_end(payload={EventPayload.RESPONSE: response})
        dispatcher.event(SynthesizeEndEvent(query=query, response=response))
        return response

    @dispatcher.span
    async def asynthesize(
        self,
        query: QueryTextType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """Return what `synthesize` does; pictures are read in a thread."""
        bundle = QueryBundle(query) if isinstance(query, str) else query
        dispatcher.event(SynthesizeStartEvent(query=query))
        with self._callback_manager.event(
            CBEventType.SYNTHESIZE, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:
            task = await athread(
                lambda: _Task(self, bundle, nodes, additional_source_nodes)
            )
            response = task.respond(await self._awrite(task, response_kwargs))
            event.on_end(payload={EventPayload.RESPONSE: response})
        dispatcher.event(SynthesizeEndEvent(query=query, response=response))
        return response

    def get_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Return the answer from bare texts, labelled in their order."""
        task = _Task(self, QueryBundle(query_str), _as_results(text_chunks), None)
        return self._write(task, response_kwargs)

    async def aget_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Return the answer from bare texts, labelled in their order."""
        task = _Task(self, QueryBundle(query_str), _as_results(text_chunks), None)
        return await self._awrite(task, response_kwargs)

    def _write(self, task: _Task, kwargs: dict[str, Any]) -> RESPONSE_TEXT_TYPE:
        if not task.evidence.sources or self._writer is None:
            pieces = self._without_llm(task)
            return (piece for piece in pieces) if self._streaming else "".join(pieces)
        if self._streaming:
            stream = self._writer.stream_chat(task.messages(), **kwargs)
            return task.checked_stream(delta.delta or "" for delta in stream)
        reply = self._writer.chat(task.messages(), **kwargs)
        return task.checked(reply.message.content or "")

    async def _awrite(self, task: _Task, kwargs: dict[str, Any]) -> RESPONSE_TEXT_TYPE:
        if not task.evidence.sources or self._writer is None:
            pieces = await athread(lambda: self._without_llm(task))
            return _astream(pieces) if self._streaming else "".join(pieces)
        if self._streaming:
            stream = await self._writer.astream_chat(task.messages(), **kwargs)
            return task.achecked_stream(stream)
        reply = await self._writer.achat(task.messages(), **kwargs)
        return task.checked(reply.message.content or "")

    def _without_llm(self, task: _Task) -> list[str]:
        sources = task.evidence.sources
        if not sources:
            return [self._empty_response]
        pieces = extract_answer(
            task.query.query_str, sources, embed_model=self._embed_model
        )
        return list(task.checked_stream(iter(pieces)))


class _Task:
    """One answer in the making: its evidence, its messages, its citations."""

    def __init__(
        self,
        synthesizer: MultiModalSynthesizer,
        query: QueryBundle,
        nodes: Sequence[NodeWithScore],
        additional: Sequence[NodeWithScore] | None,
    ) -> None:
        self.query = query
        self.evidence: Evidence = gather_evidence(
            nodes,
            max_images=synthesizer._max_images,
            max_side=synthesizer._max_image_side,
        )
        self._synthesizer = synthesizer
        self._additional = list(additional or ())
        self._checker = CitationChecker(len(self.evidence.sources))
        self._metadata = self._describe(nodes)

    def messages(self) -> list[ChatMessage]:
        """Return what the LLM is shown; the query's pictures are read here."""
        synthesizer = self._synthesizer
        blocks: list[ContentBlock] = [
            block for source in self.evidence.sources for block in source.blocks()
        ]
        pictures = pictures_of(self.query) if synthesizer._max_images else []
        for number, picture in enumerate(pictures, start=1):
            jpeg = encode_picture(picture, max_side=synthesizer._max_image_side)
            blocks.append(TextBlock(text=f"The question's own picture {number}:\n"))
            blocks.append(picture_block(jpeg))
        asked = self.query.query_str.strip() or ABOUT_PICTURE
        blocks.append(TextBlock(text=synthesizer._question.format(query_str=asked)))
        return [
            ChatMessage(role="system", content=synthesizer._instructions.format()),
            ChatMessage(role="user", blocks=blocks),
        ]

    def checked(self, answer: str) -> str:
        """Return the answer with its invalid citations removed, and count them."""
        return "".join(self.checked_stream(iter([answer])))

    def checked_stream(self, pieces: Any) -> Generator[str, None, None]:
        """Yield the answer's pieces, checked; the counts are complete at the end."""
        yield from self._checker.check_stream(pieces)
        self._count()

    async def achecked_stream(self, stream: Any) -> AsyncGenerator[str, None]:
        """Yield an LLM's stream, checked; the counts are complete at the end."""
        async for delta in stream:
            if shown := self._checker.feed(delta.delta or ""):
                yield shown
        if shown := self._checker.finish():
            yield shown
        self._count()

    def respond(self, answer: RESPONSE_TEXT_TYPE) -> RESPONSE_TYPE:
        """Return LlamaIndex's response object around the answer."""
        sources = [s.result for s in self.evidence.sources] + self._additional
        metadata = self._metadata
        metadata |= {r.node.node_id: r.node.metadata for r in sources}
        if isinstance(answer, str):
            return Response(answer, source_nodes=sources, metadata=metadata)
        if isinstance(answer, AsyncGenerator):
            return AsyncStreamingResponse(
                answer, source_nodes=sources, metadata=metadata
            )
        if isinstance(answer, Generator):
            return StreamingResponse(answer, source_nodes=sources, metadata=metadata)
        msg = f"The LLM gave {type(answer).__name__}; expected text or a stream of it."
        raise InvalidSetting(msg)

    def _describe(self, nodes: Sequence[NodeWithScore]) -> dict[str, Any]:
        provenance = next(filter(None, map(provenance_of, nodes)), None)
        degraded = provenance.to_dict()["degraded"] if provenance else []
        return {
            "citations": {str(s.label): s.card() for s in self.evidence.sources},
            "cited": {},
            "removed_citations": {},
            "left_out": [
                {"node_id": node_id, "reason": reason}
                for node_id, reason in self.evidence.left_out
            ],
            "degraded": degraded,
        }

    def _count(self) -> None:
        self._metadata["cited"] |= {str(k): n for k, n in self._checker.cited.items()}
        self._metadata["removed_citations"] |= {
            str(k): n for k, n in self._checker.removed.items()
        }


def describe_sources(response: RESPONSE_TYPE) -> str:
    """Return a sentence on what an answer used: "image cat.png [1] and text a.md [2]".

    Args:
        response: An answer of `MultiModalSynthesizer`; a stream must have ended.
    """
    metadata = response.metadata or {}
    cards = metadata.get("citations", {})
    used = [
        f"{cards[label]['modality']} {cards[label]['name']} [{label}]"
        for label in metadata.get("cited", {})
    ]
    if not used:
        return "This answer cites no source."
    *most, last = used
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"This answer used {listed}."


def _as_results(text_chunks: Sequence[str]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=f"chunk-{number}", text=text))
        for number, text in enumerate(text_chunks, start=1)
    ]


async def _astream(pieces: Sequence[str]) -> AsyncGenerator[str, None]:
    for piece in pieces:
        yield piece
