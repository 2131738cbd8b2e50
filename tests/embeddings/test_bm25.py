"""What a word is: the same words find each other, others do not, and none is lost."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
import qdrant_edge as qe
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting

from ..support.patience import within
from ..support.sentences import SENTENCES
from ..support.words import SPELLINGS, WordShard, asked, page_of, part_numbers

WORDS = Bm25Encoder()


def page(text: str, words: Bm25Encoder = WORDS) -> dict[int, float]:
    (tokens,), (weights,) = words.documents([text])
    return dict(zip(tokens, weights, strict=True))


def query(text: str, words: Bm25Encoder = WORDS) -> set[int]:
    (tokens,), (weights,) = words.queries([text])
    assert set(weights) <= {1.0}
    return set(tokens)


@pytest.mark.parametrize(
    "spellings",
    [
        ("Müller", "MÜLLER", "muller", "Mu\u0308ller", "Mül\u00adler", "\u200fMüller"),
        ("fine", "ﬁne", "Ｆｉｎｅ", "fi\u200dne"),
        ("straße", "STRASSE"),
        ("pump", "Pumps", "pump.", "(pump)"),
        ("テスト", "ﾃｽﾄ"),
        ("ёлка", "Ёлка", "е\u0308лка", "ё\u0301лка"),
        ("محمد", "مُحَمَّد", "محـــمد"),
        ("שלום", "שָׁלוֹם"),
        ("سماء", "السماء", "والسماء", "للسماء"),
    ],
)
def test_spellings_of_a_word_are_the_same_tokens(spellings):
    for one, other in combinations(spellings, 2):
        assert query(one) == query(other) == set(page(one))


@pytest.mark.parametrize(
    "spelling",
    [
        "AB-1234/5", "ab-1234/5", "AB1234/5", "ab 1234 5", "AB12345", "(AB-1234/5).",
        "AB 12345", "AB.1234_5", "AB:1234:5", "AB--1234/5", "\uff21\uff22-1234/5",
        "AB\u20111234\u20135", "AB, 1234, 5",
        "Which pump takes AB-1234/5, and where?", "零件AB-1234/5的", "x/AB 1234 5",
    ],
)  # fmt: skip
def test_however_a_code_is_asked_for_it_is_one_token_of_its_page(spelling):
    (whole,) = query("AB12345")
    assert whole in query(spelling)


def test_a_code_of_many_pieces_is_one_token_too():
    (whole,) = query("fe80123456789")
    assert whole in query("fe80:1:2:3:4:5:6:7:8:9")
    assert whole in page("fe80:1:2:3:4:5:6:7:8:9")


@pytest.mark.parametrize(
    "text",
    ["AB-1234/5", "(ab-1234/5).", "AB_1234.5,", "AB\u20111234\u20135", "件AB-1234/5的"],
)
def test_a_code_in_a_page_is_kept_whole_and_split(text):
    assert query("AB12345") | query("ab 1234") - query("ab1234") <= set(page(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ISBN 978-3-16-148410-0", "9783161484100|148410"),
        ("3.5 mm, 1234 #42 and 10:30", "35|3|5|mm|1234|42|1030"),
        ("水泵的零件1234号", "水泵|零件|1234|水|号"),
        ("用USB接口连接", "usb|接口"),
        ("東京タワーは333メートル", "東京|タワー|333|メートル"),
        ("データベース・検索", "検索|データベース"),
        ("ห้องน้ำ 12 ห้อง", "ห้องน้ำ|12"),
    ],
)
def test_a_page_has_all_tokens_of(text, words):
    for word in words.split("|"):
        assert set() < query(word) <= set(page(text)), word


@pytest.mark.parametrize("text", ["12-34/5", "12 34 5", "12345", "1234/5", "12 345"])
def test_the_order_of_groups_tells_numbers_apart(text):
    in_right, in_other = (query(text) & set(page(p)) for p in ("12-34/5", "34-12/5"))
    assert len(in_right) > len(in_other)


def test_a_server_that_makes_the_vectors_itself_finds_pages_by_the_pieces_of_a_code():
    server = qe.Bm25(qe.Bm25Config(language="english"))
    for text in ("AB-1234/5", "pumps of series 3", "Is v1.2 running?"):
        assert set(server.embed_query(text).indices) <= set(page(text))


def test_weights_are_bm25_of_what_the_engine_counts():
    # pump twice, valve, 12, 3, 123, and of 水泵: the pair and each character
    weights = page("The pump of the pump, valve 12-3 水泵")
    at_length = 1.2 * (1 - 0.75 + 0.75 * 9 / 256)
    once, twice = 2.2 / (1 + at_length), 2 * 2.2 / (2 + at_length)
    assert sorted(weights.values()) == pytest.approx([once] * 7 + [twice])
    (pump,) = query("pumps")
    assert weights[pump] == pytest.approx(twice)
    given = page("pump pump valve", Bm25Encoder(k=2.0, b=0.5, avg_len=3))
    assert sorted(given.values()) == pytest.approx([3 / 3, 6 / 4])


def test_no_token_of_the_engine_is_lost_where_words_have_spaces():
    for language in ("german", "arabic"):
        engine = qe.Bm25(qe.Bm25Config(language=language, ascii_folding=True))
        words = Bm25Encoder(language=language)
        for sentence, two_words in SENTENCES[language]:
            text = f"{sentence} 1234 #42, A-7 {two_words}"
            assert set(engine.embed_query(text).indices) <= set(page(text, words))
            assert set(engine.embed_query(text).indices) <= query(text, words)


@pytest.mark.parametrize("text", ["", " ", "the of and", "😀 🎉", "…!?", "\u200b"])
def test_without_a_word_the_vector_is_empty(text):
    assert WORDS.queries([text]) == WORDS.documents([text]) == ([[]], [[]])


def test_no_texts_are_no_vectors():
    assert WORDS.queries([]) == WORDS.documents([]) == ([], [])


@pytest.mark.parametrize(
    "text",
    ["1" * 200_000, "x." * 100_000, "1-" * 100_000, "水" * 200_000, "ab1 " * 9_999],
)
def test_long_texts_take_no_longer_for_what_they_are_made_of(text):
    with within(10):
        assert page(text)
        assert query(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a", "b\ud800"], r"texts\[1\] is 'b\\ud800'; .*surrogates"),
        (["a", None], r"texts\[1\] is None; expected str"),
        ([1], r"texts\[0\] is 1"),
        ("pump", r"texts is 'pump'; expected a list"),
    ],
)
def test_what_is_no_text_is_refused(given, said):
    for encode in (WORDS.documents, WORDS.queries):
        with pytest.raises(InvalidSetting, match=said):
            encode(given)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"language": "klingon"}, "language is 'klingon'; expected None, 'arabic'"),
        ({"language": "English"}, "language is 'English'"),
        ({"language": "none"}, "language is 'none'"),
        ({"language": 1}, "language is 1"),
        ({"k": -1}, "k is -1"),
        ({"b": 1.5}, "b is 1.5"),
        ({"b": math.nan}, "b is nan"),
        ({"avg_len": 0}, "avg_len is 0"),
        ({"avg_len": None}, "avg_len is None"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(InvalidSetting, match=said):
        Bm25Encoder(**settings)


def test_every_stemmer_and_every_list_of_stop_words_goes_by_its_name():
    stemmers = [name for name in vars(qe.SnowballLanguage) if name[0].isupper()]
    lists = [name for name in vars(qe.Language) if name[0].isupper()]
    assert (len(stemmers), len(lists)) == (19, 30)
    for name in {*stemmers, *lists}:
        assert page("1234 水泵", Bm25Encoder(language=name.lower()))


def test_a_language_has_its_own_stop_words_and_stems_and_none_has_neither():
    german = Bm25Encoder(language="german")
    assert query("Pumpen", german) == query("Pumpe", german)
    assert query("Pumpen") != query("Pumpe")
    assert query("der die das", german) == set() != query("der die das")
    bare = Bm25Encoder(language=None)
    assert len(page("the pumps of the pump", bare)) == 4


def test_copies_pickles_and_threads_make_the_same_vectors():
    texts = [sentence for pairs in SENTENCES.values() for sentence, _ in pairs]
    expected = WORDS.documents(texts), WORDS.queries(texts), WORDS.card()
    for other in (
        Bm25Encoder(),
        copy.deepcopy(WORDS),
        pickle.loads(pickle.dumps(WORDS)),
    ):
        assert (other.documents(texts), other.queries(texts), other.card()) == expected
        other.check(WORDS.card())
    with ThreadPoolExecutor(8) as pool:
        assert set(map(repr, pool.map(WORDS.documents, [texts] * 16))) == {
            repr(expected[0])
        }


PRINTED = """
import json
from llama_index_mmrag.embeddings import Bm25Encoder
print(json.dumps(Bm25Encoder(language="german").card()))
"""


def test_a_card_is_the_same_in_another_process_and_after_json():
    german = Bm25Encoder(language="german")
    done = subprocess.run(
        [sys.executable, "-c", PRINTED], capture_output=True, check=True, timeout=120
    )
    card = json.loads(done.stdout)
    assert card == german.card()
    assert card | {"fingerprint": ""} == {
        "name": "bm25",
        "version": 1,
        "fingerprint": "",
        "language": "german",
        "k": 1.2,
        "b": 0.75,
        "avg_len": 256,
    }
    german.check(card)


@pytest.mark.parametrize(
    "changed",
    [
        {"language": "french"},
        {"avg_len": 100},
        {"fingerprint": "of another engine"},
        {"version": 2},
    ],
)
def test_the_card_of_another_one_is_refused_and_both_are_named(changed):
    ((name, value),) = changed.items()
    with pytest.raises(CollectionMismatch) as refused:
        WORDS.check(WORDS.card() | changed)
    assert f"'{name}': {value!r}" in str(refused.value)
    assert f"'{name}': {WORDS.card()[name]!r}" in str(refused.value)


def test_tokens_tell_languages_apart_in_the_fingerprint():
    cards = [
        Bm25Encoder(language=name).card()["fingerprint"]
        for name in ("english", "german", "french", None)
    ]
    assert len(set(cards)) == 4
    assert Bm25Encoder(k=2).card()["fingerprint"] == cards[0]  # the tokens are equal


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> WordShard:
    pages = list(map(page_of, part_numbers()))
    assert len(set(pages)) == 1_400
    return WordShard(tmp_path_factory.mktemp("parts"), pages)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_part_number_finds_its_page_among_near_identical_ones(parts, spelling):
    first = [
        parts.is_first(row, asked(number, spelling))
        for row, number in enumerate(part_numbers())
    ]
    assert sum(first) / len(first) >= 0.98
    pairs = first[1_000:]
    assert sum(pairs) / len(pairs) >= 0.98


@pytest.mark.parametrize(
    ("language", "setting"),
    [(name, "english") for name in SENTENCES]
    + [("german", "german"), ("arabic", "arabic")],
)
def test_two_words_find_their_sentence_among_those_of_five_languages(
    language, setting, tmp_path
):
    assert len(SENTENCES[language]) == 30
    texts = [sentence for pairs in SENTENCES.values() for sentence, _ in pairs]
    shard = WordShard(tmp_path, texts, Bm25Encoder(language=setting))
    found = [
        texts.index(sentence) in shard.ask(words).rows
        for sentence, words in SENTENCES[language]
    ]
    assert sum(found) / len(found) >= 0.9


def test_llama_indexs_store_takes_both_functions_and_fetches_nothing(no_network):
    idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
    store = QdrantVectorStore(
        "parts",
        client=QdrantClient(":memory:"),
        enable_hybrid=True,
        sparse_doc_fn=WORDS.documents,
        sparse_query_fn=WORDS.queries,
        sparse_config=idf,
    )
    nodes = [TextNode(text=page_of(n), embedding=[1.0]) for n in part_numbers()[-4:]]
    store.add(nodes)
    for node, number in zip(nodes, part_numbers()[-4:], strict=True):
        by_words = VectorStoreQuery(
            query_str=asked(number, "without separators"),
            query_embedding=[1.0],
            mode=VectorStoreQueryMode.SPARSE,
            sparse_top_k=4,
        )
        assert store.query(by_words).ids[:1] == [node.node_id]
