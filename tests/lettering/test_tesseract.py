"""Tesseract, and programs that stand in for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable, ReaderUnusable
from llama_index_mmrag.index.lettering import chosen_reader
from llama_index_mmrag.lettering import reader_of, words_in
from llama_index_mmrag.stores.format import ReaderCard

HEAD = (
    "level page_num block_num par_num line_num word_num left top width height conf text"
)
PROGRAM = """#!/bin/sh
case "$1" in
  --version) echo "tesseract 5.9";;
  --list-langs) echo 'List of available languages in "{folder}" (2):'
    echo eng; echo deu;;
  *) cat > /dev/null; {read}
esac
"""


@pytest.fixture
def program(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Return a function that puts a shell script in Tesseract's place."""

    def placed(read: str) -> None:
        file = tmp_path / "tesseract"
        file.write_text(PROGRAM.format(folder=tmp_path, read=read))
        file.chmod(0o755)
        for language in ("eng", "deu"):
            (tmp_path / f"{language}.traineddata").write_text(language)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return placed


@pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="tesseract is not installed here"
)
def test_words_are_read_where_they_stand(lettered):
    reader = reader_of("tesseract")
    assert reader.language == "eng"
    (line,) = reader.read(lettered("Mitochondrion"))
    assert words_in([line]) == line.text == "Mitochondrion"
    assert line.box[:2] == pytest.approx((0.5, 0.27), abs=0.03)


def test_words_of_a_line_are_joined_with_their_mean_confidence(program, paint):
    rows = [
        HEAD,
        "1 1 0 0 0 0 0 0 16 12 -1 ",
        "4 1 1 1 1 0 0 0 16 12 -1 ",
        "5 1 1 1 1 1 0 3 4 3 90 red",
        "5 1 1 1 1 2 8 0 8 6 70 kite",
        "5 1 1 1 2 1 0 9 4 3 40  ",
        "5 1 2 1 1 1 4 9 4 3 50 sky",
    ]
    table = "\\n".join(row.replace(" ", "\\t", 11) for row in rows)
    program(f"printf '{table}\\n'")
    first, second = reader_of("tesseract", "eng+deu").read(paint("red"))
    assert (first.text, first.confidence) == ("red kite", pytest.approx(0.8))
    assert first.box == (0, 0, 1, 0.5)
    assert second.text == "sky"
    assert second.box == (0.25, 0.75, 0.5, 1)


def test_a_page_is_read_in_order_and_as_large_as_it_is(program, tmp_path):
    cells = "\\t".join(["5", *"11111", *"0011", "90", "%s"])
    program(f"printf '{HEAD}\\n{cells}\\n' \"$4\"")
    picture = tmp_path / "page.png"
    Image.new("L", (2340, 3300)).save(picture)
    for of_pages, mode, share in ((False, "11", 1 / 2000), (True, "3", 1 / 3300)):
        (line,) = reader_of("tesseract", of_pages=of_pages).read(picture)
        assert line.text == mode
        assert line.box[3] == pytest.approx(share, abs=1e-4)


def test_a_version_is_the_program_s_and_its_languages(program, tmp_path):
    program("true")
    before = reader_of("tesseract", "eng+deu").version
    assert before.startswith("5.9 (eng ")
    (tmp_path / "deu.traineddata").write_text("another")
    assert reader_of("tesseract", "eng+deu").version != before
    assert reader_of("tesseract", "eng").version == reader_of("tesseract").version


def test_what_is_read_anew_is_read_in_the_language_of_the_store(program):
    program("true")
    stored = ReaderCard.of(reader_of("tesseract", "deu"))
    for asked in (None, reader_of("tesseract", "deu")):
        assert chosen_reader(asked, "lettering", stored, "s").card == stored
    assert chosen_reader("tesseract", "lettering", stored, "s").card.language == "eng"


def test_a_program_that_hangs_is_ended(program, paint):
    program("exec sleep 60")
    with pytest.raises(ImageUnreadable, match=r"red\.png.*longer than 0\.2 s"):
        reader_of("tesseract").read(paint("red"), timeout_s=0.2)


def test_what_a_program_complains_of_is_told(program, paint):
    program("echo 'no leptonica' >&2; exit 1")
    with pytest.raises(ImageUnreadable, match="no leptonica"):
        reader_of("tesseract").read(paint("red"))


def test_a_program_or_language_that_is_missing_is_named(program, monkeypatch, paint):
    program("true")
    with pytest.raises(ReaderUnusable, match=r"'fra'.*eng, deu.*tesseract-ocr-fra"):
        reader_of("tesseract", "eng+fra")
    for none in ("", "eng+"):
        with pytest.raises(ReaderUnusable, match="no language ''; expected some"):
            reader_of("tesseract", none)
    reader = reader_of("tesseract")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ReaderUnusable, match="apt install tesseract-ocr"):
        reader_of("tesseract")
    with pytest.raises(ReaderUnusable, match="apt install tesseract-ocr"):
        reader.read(paint("red"))


def test_language_that_cannot_be_read_is_told(program, tmp_path):
    program("true")
    (tmp_path / "eng.traineddata").unlink()
    (tmp_path / "eng.traineddata").mkdir()
    with pytest.raises(ReaderUnusable, match="model of 'eng': .*Is a directory"):
        reader_of("tesseract")
