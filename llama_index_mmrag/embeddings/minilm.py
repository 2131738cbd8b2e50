"""MiniLM-L6: texts to unit vectors of 384 numbers.

The sentence encoder all-MiniLM-L6-v2 (Wang et al., https://arxiv.org/abs/2002.10957)
with int8 weights: token vectors averaged over the attention mask, scaled to length 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.checks import needs
from llama_index_mmrag.embeddings.batches import batches_by_length, cut, in_threads
from llama_index_mmrag.embeddings.unread import share_of_tokens, warn_of_long
from llama_index_mmrag.embeddings.weights import MINILM, onnx_session, read_weights
from llama_index_mmrag.vectors import Vectors, unit_rows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DIMENSION = 384

MAX_TOKENS = 256
"""The length that all-MiniLM-L6-v2 was trained with; its positions reach 512."""

# A batch is filled up to this many tokens, padding included. Measured on 2 cores: short
# texts gain from company (1.2 to 0.6 ms), from about 35 tokens on they lose by it.
_BATCH_TOKENS = 128


class MiniLM:
    """The text model, loaded; thread-safe."""

    def __init__(self, *, needed_for: str) -> None:
        self._tokenizer = bert_uncased_tokenizer(needed_for=needed_for)
        self._session = onnx_session(
            read_weights(MINILM, needed_for=needed_for), needed_for=needed_for
        )

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = MAX_TOKENS, n_threads: int = 1
    ) -> Vectors:
        """Return one unit vector for each text, `(n, 384)`, in the texts' order.

        A text's vector does not depend on the other texts (to about 1e-7). The empty
        text gets the vector of [CLS] [SEP]: unit length, near to nothing in particular.

        Args:
            texts: Any lengths; what lies beyond `max_tokens` is not seen.
            max_tokens: Tokens of a text that are read, [CLS] and [SEP] included; at
                most 512.
            n_threads: Threads that run the model.
        """
        read = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
        if n_long := sum(len(ids) > 2 * max_tokens for ids in read):
            warn_of_long(n_long, len(texts), max_tokens)
        token_ids = [cut(ids, max_tokens) for ids in read]
        lengths = [len(ids) for ids in token_ids]
        batches = batches_by_length(lengths, n_tokens=_BATCH_TOKENS)
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)

        def fill(batch: list[int]) -> None:
            vectors[batch] = self._run([token_ids[i] for i in batch])

        in_threads(fill, batches, n_threads=n_threads)
        return vectors

    def unread(self, words: str) -> float:
        """Return the share of words in unknown or single characters, in [0, 1]."""
        tokens = self._tokenizer.encode(words, add_special_tokens=False).tokens
        return share_of_tokens(tokens, "[UNK]", whole=2)

    def _run(self, token_ids: list[list[int]]) -> Vectors:
        width = max(len(ids) for ids in token_ids)
        ids: NDArray[Any] = np.zeros((len(token_ids), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(token_ids):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        (hidden,) = self._session.run(
            ["last_hidden_state"],
            {
                "input_ids": ids,
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(ids),
            },
        )  # (n, tokens, 384)
        # The sum serves as well as the mean: only the direction is kept.
        summed = np.einsum("ntd,nt->nd", hidden, mask.astype(np.float32))
        return unit_rows(summed)


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
