"""Build conse_classes.npz: the text vectors of the 1,000 ImageNet classes, centred.

A class's vector is the normalised sum of three MiniLM vectors: its name, "a photo of
a" name, and its WordNet definition. Run from the repository's root:

    python benchmarks/build_conse_classes.py --data ../shared/data/offline_encoder
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from llama_index_mmrag.embeddings import OfflineTextEmbedding
from llama_index_mmrag.embeddings.conse import centred_classes

PACKAGED = Path(__file__).parents[1] / "llama_index_mmrag" / "embeddings" / "data"


def build(classes_tsv: Path, target: Path) -> None:
    """Write `class_emb`, float16 `(1000, 384)`, in the classifier's class order."""
    with classes_tsv.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    encode = OfflineTextEmbedding().encode_texts
    vectors = centred_classes(
        encode([row["name"] for row in rows]),
        encode([f"a photo of a {row['name']}" for row in rows]),
        encode([row["definition"] for row in rows]),
    )
    np.savez_compressed(target, class_emb=vectors.astype(np.float16))
    print(f"{len(rows)} classes, {target.stat().st_size:,} bytes")


def main() -> None:
    """Read the class list, write the packaged file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data/offline_encoder")
    )
    parser.add_argument("--out", type=Path, default=PACKAGED / "conse_classes.npz")
    arguments = parser.parse_args()
    build(arguments.data / "imagenet_classes.tsv", arguments.out)


if __name__ == "__main__":
    main()
