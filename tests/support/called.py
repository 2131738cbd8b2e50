"""Calls of public functions with arguments that they take, for `test_arguments.py`.

Those of encoders, alignment and LlamaIndex components; the others stand there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from llama_index.core.embeddings import MultiModalEmbedding
from PIL import Image
from qdrant_client import QdrantClient

import llama_index_mmrag as mmrag
from llama_index_mmrag import alignment, embeddings
from llama_index_mmrag.alignment.finetuning import FinetuneSettings
from llama_index_mmrag.embeddings import Bm25Encoder
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores.rescoring import RescoringVectorStore

Given = Callable[[SimpleNamespace], "tuple[Callable[..., Any], dict[str, Any]]"]


def of(owner: str, method: str, **given: Any) -> Given:
    """Return the call of a method of something in the world."""

    def made(w: SimpleNamespace) -> tuple[Callable[..., Any], dict[str, Any]]:
        return getattr(getattr(w, owner), method), _found(w, given)

    return made


def new(made: Callable[..., Any], **given: Any) -> Given:
    """Return the call of a class or function; what is callable gets the world."""
    return lambda w: (made, _found(w, given))


def _found(w: SimpleNamespace, given: dict[str, Any]) -> dict[str, Any]:
    return {k: v(w) if callable(v) else v for k, v in given.items()}


ENCODER = ColourEncoder()
ROWS = np.random.default_rng(7).standard_normal((24, 4)).astype(np.float32)
GROUPS = np.arange(24) // 2
MASK = np.arange(24) % 2 == 0
PAIRS = alignment.Pairs.of(ROWS, ROWS, GROUPS)
ENCODED = alignment.EncodedPairs(ROWS, ROWS, GROUPS, np.arange(24))
QUICK = alignment.TrainSettings(epochs=1, batch_size=8)
LINEAR = alignment.Project(np.eye(4, dtype=np.float32), np.zeros(4))
FITTED = alignment.Alignment(
    text=LINEAR, image=LINEAR, fitted_on="a", text_space="b", image_space="c"
)
PARTS = alignment.PictureParts(plain=alignment.Chain(), features=alignment.Chain())
MEAN = alignment.RunningMean().updated(ROWS)


def encoder(_: SimpleNamespace) -> MultiModalEmbedding:
    return ENCODER


def pairs_file(w: SimpleNamespace) -> Path:
    file = Path(w.place, "pairs.jsonl")
    file.write_text(f'{{"image": "{w.picture}", "text": "a"}}\n')
    return file


def saved(w: SimpleNamespace) -> Path:
    file = Path(w.place, "saved.npz")
    FITTED.save(file)
    return file


TRANSFORMED = mmrag.TransformedEmbedding(ENCODER)
WORDS = Bm25Encoder()

ALIGNMENT: dict[str, Given] = {
    "PictureParts": new(
        alignment.PictureParts, plain=None, features=lambda _: alignment.Chain()
    ),
    "PictureParts.of": new(
        alignment.PictureParts.of, encoder=encoder, text_dim=4, image_dim=4
    ),
    **{
        made.__name__: new(made)
        for made in (
            *(alignment.Fit, alignment.AutoencoderSettings, alignment.Normalize),
            *(alignment.Chain, alignment.Head, alignment.RunningMean),
            *(alignment.TrainSettings, FinetuneSettings),
        )
    },
    "align": new(
        alignment.align,
        encoded=ENCODED,
        parts=PARTS,
        fit=alignment.Fit(settings=QUICK),
    ),
    "Alignment": new(
        alignment.Alignment,
        text=LINEAR,
        image=LINEAR,
        fitted_on="a",
        text_space="b",
        image_space="c",
    ),
    "Alignment.save": new(FITTED.save, path=lambda w: Path(w.place, "other.npz")),
    "Alignment.load": new(alignment.Alignment.load, path=saved),
    "Alignment.check_encoders": new(
        FITTED.check_encoders, text_space="b", image_space="c"
    ),
    "fit_autoencoder": new(
        alignment.fit_autoencoder,
        vectors=ROWS,
        dim=2,
        settings=alignment.AutoencoderSettings(epochs=1),
    ),
    "Center": new(alignment.Center, mean=[1.0]),
    "Project": new(alignment.Project, weight=[[1.0]], bias=[0.0]),
    "Perceptron": new(
        alignment.Perceptron,
        hidden_weight=[[1.0]],
        hidden_bias=[0.0],
        weight=[[1.0]],
        bias=[0.0],
    ),
    "PCA": new(alignment.PCA, mean=[1.0], components=[[1.0]]),
    "Transform.apply": new(LINEAR.apply, vectors=ROWS),
    "Columns": new(alignment.Columns, start=0, stop=1),
    "Truncate": new(alignment.Truncate, dim=1),
    "Mix": new(alignment.Mix, parts=[LINEAR], weights=[1.0]),
    "diagnose": new(alignment.diagnose, texts=ROWS, images=ROWS),
    "EncodedPairs.where": new(ENCODED.where, rows=MASK),
    "encode_pairs": new(
        alignment.encode_pairs,
        read=lambda w: alignment.read_pairs(pairs_file(w)),
        encoder=encoder,
    ),
    "fit_center": new(alignment.fit_center, vectors=ROWS),
    "fit_pca": new(alignment.fit_pca, vectors=ROWS, n_components=2),
    "fit_pca_randomised": new(
        alignment.fit_pca_randomised, vectors=ROWS, n_components=2
    ),
    "fit_directions": new(alignment.fit_directions, vectors=ROWS, n_components=2),
    "fit_ridge": new(alignment.fit_ridge, inputs=ROWS, targets=ROWS),
    "fit_procrustes": new(alignment.fit_procrustes, inputs=ROWS, targets=ROWS),
    "found_both_ways": new(
        alignment.found_both_ways,
        texts=ROWS,
        images=ROWS,
        groups=GROUPS,
        pictures=np.arange(24),
    ),
    "read_pairs": new(alignment.read_pairs, path=pairs_file),
    "Pairs": new(alignment.Pairs, texts=ROWS, images=ROWS, groups=GROUPS),
    "Pairs.of": new(alignment.Pairs.of, texts=ROWS, images=ROWS),
    "Pairs.where": new(PAIRS.where, rows=MASK),
    "Pairs.split": new(PAIRS.split, held_out=0.5, seed=0),
    "RunningMean.updated": new(MEAN.updated, vectors=ROWS),
    "RunningMean.merged": new(MEAN.merged, other=MEAN),
    "train_heads": new(
        alignment.train_heads, pairs=PAIRS, settings=QUICK, show_progress=False
    ),
}

COMPONENTS: dict[str, Given] = {
    "BatchedClipEmbedding": new(mmrag.BatchedClipEmbedding),
    "ConseEmbedding": new(mmrag.ConseEmbedding, text_encoder=encoder),
    "CaptionsAsText": new(mmrag.CaptionsAsText),
    "OfflineTextEmbedding": new(mmrag.OfflineTextEmbedding),
    "OfflineMultiModalEmbedding": new(mmrag.OfflineMultiModalEmbedding),
    "OfflineFeaturesEmbedding": new(embeddings.OfflineFeaturesEmbedding),
    "QdrantEdgeVectorStore": new(
        mmrag.QdrantEdgeVectorStore, path=lambda w: w.place / "other", dim=4
    ),
    "RRFPostprocessor": new(mmrag.RRFPostprocessor),
    "TransformedEmbedding": new(mmrag.TransformedEmbedding, text_encoder=encoder),
    "RescoringVectorStore": new(
        RescoringVectorStore,
        collection_name="a",
        client=lambda _: QdrantClient(":memory:"),
    ),
}
"""LlamaIndex components: what is assigned to their fields later is checked too."""

ENCODERS: dict[str, Given] = {
    "TransformedEmbedding.from_alignment": new(
        mmrag.TransformedEmbedding.from_alignment,
        alignment=alignment.Alignment(
            text=LINEAR,
            image=LINEAR,
            fitted_on="a",
            text_space=ENCODER.space_id,
            image_space=ENCODER.space_id,
        ),
        text_encoder=encoder,
    ),
    "TransformedEmbedding.encode_texts": new(TRANSFORMED.encode_texts, texts=["a"]),
    "TransformedEmbedding.encode_images": new(
        TRANSFORMED.encode_images, pictures=[Image.new("RGB", (8, 8), "red")]
    ),
    "Bm25Encoder": new(Bm25Encoder),
    "Bm25Encoder.documents": new(WORDS.documents, texts=["a"]),
    "Bm25Encoder.queries": new(WORDS.queries, texts=["a"]),
    "Bm25Encoder.card": new(WORDS.card),
    "Bm25Encoder.check": new(WORDS.check, card=WORDS.card()),
}
