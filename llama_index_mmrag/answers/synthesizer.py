"""The synthesizer: labelled sources to an LLM, checked citations back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.indices.prompt_helper import ChatPromptHelper, PromptHelper
from llama_index.core.instrumentation.events.synthesis import (
    SynthesizeEndEvent,
    SynthesizeStartEvent,
)
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers.base import BaseSynthesizer, QueryTextType
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.types import RESPONSE_TEXT_TYPE
from llama_index_instrumentation import get_dispatcher

from llama_index_mmrag.answers.draft import Answer, Draft
from llama_index_mmrag.answers.evidence import (
    EVIDENCE_ORDERS,
    EvidenceOrder,
    PictureBudget,
    Source,
    gather_evidence,
)
from llama_index_mmrag.answers.extractive import extract_answer
from llama_index_mmrag.answers.llm import SETTINGS, chosen_llm
from llama_index_mmrag.answers.messages import INSTRUCTIONS, QUESTION, compose_messages
from llama_index_mmrag.answers.structured import unwrapped
from llama_index_mmrag.answers.window import Window
from llama_index_mmrag.checks import listed, one_of, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.concurrency.threads import athread
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.encoded_picture import EncodedPicture, encode_picture
from llama_index_mmrag.retrieval.query import pictures_of
from llama_index_mmrag.retrieval.retriever import bundle_of

dispatcher = get_dispatcher(__name__)
_LOG = logging.getLogger(__name__)


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
    - "shown": how many texts and pictures were shown, and the pictures' bytes and
      pixels, the query's own included;
    - "left_out": results that were not shown, each with the reason;
    - "requested", "searched" and "degraded": the routes of this query, those that gave
      an answer, and those that gave none, with the reason.

    Args:
        llm: A model, or what LlamaIndex's `resolve_llm` takes; one with eyes to use the
            pictures. "settings" is `Settings.llm` where it was set. None, or nobody
            set one: the answer is the evidence's own sentences, with the same
            citations. A completion model is shown captions instead of pictures. A
            `StructuredLLM` is its LLM and its `output_cls`.
        output_cls: The Pydantic class of the answer: the response is a
            `PydanticResponse`, and the citations in the object's strings are checked.
            Where there is nothing to show, it is a `Response` with `empty_response`.
        embed_model: Ranks the sentences of an answer without an LLM by meaning.
        max_images: Most pictures shown; 0 shows captions only.
        max_image_side: Longest side of a picture in pixels; none is enlarged.
        max_image_bytes: Most bytes of the sources' pictures together, as files; a
            request holds 4/3 of them. None for no limit.
        max_context_tokens: Most tokens of the sources together, as LlamaIndex counts
            them; what is ranked lowest is left out first. None is what the model's
            window leaves beside the prompt and the answer.
        evidence_order: "ranking" shows, numbers and lists the sources best first;
            "document" does so document by document, each from its beginning to its
            end, so that steps and figures stay in order.
        streaming: Answer piece by piece.
        instructions: The system message; editable as the prompt "instructions".
        question: What follows the sources; editable as the prompt "question".
        callback_manager: LlamaIndex's.
        empty_response: The answer where nothing was found, or nothing could be shown.

    Raises:
        InvalidSetting: A budget is out of range, `llm` names no model, or an object is
            to be streamed or to be written without an LLM.
    """

    @checked
    def __init__(  # noqa: PLR0913 - a budget, two prompts and the base class's own
        self,
        llm: LLM | str | None = SETTINGS,
        *,
        output_cls: type[BaseModel] | None = None,
        embed_model: BaseEmbedding | None = None,
        max_images: int = 6,
        max_image_side: int = 1024,
        max_image_bytes: int | None = None,
        max_context_tokens: int | None = None,
        evidence_order: EvidenceOrder = "ranking",
        streaming: bool = False,
        instructions: BasePromptTemplate | None = None,
        question: BasePromptTemplate | None = None,
        callback_manager: CallbackManager | None = None,
        empty_response: str = "Nothing was found that answers this.",
    ) -> None:
        writer, output_cls = unwrapped(chosen_llm(llm), output_cls)
        if writer is not None and max_images and not writer.metadata.is_chat_model:
            _LOG.info(
                "%s is no chat model, and only chat messages hold pictures: it is "
                "shown captions.",
                writer.class_name(),
            )
            max_images = 0
        self._budget = PictureBudget(max_images, max_image_side, max_image_bytes)
        if max_context_tokens is not None:
            whole(max_context_tokens, "max_context_tokens", at_least=1)
        self._max_context_tokens = max_context_tokens
        self._order = one_of(evidence_order, "evidence_order", EVIDENCE_ORDERS)
        if output_cls is not None and streaming:
            raise InvalidSetting(
                f"streaming is True and the answer is a {output_cls.__name__}, which "
                f"can be checked as a whole alone. Leave out one of the two."
            )
        # The base class would ask Settings for an LLM, which needs OpenAI's package.
        super().__init__(
            llm=writer or MockLLM(),
            callback_manager=callback_manager,
            streaming=streaming,
            output_cls=output_cls,
            empty_response=empty_response,
        )
        self._writer = writer
        self._embed_model = embed_model
        self._instructions = instructions or INSTRUCTIONS
        self._question = question or QUESTION

    def _get_prompts(self) -> PromptDictType:
        return {"instructions": self._instructions, "question": self._question}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        if unknown := [name for name in prompts if name not in self._get_prompts()]:
            raise InvalidSetting(
                f"There is no prompt {unknown[0]!r}: an answer is written in one "
                f"request of 'instructions' and 'question'. Change those, or give "
                f"the engine a response_synthesizer of LlamaIndex's."
            )
        self._instructions = prompts.get("instructions", self._instructions)
        self._question = prompts.get("question", self._question)

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex's helpers hold a tokenizer, which a pickle reads from the network.
        helpers = {"_prompt_helper", "_chat_prompt_helper"}
        return {k: v for k, v in vars(self).items() if k not in helpers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        metadata = self._llm.metadata
        self._prompt_helper = PromptHelper.from_llm_metadata(metadata)
        self._chat_prompt_helper = ChatPromptHelper.from_llm_metadata(metadata)

    @dispatcher.span
    def synthesize(
        self,
        query: QueryTextType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """Return the answer to `query` from `nodes`, best first.

        Args:
            query: The question.
            nodes: The results to answer from.
            additional_source_nodes: Listed in `source_nodes` after the sources; they
                are not shown to the LLM.
            **response_kwargs: Arguments for the LLM.

        Raises:
            ImageUnreadable: A picture of the query cannot be read.
        """
        with self._announced(query) as (bundle, finished):
            draft = self._draft(bundle, nodes, additional_source_nodes)
            answer = self._write(bundle, draft, response_kwargs)
            return finished(draft.respond(answer))

    @dispatcher.span
    async def asynthesize(
        self,
        query: QueryTextType,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **response_kwargs: Any,
    ) -> RESPONSE_TYPE:
        """Return what `synthesize` does; pictures are read in a thread."""
        with self._announced(query) as (bundle, finished):
            draft = await athread(
                lambda: self._draft(bundle, nodes, additional_source_nodes)
            )
            answer = await self._awrite(bundle, draft, response_kwargs)
            return finished(draft.respond(answer))

    @contextmanager
    def _announced(
        self, query: QueryTextType
    ) -> Iterator[tuple[QueryBundle, Callable[[RESPONSE_TYPE], RESPONSE_TYPE]]]:
        """Tell LlamaIndex that an answer is written, and which one it became."""
        bundle = bundle_of(query)
        dispatcher.event(SynthesizeStartEvent(query=query))
        with self._callback_manager.event(
            CBEventType.SYNTHESIZE, payload={EventPayload.QUERY_STR: bundle.query_str}
        ) as event:

            def finished(response: RESPONSE_TYPE) -> RESPONSE_TYPE:
                event.on_end(payload={EventPayload.RESPONSE: response})
                dispatcher.event(SynthesizeEndEvent(query=query, response=response))
                return response

            yield bundle, finished

    def get_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Return the answer from bare texts, labelled in their order."""
        bundle = QueryBundle(query_str)
        draft = self._draft(bundle, _as_results(text_chunks))
        return self._write(bundle, draft, response_kwargs)

    async def aget_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Return the answer from bare texts, labelled in their order."""
        bundle = QueryBundle(query_str)
        draft = self._draft(bundle, _as_results(text_chunks))
        return await self._awrite(bundle, draft, response_kwargs)

    def _draft(
        self,
        query: QueryBundle,
        nodes: Sequence[NodeWithScore],
        additional: Sequence[NodeWithScore] | None = None,
    ) -> Draft:
        nodes = listed(nodes, "nodes", NodeWithScore)
        additional = listed(additional or (), "additional_source_nodes", NodeWithScore)
        pictures: list[EncodedPicture] = []
        window = None
        if self._writer is not None and nodes:
            # One that cannot be read is an error: without it the question is another.
            pictures = [
                encode_picture(picture, max_side=self._budget.max_side)
                for picture in (pictures_of(query) if self._budget.max_images else ())
            ]
            if self._max_context_tokens is None:
                frame = self._messages(query, (), pictures)
                window = Window.beside(frame, self._writer, self._output_cls)
            else:
                window = Window(self._max_context_tokens)
        evidence = gather_evidence(
            nodes, budget=self._budget, order=self._order, window=window
        )
        return Draft(evidence, nodes, additional, pictures=pictures)

    def _write(
        self, query: QueryBundle, draft: Draft, kwargs: dict[str, Any]
    ) -> Answer:
        if self._writer is None or not draft.evidence.sources:
            pieces = self._without_llm(query, draft)
            return (piece for piece in pieces) if self._streaming else "".join(pieces)
        messages = self._messages(query, draft.evidence.sources, draft.pictures)
        if self._output_cls is not None:
            prompt = ChatPromptTemplate(messages)
            written = self._writer.structured_predict(
                self._output_cls, prompt, llm_kwargs=kwargs
            )
            return draft.checked_object(written)
        if self._streaming:
            stream = self._writer.stream_chat(messages, **kwargs)
            return draft.checked_stream(response.delta or "" for response in stream)
        reply = self._writer.chat(messages, **kwargs)
        return draft.checked(reply.message.content or "")

    async def _awrite(
        self, query: QueryBundle, draft: Draft, kwargs: dict[str, Any]
    ) -> Answer:
        if self._writer is None or not draft.evidence.sources:
            pieces = await athread(lambda: self._without_llm(query, draft))
            return _astream(pieces) if self._streaming else "".join(pieces)
        messages = await athread(
            lambda: self._messages(query, draft.evidence.sources, draft.pictures)
        )
        if self._output_cls is not None:
            prompt = ChatPromptTemplate(messages)
            written = await self._writer.astructured_predict(
                self._output_cls, prompt, llm_kwargs=kwargs
            )
            return draft.checked_object(written)
        if self._streaming:
            stream = await self._writer.astream_chat(messages, **kwargs)
            return draft.achecked_stream(stream)
        reply = await self._writer.achat(messages, **kwargs)
        return draft.checked(reply.message.content or "")

    def _messages(
        self,
        query: QueryBundle,
        sources: Sequence[Source],
        pictures: Sequence[EncodedPicture],
    ) -> list[ChatMessage]:
        return compose_messages(
            query,
            sources,
            pictures=pictures,
            instructions=self._instructions,
            question=self._question,
            has_eyes=self._budget.max_images > 0,
        )

    def _without_llm(self, query: QueryBundle, draft: Draft) -> list[str]:
        pieces = [self._empty_response]
        if sources := draft.evidence.sources:
            pieces = extract_answer(
                query.query_str, sources, embed_model=self._embed_model
            )
        return list(draft.checked_stream(pieces))


def _as_results(text_chunks: Sequence[str]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, metadata={"file_name": f"chunk-{n}"}))
        for n, text in enumerate(text_chunks, start=1)
    ]


async def _astream(pieces: Sequence[str]) -> AsyncGenerator[str, None]:
    for piece in pieces:
        yield piece
