"""CLIP in batches through OpenAI's package: what ClipEmbedding gives, at unit length.

Checkpoints are tiny, random and real: they are saved to disk and loaded as any other.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.vectors import wide_unit_rows

from ..support.tiny_models import near

torch = pytest.importorskip("torch", reason="install extra 'clip'")

# torch: clip.load, which ClipEmbedding calls, first tries an archive of TorchScript.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

MIXED_LENGTHS = [
    "cat",
    "A recipe for soup with leeks, potatoes and cream, to be eaten on the day.",
    "Two words",
    "",
    "A rocket is launched at night over the sea, and people watch from the beach.",
    "cat",
]
LONG = "one two three four five " * 40


@pytest.fixture(scope="module")
def encoder(three_layers) -> BatchedClipEmbedding:
    return BatchedClipEmbedding(
        model_name=three_layers, picture_batch_size=3, text_batch_tokens=40
    )


@pytest.fixture(scope="module")
def reference(three_layers) -> Any:
    integration = pytest.importorskip("llama_index.embeddings.clip")
    return integration.ClipEmbedding(model_name=three_layers)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> list[str]:
    """Return 8 noisy pictures of many sizes and shapes, as files."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = []
    sizes = [(64, 64), (97, 64), (64, 131), (640, 480), (33, 47), (301, 200)]
    for i, (width, height) in enumerate([*sizes, (65, 64), (1, 9)]):
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        path = folder / f"{i}.{'jpg' if i % 2 else 'png'}"
        Image.fromarray(noise).save(path)
        paths.append(str(path))
    return paths


def test_text_vectors_are_those_of_clip_embedding_at_unit_length(encoder, reference):
    ours = encoder.get_text_embedding_batch(MIXED_LENGTHS)
    theirs = reference.get_text_embedding_batch(MIXED_LENGTHS)
    assert np.asarray(ours) == near(wide_unit_rows(theirs))


def test_picture_vectors_are_those_of_clip_embedding_at_unit_length(
    encoder, reference, photographs
):
    ours = encoder.get_image_embedding_batch(photographs)
    theirs = [reference.get_image_embedding(path) for path in photographs]
    assert np.asarray(ours) == near(wide_unit_rows(theirs))
    assert np.linalg.norm(ours, axis=1) == pytest.approx([1.0] * 8, abs=1e-6)


def test_pixels_are_those_of_openais_transform(encoder, reference):
    rng = np.random.default_rng(1)
    for _ in range(40):
        height, width = rng.integers(1, 300, 2)
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(noise)
        ours = encoder._loaded().pixels(picture)
        theirs = reference._preprocess(picture).numpy()
        assert ours.shape == theirs.shape == (3, 64, 64)
        assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("budget", [1, 9, 100_000])
def test_batch_equals_one_by_one_in_the_same_order(three_layers, encoder, budget):
    batched = BatchedClipEmbedding(model_name=three_layers, text_batch_tokens=budget)
    alone = [encoder.get_text_embedding(text) for text in MIXED_LENGTHS]
    together = np.asarray(batched.get_text_embedding_batch(MIXED_LENGTHS))
    assert together == near(alone)
    assert together[0] == pytest.approx(together[5], abs=1e-6)
    assert not np.allclose(together[0], together[2])


def test_pictures_in_batches_equal_pictures_alone_in_the_same_order(
    encoder, photographs
):
    alone = [encoder.get_image_embedding(path) for path in photographs]
    together = encoder.encode_images(photographs)
    assert together == near(alone)
    assert encoder.encode_images(photographs[::-1])[::-1] == near(together)


def test_vectors_do_not_depend_on_threads_and_torchs_threads_stay_as_they_are(
    three_layers, photographs
):
    before = torch.get_num_threads()
    one, five = (
        BatchedClipEmbedding(model_name=three_layers, num_threads=n) for n in (1, 5)
    )
    texts = [f"{text} {i}" for i in range(40) for text in MIXED_LENGTHS]
    assert five.encode_texts(texts) == near(one.encode_texts(texts))
    pictures = photographs * 3
    assert five.encode_images(pictures) == near(one.encode_images(pictures))
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(torch.get_num_threads).result() == before


def test_path_bytes_and_open_picture_have_the_same_vector(encoder, photographs):
    path = Path(photographs[0])
    rows = encoder.encode_images([path, path.read_bytes(), Image.open(path)])
    assert rows[1] == pytest.approx(rows[0], abs=1e-6)
    assert rows[2] == pytest.approx(rows[0], abs=1e-6)


def test_nothing_is_encoded_as_no_rows(encoder):
    assert encoder.encode_texts([]).shape == (0, 32)
    assert encoder.encode_images([]).shape == (0, 32)


def test_long_text_is_cut_at_77_tokens_and_counted(
    encoder, reference, clip_module, caplog
):
    with caplog.at_level(logging.WARNING):
        vectors = encoder.encode_texts(["short", LONG, "one two", LONG + "more"])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "2 of 4 texts were longer than the 77 tokens" in caplog.text
    tokens = clip_module.tokenize([LONG], truncate=True).to(reference._device)
    with torch.no_grad():
        cut = reference._model.encode_text(tokens)
    assert vectors[[1]] == near(wide_unit_rows(cut.cpu().numpy()))
    assert vectors[3] == pytest.approx(vectors[1], abs=1e-6)


def test_text_of_exactly_77_tokens_is_whole_and_not_counted(encoder, caplog):
    encoder.encode_texts(["cat " * 75])
    assert not caplog.records
    encoder.encode_texts(["cat " * 76])
    assert "1 of 1" in caplog.text


def test_bad_picture_among_good_ones_is_named(encoder, photographs, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(Path(photographs[3]).read_bytes()[:2000])
    missing = str(tmp_path / "missing.png")
    with pytest.raises(ImageUnreadable, match=r"broken\.jpg"):
        encoder.encode_images([*photographs, str(broken), *photographs, missing])
    with pytest.raises(ImageUnreadable, match=r"missing\.png"):
        encoder.get_image_embedding(missing)
    # The encoder is as good as before.
    assert len(encoder.encode_images(photographs)) == 8


async def test_async_equals_sync(encoder, photographs):
    texts = await encoder.aget_text_embedding_batch(MIXED_LENGTHS)
    assert np.asarray(texts) == near(encoder.encode_texts(MIXED_LENGTHS))
    pictures = await encoder.aget_image_embedding_batch(photographs)
    assert np.asarray(pictures) == near(encoder.encode_images(photographs))
    awaited = await encoder.aget_query_embedding("cat")
    assert awaited == pytest.approx(encoder.get_query_embedding("cat"), abs=1e-6)


async def test_event_loop_runs_on_while_the_model_computes(encoder):
    encoder.encode_texts(["warm"])
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    start = time.perf_counter()
    await encoder._aget_text_embeddings([f"{LONG} {i}" for i in range(60)])
    took_s = time.perf_counter() - start
    ticking.cancel()
    # Encoding in the loop itself would leave it one or two; the machine may be busy.
    assert ticks > max(3, 20 * took_s)


def test_wrapped_clip_embedding_shares_its_model_and_leaves_it_as_it_was(
    reference, encoder, photographs
):
    before = reference.get_text_embedding("cat")
    wrapped = BatchedClipEmbedding.from_clip_embedding(reference, picture_batch_size=2)
    assert wrapped._loaded().model is reference._model
    assert wrapped.encode_images(photographs) == near(
        encoder.encode_images(photographs)
    )
    assert wrapped.encode_texts(MIXED_LENGTHS) == near(
        encoder.encode_texts(MIXED_LENGTHS)
    )
    assert wrapped.space_id == encoder.space_id
    assert reference.get_text_embedding("cat") == before


def test_what_would_change_a_shared_model_is_refused(reference):
    with pytest.raises(InvalidSetting, match="dtype cannot be set"):
        BatchedClipEmbedding.from_clip_embedding(reference, dtype="bfloat16")
    with pytest.raises(InvalidSetting, match="expected a ClipEmbedding"):
        BatchedClipEmbedding.from_clip_embedding(BatchedClipEmbedding())


def test_resnet_clip_is_encoded_too(tmp_path, clip_module, photographs):
    model = clip_module.model.CLIP(16, 64, (1, 1, 1, 1), 16, None, 77, 49408, 64, 1, 1)
    torch.save(model.state_dict(), tmp_path / "resnet.pt")
    integration = pytest.importorskip("llama_index.embeddings.clip")
    reference = integration.ClipEmbedding(model_name=str(tmp_path / "resnet.pt"))
    wrapped = BatchedClipEmbedding.from_clip_embedding(reference)
    assert wrapped.dimension == 16
    theirs = [reference.get_image_embedding(path) for path in photographs]
    assert wrapped.encode_images(photographs) == near(wide_unit_rows(theirs))


def test_settings_survive_a_round_trip_and_so_do_vectors(encoder):
    stored = encoder.to_dict()
    assert stored["class_name"] == "BatchedClipEmbedding"
    again = BatchedClipEmbedding.from_dict(stored)
    assert again.to_dict() == stored
    assert again._towers is None
    assert again.get_text_embedding("cat") == encoder.get_text_embedding("cat")
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy._towers is None
    assert copy.get_text_embedding("cat") == encoder.get_text_embedding("cat")
    assert encoder._towers is not None


def test_space_is_the_weights_not_their_file(
    encoder, three_layers, clip_checkpoint, tmp_path
):
    copied = tmp_path / "renamed.pt"
    copied.write_bytes(Path(three_layers).read_bytes())
    assert BatchedClipEmbedding(model_name=str(copied)).space_id == encoder.space_id
    tiny = BatchedClipEmbedding(model_name=clip_checkpoint)
    assert tiny.dimension == 4
    assert tiny.space_id != encoder.space_id


def test_model_is_loaded_once_at_first_use_by_many_threads(clip_checkpoint):
    encoder = BatchedClipEmbedding(model_name=clip_checkpoint)
    assert encoder._towers is None
    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(lambda _: encoder._loaded(), range(8)))
    assert len({id(towers) for towers in loaded}) == 1


def test_constructor_reads_nothing(tmp_path):
    encoder = BatchedClipEmbedding(model_name=str(tmp_path / "missing.pt"))
    assert encoder.to_dict()["model_name"].endswith("missing.pt")


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint at all", torch.zeros(3), {"w": torch.zeros(3)}]
)
def test_file_that_holds_no_clip_is_refused(tmp_path, clip_module, content):
    path = tmp_path / "other.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    encoder = BatchedClipEmbedding(model_name=str(path))
    with pytest.raises(CheckpointUnusable, match=r"other\.pt.*Expected a state dict"):
        encoder.get_text_embedding("cat")


def test_unknown_name_and_unknown_device_are_refused(clip_module, clip_checkpoint):
    with pytest.raises(CheckpointUnusable, match=r"'ViT-Z/99'.*ViT-B/32"):
        _ = BatchedClipEmbedding(model_name="ViT-Z/99").dimension
    with pytest.raises(InvalidSetting, match="'abacus' cannot be used"):
        _ = BatchedClipEmbedding(model_name=clip_checkpoint, device="abacus").dimension


def test_file_that_only_names_torchscript_is_not_unpickled(
    tmp_path, clip_module, monkeypatch
):
    loads: list[dict[str, Any]] = []
    load = torch.load

    def recorded(*arguments: Any, **options: Any) -> Any:
        loads.append(options)
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", recorded)
    path = tmp_path / "crafted.pt"
    path.write_bytes(b"cTorchScript\nevil\n.")  # what torch's refusal then quotes
    with pytest.raises(CheckpointUnusable, match=r"crafted\.pt"):
        BatchedClipEmbedding(model_name=str(path)).get_text_embedding("cat")
    # Old torch runs what a pickle says unless it is told not to.
    assert [options.get("weights_only") for options in loads] == [True]


def test_archive_of_torchscript_is_read_as_openais_are(three_layers, encoder, tmp_path):
    class Weights(torch.nn.Module):
        """Parameters by OpenAI's names."""

    archive = Weights()
    for name, value in torch.load(three_layers, weights_only=True).items():
        *parents, last = name.split(".")
        place: Any = archive
        for part in parents:
            if not hasattr(place, part):
                place.add_module(part, Weights())
            place = getattr(place, part)
        place.register_buffer(last, value)
    path = tmp_path / "archive.pt"
    torch.jit.script(archive).save(str(path))
    read = BatchedClipEmbedding(model_name=str(path))
    assert read.space_id == encoder.space_id
    assert read.get_text_embedding("cat") == encoder.get_text_embedding("cat")
