"""Query transforms: they rewrite a query's words, and here its pictures stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.prompts.mixin import PromptDictType, PromptMixinType
from llama_index.core.schema import QueryBundle

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.retrieval.query import pictures_of


class KeepPicture(BaseQueryTransform):
    """Rewrites a query's words by another transform, and keeps its pictures.

    LlamaIndex's transforms (`HyDEQueryTransform`, `DecomposeQueryTransform`, ...) make
    a new `QueryBundle` of the words alone, so that a query by picture becomes one by
    text. In this wrapper they stand wherever a transform does: `TransformQueryEngine`,
    `TransformRetriever`. The query that comes back is of the given one's kind, with its
    pictures and part weights; the given one is not changed.

    A query by picture alone comes back as it is: a transform could only invent words
    for it, which would then be searched for.

    Args:
        transform: What rewrites the words. Its prompts are this transform's prompts. If
            it sets an `image_path` of its own, that one replaces the query's.

    Example:
        >>> from llama_index.core.indices.query.query_transform import (
        ...     HyDEQueryTransform,
        ... )
        >>> from llama_index.core.llms import MockLLM
        >>> transform = KeepPicture(HyDEQueryTransform(llm=MockLLM(max_tokens=3)))
        >>> query = transform.run(QueryBundle("a red door", image_path="door.jpg"))
        >>> query.query_str, query.embedding_strs, query.image_path
        ('a red door', ['text text text', 'a red door'], 'door.jpg')
    """

    @checked
    def __init__(self, transform: BaseQueryTransform) -> None:
        super().__init__()
        self._transform = transform

    def _get_prompts(self) -> PromptDictType:
        return self._transform._get_prompts()

    def _update_prompts(self, prompts: PromptDictType) -> None:
        self._transform._update_prompts(prompts)

    def _get_prompt_modules(self) -> PromptMixinType:
        return self._transform._get_prompt_modules()

    def _run(self, query_bundle: QueryBundle, metadata: dict[str, Any]) -> QueryBundle:
        given = _copied(query_bundle)
        if pictures_of(given) and not any(map(str.strip, given.embedding_strs)):
            return given
        # A copy goes in, too: a transform may write to what it gets.
        rewritten = self._transform.run(_copied(query_bundle), metadata=metadata)
        if isinstance(rewritten, type(given)) and pictures_of(rewritten):
            return rewritten
        return replace(
            given,
            query_str=rewritten.query_str,
            custom_embedding_strs=rewritten.custom_embedding_strs,
            embedding=rewritten.embedding,
            image_path=rewritten.image_path or given.image_path,
        )


def _copied(query: QueryBundle) -> QueryBundle:
    strings = query.custom_embedding_strs
    return replace(
        query, custom_embedding_strs=None if strings is None else list(strings)
    )
