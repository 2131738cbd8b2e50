"""Pairs files: what is good goes in, what is bad is named with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llama_index_mmrag.alignment import PairProblem, PictureText, read_pairs
from llama_index_mmrag.alignment.pair_files import PairsUnreadable


@pytest.fixture
def folder(tmp_path) -> Path:
    for colour in ("red", "blue"):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{colour}.png")
    return tmp_path


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "pairs.jsonl"
    path.write_bytes(
        b"\n".join(
            line if isinstance(line, bytes) else json.dumps(line).encode()
            for line in lines
        )
    )
    return path


def pair(colour: str, text: str | list[str], **group: Any) -> dict[str, Any]:
    return {"image": f"{colour}.png", "text": text, **group}


RED, BLUE = pair("red", "a red square"), pair("blue", "blue")


def test_paths_are_relative_to_the_file_or_absolute(
    folder, monkeypatch, tmp_path_factory
):
    path = write(folder, RED, {"image": str(folder / "blue.png"), "text": "blue"})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    read = read_pairs(path)
    assert read.problems == ()
    assert read.pairs == (
        PictureText(str(folder.resolve() / "red.png"), "a red square", None),
        PictureText(str(folder.resolve() / "blue.png"), "blue", None),
    )


def test_file_given_relative_to_the_working_directory(folder, monkeypatch):
    write(folder, RED)
    monkeypatch.chdir(folder)
    assert read_pairs("pairs.jsonl").pairs == read_pairs(folder / "pairs.jsonl").pairs


def test_several_texts_of_a_picture_are_pairs_of_one_group(folder):
    again = {"image": "./red.png", "text": "four"}
    read = read_pairs(
        write(folder, pair("red", ["one", "two"]), pair("blue", "three"), again)
    )
    assert [pair.text for pair in read.pairs] == ["one", "two", "three", "four"]
    assert read.groups().tolist() == [0, 0, 1, 0]


def test_named_group_joins_pictures_and_a_picture_joins_groups(folder):
    Image.new("RGB", (8, 8), "green").save(folder / "green.png")
    named = [
        pair("red", "a", group="g"), pair("blue", "b", group=7),
        pair("blue", "c", group="g"),
    ]  # fmt: skip
    read = read_pairs(write(folder, pair("green", "alone"), *named))
    assert [pair.group for pair in read.pairs] == [None, "g", "7", "g"]
    assert read.groups().tolist() == [0, 1, 1, 1]


def test_group_named_as_a_picture_is_not_that_picture(folder):
    red = str(folder.resolve() / "red.png")
    read = read_pairs(write(folder, RED, pair("blue", "b", group=red)))
    assert read.groups().tolist() == [0, 1]


def test_pair_that_is_there_twice_counts_twice(folder):
    read = read_pairs(write(folder, RED, RED))
    assert len(read.pairs) == 2
    assert read.pairs[0] == read.pairs[1]
    assert read.problems == ()


def test_byte_order_mark_empty_lines_and_carriage_returns_are_no_problem(folder):
    line = json.dumps(RED).encode()
    read = read_pairs(write(folder, b"\xef\xbb\xbf" + line + b"\r", b"", b"  \r", b""))
    assert [pair.text for pair in read.pairs] == ["a red square"]
    assert read.problems == ()


BAD_LINES: dict[str, tuple[Any, str, str]] = {
    "broken JSON": (b'{"image": "red.png", ', "", "is no JSON"),
    "nested for ever": (b"[" * 100_000, "", "is no JSON"),
    "not UTF-8": (b'{"image": "red.png", "text": "caf\xe9"}', "", "not UTF-8"),
    "a list": (["red.png", "x"], "", "JSON list; expected an object"),
    "null": (None, "", "JSON NoneType"),
    "no image": ({"text": "x", "picture": "y"}, "", "keys: picture, text"),
    "image null": ({"image": None, "text": "x"}, "", "'image' is None"),
    "image empty": ({"image": " ", "text": "x"}, " ", "'image' is ' '"),
    "image a number": ({"image": 3, "text": "x"}, "", "'image' is 3"),
    "image surrogate": ({"image": "\ud800", "text": "x"}, "\ud800", "no valid text"),
    "image null byte": ({"image": "a\0b", "text": "x"}, "a\0b", "Cannot read"),
    "image missing": ({"image": "no.png", "text": "x"}, "no.png", "Cannot read"),
    "image a folder": ({"image": ".", "text": "x"}, ".", "Cannot read"),
    "image a URL": (
        {"image": "https://example.org/a.png", "text": "x"},
        "https://example.org/a.png",
        "URLs are not fetched",
    ),
    "no text": ({"image": "red.png", "texts": "x"}, "red.png", "keys: image, texts"),
    "text empty": ({"image": "red.png", "text": " \n"}, "red.png", "A text is empty"),
    "text a number": ({"image": "red.png", "text": 3}, "red.png", "'text' is 3"),
    "texts none": ({"image": "red.png", "text": []}, "red.png", "an empty list"),
    "text surrogate": ({"image": "red.png", "text": "\udc00"}, "red.png", "surrogate"),
    "group true": ({**RED, "group": True}, "red.png", "'group' is True"),
    "group a list": ({**RED, "group": ["g"]}, "red.png", "'group' is ['g']"),
    "group empty": ({**RED, "group": ""}, "red.png", "'group' is ''"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line_is_named_and_the_rest_goes_in(name, folder):
    line, source, reason = BAD_LINES[name]
    path = write(folder, RED, line, BLUE)
    read = read_pairs(path)
    assert [pair.text for pair in read.pairs] == ["a red square", "blue"]
    [problem] = read.problems
    assert (problem.line, problem.source) == (2, source or str(path))
    assert reason in problem.reason


def test_bad_text_of_a_list_leaves_the_others(folder):
    read = read_pairs(write(folder, pair("red", ["a", "", 5, "b"])))
    assert [pair.text for pair in read.pairs] == ["a", "b"]
    empty = "A text is empty. Write what the picture shows, or leave the line out."
    assert read.problems == (
        PairProblem(1, "red.png", empty),
        PairProblem(1, "red.png", "A text is 5; expected a string."),
    )


@pytest.mark.parametrize("content", [b"", b"no picture", None], ids=str)
def test_undecodable_picture_is_reported_for_each_of_its_lines(content, folder):
    whole = (folder / "red.png").read_bytes()
    (folder / "bad.png").write_bytes(whole[:-20] if content is None else content)
    bad = pair("bad", "x")
    read = read_pairs(write(folder, bad, RED, bad))
    assert [pair.text for pair in read.pairs] == ["a red square"]
    found = [(problem.line, problem.source) for problem in read.problems]
    assert found == [(1, "bad.png"), (3, "bad.png")]


def test_missing_file_says_what_was_expected(folder):
    with pytest.raises(PairsUnreadable, match=r"none\.jsonl.*No such file.*JSON Lines"):
        read_pairs(folder / "none.jsonl")


def test_folder_in_place_of_a_file_is_refused(folder):
    with pytest.raises(PairsUnreadable, match="Is a directory"):
        read_pairs(folder)


@pytest.mark.parametrize("lines", [(), (b"", b"\n"), (b"{}",)], ids=str)
def test_file_without_a_good_pair_is_refused(lines, folder):
    with pytest.raises(PairsUnreadable, match="no pair that can be used"):
        read_pairs(write(folder, *lines))


def test_refusal_tells_the_first_reason(folder):
    path = write(folder, pair("no", "x"))
    with pytest.raises(PairsUnreadable, match=r"Line 1: Cannot read the picture"):
        read_pairs(path)
