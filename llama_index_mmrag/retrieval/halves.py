"""Meaning and words of a text: two routes, one ranked list, one vote.

Both measure the same texts. So their lists become one before channels are fused, on
the scale of the vectors; what a hit then adds is told apart by what each measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import Job, Steps
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import FusedEntity
from llama_index_mmrag.fusion.ranked_list import Hit
from llama_index_mmrag.provenance import Contribution, Degradation
from llama_index_mmrag.retrieval.search import (
    MEANING,
    WORDS,
    Answer,
    Half,
    job_of,
    route_of,
)
from llama_index_mmrag.stores.collection import Found
from llama_index_mmrag.stores.modes import combined, drawn, share_of_words


class Weights(NamedTuple):
    """What meaning and words count within a text; their ratio alone matters."""

    meaning: float = 1.0
    words: float = 1.0

    @classmethod
    def of(cls, channel: str, weights: Mapping[str, float]) -> Weights:
        """Return a channel's, of a fusion's weights by name; the larger is 1."""
        both = [weights.get(route_of(channel, half), 1.0) for half in (MEANING, WORDS)]
        return cls(*(weight / max(both) for weight in both))


def united(
    answers: Sequence[Answer], weights: Mapping[str, float], deadline: Deadline | None
) -> Steps[tuple[list[Answer], list[Degradation]]]:
    """Return the answers with one for each text that was asked by meaning and words.

    And what failed. Where one of the two gave no answer, the other's is it. Yields
    searches for what words say of texts that vectors alone have found.

    Args:
        answers: What the searches found.
        weights: The fusion's, by name.
        deadline: Of all searches.
    """
    routes: dict[str, dict[str, Answer]] = {}
    for answer in answers:
        half = answer.search.half if answer.search else ""
        routes.setdefault(answer.ranked.route, {})[half] = answer
    pairs = [halves for halves in routes.values() if len(halves) > 1]
    jobs = [job for pair in pairs if (job := _lacking(pair, deadline)) is not None]
    read, lost = (yield jobs) if jobs else ([], [])
    failed = {one.route for one in lost}
    answered = (job.name for job in jobs if job.name not in failed)
    said = {
        name: {hit.node_id: hit.score for hit in found}
        for name, found in zip(answered, read, strict=True)
    }
    whole: list[Answer] = []
    for route, halves in routes.items():
        by_words = route_of(route, WORDS)
        if by_words in failed:
            del halves[WORDS]
        if len(halves) > 1:
            whole.append(_both(halves, said.get(by_words, {}), weights))
        else:
            whole += [_alone(one, half) for half, one in halves.items()]
    return whole, lost


def _lacking(
    pair: Mapping[str, Answer], deadline: Deadline | None
) -> Job[list[Found]] | None:
    """Return a search by words among what vectors alone found, if it can matter."""
    meaning, words = pair[MEANING], pair[WORDS]
    search: Any = words.search
    channel, known = search.channel, {hit.node_id for hit in words.ranked.hits}
    ids = [hit.node_id for hit in meaning.ranked.hits if hit.node_id not in known]
    # What words would find at all is in their list, unless that ends before it.
    most = channel.sparse_top_k or max(channel.top_k, search.depth)
    if channel.alpha is not None or len(known) < most or not ids:
        return None
    query = VectorStoreQuery(
        query_str=search.part.words,
        mode=VectorStoreQueryMode.SPARSE,
        node_ids=ids,
        similarity_top_k=len(ids),
        sparse_top_k=len(ids),
    )
    how = channel.collection.scoring or {}
    return job_of(
        channel,
        search.name,
        partial(channel.collection.search, query, (), **how),
        partial(channel.collection.asearch, query, (), **how),
        span=Span(f"search {search.name} among what vectors found", {}),
        deadline=deadline,
    )


def _alone(answer: Answer, half: str) -> Answer:
    """Return an answer of one half as that of the text; others as they are."""
    if not half:
        return answer
    hits = _cut(answer, answer.ranked.hits)
    halves = {hit.node_id: (Half(half, hit.rank, hit.score),) for hit in hits}
    return replace(answer, ranked=replace(answer.ranked, hits=hits), halves=halves)


def _both(
    pair: Mapping[str, Answer], rest: Mapping[str, float], weights: Mapping[str, float]
) -> Answer:
    """Return one answer of two, by `combined`, or with alpha by LlamaIndex's rule.

    Args:
        pair: Both halves.
        rest: BM25 of texts that vectors alone have found.
        weights: The fusion's, by name.
    """
    meaning, words = pair[MEANING], pair[WORDS]
    search: Any = meaning.search
    channel = search.channel
    near = {hit.node_id: hit.score for hit in meaning.ranked.hits}
    said = {hit.node_id: hit.score for hit in words.ranked.hits}
    if not (near and said):
        return _alone(*((meaning, MEANING) if near else (words, WORDS)))
    alpha, within = channel.alpha, Weights.of(channel.name, weights)
    if alpha is None:
        others: dict[str, float] = {}
        if words.nearness and meaning.vector is not None:
            others = words.nearness.to(meaning.vector, without=near)
        said = {**said, **rest}
        # As a page's: of neighbours that a query tries as one code, few can be one.
        (asked,), _ = channel.collection.words.documents([search.part.words])
        counts = within.meaning, within.words * share_of_words(len(asked))
        scores = combined(near, others, said, top_k=len(near), weights=counts)
        near = {**near, **others}
        parts = _parts(near, said, *counts)
    else:
        of_both = within.meaning * alpha, within.words * (1 - alpha)
        parts = _parts(drawn(near), drawn(said), *of_both)
        order = sorted(parts, key=lambda i: (-sum(parts[i]), i))
        scores = {i: sum(parts[i]) for i in order}
    lists = (words.ranked.hits, meaning.ranked.hits)
    entity_of = {hit.node_id: hit.entity_id for hits in lists for hit in hits}
    ranked = enumerate(scores.items(), start=1)
    hits = _cut(meaning, [Hit(i, entity_of[i], score, n) for n, (i, score) in ranked])
    return replace(
        meaning,
        ranked=replace(
            meaning.ranked,
            hits=hits,
            background=meaning.ranked.background if alpha is None else None,
        ),
        nodes={**words.nodes, **meaning.nodes},
        lost={**(words.lost or {}), **(meaning.lost or {})} or None,
        words={**words.words, **meaning.words},
        halves=_measured([hit.node_id for hit in hits], near, said, parts, within),
    )


def _parts(
    near: Mapping[str, float], said: Mapping[str, float], meaning: float, words: float
) -> dict[str, tuple[float, float]]:
    """Return of each text what either adds to what it is ranked by."""
    ids = dict.fromkeys((*near, *said))
    return {i: (meaning * near.get(i, 0.0), words * said.get(i, 0.0)) for i in ids}


def _measured(
    ids: Sequence[str],
    near: Mapping[str, float],
    said: Mapping[str, float],
    parts: Mapping[str, tuple[float, float]],
    within: Weights,
) -> dict[str, tuple[Half, ...]]:
    """Return what each half measured of these, in places among all that was found."""
    places = [
        {i: n for n, i in enumerate(sorted(of, key=lambda i: (-of[i], i)), start=1)}
        for of in (near, said)
    ]
    measured: dict[str, tuple[Half, ...]] = {}
    for i in ids:
        by_vector, by_words = max(parts[i][0], 0.0), parts[i][1]
        total = by_vector + by_words
        share = by_words / total if total else float(i not in near)
        halves = (
            (MEANING, places[0], near, within.meaning, 1 - share),
            (WORDS, places[1], said, within.words, share),
        )
        measured[i] = tuple(
            Half(name, place[i], of[i], weight, part)
            for name, place, of, weight, part in halves
            if i in of
        )
    return measured


def _cut(answer: Answer, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Return the hits of a hybrid search that its channel lets through."""
    search: Any = answer.search
    channel = search.channel
    if channel.mode != VectorStoreQueryMode.HYBRID:
        return tuple(hits)
    least = channel.score_threshold
    most = channel.hybrid_top_k or max(channel.top_k, search.depth)
    return tuple(hit for hit in hits[:most] if least is None or hit.score >= least)


def told_apart(
    entities: Iterable[FusedEntity], answers: Iterable[Answer]
) -> tuple[FusedEntity, ...]:
    """Return the entities with a contribution for each half, largest amount first."""
    halves = {
        (answer.ranked.route, node_id): measured
        for answer in answers
        for node_id, measured in answer.halves.items()
    }
    return tuple(
        entity._replace(contributions=_apart(entity.contributions, halves))
        for entity in entities
    )


def _apart(
    hits: Iterable[Contribution], halves: Mapping[tuple[str, str], Sequence[Half]]
) -> tuple[Contribution, ...]:
    each = [
        one
        for hit in hits
        for one in _split(hit, halves.get((hit.route, hit.node_id), ()))
    ]
    return tuple(sorted(each, key=lambda hit: -hit.amount))


def _split(hit: Contribution, halves: Sequence[Half]) -> list[Contribution]:
    left, split = hit.amount, []
    for half in reversed(halves):  # the first has what the others leave
        amount = hit.amount * half.share if half is not halves[0] else left
        left -= amount
        split.append(
            # By position: names would double the time, for every result.
            Contribution(
                hit.channel, route_of(hit.route, half.name), hit.node_id, hit.modality,
                half.rank, half.score, hit.weight * half.weight, amount,
                hit.calibrated_score, hit.counts, hit.words, hit.words_of,
                hit.lettering, hit.rank,
            )
        )  # fmt: skip
    return split[::-1] or [hit]


def joined(hits: Iterable[Contribution]) -> list[Contribution]:
    """Return contributions as the fusion counted them: one for both halves."""
    whole: dict[tuple[str, str], Contribution] = {}
    for hit in hits:
        route, _ = halved(hit)
        known = whole.get((route, hit.node_id))
        if known is not None:
            amount, weight = known.amount + hit.amount, max(known.weight, hit.weight)
            hit = known._replace(amount=amount, weight=weight)  # noqa: PLW2901
        rank = hit.rank if hit.place is None else hit.place
        whole[route, hit.node_id] = hit._replace(route=route, rank=rank, place=None)
    return list(whole.values())


def apart_as(
    before: Iterable[Contribution], hits: Iterable[Contribution]
) -> tuple[Contribution, ...]:
    """Return what a later fusion counted, told apart as it was before.

    Args:
        before: Contributions to one entity.
        hits: Those of their `joined` after the later fusion.
    """
    both: dict[tuple[str, str], list[Contribution]] = {}
    for hit in before:
        if hit.place is not None:
            both.setdefault((halved(hit)[0], hit.node_id), []).append(hit)
    halves: dict[tuple[str, str], list[Half]] = {}
    for key, pair in both.items():
        amount = sum(hit.amount for hit in pair)
        weight = max(hit.weight for hit in pair)
        halves[key] = [
            Half(
                halved(hit)[1],
                hit.rank,
                hit.raw_score,
                hit.weight / weight if weight else 1.0,
                hit.amount / amount if amount else 0.0,
            )
            for hit in sorted(pair, key=lambda hit: halved(hit)[1])
        ]
    return _apart(hits, halves)


def halved(hit: Contribution) -> tuple[str, str]:
    """Return a contribution's route, and which half of it that is; "" for none."""
    if hit.place is None:
        return hit.route, ""
    route, _, half = hit.route.rpartition(" (")
    return route, half.removesuffix(")")
