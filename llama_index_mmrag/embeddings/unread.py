"""How much of a text an encoder's tokenizer cannot read: other scripts than its own.

A tokenizer that lacks a script takes its words apart into unknown or single characters,
of which no model makes a meaning, and the scores look confident all the same. Languages
in the script that it knows cannot be told this way: see docs/languages.md.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index_mmrag.events.degraded import warn

_log = logging.getLogger(__name__)

MOST_UNREAD = 0.7
"""A larger share is warned of: with the default encoder, questions in nine other
scripts have .96 and more, in seven languages of Latin script .41 and less."""

# Letters of formulas: µm, ΔG, αβγ, ℵ₀, 𝛼. A sentence has longer words as well.
_FORMULA = re.compile(
    "[\u00b5\u2100-\u214f\U0001d400-\U0001d7ff]"
    "|(?<![\u0370-\u03ff\u1f00-\u1fff])[\u0370-\u03ff\u1f00-\u1fff]{1,3}"
    "(?![\u0370-\u03ff\u1f00-\u1fff])"
)
_BYTE = re.compile("<0x[0-9A-F]{2}>")

_told: set[tuple[str, str]] = set()  # encoders and scripts, of the whole process


def words_of(text: str) -> str:
    """Return a text's words with a space between: what a reader would have to know.

    No digits, no signs, no letters of formulas and no letter alone, unless it is of a
    script without capitals, of which one may be a word.

    Example:
        >>> words_of("ΔG = 5 µJ, a mass of 2π kg: 猫!")
        'mass of kg 猫'
    """
    letters = "".join(
        sign if unicodedata.category(sign)[0] in "LM" else " "
        for sign in _FORMULA.sub(" ", text)
    )
    return " ".join(
        word
        for word in letters.split()
        if sum(map(str.isalpha, word)) > 1 or unicodedata.category(word[0]) == "Lo"
    )


def share_of_tokens(tokens: Sequence[str], unknown: str | None, *, whole: int) -> float:
    """Return the share of words' tokens that are unknown, bytes or single characters.

    Args:
        tokens: Of words alone; "##" begins what continues a word, as WordPiece has it.
        unknown: What stands for unknown characters.
        whole: How many characters a token has at least that is no continuation. A
            tokenizer that was made for one script alone spells others out (2); one that
            knows Chinese has words of one character (1).
    """
    n_unread = n_tokens = 0
    for token in tokens:
        if token == unknown or _BYTE.fullmatch(token):
            n_unread += 1
        elif any(map(str.isalpha, token)):
            bare = token.removeprefix("##")
            n_unread += len(bare) < (whole if bare == token else 2)
        else:
            continue
        n_tokens += 1
    return n_unread / n_tokens if n_tokens else 0.0


def share_of_bytes(n_tokens: int, words: str) -> float:
    """Return tokens a letter, 1 at most, for tokenizers that know all bytes.

    CLIP's needs .3 for English, .4 to .6 for most languages of Latin script, 1.1 and
    more for Vietnamese and other scripts.
    """
    return min(1.0, n_tokens / sum(map(str.isalpha, words)))


def warn_of_unread(embed_model: BaseEmbedding, texts: Sequence[str]) -> int:
    """Warn where an encoder does not read texts; return how many those are.

    Each warning is known to whoever collects it, and in the log once in a process, for
    each encoder and script.
    """
    unread = getattr(embed_model, "unread", None)
    if unread is None:  # encoders of others do not say what they read
        return 0
    shares = zip(texts, unread(texts), strict=True)
    scripts = Counter(_script_of(text) for text, share in shares if share > MOST_UNREAD)
    # A foreign name in an English question is no language that could be told.
    del scripts["Latin"]
    for script, n_texts in scripts.items():
        name = f"{embed_model.class_name()} ({embed_model.model_name})"
        said = (
            f"{name} does not read {script}: it takes such words apart into single "
            f"characters, and what is found is chance. Use a multilingual encoder: "
            f"see docs/languages.md."
        )
        warn(said)
        if (name, script) not in _told:
            _told.add((name, script))
            _log.warning("%s (%d of %d texts)", said, n_texts, len(texts))
    return scripts.total()


def warn_of_long(n_long: int, n_texts: int, max_tokens: int) -> None:
    """Log, once in a process, that most of some texts is not read."""
    if ("long", "") not in _told:
        _told.add(("long", ""))
        _log.warning(
            "%d of %d texts have more than twice the %d tokens that the offline "
            "encoder reads: what follows those is not searched. Split texts into "
            "smaller ones, such as by SentenceSplitter(chunk_size=200), or leave that "
            "to insert().",
            *(n_long, n_texts, max_tokens),
        )


def _script_of(text: str) -> str:
    """Return what Unicode calls the script that most of a text's letters are in."""
    names = (unicodedata.name(sign, "other") for sign in words_of(text))
    scripts = Counter(name.split()[0] for name in names if name != "SPACE")
    return scripts.most_common(1)[0][0].title().replace("Cjk", "Chinese")
