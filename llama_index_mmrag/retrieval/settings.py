"""Settings of retrievers and channels, checked where they come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import IndexNode
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.checks import (
    instance,
    listed,
    number,
    one_of,
    truth,
    whole,
)
from llama_index_mmrag.checks.keywords import Elsewhere
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import Fusion
from llama_index_mmrag.nodes.node import SEPARATOR
from llama_index_mmrag.nodes.places import ROOT_NAME
from llama_index_mmrag.retrieval.query import PartKind
from llama_index_mmrag.retrieval.search import (
    MEANING,
    WORDS,
    SearchChannel,
    route_of,
)
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.native import metadata_filters, only_of, refuse_natives

if TYPE_CHECKING:
    from llama_index_mmrag.stores.native import FilterLike

_WHOLE = "Results are whole nodes, read when it is known which are shown. Leave it out."
_STORES = "Give it to the store, or to its client."

_DEPTH = 10
"""Entities that a retriever returns unless it is told."""

_STORE = "The collection is the store's: vector_store=QdrantVectorStore(NAME, client=)."
_VECTOR = (
    "The vector's name is the store's: QdrantVectorStore(dense_vector_name=) or "
    "QdrantEdgeVectorStore(vector_name=)."
)
QDRANTS_WORDS = {
    "query": "Queries are the retriever's: retrieve(...).",
    "using": _VECTOR,
    "prefetch": "A channel is one search; a retriever fuses several channels.",
    "limit": "It is called top_k here.",
    "offset": "There are no pages. Ask for more with top_k.",
    "with_payload": _WHOLE,
    "with_vectors": _WHOLE,
    "lookup_from": "Queries are encoded by embed_model. Leave it out.",
    "consistency": _STORES,
    "shard_key_selector": _STORES,
    "timeout": "It is called timeout_s here.",
    "similarity_top_k": "It is called top_k here.",
    "collection": _STORE,
    "collection_name": _STORE,
    "vector_name": _VECTOR,
    "weight": "Weights are the rule's: fusion=RRF(weights={'text': 0.7}).",
}
"""By the name of an argument of Qdrant's or LlamaIndex's: what a channel has for it."""

NO_MEMBER = Elsewhere(
    "Channel is no enumeration. A channel is made over a store: Channel('text', "
    "vector_store=, embed_model=); an index has its own in index.channels."
)

OF_CHANNELS = {
    **QDRANTS_WORDS,
    "score_threshold": "Scores of different channels do not compare, and fused ones "
    "are sums of their own (1/61 for a first rank with RRF). For a collection's own "
    "scores give Channel(score_threshold=); cut fused ones with LlamaIndex's "
    "SimilarityPostprocessor.",
    "search_params": "They are a channel's: Channel(search_params=).",
    "mode": "The rule is fusion=, such as RRF() or CalibratedSum(); hybrid search is "
    'vector_store_query_mode="hybrid".',
    "weights": "They are the rule's: fusion=RRF(weights={'text': 0.7, 'image': 0.3}).",
    "group_by": "Results are grouped already: linked_by= names the key of an entity.",
    "group_size": "An entity brings its best node of each channel.",
}
"""The same for a retriever, which has no such arguments of a channel."""


def checked_timeout(timeout_s: float | None, *, of: str) -> float | None:
    """Return a deadline's seconds, more than 0; None for none."""
    if timeout_s is None:
        return None
    advice = "None is no deadline."
    return number(timeout_s, f"{of}: timeout_s", more_than=0, advice=advice)


def base_settings(
    callback_manager: CallbackManager | None,
    object_map: dict[str, Any] | None,
    objects: list[IndexNode] | None,
    verbose: bool,
) -> dict[str, Any]:
    """Return the arguments of LlamaIndex's own retriever, which checks none."""
    of, kind = "Retriever: callback_manager", CallbackManager
    instance(object_map, "Retriever: object_map", dict, or_none=True)
    return {
        "callback_manager": instance(callback_manager, of, kind, or_none=True),
        "object_map": object_map,
        "objects": None
        if objects is None
        else list(listed(objects, "objects", IndexNode)),
        "verbose": truth(verbose, "Retriever: verbose"),
    }


def checked_filters(
    given: FilterLike | None,
    channels: Sequence[SearchChannel],
    *,
    query_filter: FilterLike | None = None,
    doc_ids: Sequence[str] | None = None,
    node_ids: Sequence[str] | None = None,
    vector_store_kwargs: Mapping[str, Any] | None = None,
) -> MetadataFilters | None:
    """Return conditions for all of the channels, which must all hold; None for none.

    Raises:
        InvalidSetting: They are no filters, or a channel cannot apply them, or there
            are other `vector_store_kwargs` than `qdrant_filters`.
        InvalidQuery: One has a value that its operator cannot compare.
        UnsupportedQuery: One has a condition that a channel's engine does not have.
    """
    of = "Retriever: filters"
    instance(vector_store_kwargs, "vector_store_kwargs", Mapping, or_none=True)
    kwargs = dict(vector_store_kwargs or {})
    also = [kwargs.pop("qdrant_filters", None), only_of(doc_ids, node_ids)]
    if kwargs:
        raise InvalidSetting(
            f"vector_store_kwargs has {next(iter(kwargs))!r}; a retriever passes on "
            f"'qdrant_filters'. For all else there is Channel, such as its "
            f"search_params=."
        )
    filters = metadata_filters(given, of, query_filter=query_filter)
    also = [one for one in (filters, *also) if one is not None]
    if also[1:] or (also and filters is None):
        filters = metadata_filters(also, of)
    cannot = [channel.name for channel in channels if not channel.can_filter]
    if filters is not None and cannot:
        raise InvalidSetting(
            f"The retriever has filters, and the channels {cannot!r} cannot apply "
            f"them: they would show what the filters hide. Leave one of the two out."
        )
    for channel in channels:
        collection = getattr(channel, "collection", None)
        if isinstance(collection, Collection):
            collection.check_filters(filters)
        else:  # a channel of the user's own
            refuse_natives(filters, channel)
    return filters


def depth_of(top_k: int | None, similarity_top_k: int | None) -> int:
    """Return how many entities are returned at most, under either name.

    Raises:
        InvalidSetting: Both were given.
    """
    if top_k is not None and similarity_top_k is not None:
        raise InvalidSetting(
            "A retriever got top_k and similarity_top_k, which is the same. Leave one "
            "of the two out."
        )
    depth = top_k if similarity_top_k is None else similarity_top_k
    return _DEPTH if depth is None else depth


def checked_image_top_k(
    top_k: int | None, channels: Sequence[SearchChannel]
) -> int | None:
    """Return how many pictures come at most; None: as many as texts leave room for.

    Raises:
        InvalidSetting: It is below 1, or a channel is of neither modality.
    """
    if top_k is None:
        return None
    if any(c.accepts and getattr(c, "composition", None) for c in channels):
        raise InvalidSetting(
            "image_similarity_top_k counts pictures beside texts, and a composed "
            'vector is of neither. Search the "parts", or use top_k alone.'
        )
    return whole(top_k, "Retriever: image_similarity_top_k", at_least=1)


def checked_settings(  # noqa: PLR0913 - one argument a setting, all by name
    *,
    name: str,
    top_k: int,
    timeout_s: float | None,
    n_retries: int,
    accepts: Sequence[PartKind] | frozenset[PartKind],
) -> dict[str, object]:
    """Return what every kind of channel has, in plain types.

    Raises:
        InvalidSetting: A setting is out of its range.
    """
    if not instance(name, "A channel's name", str, advice="Such as 'text'."):
        raise InvalidSetting(
            "A channel has an empty name; expected one such as 'text'."
        )
    of = f"Channel {name!r}"
    if "→" in name or not ROOT_NAME.fullmatch(name):
        raise InvalidSetting(
            f"A channel is called {name!r}; expected a name of one line without "
            f"{SEPARATOR!r}, '→', slashes and control characters, of at most 200 of "
            f"them, which is neither '.' nor '..'. Such as 'text'."
        )
    for kind in listed(accepts, f"{of}: accepts", str):
        one_of(kind, f"{of}: a kind in accepts", get_args(PartKind))
    return {
        "top_k": whole(top_k, f"{of}: top_k", at_least=1),
        "timeout_s": checked_timeout(timeout_s, of=of),
        "n_retries": whole(n_retries, f"{of}: n_retries", at_least=0),
        "accepts": frozenset(accepts),
    }


def checked_scores(of: str, **given: float | None) -> dict[str, object]:
    """Return what a channel has for its scores, in plain types; None stays.

    Args:
        of: What it is called.
        **given: alpha, mmr_threshold, score_threshold, sparse_top_k, hybrid_top_k.

    Raises:
        InvalidSetting: A number is out of its range.
    """
    advice = "0 is terms alone, 1 the vector alone."
    checks: dict[str, Callable[..., object]] = {
        "alpha": partial(number, at_least=0, at_most=1, advice=advice),
        "mmr_threshold": partial(number, at_least=0, at_most=1),
        "score_threshold": number,
        "sparse_top_k": partial(whole, at_least=1),
        "hybrid_top_k": partial(whole, at_least=1),
    }
    return {
        name: None if value is None else checks[name](value, f"{of}: {name}")
        for name, value in given.items()
    }


def checked_channels(
    channels: Sequence[SearchChannel], fusion: Fusion
) -> tuple[SearchChannel, ...]:
    """Return a retriever's channels.

    Raises:
        InvalidSetting: There are none, two of a name, or none that a weight is for;
            or they are no channels, or `fusion` is none.
    """
    advice = "Such as RRF() or CalibratedSum()."
    instance(fusion, "Retriever: fusion", Fusion, advice=advice)
    advice = "An index makes one of its own: as_retriever(). Any LlamaIndex retriever "
    advice += "is a RetrieverChannel(name, retriever=...)."
    if not listed(channels, "Retriever: channels", SearchChannel, advice=advice):
        raise InvalidSetting("A retriever needs at least one channel.")
    for channel in channels:
        # Those on a server are asked where it is connected to: `from_...`.
        if isinstance(stored := getattr(channel, "collection", None), Collection):
            stored.check_payloads(ask_server=False)
    names = [channel.name for channel in channels]
    halves = [
        [route_of(channel.name, half) for half in (MEANING, WORDS)]
        for channel in channels
        if getattr(getattr(channel, "collection", None), "words", None)
    ]
    names += [name for both in halves for name in both]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InvalidSetting(
            f"Two channels have the name {doubled[0]!r}; names must be unique, since "
            f"weights and provenance go by them. Rename one."
        )
    unknown = sorted(set(fusion.weights) - set(names))
    if unknown:
        raise InvalidSetting(
            f"The fusion weighs {unknown!r}; this retriever's channels are {names!r}."
        )
    for both in halves:
        if not any(fusion.weights.get(name, 1.0) for name in both):
            raise InvalidSetting(
                f"The fusion weighs {both!r} with 0, and these weights say what each "
                f"counts beside the other. Weigh the channel itself with 0."
            )
    return tuple(channels)
