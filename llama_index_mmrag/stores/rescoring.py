"""LlamaIndex's store of a quantised collection, searched as it was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.vector_stores.qdrant import QdrantVectorStore

from llama_index_mmrag.checks import number

if TYPE_CHECKING:
    from llama_index.core.vector_stores.types import (
        VectorStoreQuery,
        VectorStoreQueryResult,
    )


class RescoringVectorStore(QdrantVectorStore):
    """A `QdrantVectorStore` whose dense searches rescore more candidates.

    A server's own default takes no more candidates by their codes than are asked for,
    which loses what `compress` measured with more.

    Args:
        oversampling: How many times as many candidates as are asked for; at least 1.
        kwargs: Those of `QdrantVectorStore`.
    """

    oversampling: float = 1.0

    def __init__(self, *args: Any, oversampling: float = 1.0, **kwargs: Any) -> None:
        # QdrantVectorStore passes only its own fields on.
        super().__init__(*args, **kwargs)
        self.oversampling = number(oversampling, "oversampling", at_least=1)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "RescoringVectorStore"

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nearest nodes; `search_params` given here win."""
        return super().query(query, **self._rescored(kwargs))

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        """Return what `query` does, over the asynchronous client."""
        return await super().aquery(query, **self._rescored(kwargs))

    def _rescored(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        from qdrant_client.http import models

        codes = models.QuantizationSearchParams(
            rescore=True, oversampling=self.oversampling
        )
        return {"search_params": models.SearchParams(quantization=codes), **kwargs}
