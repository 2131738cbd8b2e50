"""Words as they are written: texts to sparse vectors, weighted by BM25.

Tokens, stop words, stems and weights are those of Qdrant's own `Bm25`, which needs no
model. It is given the text with what it would not find written out: codes without what
joins them, and pairs of characters where a script has no spaces. docs/words.md says
what follows from that.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache, partial
from typing import Any, TypeAlias

import qdrant_edge as qe

from llama_index_mmrag.checks import instance, listed, number, one_of
from llama_index_mmrag.checks.shown import shown
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting

SparseVectors: TypeAlias = tuple[list[list[int]], list[list[float]]]
"""For each text its tokens, as numbers, and their weights."""

_DROPPED = re.compile(
    "[\u00ad\u061c\u200c-\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # not seen
    "\u0300-\u036f"  # accents that no letter is composed with, such as stress
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0640\u064b-\u065f\u0670]"  # Arabic vowels, and letters drawn out
)
_ARTICLE = re.compile(
    r"\b(?:[\u0648\u0641\u0628\u0643]?\u0627\u0644|\u0644\u0644)(?=\w{3})"
)
"""Arabic's, and what is written together with it, which Arabic's own stemmer cuts."""

_NO_SPACES = re.compile(
    "[\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0ecd\u0edc-\u0edf"  # Thai, Lao
    "\u1000-\u103f\u1050-\u109d\u1780-\u17d3"  # Burmese, Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"  # Han
)
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

_DIGIT = re.compile(r"\d")
_PIECE = re.compile(r"[^\W_]+")
_RUN = re.compile(r"(?<![^\W_])[^\W_]+(?:[-/._:\u2010-\u2013\u2212]+[^\W_]+)+")
_MOST_PIECES = 6
"""Of a code that a query may write with whatever it likes between them."""

_FIXED = (
    "pump|Pumps were running|the of and|Müller|MÜLLER|straße|naïve café|œuvre|ﬁne|"
    "AB-1234/5|ab 1234 5|(AB-1234/5).|12-34/5|3.5 mm|10:30|2026-11-28|v1.2.3|1,000|"
    "snake_case_7|a@b.example|https://example.org/a1|C++|#42|1234|m²|½|№ 5|x\u00ady|"
    "don't|l'été|für und über|Äpfel|niños corriendo|coração|città|książka|đường|"
    "İstanbul|вода|ёлка бегут|Ελλάδα|ναι|שלום|المضخة|مُحَمَّد|नमस्ते|தமிழ்|ქართული|հայերեն|"
    "서울은|水泵的零件|水|東京タワーは333メートル|カメラ|ﾃｽﾄ|ห้องน้ำ|ລາວ|မြန်မာ|ខ្មែរ|😀"
)
"""Texts that a fingerprint is of. Another list would be another `version`."""


@dataclass(frozen=True)
class Bm25Encoder:
    """Makes sparse vectors of words, for stores that weight them by IDF.

    Both methods have the shape of LlamaIndex's `sparse_doc_fn` and `sparse_query_fn`.
    A query's tokens weigh 1 each, a page's what BM25 says without IDF:
    tf · (k + 1) / (tf + k · (1 - b + b · length / avg_len)).

    Texts are read in NFKC, in lower case and without accents, so that "Müller" is
    "muller". A run that `-`, `/`, `.`, `_` or `:` join, with a digit in it, is its
    pieces and also one token without what joins them: "AB-1234/5" is "ab", "1234", "5"
    and "ab12345". Chinese, Japanese, Thai, Lao, Burmese and Khmer are pairs of
    neighbouring characters, and each Chinese character by itself. Arabic words are
    without their article and their vowel signs, whatever the language.

    Args:
        language: Whose stop words are left out and whose endings are cut: any name of
            the engine's lists in lower case; None for neither.
        k: How soon repeating a word gains no more, at least 0.
        b: How much longer texts are marked down, from 0 to 1.
        avg_len: Tokens in a text of usual length, more than 0. It is not measured: a
            store would depend on the order in which it was filled.

    Raises:
        InvalidSetting: The engine knows no such language, or a number is out of range.

    Example:
        >>> words = Bm25Encoder()
        >>> (page,), _ = words.documents(["Seals for the pump (AB-1234/5)."])
        >>> (query,), weights = words.queries(["ab 1234 5"])
        >>> len(set(query) & set(page)), weights[0][0]
        (4, 1.0)
        >>> words.queries(["of the"])
        ([[]], [[]])
    """

    language: str | None = "english"
    k: float = 1.2
    b: float = 0.75
    avg_len: float = 256.0

    def __post_init__(self) -> None:
        names = (*vars(qe.Language), *vars(qe.SnowballLanguage))
        known = sorted({name.lower() for name in names if name[0].isupper()})
        one_of(self.language, "Bm25Encoder: language", (None, *known))
        bounds: dict[str, Any] = {
            "k": {"at_least": 0},
            "b": {"at_least": 0, "at_most": 1},
            "avg_len": {"more_than": 0},
        }
        for name, bound in bounds.items():
            value = number(getattr(self, name), f"Bm25Encoder: {name}", **bound)
            object.__setattr__(self, name, value)

    def documents(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of texts that are stored.

        Raises:
            InvalidSetting: One is no text, or has lone surrogates.
        """
        engine = _engine(self)
        return _vectors(texts, lambda text: engine.embed_document(self._written(text)))

    def queries(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of texts that are asked for; stop words alone are empty.

        Neighbours with a digit among them are also tried as one token, whatever stands
        between them: that is how "AB 1234 5" finds "AB-1234/5" and not "1234-AB/5".

        Raises:
            InvalidSetting: One is no text, or has lone surrogates.
        """
        return _vectors(texts, partial(_query, self))

    def card(self) -> dict[str, Any]:
        """Return what tells one from another, as a store keeps it.

        `fingerprint` is of the tokens of sixty texts: an engine that has changed its
        mind has another one.
        """
        named = {"name": "bm25", "version": 1, "fingerprint": _fingerprint(self)}
        return named | asdict(self)

    def check(self, card: Mapping[str, Any], of: str = "the store") -> None:
        """Do nothing if this is the card of the one that made a store's vectors.

        Args:
            card: The store's.
            of: What the store is called.

        Raises:
            CollectionMismatch: It is another's.
        """
        instance(of, "Bm25Encoder.check: of", str)
        if card != self.card():
            raise CollectionMismatch(
                f"The words of {of} were encoded by {card}, and not by {self.card()}: "
                f"their tokens or weights differ. Open it with the version and "
                f"settings that filled it, or index again into a new store."
            )

    def _written(self, text: str) -> str:
        """Return a page's text as the engine is given it."""
        text = self._plain(text)
        return " ".join([text, *_codes(text)])

    def _asked(self, text: str) -> str:
        """Return a query's text as the engine is given it."""
        text = self._plain(text)
        pieces = _PIECE.findall(text) if _DIGIT.search(text) else ()
        neighbours = (
            "".join(pieces[i : i + n])
            for n in range(2, _MOST_PIECES + 1)
            for i in range(len(pieces) - n + 1)
        )
        return " ".join([text, *_codes(text), *filter(_DIGIT.search, neighbours)])

    def _plain(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text)
        if text.isascii():
            return text
        text = _DROPPED.sub("", text)
        if self.language != "arabic":
            text = _ARTICLE.sub("", text)
        return _NO_SPACES.sub(_pairs, text)


def named(hybrid: bool | str | Bm25Encoder | None) -> bool | Bm25Encoder | None:
    """Return whether words are searched, or what makes their vectors, if it is said.

    Args:
        hybrid: The same; or the language.

    Raises:
        InvalidSetting: There is no such language.
    """
    return Bm25Encoder(hybrid) if isinstance(hybrid, str) else hybrid


def made_by(
    card: Mapping[str, Any], expected: Bm25Encoder | None, of: str
) -> Bm25Encoder:
    """Return the encoder that a card is of.

    Args:
        card: A store's.
        expected: Which one that is to be; None: any that there is here.
        of: What the store is called.

    Raises:
        CollectionMismatch: It is another's.
    """
    words = expected or Bm25Encoder()
    if expected is None:
        with suppress(InvalidSetting):  # of an engine that knew more languages
            words = Bm25Encoder(**{k: card[k] for k in asdict(words) if k in card})
    words.check(card, of)
    return words


@cache
def _engine(words: Bm25Encoder) -> qe.Bm25:
    """Kept here and not in the encoder, which so can be copied and pickled."""
    name = str(words.language).capitalize()
    stemmer = getattr(qe.SnowballLanguage, name, None)
    stop_words = getattr(qe.Language, name, None)
    return qe.Bm25(
        qe.Bm25Config(
            k=words.k,
            b=words.b,
            avg_len=words.avg_len,
            tokenizer=qe.TokenizerType.Word,
            ascii_folding=True,
            stemmer=qe.SnowballParams(stemmer) if stemmer else qe.DisabledStemmer(),
            stopwords=qe.StopwordsSet({stop_words} if stop_words else None),
        )
    )


@lru_cache(maxsize=16)
def _query(words: Bm25Encoder, text: str) -> qe.SparseVector:
    """Return a query's vector, which one search asks for several times."""
    return _engine(words).embed_query(words._asked(text))  # noqa: SLF001


@cache
def _fingerprint(words: Bm25Encoder) -> str:
    fixed = _FIXED.split("|")
    tokens = words.documents(fixed)[0], words.queries(fixed)[0]
    return hashlib.sha256(repr(tokens).encode()).hexdigest()[:16]


def _vectors(
    texts: Sequence[str], embed: Callable[[str], qe.SparseVector]
) -> SparseVectors:
    vectors = []
    for n, text in enumerate(listed(texts, "texts", str)):
        try:
            vectors.append(embed(text))
        except UnicodeEncodeError as error:
            raise InvalidSetting(
                f"texts[{n}] is {shown(text)}; expected a text without lone "
                f"surrogates. Decode it as what it is."
            ) from error
    return [v.indices for v in vectors], [v.values for v in vectors]


def _codes(text: str) -> Iterator[str]:
    for word in text.split():
        # Most words are letters alone, which is told faster than that of runs.
        if not word.isalpha() and _DIGIT.search(word):
            for run in filter(_DIGIT.search, _RUN.findall(word)):
                yield "".join(_PIECE.findall(run))


def _pairs(found: re.Match[str]) -> str:
    # The engine would cut at vowel signs and tones.
    run = "".join(filter(str.isalnum, found[0]))
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    return f" {' '.join([*pairs, *_HAN.findall(run)] or [run])} "
