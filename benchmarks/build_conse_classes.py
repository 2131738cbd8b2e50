"""Build conse_classes.npz: the text vectors of the 1,000 ImageNet classes, centred.

A class's vector is the normalised sum of three MiniLM vectors: its name, "a photo of
a" name, and its WordNet definition. Run from the repository's root:

    python benchmarks/build_conse_classes.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from llama_index_mmrag.embeddings import OfflineTextEmbedding
from llama_index_mmrag.embeddings.conse import centred_classes
from llama_index_mmrag.embeddings.picture_tower import class_wordings

PACKAGED = Path(__file__).parents[1] / "llama_index_mmrag" / "embeddings" / "data"


def build(target: Path) -> None:
    """Write `class_emb`, float16 `(1000, 384)`, in the classifier's class order."""
    encode = OfflineTextEmbedding().encode_texts
    vectors, _ = centred_classes(*map(encode, class_wordings()))
    np.savez_compressed(target, class_emb=vectors.astype(np.float16))
    print(f"{len(vectors)} classes, {target.stat().st_size:,} bytes")


def main() -> None:
    """Write the packaged file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PACKAGED / "conse_classes.npz")
    build(parser.parse_args().out)


if __name__ == "__main__":
    main()
