"""Words as they are written, on against off: the table that decides the default.

Books, recipes and products are indexed with words (`open(hybrid=True)`) and asked by
the index's own retriever with its own defaults, which searches by words and vectors,
and by vectors alone. Of some questions each, the order is compared with that of the
package's rules over all scores. Vectors are kept in a folder outside of the repository.
Writes results/words_hybrid.json and .md. From the repository's root:

    PYTHONPATH=. python benchmarks/words_hybrid.py --data ../shared/data
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from early_fusion import groceries
from fusion import Collection
from llama_index.core.schema import TextNode
from page import first_line, header, last_line, parser, share, table, write
from scipy.stats import permutation_test
from words_pictures import (
    BOOKS,
    FIRST,
    N_RESAMPLED,
    Book,
    Found,
    Remembering,
    Row,
    entities,
    ours,
    within,
)

from llama_index_mmrag import CalibratedSum, MultiModalQdrantIndex
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.fusion import RankedList
from llama_index_mmrag.nodes.node import entity_of
from llama_index_mmrag.stores.collection import N_SAMPLED, background_of
from llama_index_mmrag.stores.modes import combined, share_of_words
from tests.support.sentences import SENTENCES
from tests.support.words import SPELLINGS, asked, page_of, part_numbers

PACKAGES = ("llama-index-mmrag", "qdrant-edge-py", "numpy", "scipy")
CACHE = Path(tempfile.gettempdir()) / "mmrag-words"
N_FLIPPED, N_CHECKED = 9_999, 100
SURE = 0.05
LONG = 40
"""Words of a question that is told of apart: BM25 grows with their number."""
OFF = {"vector_store_query_mode": "default"}
CODES = dict.fromkeys(("as written", "lower case", "in a sentence"), 0.98)
"""Spellings and their least P@1; that of the others is .9."""


class Asked(NamedTuple):
    """A question, any of what it wants, and what it is drawn with."""

    text: str
    wanted: frozenset[str]
    cluster: str


class Cell(NamedTuple):
    """The ranks of what a kind of question wants, 0 where it is not among the first."""

    kind: str
    of: str
    asked: Sequence[Asked]
    on: np.ndarray
    off: np.ndarray
    checked: tuple[int, int, int]
    """Questions whose order was computed too; those with the same, on and off."""


class Harness:
    """What an index's rules find when every score is known."""

    def __init__(self, index: MultiModalQdrantIndex) -> None:
        self._words = Bm25Encoder()
        self._channels = []
        for channel in index.channels:
            nodes = channel.vector_store.get_nodes()
            self._channels.append(Collection.of(channel.name, nodes))
            if channel.name == "text":
                nodes = sorted(nodes, key=lambda node: node.node_id)
                texts = [node.get_content("embed") for node in nodes]
        self._postings: dict[int, dict[int, float]] = defaultdict(dict)
        for row, vector in enumerate(zip(*self._words.documents(texts), strict=True)):
            for token, weight in zip(*vector, strict=True):
                self._postings[token][row] = weight
        self._n = len(texts)

    def bm25(self, question: str) -> np.ndarray:
        """Return the words' scores of all texts, shape (n,)."""
        scores = np.zeros(self._n)
        for token in self._words.queries([question])[0][0]:
            if rows := self._postings.get(token):
                idf = np.log(1 + (self._n - len(rows) + 0.5) / (len(rows) + 0.5))
                scores[[*rows]] += idf * np.array([*rows.values()])
        return scores

    def found(self, question: str, by_words: bool) -> list[str]:
        """Return the ids of the first ten entities, best first."""
        vector = np.array(Remembering().get_query_embedding(question), np.float32)
        lists = []
        for one in self._channels:
            cosines = one.vectors @ vector
            ranked = one.ranked(cosines, FIRST, np.arange(len(cosines)))
            if by_words and one.channel == "text":
                n_words = len(self._words.documents([question])[0][0])
                said = self.bm25(question)
                ranked = self._by_both(one, ranked, cosines, said, n_words)
            lists.append(ranked)
        return [one.entity_id for one in CalibratedSum().fuse(lists)][:FIRST]

    @staticmethod
    def _by_both(
        one: Collection,
        ranked: RankedList,
        cosines: np.ndarray,
        words: np.ndarray,
        n_words: int,
    ) -> RankedList:
        best = [n for n in np.argsort(-words, kind="stable")[:FIRST] if words[n] > 0]
        if not best:
            return ranked
        row_of = {str(id_): n for n, id_ in enumerate(one.node_ids)}
        near = {hit.node_id: hit.score for hit in ranked.hits}
        others = {str(one.node_ids[n]): float(cosines[n]) for n in best}
        others = {id_: score for id_, score in others.items() if id_ not in near}
        said = {id_: float(words[row_of[id_]]) for id_ in (*near, *others)}
        weights = 1.0, share_of_words(n_words)
        both = combined(near, others, said, top_k=FIRST, weights=weights)
        return RankedList.from_scores(
            [(id_, one.entity_ids[row_of[id_]], s) for id_, s in both.items()],
            channel=one.channel,
            background=background_of(cosines[:N_SAMPLED]),
        )


class Searched:
    """An index with words, asked by both and by vectors alone, each question once."""

    def __init__(self, index: MultiModalQdrantIndex) -> None:
        self.on: Found = cache(entities(index))  # left out: what it was opened for
        self.off: Found = cache(entities(index, **OFF))
        self._harness = Harness(index)

    def cell(self, kind: str, of: str, asked: Sequence[Asked]) -> Cell:
        """Return what a kind of question finds."""
        some = asked[:: max(1, len(asked) // N_CHECKED)]
        found = self._harness.found
        same = (
            sum(way(one.text) == found(one.text, by) for one in some)
            for way, by in ((self.on, True), (self.off, False))
        )
        checked = (len(some), *same)
        ranks = [_ranks(way, asked) for way in (self.on, self.off)]
        print(kind, of, *(np.mean(each > 0) for each in ranks), checked, flush=True)
        return Cell(kind, of, asked, *ranks, checked)


def _ranks(found: Found, asked: Sequence[Asked]) -> np.ndarray:
    return np.array(
        [
            next((n for n, id_ in enumerate(found(q), 1) if id_ in wanted), 0)
            for q, wanted, _ in asked
        ]
    )


# What is asked


def of_book(book: Book) -> Iterator[Cell]:
    """Yield a book's cells: its figures bare, then with their other text as words."""
    modules: dict[str, set[str]] = defaultdict(set)
    for n, row in enumerate(book.passages):
        modules[row["module"]].add(book.id_of(0, n))

    def asked(kind: str) -> list[Asked]:
        return [Asked(q, frozenset({id_}), at) for q, id_, at in book.asked(kind)]

    with tempfile.TemporaryDirectory() as name:
        for words, kinds in (
            (None, ("term", "meaning", "bare term", "alt", "caption")),
            ("caption", ("alt",)),
            ("alt", ("caption",)),
        ):
            place = Path(name, str(words))
            with ours(book, words, place, hybrid=True) as index:
                searched = Searched(index)
                for kind in kinds:
                    if not (questions := asked(kind)):
                        continue
                    if kind not in ("alt", "caption"):
                        yield searched.cell(kind, book.name, questions)
                        continue
                    with_words = f"{words} as words" if words else "bare"
                    told = f"{kind}, to its figure, {with_words}"
                    yield searched.cell(told, book.name, questions)
                    if words is None:
                        of_module = [
                            one._replace(wanted=frozenset(modules[one.cluster]))
                            for one in questions
                            if modules[one.cluster]
                        ]
                        told = f"{kind}, to its module's passages"
                        yield searched.cell(told, book.name, of_module)


def of_recipes(data: Path, seed: int) -> Iterator[Cell]:
    """Yield the recipe site's cells: each recipe by its title, and by an ingredient."""
    rng = np.random.default_rng(seed)
    site = data / "based_cooking" / "content"
    titles, lines = {}, {}
    for file in sorted(site.glob("*.md")):
        text, document = file.read_text("utf-8"), f"{site.name}/{file.name}"
        if title := re.search(r"^title:\s*\"?(.+?)\"?\s*$", text, re.MULTILINE):
            titles[document] = title[1]
        part = re.search(r"^## Ingredients\s*$(.*?)(?=^## |\Z)", text, re.M | re.S)
        items = re.findall(r"^\s*[-*]\s+(\S.{14,})$", part[1] if part else "", re.M)
        if items:
            lines[document] = str(rng.choice(items))
    with _opened() as index:
        index.insert_directory(site)
        sections: dict[str, set[str]] = defaultdict(set)
        for channel in index.channels:
            for node in channel.vector_store.get_nodes():
                sections[str(node.ref_doc_id)].add(entity_of(node))
        searched = Searched(index)
        for kind, questions in (("title", titles), ("an ingredient's line", lines)):
            asked = [
                Asked(question, frozenset(sections[id_]), id_)
                for id_, question in questions.items()
            ]
            yield searched.cell(kind, "recipes", asked)


def of_groceries(data: Path) -> Iterator[Cell]:
    """Yield the products' cell: each by its name."""
    products = groceries(data)
    named = products.asked[-1]
    with _opened() as index:
        products.insert(index)
        yield Searched(index).cell(
            "name",
            "groceries",
            [
                Asked(query.query_str, frozenset({id_}), id_)
                for query, id_ in zip(named.queries, named.right, strict=True)
            ],
        )


def _opened() -> MultiModalQdrantIndex:
    return MultiModalQdrantIndex.open(
        ":memory:", embed_model=Remembering(), hybrid=True
    )


def of_codes() -> Iterator[Row]:
    """Yield how many pages are first by their part number, and sentences in ten."""
    numbers = part_numbers()
    sentences = [(of, *pair) for of, pairs in SENTENCES.items() for pair in pairs]
    for texts, questions in (
        (
            [page_of(number) for number in numbers],
            {s: [(n, asked(it, s)) for n, it in enumerate(numbers)] for s in SPELLINGS},
        ),
        (
            [sentence for _, sentence, _ in sentences],
            {
                language: [
                    (n, words)
                    for n, (of, _, words) in enumerate(sentences)
                    if of == language
                ]
                for language in SENTENCES
            },
        ),
    ):
        nodes = [
            TextNode(text=text, id_=Book.id_of(0, n)) for n, text in enumerate(texts)
        ]
        with _opened() as index:
            index.insert_nodes(nodes)
            for kind, pairs in questions.items():
                wanted = [Asked(q, frozenset({nodes[n].node_id}), "") for n, q in pairs]
                row: Row = {"kind": kind}
                for way, how in (("on", {}), ("off", OFF)):
                    ranks = _ranks(entities(index, **how), wanted)
                    row[way] = float(np.mean(ranks == 1))
                    row[f"{way}_in_10"] = float(np.mean(ranks > 0))
                print(row, flush=True)
                yield row


# What it says


def p_of(less: np.ndarray, clusters: Sequence[str], seed: int) -> float:
    """Return the two-sided p of paired differences, signs flipped by cluster."""
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=less)
    return float(
        permutation_test(
            (sums, np.zeros(len(sums))),
            lambda on, off, axis: (on - off).sum(axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=N_FLIPPED,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def holm(p: Sequence[float]) -> np.ndarray:
    """Return the p of Holm's correction, in the order given."""
    order = np.argsort(p)
    raised = np.array(p)[order] * np.arange(len(p), 0, -1)
    return np.minimum(1, np.maximum.accumulate(raised))[np.argsort(order)]


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "own@10": lambda ranks: 100.0 * (ranks > 0),
    "MRR@10": lambda ranks: (ranks > 0) / np.maximum(ranks, 1),
    "P@1": lambda ranks: 100.0 * (ranks == 1),
}


def rows_of(cells: Sequence[Cell], seed: int) -> list[Row]:
    """Return a row for each cell: of each measure off, on, difference, interval, p."""
    rows: list[Row] = []
    for cell in cells:
        clusters = [one.cluster for one in cell.asked]
        how = [(one.text, "", one.cluster) for one in cell.asked]
        row = {"kind": cell.kind, "of": cell.of, "questions": len(clusters)}
        row |= {"clusters": len(set(clusters)), "checked": cell.checked}
        is_long = np.array([len(one.text.split()) > LONG for one in cell.asked])
        row["by_length"] = [
            [
                int(some.sum()),
                *(float(np.mean(r[some] > 0)) for r in (cell.off, cell.on)),
            ]
            for some in (~is_long, is_long)
            if some.any()
        ]
        for name, measure in MEASURES.items():
            on, off = measure(cell.on), measure(cell.off)
            row[name] = {
                "off": float(off.mean()),
                "on": float(on.mean()),
                "less": float((on - off).mean()),
                "less_95": within(on - off, how, seed),
                "p": p_of(on - off, clusters, seed),
            }
        rows.append(row)
    for name in MEASURES:
        for row, p in zip(rows, holm([r[name]["p"] for r in rows]), strict=True):
            row[name]["p_holm"] = float(p)
    return rows


def verdict(rows: Sequence[Row], codes: Sequence[Row]) -> list[str]:
    """Return which bars are missed: with none, words are on for a new store."""
    missed = []
    for row in rows:
        told = f"{row['kind']}, {row['of']}"
        least = {"term": 4.0, "meaning": 10.0}.get(row["kind"], -4.0)
        if (less := row["own@10"]["less"]) < least:
            missed.append(f"{told}: own@10 {less:+.1f}, bar {least:+.0f}")
        for name in ("own@10", "MRR@10"):
            is_sure = row[name]["p_holm"] < SURE
            if is_sure and row[name]["less"] < 0:
                missed.append(f"{told}: {name} significantly below off")
            must_gain = row["kind"] == "term" and name == "MRR@10"
            if must_gain and not (is_sure and row[name]["less"] > 0):
                missed.append(f"{told}: {name} not significantly above off")
    for row in codes:
        is_code = row["kind"] in SPELLINGS
        bar = CODES.get(row["kind"], 0.9)
        if (got := row["on" if is_code else "on_in_10"]) < bar:
            missed.append(f"{row['kind']}: {got:.3f}, bar {bar}")
    return missed


def page(report: Row) -> list[str]:
    """Return what is told of a report, as Markdown."""
    rows, codes, missed = report["rows"], report["codes"], report["missed"]
    checked = np.sum([row["checked"] for row in rows], axis=0)

    def told(row: Row, name: str, spec: str) -> list[str]:
        one = row[name]
        return [
            f"{one['off']:{spec}} → {one['on']:{spec}}",
            share(one["less"], one["less_95"], f"+{spec}"),
            f"{one['p_holm']:.3f}",
        ]

    return [
        "# Words as they are written, on against off",
        "",
        f"{first_line(report)}.",
        "",
        "An index with words (`open(hybrid=True)`), asked by its own retriever with",
        'its own defaults (on) and with `vector_store_query_mode="default"` (off).',
        "own@10: the share of questions, in %, with what they want among the first",
        "ten. In brackets the bootstrap's 95 % interval of the paired difference,",
        f"modules, recipes or products drawn whole ({N_RESAMPLED:,} times, seed",
        f"{report['seed']}); p of the two-sided paired permutation test (signs by",
        f"these, {N_FLIPPED:,}), by Holm over a measure's {len(rows)} cells. *term*",
        'asks "What is X?" for the paragraph that defines X, *meaning* its definition.',
        "",
        *table(
            [
                *("asked by", "of", "questions (clusters)", "own@10", "on − off", "p"),
                *("MRR@10", "on − off", "p", "P@1"),
            ],
            (
                [
                    row["kind"],
                    row["of"],
                    f"{row['questions']} ({row['clusters']})",
                    *told(row, "own@10", ".1f"),
                    *told(row, "MRR@10", ".3f"),
                    told(row, "P@1", ".1f")[0],
                ]
                for row in rows
            ),
        ),
        "",
        f"Of {checked[0]} of these questions the order by the package's rules over all",
        f"scores is the retriever's for {checked[1]} on and {checked[2]} off.",
        "",
        f"Figures with words, by the length of the question: up to {LONG} words, and",
        "more. own@10, off → on (questions):",
        "",
        *table(
            ["asked by", "of", f"up to {LONG} words", "more"],
            (
                [
                    row["kind"],
                    row["of"],
                    *(
                        f"{100 * off:.1f} → {100 * on:.1f} ({n})"
                        for n, off, on in row["by_length"]
                    ),
                ]
                for row in rows
                if row["kind"].endswith("as words")
            ),
        ),
        "",
        "Part numbers of 1,000 near-identical pages and of 200 pairs that differ by",
        "the order of their groups, and thirty sentences in each of five languages",
        "among all 150, asked by two words:",
        "",
        *table(
            ["asked", "first, off → on", "among ten, off → on"],
            (
                [
                    row["kind"],
                    f"{row['off']:.3f} → {row['on']:.3f}",
                    f"{row['off_in_10']:.3f} → {row['on_in_10']:.3f}",
                ]
                for row in codes
            ),
        ),
        "",
        "Words are on for a new store if on term's own@10 is at least 4 points above",
        "off and its MRR significantly, meaning's own@10 at least 10, P@1 of part",
        "numbers at least .98 as written, in lower case and in a sentence and .9",
        "otherwise, .9 of the sentences are among ten, no cell is significantly below",
        f"off and no mean more than 4 points. **{'Off.' if missed else 'On.'}**",
        "",
        *(f"- {one}" for one in missed),
        "",
        last_line(report),
    ]


def main() -> None:
    """Measure, write the results, print them."""
    made = parser(__doc__, "data", "out", "seed")
    made.add_argument("--cache", type=Path, default=CACHE)
    made.add_argument("--books", nargs="+", default=BOOKS)
    given = made.parse_args()
    report = header(*PACKAGES) | {"seed": given.seed}
    cells: list[Cell] = []
    for name in given.books:
        Remembering.load(kept := given.cache / f"{name}.pickle")
        cells += of_book(Book(given.data / "openstax" / name))
        Remembering.save(kept)
    Remembering.load(kept := given.cache / "others.pickle")
    cells += [*of_recipes(given.data, given.seed), *of_groceries(given.data)]
    codes = list(of_codes())
    Remembering.save(kept)
    rows = rows_of(cells, given.seed)
    missed = verdict(rows, codes)
    report |= {"rows": rows, "codes": codes, "missed": missed}
    print(write("words_hybrid", report, page(report), out=given.out))


if __name__ == "__main__":
    main()
