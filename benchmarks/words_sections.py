"""Is the picture that a section comes with the one that was asked for?

A book's sections with their figures are indexed as Markdown, without alternative texts,
and asked by the alternative text of one of a section's figures. Of the sections found,
the share that shows this figure first: with captions as words of the figures, bare, and
if the first in the document were shown. Writes results/words_sections.json and .md.
From the repository's root:

    python benchmarks/words_sections.py --data ../shared/data
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, ImageNode, TextNode
from page import first_line, header, last_line, parser, share, table, write

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.nodes.images import ImageSource, image_bytes
from llama_index_mmrag.nodes.node import (
    KIND_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    WORDS,
    WORDS_OF_KEY,
    entity_of,
    provenance_of,
)

PACKAGES = ("llama-index-mmrag", "llama-index-core", "qdrant-edge-py", "numpy")
BOOKS = ("psychology", "philosophy", "microbiology")
N_RESAMPLED = 10_000
CACHE = Path(tempfile.gettempdir()) / "mmrag-words-sections"


class Kept(OfflineMultiModalEmbedding):
    """Encodes each text and picture once: vectors are files by their content's hash."""

    _folder: Path = PrivateAttr(default=CACHE)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the texts' vectors, shape (n, dim)."""
        encode = super().encode_texts
        return np.array([self._of(t.encode(), lambda t=t: encode([t])) for t in texts])

    def encode_images(self, pictures: Sequence[ImageSource]) -> np.ndarray:
        """Return the pictures' vectors, shape (n, dim)."""
        encode = super().encode_images
        return np.array(
            [self._of(image_bytes(p), lambda p=p: encode([p])) for p in pictures]
        )

    def _of(self, content: bytes, encode: Any) -> np.ndarray:
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{hashlib.sha256(content).hexdigest()}.npy"
        if not file.exists():
            np.save(file, encode()[0])
        return np.load(file)  # type: ignore[no-any-return]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def write_pages(book: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Write a page for each section with figures; return figures by file name."""
    figures = lines(book / "figures.jsonl")
    sections: dict[str, list[str]] = {}
    for figure in figures:
        sections.setdefault(figure["module"], [f"# {figure['module_title']}"])
    for passage in lines(book / "passages.jsonl"):
        if passage["module"] in sections:
            sections[passage["module"]].append(passage["text"])
    for figure in figures:
        name = Path(figure["image"]).name
        shutil.copyfile(book / figure["image"], folder / name)
        sections[figure["module"]].append(f"![]({name})")
    for module, parts in sections.items():
        (folder / f"{module}.md").write_text("\n\n".join(parts), encoding="utf-8")
    return {Path(figure["image"]).name: figure for figure in figures}


def words_of(picture: BaseNode, text: str, encoder: Kept) -> TextNode:
    """Return a caption as it is stored beside its picture's section."""
    known = {KIND_KEY: WORDS, "words": "caption", WORDS_OF_KEY: picture.node_id}
    return TextNode(
        id_=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{picture.node_id} {text}")),
        text=text,
        metadata={**picture.metadata, MODALITY_KEY: "text", **known},
        relationships=picture.relationships,
        embedding=encoder.get_text_embedding(text),
    )


def asked_of(
    index: MultiModalQdrantIndex, figures: dict[str, dict[str, Any]]
) -> dict[str, tuple[str, float, float] | None]:
    """Return of each figure asked for its section, and whether it, or the first, shows.

    Asked are figures with both texts, of sections that have several of them; None for
    one whose section is not found.
    """
    by_section: dict[str, list[BaseNode]] = defaultdict(list)
    for node in index.channels[1].collection.nodes_where(None):
        figure = figures[Path(node.image_path).name]
        if figure["alt"].strip() and figure["caption"].strip():
            by_section[entity_of(node)].append(node)
    retriever = index.as_retriever(similarity_top_k=10)
    asked: dict[str, tuple[str, float, float] | None] = {}
    for section, nodes in by_section.items():
        nodes.sort(key=lambda node: node.metadata[POSITION_KEY])
        for node in nodes if len(nodes) > 1 else ():
            name = Path(node.image_path).name
            shown = [
                result.node
                for result in retriever.retrieve(figures[name]["alt"])
                if (why := provenance_of(result)) and why.entity_id == section
            ]
            picture = next((n for n in shown if isinstance(n, ImageNode)), None)
            is_right = picture is not None and Path(picture.image_path).name == name
            first = float(node is nodes[0])
            asked[name] = (section, float(is_right), first) if shown else None
    return asked


def resampled(values: dict[str, list[float]], seed: int) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the mean, sections drawn whole."""
    rng = np.random.default_rng(seed)
    sums = np.array([[sum(v), len(v)] for v in values.values()])
    drawn = sums[rng.integers(len(sums), size=(N_RESAMPLED, len(sums)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return float(low), float(high)


def measure(book: Path, encoder: Kept, seed: int) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        pages = Path(temporary, "pages")
        pages.mkdir()
        figures = write_pages(book, pages)
        place = Path(temporary, "index")
        with MultiModalQdrantIndex.open(place, embed_model=encoder) as index:
            index.insert_directory(pages)
            for words in ("none", "caption"):
                text, image = index.channels
                if words == "caption":
                    worded = (
                        (node, figures[Path(node.image_path).name]["caption"].strip())
                        for node in image.collection.nodes_where(None)
                    )
                    text.collection.add(
                        [words_of(node, said, encoder) for node, said in worded if said]
                    )
                asked = asked_of(index, figures)
                shown: dict[str, list[float]] = defaultdict(list)
                above: dict[str, list[float]] = defaultdict(list)
                for found in asked.values():
                    if found is not None:
                        section, is_right, is_first = found
                        shown[section].append(is_right)
                        above[section].append(is_right - is_first)
                told = {"right": shown, "above_first": above}
                row = {"book": book.name, "words": words, "n_queries": len(asked)}
                row["n_found"] = sum(map(len, shown.values()))
                for name, values in told.items():
                    row[name] = float(np.mean(np.concatenate([*values.values()])))
                    row[f"{name}_95"] = resampled(values, seed)
                rows.append(row)
    return rows


def main() -> None:
    made = parser(__doc__, "data", "out", "seed")
    made.add_argument("--books", nargs="+", default=BOOKS)
    arguments = made.parse_args()
    report = header(*PACKAGES)
    encoder = Kept()
    books = [arguments.data / "openstax" / book for book in arguments.books]
    report["rows"] = [
        row for book in books for row in measure(book, encoder, arguments.seed)
    ]
    page = [
        "# The right picture of a section",
        "",
        f"{first_line(report)}.",
        "",
        "Sections with several figures, asked by the alternative text of one: the part",
        "of the sections found that show it first, and how much more that is than if",
        "the first in the document were shown; in brackets 95 % by bootstrap, sections",
        "drawn whole.",
        "",
        *table(
            ["book", "words", "queries", "sections found", "right", "above first"],
            (
                [
                    row["book"],
                    row["words"],
                    row["n_queries"],
                    row["n_found"],
                    share(row["right"], row["right_95"]),
                    share(row["above_first"], row["above_first_95"], "+.3f"),
                ]
                for row in report["rows"]
            ),
        ),
        "",
        last_line(report),
    ]
    print(write("words_sections", report, page, out=arguments.out))


if __name__ == "__main__":
    main()
