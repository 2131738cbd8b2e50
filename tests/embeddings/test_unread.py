"""What tokenizers cannot read: warned of in other scripts, never in English."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag import MultiModalRetrieverTool, OfflineTextEmbedding
from llama_index_mmrag.alignment import Chain
from llama_index_mmrag.alignment.transformed import TransformedTextEmbedding
from llama_index_mmrag.embeddings import BatchedClipEmbedding, unread
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.embeddings.unread import MOST_UNREAD, share_of_tokens, words_of
from llama_index_mmrag.index import MultiModalQdrantIndex

from ..support.languages import ENGLISH, LATIN, OTHER_SCRIPTS, QUESTIONS

BOOKS = Path(__file__).parents[3] / "shared" / "data" / "openstax"


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(unread, "_told", set())


def test_words_are_letters_and_their_marks_without_digits_signs_and_formulas():
    assert words_of("ΔG = 5 µJ, a mass of 2π kg: 猫!") == "mass of kg 猫"
    assert words_of("कंप्यूटर पर") == "कंप्यूटर पर"


def test_share_counts_unknown_bytes_and_single_characters_in_tokens_with_letters():
    english = ["red", "ki", "##te", "к", "##о", "[UNK]", "?"]
    assert share_of_tokens(english, "[UNK]", whole=2) == pytest.approx(3 / 6)
    # Of a tokenizer that knows Chinese, one character is a word; one in a word is not.
    chinese = ["红", "鸢", "▁", "к", "##о", "<0xE7>", "<unk>"]
    assert share_of_tokens(chinese, "<unk>", whole=1) == pytest.approx(3 / 6)
    assert share_of_tokens(["?"], None, whole=2) == 0.0


@pytest.mark.parametrize("language", OTHER_SCRIPTS)
def test_default_encoder_reads_none_of_six_questions_in_another_script(
    language, encoder
):
    shares = encoder.unread(QUESTIONS[language])
    assert min(shares) > MOST_UNREAD
    assert sum(shares) / 6 >= 0.95


@pytest.mark.parametrize("language", LATIN)
def test_default_encoder_tells_no_language_of_latin_script(language, encoder):
    shares = encoder.unread(QUESTIONS[language])
    assert sum(shares) / 6 <= 0.41
    assert unread.warn_of_unread(encoder, QUESTIONS[language]) == 0


def test_nothing_is_said_of_formulas_part_numbers_code_and_names(encoder):
    assert unread.warn_of_unread(encoder, ENGLISH) == 0


def test_nothing_is_said_of_a_thousand_lines_of_english_books(encoder):
    if not BOOKS.exists():
        pytest.skip("the books' data is not beside the repository")
    lines = [
        json.loads(line)["text"]
        for book in sorted(BOOKS.glob("*/passages.jsonl"))
        for line in book.read_text(encoding="utf-8").splitlines()
    ]
    # Those in ASCII are read by definition.
    doubtful = [line for line in lines if not line.isascii()]
    assert len(doubtful) >= 1000
    assert unread.warn_of_unread(encoder, doubtful) == 0


def test_encoders_that_stand_on_another_say_what_it_says(encoder):
    russian = [*QUESTIONS["ru"]]
    over = TransformedTextEmbedding(encoder, Chain())
    assert over.unread(russian) == encoder.unread(russian)
    assert TransformedTextEmbedding(ColourEncoder(), Chain()).unread(["ж"]) == [0.0]
    assert unread.warn_of_unread(ColourEncoder(), russian) == 0


@pytest.fixture
def index(tmp_path, encoder):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "kite.md").write_text("A red kite circles over the field.")
    with MultiModalQdrantIndex.open(tmp_path / "store", embed_model=encoder) as made:
        made.insert_directory(tmp_path / "pages")
        yield made


def warned(response: Any) -> list[str]:
    return response.metadata["warnings"]


async def test_every_answer_says_so_and_the_log_once_a_script(index, caplog):
    engine = index.as_query_engine()
    first, *_, last = QUESTIONS["ru"]
    for question in (first, last):
        for response in (engine.query(question), await engine.aquery(question)):
            (said,) = warned(response)
            assert "OfflineMultiModalEmbedding" in said
            assert "does not read Cyrillic" in said
            assert "docs/languages.md" in said
    assert warned(engine.query(QUESTIONS["el"][0])) != warned(engine.query(first))
    assert warned(engine.query("Where is a red kite – in a café?")) == []
    told = [r.getMessage() for r in caplog.records if "does not read" in r.getMessage()]
    scripts = ["Cyrillic", "Greek"]
    assert [said.partition("does not read ")[2].split(":")[0] for said in told] == (
        scripts
    )


async def test_tool_says_so(index):
    tool = MultiModalRetrieverTool(index.as_retriever())
    for found in (
        tool.call(query=QUESTIONS["zh"][0]),
        await tool.acall(query=QUESTIONS["zh"][0]),
    ):
        assert "Note: OfflineMultiModalEmbedding" in found.content
        assert "Chinese" in found.content
    assert "Note:" not in tool.call(query="red kite").content


def test_index_counts_the_texts_that_it_could_not_read(index, tmp_path, caplog):
    pages = tmp_path / "pages"
    for language in ("ru", "zh", "de"):
        (pages / f"{language}.md").write_text(" ".join(QUESTIONS[language]))
    report = index.insert_directory(pages)
    assert (report.n_added, report.n_unread) == (3, 2)
    assert "2 texts in a script that the encoder does not read" in str(report)
    assert index.insert_directory(pages).n_unread == 0
    told = [r for r in caplog.records if "(1 of 3 texts)" in r.getMessage()]
    assert len(told) == 2


@pytest.mark.parametrize("language", QUESTIONS)
def test_clip_takes_other_scripts_apart_to_bytes(language, three_layers):
    clip = BatchedClipEmbedding(model_name=three_layers)
    n = unread.warn_of_unread(clip, QUESTIONS[language])
    assert n == (6 if language in OTHER_SCRIPTS else 0)
    assert unread.warn_of_unread(clip, ENGLISH) == 0


def test_texts_far_longer_than_the_offline_encoder_reads_are_told_of_once(caplog):
    encoder = OfflineTextEmbedding()
    encoder.encode_texts(["tea " * 500, "short"])  # twice as long, and no more
    assert not caplog.records
    for _ in range(2):
        encoder.encode_texts(["tea " * 600, "short"])
    (record,) = caplog.records
    assert record.getMessage().startswith("1 of 2 texts have more than twice the 256")
