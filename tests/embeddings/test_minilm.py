from __future__ import annotations

import numpy as np
import pytest

from llama_index_mmrag.embeddings.minilm import bert_uncased_tokenizer


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello world", ["[CLS]", "hello", "world", "[SEP]"]),
        ("Crème brûlée", ["[CLS]", "cr", "##eme", "br", "##ule", "##e", "[SEP]"]),
        ("", ["[CLS]", "[SEP]"]),
        ("a\x00b \u2603?", ["[CLS]", "ab", "[UNK]", "?", "[SEP]"]),
        ("日本", ["[CLS]", "日", "本", "[SEP]"]),
    ],
)
def test_text_is_split_as_bert_does(encoder, text, tokens):
    tokenizer = bert_uncased_tokenizer(needed_for="This test")
    assert tokenizer.encode(text).tokens == tokens


def test_token_ids_are_those_of_bert_base_uncased(encoder):
    tokenizer = bert_uncased_tokenizer(needed_for="This test")
    assert tokenizer.get_vocab_size() == 30_522
    assert tokenizer.encode("hello world").ids == [101, 7592, 2088, 102]


def test_similar_words_are_closer_than_different_ones(encoder):
    soup, broth, engine = encoder.encode_texts(
        ["a bowl of soup", "a cup of hot broth", "a diesel engine"]
    )
    assert soup @ broth > 0.5
    assert soup @ engine < 0.4


def test_padding_does_not_reach_a_texts_vector(encoder):
    texts = ["cat", "a cat on a mat", "a word " * 30]
    together = encoder.encode_texts(texts)
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
