"""LlamaIndex retrievers that find what they are told to."""

from __future__ import annotations

import time

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from .colours import text_node


class Scripted(BaseRetriever):
    """Returns what it was given, whatever it is asked, and keeps the question."""

    def __init__(self, results: list[NodeWithScore], delay_s: float = 0.0) -> None:
        self.results = results
        self.delay_s = delay_s
        self.asked: list[QueryBundle] = []
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(query_bundle)
        time.sleep(self.delay_s)
        return [result.model_copy() for result in self.results]


def scored(**scores: float | None) -> list[NodeWithScore]:
    return [NodeWithScore(node=text_node(t), score=s) for t, s in scores.items()]
