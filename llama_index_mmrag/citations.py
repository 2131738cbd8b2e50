"""Citations: labels such as [1] in an answer, checked while the answer streams.

Pure. A label that names no source never reaches the reader, wherever the stream is cut:
text from an opening bracket on is held back until it can only be one thing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# What a citation may look like: [1], [1, 2], [1-3]. Anything else in brackets is text.
_CITATION = re.compile(r"\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\]")
_OPEN_CITATION = re.compile(r"\[[\s\d,;–-]*$")
_NUMBER = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")

_LONGEST_RANGE = 100
"""Sources in a range at most; of a longer one only the two ends are looked at."""


@dataclass(slots=True)
class CitationChecker:
    """Passes an answer through and keeps only citations of sources that exist.

    Feed the answer in any pieces; what comes out is the same as for the whole. Unknown
    labels are removed and counted, with a space before them; the known ones of a list
    or a range stay, one by one: "[1, 9]" becomes "[1]" where 9 does not exist.

    Args:
        n_sources: Sources are labelled 1..n_sources.

    >>> checker = CitationChecker(2)
    >>> checker.check("Grind first [1], then brew [7]. See [1, 2].")
    'Grind first [1], then brew. See [1][2].'
    >>> checker.cited, checker.removed
    ({1: 2, 2: 1}, {7: 1})
    """

    n_sources: int
    _held: str = ""
    _cited: Counter[int] = field(default_factory=Counter)
    _removed: Counter[int] = field(default_factory=Counter)

    @property
    def cited(self) -> dict[int, int]:
        """How often each source was cited, in order of first mention."""
        return dict(self._cited)

    @property
    def removed(self) -> dict[int, int]:
        """How often each label that names no source was removed."""
        return dict(self._removed)

    def feed(self, piece: str) -> str:
        """Return what can be shown so far; the rest is held back."""
        text = self._held + piece
        cut = self._safe_end(text)
        self._held = text[cut:]
        return self._checked(text[:cut])

    def finish(self) -> str:
        """Return what was still held back."""
        text, self._held = self._held, ""
        return self._checked(text)

    def check(self, answer: str) -> str:
        """Return a whole answer, checked."""
        return self.feed(answer) + self.finish()

    def check_stream(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yield a stream's pieces, checked; empty ones are left out."""
        for piece in pieces:
            if shown := self.feed(piece):
                yield shown
        if shown := self.finish():
            yield shown

    @staticmethod
    def _safe_end(text: str) -> int:
        opened = _OPEN_CITATION.search(text)
        end = opened.start() if opened else len(text)
        # The space before a marker goes with it, should the marker be removed.
        return len(text[:end].rstrip(" "))

    def _checked(self, text: str) -> str:
        shown: list[str] = []
        position = 0
        for match in _CITATION.finditer(text):
            before = text[position : match.start()]
            kept = self._kept(match.group())
            shown.append(before + kept if kept else before.rstrip(" "))
            position = match.end()
        shown.append(text[position:])
        return "".join(shown)

    def _kept(self, marker: str) -> str:
        labels: list[int] = []
        for first, last in _NUMBER.findall(marker):
            start, stop = int(first), int(last or first)
            if 0 <= stop - start < _LONGEST_RANGE:
                labels.extend(range(start, stop + 1))
            else:
                labels.extend((start, stop))
        known = [label for label in labels if 1 <= label <= self.n_sources]
        self._cited.update(known)
        self._removed.update(label for label in labels if label not in known)
        return "".join(f"[{label}]" for label in dict.fromkeys(known))
