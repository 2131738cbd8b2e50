from __future__ import annotations

import pytest

from llama_index_mmrag.embeddings.batches import batches_by_length, cut, in_threads


def test_long_text_keeps_its_last_token():
    assert cut([101, 5, 6, 7, 102], 4) == [101, 5, 6, 102]
    assert cut([101, 5, 102], 3) == [101, 5, 102]


def test_batches_are_filled_longest_first():
    batches = batches_by_length([5, 2, 77, 2, 9, 9, 1], n_tokens=18)
    assert batches == [[2], [4, 5], [0, 1, 3], [6]]


@pytest.mark.parametrize("lengths", [[], [3], [300, 2, 2], list(range(2, 90))])
def test_each_text_is_in_one_batch_and_batches_stay_small(lengths):
    batches = batches_by_length(lengths, n_tokens=128)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[i] for i in batch)
        assert width * len(batch) <= max(128, width)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_item_is_taken_and_the_first_error_in_order_is_raised(n_threads):
    taken: list[int] = []
    in_threads(taken.append, range(20), n_threads=n_threads)
    assert sorted(taken) == list(range(20))
    with pytest.raises(KeyError, match="b"):
        in_threads({"a": 1}.__getitem__, ["a", "b", "c"], n_threads=n_threads)
