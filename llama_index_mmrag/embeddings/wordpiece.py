"""BERT's uncased WordPiece tokenizer, from the vocabulary in this package."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from llama_index_mmrag.checks import needs

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def bert_uncased_tokenizer(*, needed_for: str) -> Tokenizer:
    """Return the tokenizer: lower case, accents off, [CLS] and [SEP] put around.

    Equal to the tokenizer.json of all-MiniLM-L6-v2, without its truncation at 128.

    Args:
        needed_for: Who asks, for the message when the package is missing.

    Raises:
        MissingExtra: `tokenizers` is not installed.
    """
    needs("tokenizers", extra="offline", for_=needed_for)
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing

    lines = files("llama_index_mmrag.embeddings").joinpath("data/vocab.txt")
    words = lines.read_text(encoding="utf-8").split("\n")
    ids = {word: position for position, word in enumerate(words) if word}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    return tokenizer
