"""Encoders by their names."""

from __future__ import annotations

from functools import partial

import pytest
from llama_index.core.embeddings import MockEmbedding

from llama_index_mmrag.embeddings import (
    BatchedClipEmbedding,
    ConseEmbedding,
    OfflineFeaturesEmbedding,
    OfflineMultiModalEmbedding,
    OfflineTextEmbedding,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.embeddings.named import encoder_named
from llama_index_mmrag.errors import InvalidSetting, MissingExtra

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("clip", "ViT-B/32"),
        ("clip:RN50", "RN50"),
        ("clip:openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("clip:ViT-B-32:laion2b_s34b_b79k", "ViT-B-32:laion2b_s34b_b79k"),
    ],
)
def test_clip_models_are_named(given, name):
    model = encoder_named(given, "embed_model")
    assert isinstance(model, BatchedClipEmbedding)
    assert model.model_name == name


def test_folder_is_a_clip_model(tmp_path):
    assert encoder_named(str(tmp_path), "embed_model").model_name == str(tmp_path)


def test_offline_encoder_is_named_and_an_encoder_is_itself():
    assert isinstance(encoder_named("offline", "x"), OfflineMultiModalEmbedding)
    given = MockEmbedding(embed_dim=3)
    assert encoder_named(given, "x") is given


@pytest.mark.parametrize("given", ["", "ViT-B/32", "openai", None, 7, MockEmbedding])
def test_what_names_no_encoder_is_refused(given):
    with pytest.raises(InvalidSetting, match=r"image_embed_model is .*'clip:ViT-B/32'"):
        encoder_named(given, "image_embed_model")


def test_what_llama_index_resolves_is_resolved(monkeypatch):
    with pytest.raises(MissingExtra, match="llama-index-embeddings-huggingface"):
        encoder_named("local:BAAI/bge-small-en", "embed_model")
    monkeypatch.setenv("IS_TESTING", "1")  # LlamaIndex's word: no client is built
    assert encoder_named("default", "embed_model").embed_dim == 8


@pytest.mark.parametrize(
    ("kind", "given", "nearest"),
    [
        (OfflineMultiModalEmbedding, "head_wieght", "head_weight"),
        (OfflineTextEmbedding, "max_token", "max_tokens"),
        (OfflineFeaturesEmbedding, "num_thread", "num_threads"),
        (BatchedClipEmbedding, "model_nam", "model_name"),
        (ColourEncoder, "modality_gpa", "modality_gap"),
        (
            partial(ConseEmbedding, ColourEncoder()),
            "embed_batchsize",
            "embed_batch_size",
        ),
    ],
)
def test_misspelt_setting_is_answered_with_the_nearest(kind, given, nearest):
    with pytest.raises(InvalidSetting, match=f"takes no '{given}'. Use {nearest}."):
        kind(**{given: 1})
    with pytest.raises(InvalidSetting, match=f"takes no '{given}'. Use {nearest}."):
        setattr(kind(), given, 1)
