"""Changes to two folders and their index, in long lists: it equals a fresh build.

    python -m tests.campaigns.following [--lists 300] [--seed 0]

Files are written, renamed, copied, swapped and deleted; roots are copied and moved; the
index is refreshed, killed at a step, closed, given a search graph, and loses its
catalogue. Ends with an error, and with the shortest list that it was found to need,
where the refreshed index is not a fresh build's: ids, texts, metadata, vectors.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from llama_index_mmrag import MultiModalQdrantIndex
from tests.index.test_follows_a_folder import STEPS, check
from tests.support.indexes import CountingEncoder


def opened(path: Path) -> MultiModalQdrantIndex:
    encoder = CountingEncoder(modality_gap=0.75)
    return MultiModalQdrantIndex.open(path, embed_model=encoder)


def main() -> None:
    """Try as many lists as are asked for, and print what was done how often."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lists", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logging.disable()
    counts: Counter[str] = Counter()

    @seed(asked.seed)
    @settings(
        max_examples=asked.lists,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(steps=STEPS)
    def check_one(steps: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder), opened, steps)
        counts.update(["lists", *(verb for verb, *_ in steps)])

    check_one()
    print(dict(counts))


if __name__ == "__main__":
    main()
