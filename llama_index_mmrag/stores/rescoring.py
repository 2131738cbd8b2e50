"""LlamaIndex's store of a quantised collection, searched as it was measured."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import Field
from llama_index.vector_stores.qdrant import QdrantVectorStore

from llama_index_mmrag.checks import no_keywords, number
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.components import CheckedComponent, as_settings

if TYPE_CHECKING:
    from llama_index.core.vector_stores.types import (
        VectorStoreQuery,
        VectorStoreQueryResult,
    )
    from qdrant_client.http import models


_make = checked(QdrantVectorStore.__init__)
_MADE_OF = signature(QdrantVectorStore.__init__).parameters
_ASKED_WITH = frozenset({"qdrant_filters", "search_params", "shard_identifier"})


class RescoringVectorStore(CheckedComponent, QdrantVectorStore):
    """A `QdrantVectorStore` whose dense searches rescore more candidates.

    A server's own default takes no more candidates by their codes than are asked for,
    which loses what `compress` measured with more.

    Args:
        oversampling: How many times as many candidates as are asked for; at least 1.
        kwargs: Those of `QdrantVectorStore`.

    Raises:
        InvalidSetting: A keyword is not known, or its value is none that it takes.
    """

    oversampling: float = Field(default=1.0, ge=1)

    def __init__(self, *args: Any, oversampling: float = 1.0, **kwargs: Any) -> None:
        # QdrantVectorStore passes only its own fields on, and drops any other keyword.
        no_keywords(kwargs.keys() - _MADE_OF.keys(), self.class_name())
        with as_settings(self.class_name()):
            _make(self, *args, **kwargs)
        self.oversampling = number(oversampling, "oversampling", at_least=1)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "RescoringVectorStore"

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nearest nodes; `search_params` given here win.

        Raises:
            InvalidSetting: `kwargs` has a keyword that Qdrant's store does not read.
        """
        return super().query(query, **self._rescored(kwargs))

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        """Return what `query` does, over the asynchronous client."""
        return await super().aquery(query, **self._rescored(kwargs))

    @property
    def rescoring(self) -> models.SearchParams:
        """How a search is made, unless it says so itself."""
        from qdrant_client.http import models

        codes = models.QuantizationSearchParams(
            rescore=True, oversampling=self.oversampling
        )
        return models.SearchParams(quantization=codes)

    def _rescored(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        no_keywords(kwargs.keys() - _ASKED_WITH, f"{self.class_name()}.query")
        return {"search_params": self.rescoring, **kwargs}
