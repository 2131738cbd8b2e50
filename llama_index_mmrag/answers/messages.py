"""Messages: what an LLM is shown of the evidence and of the question."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, ContentBlock, TextBlock
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.schema import QueryBundle

from llama_index_mmrag.answers.evidence import Source
from llama_index_mmrag.nodes.encoded_picture import EncodedPicture

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

ABOUT_UNSEEN_PICTURE = (
    "These sources were found with a picture, the most similar first. What do they say?"
)
"""The question where a query has a picture and no words, and the model no eyes."""


def compose_messages(
    query: QueryBundle,
    sources: Sequence[Source],
    *,
    pictures: Sequence[EncodedPicture],
    instructions: BasePromptTemplate,
    question: BasePromptTemplate,
    has_eyes: bool,
) -> list[ChatMessage]:
    """Return the instructions, and one message with the sources and the question.

    Every source stands under its label before its content. The query's own pictures
    come after the sources, under labels that no source has, and the words last.

    Args:
        query: The question; its words are shown.
        sources: The labelled sources.
        pictures: The query's own.
        instructions: Becomes the system message.
        question: Becomes the last block; has the variable `query_str`.
        has_eyes: Whether the model is shown pictures at all.
    """
    blocks: list[ContentBlock] = [
        block for source in sources for block in source.blocks()
    ]
    for number, picture in enumerate(pictures, start=1):
        blocks.append(TextBlock(text=f"The question's own picture {number}:\n"))
        blocks.append(picture.block())
    unspoken = ABOUT_PICTURE if has_eyes else ABOUT_UNSEEN_PICTURE
    asked = query.query_str.strip() or unspoken
    blocks.append(TextBlock(text=question.format(query_str=asked)))
    return [
        ChatMessage(role="system", content=instructions.format()),
        ChatMessage(role="user", blocks=blocks),
    ]
