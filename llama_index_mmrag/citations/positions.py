"""Where an answer cites its sources. Pure."""

from __future__ import annotations

import re

from llama_index_mmrag.citations.checking import MARKER, labels_in

_MARKER = re.compile(MARKER)
_MORE = re.compile(rf"(?:[ \t]*{MARKER.replace('?P<content>', '?:')})*")


def first_citations(answer: str, n_sources: int) -> dict[int, tuple[int, int]]:
    """Return where each source is cited first: label → start and end of the bracket.

    Args:
        answer: What a `CitationChecker` let through.
        n_sources: Sources are labelled 1..n_sources.

    >>> first_citations("Grind [2], then brew [1][2].", 2)
    {2: (6, 9), 1: (21, 24)}
    """
    places: dict[int, tuple[int, int]] = {}
    for marker in _MARKER.finditer(answer):
        for label in labels_in(marker["content"]):
            if 1 <= label <= n_sources:
                places.setdefault(label, marker.span())
    return places


def after_labels(answer: str, at: int) -> int:
    """Return where the labels end that follow one another from a place on.

    >>> after_labels("Brew [1] [2].", 4)
    12
    """
    found = _MORE.match(answer, at)
    return found.end() if found else at
