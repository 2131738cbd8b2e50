"""Keywords that nothing takes: answered with our word for what was meant. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, cast

from llama_index_mmrag.errors import InvalidSetting

C = TypeVar("C")

_WORDS = {
    # As they were called here
    "embed_model, and image_embed_model for pictures": "text_embed_model",
    "embed_model": "text_embed",
    "image_embed_model": "image_embed",
    "composition": "early_fusion",
    'search: "parts", "composed" or "both"': "fusion_stage",
    # LlamaIndex's
    "top_k": "k",
    "images=[...]": "image",
    "items": "document",
    'hybrid="german", or hybrid=Bm25Encoder(language=...)': "language words_language "
    "analyzer stemmer stopwords",
    "aquery() and aretrieve()": "use_async",
    "max_images=0 for captions instead of pictures": "multimodal",
    "Settings.chunk_size, or transformations at ingestion": "citation_chunk_size",
    "Settings.callback_manager, or as_query_engine's": "callback_manager",
    "instructions and question, our prompts, or response_synthesizer= for one of "
    "LlamaIndex's": "response_mode text_qa_template refine_template summary_template "
    "simple_template image_qa_template chat_content_qa_template "
    "chat_content_refine_template citation_qa_template citation_refine_template",
    # Qdrant's
    "client=QdrantClient(url=..., api_key=...), which takes all of Qdrant's": "api_key "
    "prefer_grpc timeout",
    'client_kwargs={"host": ..., "port": ...}, where open() makes the client': "host "
    "port grpc_port https prefix headers grpc_options auth_token_provider pool_size "
    "cloud_inference local_inference_batch_size check_compatibility",
    "MultiModalQdrantIndex.open(), which makes an index there": "path location url "
    "client aclient",
    'open(collection={"text": ..., "image": ...}), or '
    "MultiModalFusionRetriever.from_qdrant() for collections that others "
    "filled": "text_collection image_collection text_collection_name "
    "image_collection_name collection_names",
    "from_vector_store(QdrantVectorStore(...), image_vector_store=...), whose "
    "collections are made as these say": "vectors_config quantization_config "
    "hnsw_config on_disk_payload shard_number replication_factor batch_size parallel "
    "recreate enable_hybrid fastembed_sparse_model",
}
OUR_WORDS = {name: word for word, names in _WORDS.items() for name in names.split()}
"""What others call, or we called, what is now called so here."""

MEANT = {
    ("MultiModalQdrantIndex", "channels"): "Documents go to from_documents(), which "
    "makes an index of them; a folder or a server to open().",
}
"""By what was called, and its argument: what is meant by what is given there."""


class Elsewhere:
    """A name of others on a class of ours, which says what there is instead.

    Example:
        >>> class Store:
        ...     from_texts = Elsewhere("Texts go to insert().")
        >>> Store.from_texts
        Traceback (most recent call last):
        ...
        AttributeError: Texts go to insert().
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice

    def __get__(self, of: object, owner: object = None) -> NoReturn:
        """Raise what there is instead."""
        raise AttributeError(self._advice)


def refuse_unknown(
    given: Iterable[str],
    who: str,
    known: Collection[str],
    words: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Do nothing if each keyword is known.

    Args:
        given: Keywords of a call.
        who: What was called, such as "as_retriever".
        known: Those that it takes.
        words: By keyword of others, a sentence that says what there is instead.

    Raises:
        InvalidSetting: One is not.

    Example:
        >>> refuse_unknown(["topk"], "as_retriever", ["top_k", "filters"])
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: as_retriever() takes no 'topk'. \
Use top_k.
    """
    for name in given:
        if name in known:
            continue
        nearest = get_close_matches(name, known, n=1)
        word = OUR_WORDS.get(name) or (nearest[0] if nearest else "")
        advice = f"Use {word}." if word else f"It takes {', '.join(sorted(known))}."
        advice = words.get(name, advice)
        raise InvalidSetting(f"{who}() takes no {name!r}. {advice}")


def answered(words: Mapping[str, str]) -> Callable[[C], C]:
    """Answer keywords that a function, or a class when it is made, does not take.

    Args:
        words: As for `refuse_unknown`.

    Example:
        >>> @answered({"limit": "It is called top_k here."})
        ... def search(*, top_k: int = 1) -> int:
        ...     return top_k
        >>> search(limit=3)
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: search() takes no 'limit'. \
It is called top_k here.
    """

    def decorated(what: C) -> C:
        function: Any = what.__init__ if isinstance(what, type) else what  # type: ignore[misc]
        named = function.__qualname__.removesuffix(".__init__")
        known = [name for name in signature(function).parameters if name != "self"]

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            refuse_unknown(kwargs, named, known, words)
            return function(*args, **kwargs)

        if not isinstance(what, type):
            return cast(C, call)
        what.__init__ = call  # type: ignore[misc]
        return what

    return decorated
