"""64 pairs are learned by heart: recall@1 is 1 both ways, the captions are right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llama_index_mmrag import BatchedClipEmbedding
from llama_index_mmrag.alignment.finetuning import (
    Captioner,
    FinetuneReport,
    FinetuneSettings,
    finetune,
)
from llama_index_mmrag.embeddings.clip_transformers import TransformersClip, load_parts
from llama_index_mmrag.vectors import unit_rows

from ...support.tiny_models import near

RATES = {"lora": 2e-3, "last_blocks": 1e-3, "full": 7e-4}


@pytest.fixture(scope="module", params=list(RATES))
def overfitted(request, tiny_clip, pairs, tmp_path_factory) -> FinetuneReport:
    method = request.param
    return finetune(
        tiny_clip,
        pairs,
        out=tmp_path_factory.mktemp(method) / "out",
        settings=FinetuneSettings(
            method=method,
            learning_rate=RATES[method],
            head_learning_rate=3e-3,
            lora_dropout=0.0,
            epochs=32,
            batch_size=16,
            held_out=0.0,
            patience=32,
            head_width=64,
            head_layers=1,
        ),  # fmt: skip
        show_progress=False,
    )


@pytest.fixture
def card(overfitted) -> dict[str, Any]:
    return json.loads((overfitted.folder / "finetune.json").read_text())


@pytest.fixture(scope="module")
def encoder(overfitted) -> BatchedClipEmbedding:
    return BatchedClipEmbedding(model_name=str(overfitted.folder))


def test_64_pairs_find_each_other_both_ways(overfitted):
    assert overfitted.best.text_to_image == 1.0
    assert overfitted.best.image_to_text == 1.0
    assert overfitted.history[0].recall < 0.1
    assert overfitted.stopped == "finished"
    assert len(overfitted.history) == 33
    assert (overfitted.n_trained, overfitted.n_held_out) == (64, 0)


def test_written_model_is_loaded_like_any_and_finds_the_same(encoder, pairs):
    images = encoder.encode_images([image for image, _ in pairs])
    scores = encoder.encode_texts([text for _, text in pairs]) @ images.T
    assert scores.argmax(axis=0).tolist() == list(range(64))
    assert scores.argmax(axis=1).tolist() == list(range(64))


def test_its_space_is_not_the_base_models(encoder, card, tiny_clip):
    base = BatchedClipEmbedding(model_name=tiny_clip).space_id
    assert card["space"] == encoder.space_id != base
    assert card["origin"]["model"] == base.removesuffix(":unit")


def test_head_writes_the_text_of_each_picture(overfitted, pairs):
    captioner = Captioner.load(overfitted.folder)
    written = captioner.captions([image for image, _ in pairs])
    assert written == [text for _, text in pairs]
    first, last = overfitted.history[0], overfitted.history[-1]
    assert first.captioning_loss > 4.5  # about log(vocabulary)
    assert last.captioning_loss < 0.2


def test_card_says_what_was_done(overfitted, card, tiny_clip):
    assert card["base_model"] == tiny_clip
    assert card["origin"]["settings"]["epochs"] == 32
    assert len(card["origin"]["pairs"]) == 64
    assert card["report"]["best_epoch"] == overfitted.best_epoch
    assert card["report"]["n_weights"] == overfitted.n_weights
    assert card["report"]["history"][-1]["text_to_image"] == 1.0
    left = {path.name for path in overfitted.folder.iterdir()}
    assert "checkpoint.safetensors" not in left
    assert not [name for name in left if name.endswith((".partial", ".bin", ".pt"))]


# peft 0.21.2 asks transformers 5.23 by a name that goes with version 6.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapter_on_the_base_gives_the_merged_models_vectors(
    overfitted, encoder, card, tiny_clip, pairs
):
    adapter = overfitted.folder / "adapter"
    if card["origin"]["settings"]["method"] != "lora":
        assert not adapter.exists()
        return
    import peft
    import torch

    parts = load_parts(tiny_clip, needed_for="a test")
    peft.PeftModel.from_pretrained(parts.model, str(adapter)).eval()
    put_together = TransformersClip(*parts, dtype=torch.float32)
    texts = [text for _, text in pairs]
    rows = put_together.text_vectors(put_together.token_ids(texts))
    assert encoder.encode_texts(texts) == near(unit_rows(rows))
