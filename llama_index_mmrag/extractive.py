"""Extractive answers: the evidence's own sentences, when there is no LLM to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer

from llama_index_mmrag.evidence import Source

Sentence: TypeAlias = "tuple[Source, str]"

_WORD = re.compile(r"\w{3,}")


def extract_answer(
    query_str: str,
    sources: Sequence[Source],
    *,
    embed_model: BaseEmbedding | None = None,
    max_sentences: int = 3,
    max_pictures: int = 2,
) -> list[str]:
    """Return the answer in pieces: the best sentences, then the pictures, all cited.

    Sentences are ranked by their similarity to the question, the best sources' first
    where there is no question; they are shown in the order of their sources, so that
    steps stay in order.

    Args:
        query_str: The question; empty for a query by picture alone.
        sources: The evidence, best first.
        embed_model: Ranks sentences by meaning; by shared words if None.
        max_sentences: Most sentences.
        max_pictures: Most pictures that are named.
    """
    sentences = [
        (source, sentence.strip())
        for source in sources
        if source.picture is None and source.modality == "text"
        for sentence in _split(source.text)
        if sentence.strip()
    ]
    chosen = _best(query_str, sentences, embed_model)[:max_sentences]
    pieces = [
        f"{sentence} [{source.label}] "
        for index, (source, sentence) in enumerate(sentences)
        if index in chosen
    ]
    pictures = [source for source in sources if source.modality != "text"]
    if pictures:
        named = "; ".join(
            f"{' '.join(source.text.split()) or source.name} [{source.label}]"
            for source in pictures[:max_pictures]
        )
        lead = "\n\n" if pieces else ""
        pieces.append(
            f"{lead}{'Picture' if len(pictures) == 1 else 'Pictures'}: {named}."
        )
    return pieces


def _split(text: str) -> list[str]:
    tokenize = split_by_sentence_tokenizer()
    return [sentence for line in text.splitlines() for sentence in tokenize(line)]


def _best(
    query_str: str, sentences: Sequence[Sentence], embed_model: BaseEmbedding | None
) -> list[int]:
    """Return the sentences' indices, best first; ties in the order of the evidence."""
    if not query_str.strip() or not sentences:
        return list(range(len(sentences)))
    if embed_model is None:
        scores = _overlap(query_str, [sentence for _, sentence in sentences])
    else:
        query = np.asarray(embed_model.get_query_embedding(query_str))
        texts = np.asarray(
            embed_model.get_text_embedding_batch([text for _, text in sentences])
        )
        norms = np.linalg.norm(texts, axis=1) * np.linalg.norm(query)
        scores = texts @ query / np.where(norms == 0.0, 1.0, norms)
    return [int(index) for index in np.argsort(-scores, kind="stable")]


def _overlap(query_str: str, sentences: Sequence[str]) -> np.ndarray:
    """Return the share of each sentence's words that the question has, shape (n,)."""
    asked = set(_WORD.findall(query_str.lower()))
    words = [set(_WORD.findall(sentence.lower())) for sentence in sentences]
    return np.array([len(asked & found) / (len(found) or 1) for found in words])
