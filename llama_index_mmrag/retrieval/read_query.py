"""A query's pictures, read: what stands in them is searched for as words are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import Job, Steps
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.lettering import PictureReader, words_in
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.provenance import Degradation
from llama_index_mmrag.retrieval.query import QueryPart
from llama_index_mmrag.retrieval.search import Answer

_MODALITIES = ("text", LETTERING)
"""Of channels that are searched for what was read: a picture's look is not asked so."""

_LEAST_S = 0.001  # an engine takes no deadline that is over

Searched: TypeAlias = "tuple[list[Answer], list[Degradation], list[Job[Any]]]"
"""What was found, what gave nothing, and all that was asked."""


def checked_reader(given: PictureReader | bool) -> PictureReader | None:
    """Return what reads a query's pictures; None for nothing.

    Raises:
        InvalidSetting: It is nothing that reads.
    """
    if given is False:
        return None
    if given is True or not hasattr(given, "read"):
        raise InvalidSetting(
            f"Retriever: read_query_pictures is {given!r}; expected a reader, such as "
            f"llama_index_mmrag.lettering.reader_of('rapidocr'), or False. True is for "
            f"as_retriever() of an index that was opened with read_pictures=True."
        )
    return given


def searched_and_read(
    searches: Sequence[Job[Answer]],
    parts: Sequence[QueryPart],
    reader: PictureReader,
    deadline: Deadline | None,
    plan: Callable[[list[QueryPart], tuple[str, ...]], list[Job[Answer]]],
) -> Steps[Searched]:
    """Search, read the query's pictures meanwhile, and search for what was read.

    A picture in which nothing is read has no routes of its own; one that cannot be
    read, or not in time, costs the query these routes alone.

    Args:
        searches: For the parts of the query.
        parts: The query's.
        reader: What reads.
        deadline: Of all searches.
        plan: Returns the searches for parts in the channels of some modalities.
    """
    reading = [
        Job(
            f"{LETTERING} of {part.name}",
            LETTERING,
            partial(_read, part, reader, deadline),
            source=reader,
            span=Span(f"read {part.name}", {"reader": reader.name}),
            deadline=deadline,
        )
        for part in parts
        if part.image is not None
    ]
    given, lost = yield [*searches, *reading]
    silent = {one.route for one in lost}
    unread = [job for job in reading if job.name in silent]
    n_answers = len(given) - len(reading) + len(unread)
    found = [part for part in given[n_answers:] if part is not None]
    more = plan(found, _MODALITIES) if found else []
    answers, more_lost = (yield more) if more else ([], [])
    asked: list[Job[Any]] = [*searches, *unread, *more]
    return [*given[:n_answers], *answers], [*lost, *more_lost], asked


def _read(
    picture: QueryPart, reader: PictureReader, deadline: Deadline | None
) -> QueryPart | None:
    """Return what stands in a picture as a part of the query; None for nothing."""
    assert picture.image is not None  # what mypy does not conclude
    how = {"timeout_s": max(deadline.left_s, _LEAST_S)} if deadline else {}
    words = words_in(reader.read(picture.image, **how))
    if words is None:
        return None
    name = f"{LETTERING} of {picture.name}"
    return QueryPart("text", name, (words,), words, weight=picture.weight)
