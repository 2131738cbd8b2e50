"""Keywords that nothing takes: answered with our word for what was meant. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from types import MappingProxyType
from typing import Any, TypeVar, cast

from llama_index_mmrag.errors import InvalidSetting

C = TypeVar("C")

_MADE_SO = (
    "from_vector_store(QdrantVectorStore(...), image_vector_store=...), whose "
    "collections are made as these say"
)
_COLLECTIONS = (
    'open(collection={"text": ..., "image": ...}), or '
    "MultiModalFusionRetriever.from_qdrant() for collections that others filled"
)

OUR_WORDS = {
    # As they were called here
    "text_embed_model": "embed_model, and image_embed_model for pictures",
    "text_embed": "embed_model",
    "image_embed": "image_embed_model",
    "early_fusion": "composition",
    "fusion_stage": 'search: "parts", "composed" or "both"',
    # LlamaIndex's
    **dict.fromkeys(
        (
            *("response_mode", "text_qa_template", "refine_template"),
            *("summary_template", "simple_template", "image_qa_template"),
            *("chat_content_qa_template", "chat_content_refine_template"),
            *("citation_qa_template", "citation_refine_template"),
        ),
        "instructions and question, our prompts, or response_synthesizer= for one of "
        "LlamaIndex's",
    ),
    "k": "top_k",
    "use_async": "aquery() and aretrieve()",
    "multimodal": "max_images=0 for captions instead of pictures",
    "citation_chunk_size": "Settings.chunk_size, or transformations at ingestion",
    # Qdrant's
    **dict.fromkeys(
        ("api_key", "prefer_grpc", "timeout"),
        "client=QdrantClient(url=..., api_key=...), which takes all of Qdrant's",
    ),
    **dict.fromkeys(
        ("vectors_config", "quantization_config", "hnsw_config", "on_disk_payload"),
        _MADE_SO,
    ),
    **dict.fromkeys(
        ("shard_number", "replication_factor", "batch_size", "parallel", "recreate"),
        _MADE_SO,
    ),
    **dict.fromkeys(("enable_hybrid", "fastembed_sparse_model"), _MADE_SO),
    **dict.fromkeys(
        ("path", "location", "url", "client", "aclient"),
        "MultiModalQdrantIndex.open(), which makes an index there",
    ),
    **dict.fromkeys(
        ("text_collection_name", "text_collection", "collection_names"),
        _COLLECTIONS,
    ),
    **dict.fromkeys(("image_collection_name", "image_collection"), _COLLECTIONS),
    **dict.fromkeys(
        (
            *("host", "port", "grpc_port", "https", "prefix", "headers"),
            *("grpc_options", "auth_token_provider", "cloud_inference", "pool_size"),
            *("local_inference_batch_size", "check_compatibility"),
        ),
        'client_kwargs={"host": ..., "port": ...}, where open() makes the client',
    ),
    "image": "images=[...]",
    "document": "items",
    "callback_manager": "Settings.callback_manager, or as_query_engine's",
}
"""What others call, or we called, what is now called so here."""

MEANT = {
    ("MultiModalQdrantIndex", "channels"): "Documents go to from_documents(), which "
    "makes an index of them; a folder or a server to open().",
}
"""By what was called, and its argument: what is meant by what is given there."""


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
