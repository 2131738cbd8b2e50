"""Measure what searching every word finds; writes results/words.json and .md.

Each part is a file of its own, `words_*.py`. Vectors are encoded once and kept in a
folder outside of the repository. From the repository's root:

    python benchmarks/words.py --data ../shared/data
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import words_pictures
from page import first_line, header, last_line, parser, write

PACKAGES = ("llama-index-mmrag", "llama-index-core", "qdrant-edge-py", "numpy")
PARTS = {"pictures": words_pictures}
CACHE = Path(tempfile.gettempdir()) / "mmrag-words"


def main() -> None:
    made = parser(__doc__, "data", "out", "seed")
    made.add_argument("--cache", type=Path, default=CACHE)
    made.add_argument("--books", nargs="+", default=words_pictures.BOOKS)
    made.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    given = made.parse_args()
    report = header(*PACKAGES)
    lines = ["# Every word is searched", "", f"{first_line(report)}.", ""]
    for name in given.parts:
        part = PARTS[name]
        report[name] = part.measure(given.data, given.cache, given.books, given.seed)
        lines += part.page(report[name], given.seed)
    print(write("words", report, [*lines, last_line(report)], out=given.out))


if __name__ == "__main__":
    main()
