"""What an index is asked through: retriever, query and chat engine, tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, get_args

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.llms import LLM
from llama_index.core.response_synthesizers import BaseSynthesizer

from llama_index_mmrag.answers.captions import CaptionsAsText
from llama_index_mmrag.answers.llm import SETTINGS, chosen_llm
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.answers.synthesizer import MultiModalSynthesizer
from llama_index_mmrag.checks import one_of
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import CalibratedSum
from llama_index_mmrag.ingestion.writer import Writer
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.links import BY_ENTITY, check_key
from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever
from llama_index_mmrag.retrieval.settings import OF_CHANNELS

if TYPE_CHECKING:
    from llama_index_mmrag.agents.query_engine_tool import MultiModalQueryEngineTool
    from llama_index_mmrag.agents.retriever_tool import MultiModalRetrieverTool
    from llama_index_mmrag.lettering import PictureReader

Searched = Literal["parts", "composed", "both"]
"""Texts and pictures apart (late fusion), their composed vectors (early), or both."""


def _keywords(function: Any, *but: str) -> frozenset[str]:
    return frozenset(signature(function).parameters) - {*but, "self", "kwargs", "llm"}


_OF_RETRIEVER = _keywords(MultiModalFusionRetriever, "channels") | {"search"}
_OF_SYNTHESIZER = _keywords(MultiModalSynthesizer)
_OF_ENGINE = _OF_SYNTHESIZER | {
    *("llm", "multi_modal_llm", "node_postprocessors", "response_synthesizer")
}


class Engines:
    """The `as_…` methods of an index."""

    _channels: dict[str, Channel]
    _composed: Channel | None
    _writer: Writer

    def as_retriever(
        self, *, search: Searched | None = None, **settings: Any
    ) -> MultiModalFusionRetriever:
        """Return a retriever over the channels.

        Args:
            search: "parts" searches texts and pictures apart and fuses rankings,
                "composed" searches composed vectors alone, "both" does both; None does
                all that the index was opened for.
            **settings: Arguments of `MultiModalFusionRetriever`. Three defaults differ:
                `complete_entities` is True, so that a picture comes with its section
                and a section with its picture; ids are one for all collections
                (`linked_by`); and `fusion` is `CalibratedSum()`, since
                ranks alone let two poor hits of an illustrated section outrank the one
                good hit of a plain one.
        """
        refuse_unknown(settings, "as_retriever", _OF_RETRIEVER, OF_CHANNELS)
        if settings.get("read_query_pictures") is True:
            settings["read_query_pictures"] = self._own_reader()
        settings.setdefault("complete_entities", True)
        settings.setdefault("fusion", CalibratedSum())
        # Composed vectors lie under the ids of what they were composed of.
        settings.setdefault("linked_by", BY_ENTITY)
        if settings.get("image_similarity_top_k") is not None:
            search = search or "parts"  # a composed vector is of neither modality
        made = MultiModalFusionRetriever(self._searched(search), **settings)
        check_key(settings["linked_by"], made.channels)
        return made

    def _own_reader(self) -> PictureReader:
        if (lettering := self._writer.lettering) is None:
            raise InvalidSetting(
                "read_query_pictures is True, and nothing reads the pictures of this "
                "index. Open it with read_pictures=True, or give a reader, such as "
                "llama_index_mmrag.lettering.reader_of('rapidocr')."
            )
        return lettering.reader

    def _searched(self, search: Searched | None) -> tuple[Channel, ...]:
        if search is not None:
            one_of(search, "search", get_args(Searched))
        parts = tuple(self._channels.values())
        if search in ("composed", "both") and self._composed is None:
            raise InvalidSetting(
                f"search is {search!r}, and the index has no composed vectors. "
                f"Open it, with a new store, with composition=Blend(0.5), or search "
                f'the "parts".'
            )
        if search == "parts" or self._composed is None:
            return parts
        if search == "composed":
            # The parts are asked for the kin of what is found, and not searched.
            parts = tuple(replace(channel, accepts=frozenset()) for channel in parts)
        return (*parts, self._composed)

    @checked
    def as_query_engine(
        self,
        llm: LLM | str | None = SETTINGS,
        *,
        response_synthesizer: BaseSynthesizer | None = None,
        **settings: Any,
    ) -> MultiModalQueryEngine:
        """Return a query engine that answers with checked citations.

        Args:
            llm: As for `MultiModalSynthesizer`: a model, with eyes to use the pictures;
                `Settings.llm` where it was set; None, or nobody set one: the answer is
                the evidence's own sentences. LlamaIndex's `multi_modal_llm` is it too.
            response_synthesizer: Another one, of LlamaIndex's for example.
            **settings: Arguments of `as_retriever` (`top_k` is 5 if not given), of
                `MultiModalSynthesizer` (such as `max_images` and `output_cls`), and
                `node_postprocessors`. A `callback_manager` goes to both.
        """
        refuse_unknown(
            settings, "as_query_engine", _OF_ENGINE | _OF_RETRIEVER, OF_CHANNELS
        )
        postprocessors = settings.pop("node_postprocessors", None)
        if "multi_modal_llm" in settings:
            llm = settings.pop("multi_modal_llm")
        finding = {k: v for k, v in settings.items() if k in _OF_RETRIEVER}
        writing = {k: v for k, v in settings.items() if k in _OF_SYNTHESIZER}
        if response_synthesizer is None:
            writing.setdefault("embed_model", self._channels["text"].embed_model)
            response_synthesizer = MultiModalSynthesizer(llm, **writing)
        elif given := [
            *([] if llm == SETTINGS else ["llm"]),
            *(writing.keys() - {"callback_manager"}),
        ]:
            raise InvalidSetting(
                f"as_query_engine() got response_synthesizer and {given[0]}, which is "
                f"for the one that is made where none is given. Leave one of the two "
                f"out."
            )
        return MultiModalQueryEngine(
            self.as_retriever(**_few(finding)),
            response_synthesizer=response_synthesizer,
            node_postprocessors=postprocessors,
        )

    @checked
    def as_chat_engine(
        self,
        chat_mode: ChatMode | str = ChatMode.BEST,
        llm: LLM | str | None = SETTINGS,
        **settings: Any,
    ) -> BaseChatEngine:
        """Return one of LlamaIndex's chat engines over this index.

        It answers by LlamaIndex's prompts: only "condense_question" shows the sources
        under labels and checks what is cited.

        Args:
            chat_mode: "best" and "condense_plus_context" make a question of the
                conversation and show its evidence, pictures with their captions;
                "context" asks with each message as it is; "condense_question" asks
                `as_query_engine`; "simple" looks nothing up.
            llm: A model, with eyes to use the pictures; `Settings.llm` by default.
                LlamaIndex's `multi_modal_llm` is it too.
            **settings: Arguments of that chat engine's `from_defaults`, such as
                `memory` and `system_prompt`, and of `as_retriever` (`top_k` is 5 if not
                given), or for "condense_question" of `as_query_engine`.

        Raises:
            InvalidSetting: There is no model, or the mode is none that there is.
        """
        model = chosen_llm(settings.pop("multi_modal_llm", llm))
        if model is None:
            raise InvalidSetting(
                "A chat needs a model to write it: give llm=, or set Settings.llm; a "
                "MockLLM there counts as none, since LlamaIndex makes one of None. "
                "Without a model, as_query_engine() answers with the evidence's words."
            )
        mode = str(getattr(chat_mode, "value", chat_mode))
        if mode in ("react", "openai"):
            raise InvalidSetting(
                f"chat_mode is {mode!r}, which LlamaIndex has taken out. Give its "
                f"FunctionAgent or ReActAgent the tools [index.as_tool(), "
                f"index.as_query_engine_tool()]."
            )
        chats = _chat_engines()
        made = chats[one_of(mode, "chat_mode", list(chats))]
        known = _keywords(made, "retriever", "query_engine", "multi_modal_llm")
        asking = {"simple": frozenset()}.get(mode, _OF_RETRIEVER)
        if mode == "condense_question":
            known -= {"system_prompt", "prefix_messages"}  # there they are refused
            asking |= _OF_ENGINE
        given, taken = f"as_chat_engine({mode!r})", known | asking | {"chat_mode"}
        refuse_unknown(settings, given, taken, OF_CHANNELS)
        chat = {k: settings.pop(k) for k in list(settings) if k in known - asking}
        if mode == "simple":
            return made(llm=model, **chat)
        if mode == "condense_question":
            return made(self.as_query_engine(model, **settings), llm=model, **chat)
        # Those engines send pictures, and drop what they say.
        after = [*(chat.pop("node_postprocessors", None) or ()), CaptionsAsText()]
        retriever: BaseRetriever = self.as_retriever(**_few(settings))
        return made(retriever, multi_modal_llm=model, node_postprocessors=after, **chat)

    @checked
    def as_tool(
        self, *, search: Searched | None = None, **settings: Any
    ) -> MultiModalRetrieverTool:
        """Return an agent's tool that searches this index.

        Args:
            search: As for `as_retriever`.
            **settings: Arguments of `MultiModalRetrieverTool`, and of `as_retriever`
                (`top_k` is 5 if not given).
        """
        from llama_index_mmrag.agents.retriever_tool import MultiModalRetrieverTool

        known = _keywords(MultiModalRetrieverTool, "retriever")
        refuse_unknown(settings, "as_tool", known | _OF_RETRIEVER, OF_CHANNELS)
        tool = {k: settings.pop(k) for k in list(settings) if k in known}
        retriever = self.as_retriever(search=search, **_few(settings))
        return MultiModalRetrieverTool(retriever, **tool)

    @checked
    def as_query_engine_tool(
        self, llm: LLM | str | None = SETTINGS, **settings: Any
    ) -> MultiModalQueryEngineTool:
        """Return an agent's tool that asks `as_query_engine`.

        Args:
            llm: As for `as_query_engine`.
            **settings: Arguments of `MultiModalQueryEngineTool`, budgets of pictures
                among them, and of `as_query_engine`.
        """
        from llama_index_mmrag.agents.query_engine_tool import MultiModalQueryEngineTool

        known = _keywords(MultiModalQueryEngineTool, "query_engine")
        all_known = known | _OF_ENGINE | _OF_RETRIEVER
        refuse_unknown(settings, "as_query_engine_tool", all_known, OF_CHANNELS)
        tool = {k: settings.pop(k) for k in list(settings) if k in known}
        return MultiModalQueryEngineTool(self.as_query_engine(llm, **settings), **tool)


def _few(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a retriever's settings with as many results as a model should read."""
    has_depth = settings.keys() & {"top_k", "similarity_top_k"}
    return settings if has_depth else {"top_k": 5, **settings}


def _chat_engines() -> dict[str, Callable[..., BaseChatEngine]]:
    from llama_index.core.chat_engine import (
        CondenseQuestionChatEngine,
        MultiModalCondensePlusContextChatEngine,
        MultiModalContextChatEngine,
        SimpleChatEngine,
    )

    condensing = MultiModalCondensePlusContextChatEngine.from_defaults
    return {
        "best": condensing,
        "condense_plus_context": condensing,
        "context": MultiModalContextChatEngine.from_defaults,
        "condense_question": CondenseQuestionChatEngine.from_defaults,
        "simple": SimpleChatEngine.from_defaults,
    }
