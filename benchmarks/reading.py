"""Lettering that is read in pictures: what it finds, what it costs.

Writes results/reading.json and .md, with `--cost` results/reading_cost.json and .md.
What was read is kept in a file outside of the repository, and so are vectors. From the
repository's root:

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/reading.py --data ../shared/data

`--cost 40` measures the cost alone: pictures read by the engine in a program of its own
and by the reader, in turns.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from page import first_line, header, last_line, parser, share, table, write
from words_pictures import FIRST, Book, Found, Remembering, own, within

from llama_index_mmrag import MultiModalQdrantIndex as Index
from llama_index_mmrag.lettering import Line, reader_of, words_in
from llama_index_mmrag.lettering.reader import TIMEOUT_S
from llama_index_mmrag.nodes.images import image_bytes
from llama_index_mmrag.nodes.node import provenance_of
from llama_index_mmrag.vectors import Vectors

PACKAGES = ("llama-index-mmrag", "rapidocr", "onnxruntime", "qdrant-edge-py", "numpy")
CACHE = Path(tempfile.gettempdir()) / "mmrag-reading"
BOOKS = ("psychology", "microbiology")
WEIGHTS = (0.25, 0.5, 1.0)
WITHOUT, WITH = "index, pictures", "index, pictures and lettering"
SAVED_EVERY = 20
BARS = {
    "MRR": {"psychology": (0.56, 0.41), "microbiology": (0.67, 0.52)},
    "own@10": {"psychology": (52, 36), "microbiology": (70, 57)},
}
"""By figure and book: the least by alt text and by caption."""
ENGINE_ALONE = """
import cv2, sys, resource
from rapidocr import RapidOCR
cv2.setNumThreads(1)
threads = [f"EngineConfig.onnxruntime.{n}_op_num_threads" for n in ("intra", "inter")]
engine = RapidOCR(params={"Global.log_level": "critical", **dict.fromkeys(threads, 1)})
for path in sys.argv[1:]:
    engine(path)
"""

Row = dict[str, Any]


class Remembered:
    """RapidOCR, whose lines are kept by the digests of their pictures.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._reader = file, reader_of(True)
        self.name, self.version = self._reader.name, self._reader.version
        self.language = self._reader.language
        self._known: dict[str, list[Any]] = {}
        self._n_unsaved = 0
        if file.exists():
            self._known = json.loads(file.read_text("utf-8"))

    def read(
        self, picture: str | Path | bytes, *, timeout_s: float = TIMEOUT_S
    ) -> list[Line]:
        """Return the lines of a picture."""
        data = image_bytes(picture)
        key = hashlib.sha256(data).hexdigest()
        if key not in self._known:
            read = self._reader.read(data, timeout_s=timeout_s)
            self._known[key] = [[one.text, one.box, one.confidence] for one in read]
            self._n_unsaved += 1
            if self._n_unsaved >= SAVED_EVERY:
                print(f"{len(self._known)} pictures are read", flush=True)
                self._save()
        return [Line(text, tuple(box), c) for text, box, c in self._known[key]]

    def close(self) -> None:
        """Give back the engine, and keep what was read."""
        self._reader.close()
        self._save()

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        made = self._file.with_suffix(".new")
        made.write_text(json.dumps(self._known), "utf-8")
        made.replace(self._file)
        self._n_unsaved = 0


class ReadBook(Book):
    """A book whose figures are read.

    Args:
        folder: The book's in `shared/data/openstax`.
        reader: Who reads.
    """

    def __init__(self, folder: Path, reader: Remembered) -> None:
        super().__init__(folder)
        pictures = [folder / row["image"] for row in self.figures]
        self.reader = reader
        self.lettering = [words_in(reader.read(picture)) for picture in pictures]
        self.encoder = Remembering()
        self.pictures = self.encoder.encode_images(pictures)  # (figures, 384)

    def scores(self, questions: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return the questions' cosines with pictures and lettering, 0 without any."""
        asked = self.encoder.encode_texts(questions)
        read = np.zeros_like(self.pictures)
        places = [n for n, words in enumerate(self.lettering) if words is not None]
        said = [words for words in self.lettering if words is not None]
        read[places] = self.encoder.encode_texts(said)
        return asked @ self.pictures.T, asked @ read.T


def reciprocal(scores: Vectors, wanted: Sequence[int]) -> Vectors:
    """Return 1 / rank of what each question wants; a tie is half a place lost."""
    own_score = scores[np.arange(len(wanted)), wanted][:, None]
    tied = (scores == own_score).sum(1) - 1
    return 1.0 / (1 + (scores > own_score).sum(1) + tied / 2)


def index_of(book: ReadBook, folder: Path, *, texts: bool, read: bool) -> Index:
    """Return an index of a book's figures, with its passages or without."""
    made = Index.open(
        folder, embed_model=book.encoder, read_pictures=book.reader if read else None
    )
    passages, figures = book.nodes(None)
    made.insert_nodes([*passages, *figures] if texts else figures)
    return made


def found_by(index: Index, top_k: int) -> Found:
    """Return what the index's own retriever finds: entities, the best first."""
    retriever = index.as_retriever(similarity_top_k=top_k)

    def found(question: str) -> list[str]:
        results = retriever.retrieve(question)
        return list(dict.fromkeys(provenance_of(r).entity_id for r in results))[:top_k]

    return found


def alone(book: ReadBook, folder: Path, seed: int) -> Iterator[Row]:
    """Yield how figures are found where there is nothing beside them."""
    indices = {
        way: index_of(book, folder / way, texts=False, read=way == WITH)
        for way in (WITHOUT, WITH)
    }
    for kind in ("alt", "caption"):
        asked = book.asked(kind)
        place = {book.id_of(1, n): n for n in range(len(book.figures))}
        wanted = [place[entity] for _, entity, _ in asked]
        pictures, read = book.scores([question for question, _, _ in asked])
        ways = {"picture": reciprocal(pictures, wanted)}
        for w in WEIGHTS:
            ways[f"picture + {w:g} lettering"] = reciprocal(pictures + w * read, wanted)
        for way, index in indices.items():
            found = found_by(index, len(book.figures))
            ways[way] = np.array(
                [
                    1.0 / (1 + hits.index(entity)) if entity in hits else 0.0
                    for hits, (_, entity, _) in ((found(a[0]), a) for a in asked)
                ]
            )
        has = np.array([book.lettering[n] is not None for n in wanted])
        best = max(ways[f"picture + {w:g} lettering"].mean() for w in WEIGHTS)
        for way, values in ways.items():
            gain = (values.mean() - ways["picture"].mean()) / (
                best - ways["picture"].mean()
            )
            yield {
                "book": book.name,
                "asked by": kind,
                "way": way,
                "questions": len(asked),
                "MRR": float(values.mean()),
                "MRR_95": within(values, asked, seed),
                "with": float(values[has].mean()),
                "without": float(values[~has].mean()),
                "gain": float(gain),
            }
    for index in indices.values():
        index.close()


def beside(book: ReadBook, folder: Path, seed: int) -> Iterator[Row]:
    """Yield what is among the first ten of figures and passages."""
    indices = {
        way: index_of(book, folder / f"beside, {way}", texts=True, read=way == WITH)
        for way in (WITHOUT, WITH)
    }
    for kind in ("alt", "caption", "term", "meaning"):
        if not (asked := book.asked(kind)):
            continue
        found = {
            way: own(found_by(index, FIRST), asked) for way, index in indices.items()
        }
        more = found[WITH] - found[WITHOUT]
        yield {
            "book": book.name,
            "asked by": kind,
            "questions": len(asked),
            "without": float(found[WITHOUT].mean()),
            "with": float(found[WITH].mean()),
            "with_95": within(found[WITH], asked, seed),
            "more": float(more.mean()),
            "more_95": within(more, asked, seed),
        }
    for index in indices.values():
        index.close()


def cost(data: Path, books: Sequence[str], n_pictures: int) -> list[Row]:
    """Return CPU seconds a picture and the peak of memory, with the engine alone."""
    rows = []
    for book in books:
        pictures = sorted((data / "openstax" / book / "images").iterdir())[:n_pictures]
        spent: dict[str, float] = {}
        reader = reader_of(True)
        for _ in range(2):  # in turns, since the machine is shared
            start = _cpu_s()
            paths = map(str, pictures)
            command = [sys.executable, "-c", ENGINE_ALONE, *paths]
            subprocess.run(command, check=True, capture_output=True)
            alone_s = _cpu_s() - start
            start = _cpu_s()
            for picture in pictures:
                reader.read(picture)
            reader.close()
            ours_s = _cpu_s() - start
            for way, seconds in (("alone", alone_s), ("ours", ours_s)):
                spent[way] = min(spent.get(way, seconds), seconds)
        rows.append(
            {
                "book": book,
                "pictures": len(pictures),
                "engine_s": spent["alone"] / len(pictures),
                "reader_s": spent["ours"] / len(pictures),
                "ratio": spent["ours"] / spent["alone"],
            }
        )
    return rows


def peak(data: Path, books: Sequence[str], n_pictures: int) -> Row:
    """Return the most memory, in MB, of the process and its engine, and the time."""
    folders = [data / "openstax" / book / "images" for book in books]
    every = [picture for folder in folders for picture in sorted(folder.iterdir())]
    reader, started, cpu = reader_of(True), time.monotonic(), _cpu_s()
    for picture in every[:n_pictures]:
        reader.read(picture)
    reader.close()
    return {
        "pictures": len(every[:n_pictures]),
        "process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "engine_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "cpu_s": _cpu_s() - cpu,
        "wall_s": time.monotonic() - started,
    }


def _cpu_s() -> float:
    """Return CPU seconds of this process and of the children that ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in whose]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(given: Any) -> dict[str, list[Row]]:
    """Return the rows of the books, one after the other."""
    reader = Remembered(given.cache / "lines.json")
    found: dict[str, list[Row]] = {"read": [], "alone": [], "beside": []}
    for name in given.books:
        kept = given.cache / f"{name}.pickle"
        Remembering.load(kept)
        book = ReadBook(given.data / "openstax" / name, reader)
        n_read = sum(words is not None for words in book.lettering)
        n_all = len(book.lettering)
        found["read"].append({"book": name, "figures": n_all, "with words": n_read})
        with tempfile.TemporaryDirectory() as folder:
            for part, rows in (("alone", alone), ("beside", beside)):
                for row in rows(book, Path(folder), given.seed):
                    found[part].append(row)
                    print(row, flush=True)
        Remembering.save(kept)
    reader.close()
    return found


def page(found: dict[str, list[Row]], seed: int) -> list[str]:
    """Return what is told of the books, as Markdown."""
    read = ", ".join(
        f"{row['with words']} of {row['figures']} figures of {row['book']}"
        for row in found["read"]
    )
    return [
        f"Words were read in {read}, in their copies of 384 pixels. In brackets the",
        f"bootstrap's 95 % interval, modules drawn whole, 10,000 times, seed {seed}.",
        "",
        "## Figures alone",
        "",
        "MRR of the figure that is asked for by its alt text or caption among those of",
        "its book. Gain: the share of what the best weight of the plain sum gains over",
        "the pictures alone; .9 is the bar. Figures without words may lose .09.",
        "",
        *table(
            ["book", "asked by", "way", "questions", "MRR", "bar", "gain"]
            + ["MRR, with words", "without"],
            (
                [
                    row["book"],
                    row["asked by"],
                    row["way"],
                    row["questions"],
                    share(row["MRR"], row["MRR_95"]),
                    _bar("MRR", row) if row["way"] == WITH else "",
                    f"{row['gain']:.2f}",
                    f"{row['with']:.3f}",
                    f"{row['without']:.3f}",
                ]
                for row in found["alone"]
            ),
        ),
        "",
        "## Beside the passages of the book",
        "",
        "The share of questions, in %, whose own figure or paragraph is among the",
        "first ten. Terms and meanings want a paragraph, and may lose 4 points.",
        "",
        *table(
            ["book", "asked by", "questions", "without", "with", "bar", "more"],
            (
                [
                    row["book"],
                    row["asked by"],
                    row["questions"],
                    f"{row['without']:.1f}",
                    share(row["with"], row["with_95"], ".1f"),
                    _bar("own@10", row),
                    share(row["more"], row["more_95"], "+.1f"),
                ]
                for row in found["beside"]
            ),
        ),
        "",
    ]


def _bar(figure: str, row: Row) -> str:
    kinds = ("alt", "caption")
    bars = BARS[figure].get(row["book"])
    if bars is None or row["asked by"] not in kinds:
        return ""
    return f"{bars[kinds.index(row['asked by'])]:g}"


def page_of_cost(rows: Sequence[Row], most: Row) -> list[str]:
    """Return what reading costs, as Markdown."""
    engine, ours = (f"{most[f'{who}_mb']:,.0f} MB" for who in ("engine", "process"))
    return [
        "## Cost",
        "",
        "CPU seconds a picture, one thread, what begins the engine included: the less",
        "of two turns. The engine alone is RapidOCR in a program of its own.",
        "",
        *table(
            ["book", "pictures", "engine alone", "reader", "ratio (bar 1.15)"],
            (
                [
                    row["book"],
                    row["pictures"],
                    f"{row['engine_s']:.2f}",
                    f"{row['reader_s']:.2f}",
                    f"{row['ratio']:.2f}",
                ]
                for row in rows
            ),
        ),
        "",
        f"{most['pictures']} pictures one after the other: the engine's process had",
        f"{engine} at its peak, ours {ours}; the bar is 1,500 MB. It took",
        f"{most['cpu_s']:,.0f} CPU seconds, {most['wall_s']:,.0f} s by the clock.",
        "",
    ]


def main() -> None:
    made = parser(__doc__, "data", "out", "seed")
    made.add_argument("--cache", type=Path, default=CACHE)
    made.add_argument("--books", nargs="+", default=BOOKS)
    made.add_argument("--cost", type=int, metavar="PICTURES")
    made.add_argument("--peak", type=int, default=400, metavar="PICTURES")
    given = made.parse_args()
    report = header(*PACKAGES)
    lines = [f"{first_line(report)}.", ""]
    if given.cost is None:
        report |= measure(given)
        lines = ["# Lettering", "", *lines, *page(report, given.seed)]
    else:
        # Before anything large is in this process.
        report["peak"] = peak(given.data, given.books, given.peak)
        report["cost"] = cost(given.data, given.books, given.cost)
        lines = ["# What reading costs", "", *lines]
        lines += page_of_cost(report["cost"], report["peak"])
    name = "reading" if given.cost is None else "reading_cost"
    print(write(name, report, [*lines, last_line(report)], out=given.out))


if __name__ == "__main__":
    main()
