"""Sealed JSON: a bit that flipped is noticed, whatever it is in."""

from __future__ import annotations

import json

import pytest

from llama_index_mmrag.files.sealing import sealed, unsealed

CONTENT = {"a": 1, "b": {"c": [0.1, "ä", None]}, "id": "00ff"}


def test_content_comes_back():
    assert unsealed(json.loads(sealed(CONTENT))) == CONTENT


def test_what_has_no_seal_is_as_it_is():
    assert unsealed(CONTENT) == CONTENT
    assert unsealed([1]) == [1]


def test_every_bit_that_flips_is_noticed_or_changes_nothing():
    whole = sealed(CONTENT)
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            try:
                content = unsealed(json.loads(flipped))
            except ValueError:
                continue
            # The seal's own name: nothing is sealed then, and nothing else changed.
            content = {k: v for k, v in content.items() if k in CONTENT}
            assert content == CONTENT, (position, bit)


def test_other_content_is_refused():
    stored = json.loads(sealed(CONTENT)) | {"a": 2}
    with pytest.raises(ValueError, match="its checksum"):
        unsealed(stored)
