"""Citations: labels such as [1] in an answer, checked while the answer streams.

Pure. A label that names no source never reaches the reader, wherever the stream is cut:
text from an opening bracket on is held back until it can only be one thing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llama_index_mmrag.checks import instance, whole
from llama_index_mmrag.checks.arguments import checked

# Chinese and Japanese answers have their own brackets and commas; every script's digits
# count, and a dash may be any of those that look like one.
_DASH, _COMMA = r"\-‐‑‒–—−", ",;，；、"
_INSIDE = rf"\s\d{_DASH}{_COMMA}"
_BRACKET = r"\[【［\]】］"

_TOKEN = re.compile(
    rf"(?P<opening>[\[【［])|(?P<closing>[\]】］])"
    rf"|(?P<inside>[{_INSIDE}]+)|(?P<text>[^{_BRACKET}{_INSIDE}]+)"
)
# Whatever stands between two numbers: "1, 2", "1–3", "1;-2".
_CONTENT = re.compile(rf"[\s{_COMMA}]*\d+(?:[\s{_DASH}{_COMMA}]+\d+)*[\s{_COMMA}]*")
_RANGE = re.compile(rf"(\d+)(?:\s*[{_DASH}]\s*(\d+))?")
MARKER = rf"[\[【［](?P<content>{_CONTENT.pattern})[\]】］]"
"""What may be a citation, as a pattern."""

_LONGEST_RANGE = 100
"""Sources in a range at most; of a longer one only the two ends are looked at."""

_MAX_DIGITS = 9
"""Digits that are read; Python refuses to read numbers of more than 4,300."""


@dataclass(slots=True)
class CitationChecker:
    """Passes an answer through and keeps only citations of sources that exist.

    A citation is a bracket with nothing but numbers in it: [1], [1, 2], [1-3], also in
    code. Known labels are kept, one by one: "[1, 9]" becomes "[1]" where 9 does not
    exist. Unknown ones are removed and counted, with the space before them; what is
    left around them is looked at again, so that "[[9]8]" does not turn into "[8]".

    Feed the answer in any pieces; what comes out is the same as for the whole, in time
    linear in its length.

    Args:
        n_sources: Sources are labelled 1..n_sources.

    >>> checker = CitationChecker(2)
    >>> checker.check("Grind first [1], then brew [7]. See [1, 2].")
    'Grind first [1], then brew. See [1][2].'
    >>> checker.cited, checker.removed
    ({1: 2, 2: 1}, {7: 1})
    """

    n_sources: int
    _open: list[list[str]] = field(default_factory=list, init=False)
    """Brackets that may yet become citations, each inside the one before it."""
    _spaces: list[str] = field(default_factory=list, init=False)
    """Spaces at the end, which would go with a marker."""
    _has_cut: bool = field(default=False, init=False)
    """Whether a marker was removed after these spaces."""
    _cited: Counter[int] = field(default_factory=Counter, init=False)
    _removed: Counter[int] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        whole(self.n_sources, "CitationChecker: n_sources", at_least=0)

    @property
    def cited(self) -> dict[int, int]:
        """How often each source is cited in what came out, in order of first mention.

        A list that repeats a label cites it once.
        """
        return dict(self._cited)

    @property
    def removed(self) -> dict[int, int]:
        """How many markers had each label that names no source.

        Numbers of more than 9 digits are counted together, under 10⁹.
        """
        return dict(self._removed)

    def feed(self, piece: str) -> str:
        """Return what can be shown so far; the rest is held back."""
        instance(piece, "CitationChecker: piece", str)
        shown: list[str] = []
        for token in _TOKEN.finditer(piece):
            self._take(token.group(), token.lastgroup, shown)
        return "".join(shown)

    def finish(self) -> str:
        """Return what was still held back."""
        shown: list[str] = []
        self._give_up(shown)
        if not self._has_cut:
            shown += self._spaces
        self._spaces, self._has_cut = [], False
        return "".join(shown)

    def check(self, answer: str) -> str:
        """Return a whole answer, checked."""
        return self.feed(answer) + self.finish()

    @checked
    def check_stream(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yield a stream's pieces, checked; empty ones are left out."""
        for piece in pieces:
            if shown := self.feed(piece):
                yield shown
        if shown := self.finish():
            yield shown

    def _take(self, token: str, kind: str | None, shown: list[str]) -> None:
        if kind == "opening":
            self._open.append([token])
        elif not self._open:
            self._show(token, shown)
        elif kind == "closing":
            self._close(token, shown)
        else:
            self._open[-1].append(token)
            if kind == "text":
                self._give_up(shown)

    def _close(self, bracket: str, shown: list[str]) -> None:
        """Resolve the innermost open bracket."""
        content = "".join(self._open[-1][1:])
        if not _CONTENT.fullmatch(content):
            self._open[-1].append(bracket)
            self._give_up(shown)
            return
        self._open.pop()
        if kept := self._kept(content):
            self._give_up(shown)
            self._show(kept, shown)
        elif not self._open:
            self._has_cut = True

    def _give_up(self, shown: list[str]) -> None:
        """Show what is open as text: it is no citation."""
        held = "".join(piece for pieces in self._open for piece in pieces)
        self._open = []
        if held:
            self._show(held, shown)

    def _show(self, text: str, shown: list[str]) -> None:
        if self._has_cut:
            # "brew [9]." has no use for the space any more; "brew [9][1]" has.
            if not (text[0].isalnum() or text[0] in "([{“‘«"):
                self._spaces = []
            self._has_cut = False
        body = text.rstrip(" ")
        if body:
            shown += [*self._spaces, body]
            self._spaces = []
        self._spaces.append(text[len(body) :])

    def _kept(self, content: str) -> str:
        labels = dict.fromkeys(labels_in(content))
        known = [label for label in labels if 1 <= label <= self.n_sources]
        self._cited.update(known)
        self._removed.update(label for label in labels if label not in known)
        return "".join(f"[{label}]" for label in known)


def labels_in(content: str) -> Iterator[int]:
    """Yield the labels that a bracket's content names, each as often as it does."""
    for first, last in _RANGE.findall(content):
        start = _label(first)
        stop = _label(last) if last else start
        if 0 <= stop - start < _LONGEST_RANGE:
            yield from range(start, stop + 1)
        else:
            yield from (start, stop)


def _label(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or 0) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
