"""Lines of a PDF as text: words that were divided are whole again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from llama_index_mmrag.readers.pdf.lines import Line
from llama_index_mmrag.readers.writing import shown

_SOFT = "\xad"
HYPHENS = f"-\u2010{_SOFT}"
"""What stands between the parts of a divided word."""
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")
_BEGUN = re.compile(rf"([^\W\d_]+(?:-[^\W\d_]+)*)[{HYPHENS}]$")
_ENDED = re.compile(r"[^\W\d_]+")
_ADDRESS = re.compile(r"(?:https?://|www\.|doi\.org/)[^\s<>]*[^\s<>.,;:)]$")
_DIVIDED = 0.03
"""Of a document's lines: so many end with a hyphen where words are divided."""
_MOST_ADDRESS = 2_000
_MOST_WORD, _MOST_WORDS = 80, 500_000

# Chinese, Japanese and Thai are written without spaces; Korean has them.
_NO_SPACES = re.compile(
    r"[\u0e00-\u0e7f\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
)


class Vocabulary:
    """The words of a document, which tell what a hyphen at a line's end is."""

    def __init__(self) -> None:
        self._words: set[str] = set()
        self._n_lines = self._n_divided = 0

    def learn(self, lines: Iterable[Line]) -> None:
        """Add the words that stand whole in lines."""
        was_divided = False
        for line in lines:
            words = _WORD.findall(line.text.lower())
            is_divided = line.text[-1:] in HYPHENS
            self._n_lines += 1
            self._n_divided += is_divided
            whole = words[was_divided : len(words) - is_divided]
            if len(self._words) < _MOST_WORDS:
                self._words.update(whole)
            was_divided = is_divided

    def is_divided(self, before: str, after: str) -> bool:
        """Return whether a hyphen between two lines is not of the word itself.

        Args:
            before: Text that ends with it.
            after: How the next line begins.
        """
        begun, ended = _BEGUN.search(before[-_MOST_WORD:]), _ENDED.match(after)
        if before.endswith(_SOFT):
            return True
        if begun is None or ended is None:
            return False
        first, second = begun[1], ended[0]
        if second[0].isupper() and not (first.isupper() and second.isupper()):
            return False
        first, second = first.lower(), second.lower()
        if f"{first}-{second}" in self._words or first + second in self._words:
            return f"{first}-{second}" not in self._words
        if before[-1] != "-":
            return True
        last = first.rpartition("-")[2]
        # Where no words are divided, lines end where a hyphen is.
        divides = self._n_divided >= _DIVIDED * self._n_lines
        return divides and not (last in self._words and second in self._words)


def _is_address(before: str, after: str) -> bool:
    """Return whether an address on the web goes on in the next line."""
    if _ADDRESS.search(before) is None:
        return False
    first = after.split(" ", 1)[0].rstrip(".,;:)")
    return before[-1] in "/=-_?&" or any(mark in first for mark in "/=_?&%.")


def joined(lines: Sequence[Line], known: Vocabulary) -> tuple[str, list[int]]:
    """Return lines as one text, and where each of them begins in it."""
    text, starts = "", []
    for line in lines:
        said = line.text
        is_address = _is_address(text[-_MOST_ADDRESS:], said)
        if text and text[-1] in HYPHENS:
            if not is_address and known.is_divided(text, said):
                text = text[:-1]
        elif text and not (
            is_address or (_NO_SPACES.match(text[-1]) and _NO_SPACES.match(said))
        ):
            text += " "
        starts.append(len(text))
        text += shown(said[:-1]) + said[-1:]
    return text.rstrip(_SOFT), starts
