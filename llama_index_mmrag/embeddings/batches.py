"""Texts in batches of similar length, and work in threads: for all encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def in_threads(
    function: Callable[[Item], Any], items: Sequence[Item], *, n_threads: int
) -> None:
    """Call a function with each item; the first error, in order, is raised."""
    if len(items) < 2 or n_threads < 2:
        for item in items:
            function(item)
        return
    with ThreadPoolExecutor(min(n_threads, len(items))) as threads:
        try:
            # Consumed, so that an error in a thread is raised here.
            list(threads.map(function, items))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def cut(ids: list[int], most: int) -> list[int]:
    """Return at most so many tokens of a text; the end mark stays.

    Example:
        >>> cut([1, 5, 6, 7, 2], 4)
        [1, 5, 6, 2]
    """
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def batches_by_length(lengths: Sequence[int], *, n_tokens: int) -> list[list[int]]:
    """Return the positions in batches of similar length, longest first.

    The last batches to run are then the quick ones, and threads end together. Each has
    at most `n_tokens` tokens after padding, and at least one row.

    Example:
        >>> batches_by_length([3, 9, 2, 3], n_tokens=9)
        [[1], [0, 3, 2]]
    """
    batches: list[list[int]] = []
    room, width = 0, 1
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if room < width:
            batches.append([])
            # The first row of a batch is its longest: all are padded to it.
            width = max(lengths[position], 1)
            room = max(n_tokens, width)
        batches[-1].append(position)
        room -= width
    return batches
