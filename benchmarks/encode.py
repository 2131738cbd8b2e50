"""Pictures and texts a second: BatchedClipEmbedding beside LlamaIndex's ClipEmbedding.

Two models with random weights, saved to disk and loaded by both: a tiny one, and one of
ViT-B/32's size. Contenders take turns in one process, round by round, so that a busy
machine slows them all: read the ratios, which are medians of each round's own. Each
round also measures a large matrix product, the limit of what the machine could do.
From the repository's root:

    python benchmarks/encode.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from page import first_line, header, last_line, parser, table, write
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from llama_index_mmrag.embeddings import BatchedClipEmbedding

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.tiny_models import make_torchvision_importable  # noqa: E402

kept_alive = make_torchvision_importable()

import clip  # noqa: E402

PACKAGES = ["llama-index-embeddings-clip", "clip-anytorch", "torch", "pillow"]
PICTURE_SIZE = (640, 480)
SIDE = 2048
"""Of the matrices whose product is the limit."""

MODELS = {
    # embed, side, layers, width, patch, context, vocabulary, text width, heads, layers
    "tiny": (64, 64, 2, 64, 16, 77, 49408, 64, 1, 2),
    "ViT-B/32-sized": (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12),
}
CAPTION = (
    "the dog and a cat in front of green water on large white grass with red ball "
    "blue table woman holding small bread near train station man jumping over snow"
)
"""Whose words make up the texts."""


def write_pictures(folder: Path, n: int, rng: np.random.Generator) -> list[str]:
    """Return paths of n JPEGs with the edges, noise and file size of a photograph."""
    paths = []
    for i in range(n):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(PICTURE_SIZE, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 8, (*PICTURE_SIZE[::-1], 3))
        noisy = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
        path = folder / f"{i}.jpg"
        Image.fromarray(noisy).save(path, quality=90)
        paths.append(str(path))
    return paths


def write_texts(n: int, rng: np.random.Generator) -> list[str]:
    """Return n texts of 5 to 20 words, as captions have."""
    return [
        " ".join(rng.choice(CAPTION.split(), rng.integers(5, 21))) for _ in range(n)
    ]


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def gflops_a_second(dtype: torch.dtype) -> float:
    """Return what a product of large matrices reaches now: the best of 5."""
    one, other = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    best = min(seconds(lambda: one @ other) for _ in range(5))
    return 2 * SIDE**3 / best / 1e9


def gflops_of(function: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def unit(vectors: Any) -> NDArray[np.float64]:
    rows = np.asarray(vectors, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measure(
    name: str,
    pictures: list[str],
    texts: list[str],
    *,
    n_rounds: int,
    budget_s: float,
) -> list[dict[str, Any]]:
    """Return one row for each contender and kind of input.

    On a busy machine there are fewer rounds than `n_rounds`, but at least 3.
    """
    from llama_index.embeddings.clip import ClipEmbedding

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.pt"
        torch.save(clip.model.CLIP(*MODELS[name]).state_dict(), path)
        contenders = {
            "ClipEmbedding": ClipEmbedding(model_name=path, embed_batch_size=128),
            "batched, float32": BatchedClipEmbedding(model_name=path),
            "batched, bfloat16": BatchedClipEmbedding(
                model_name=path, dtype="bfloat16"
            ),
        }
        for contender in contenders.values():
            contender.get_text_embedding("warm")  # loads the model
    vectors: dict[tuple[str, str], Any] = {}
    times: dict[tuple[str, str], list[float]] = {}
    limits: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    inputs = {"pictures": pictures, "texts": texts}

    begun = time.perf_counter()
    for turn in range(n_rounds + 1):
        if turn > 3 and time.perf_counter() - begun > budget_s:
            break
        for dtype, reached in limits.items():
            reached.append(gflops_a_second(getattr(torch, dtype)))
        # Every other round in reverse, so that nobody always comes after the same.
        order = list(contenders) if turn % 2 else list(contenders)[::-1]
        for label in order:
            for kind, items in inputs.items():
                encode = (
                    contenders[label].get_image_embedding_batch
                    if kind == "pictures"
                    else contenders[label].get_text_embedding_batch
                )
                start = time.perf_counter()
                vectors[label, kind] = encode(items)
                took = time.perf_counter() - start
                if turn:  # the first round warms up
                    times.setdefault((label, kind), []).append(took)

    needed = work_of(contenders["batched, float32"], inputs)
    rows = []
    for (label, kind), took in sorted(times.items(), key=lambda item: item[0][1]):
        theirs = times["ClipEmbedding", kind]
        ratios = sorted(a / b for a, b in zip(theirs, took, strict=True))
        limit = statistics.median(
            limits["bfloat16" if label.endswith("bfloat16") else "float32"]
        )
        cosines = (
            unit(vectors[label, kind]) * unit(vectors["ClipEmbedding", kind])
        ).sum(axis=1)
        n = len(inputs[kind])
        median_s = statistics.median(took)
        rows.append(
            {
                "model": name,
                "input": kind,
                "contender": label,
                "n_rounds": len(took),
                "per_second": n / median_s,
                "ratio": statistics.median(ratios),
                "ratio_of_best": min(theirs) / min(took),
                "ratio_min": ratios[0],
                "ratio_max": ratios[-1],
                "min_cosine": float(cosines.min()),
                "gflop_each": needed[kind] / n,
                "limit_gflops": limit,
                "share_of_limit": needed[kind] / median_s / limit,
            }
        )
    return rows


def work_of(
    encoder: BatchedClipEmbedding, inputs: dict[str, Sequence[str]]
) -> dict[str, float]:
    """Return the GFLOP that the model itself needs for all pictures, and all texts."""
    towers = encoder._loaded()
    pixels = towers.pixels(Image.new("RGB", PICTURE_SIZE))[None]
    # Without padding: each text on its own length.
    rows = towers.token_ids(inputs["texts"])
    return {
        "pictures": gflops_of(lambda: towers.picture_vectors(pixels))
        * len(inputs["pictures"]),
        "texts": sum(gflops_of(lambda r=r: towers.text_vectors([r])) for r in rows),
    }


def markdown(report: dict[str, Any]) -> list[str]:
    """Return the report as the lines of a page."""
    counts = sorted({row["n_rounds"] for row in report["rows"]})
    rounds = " or ".join(map(str, counts))
    head = ["model", "input", "contender", "a second", "ratio", "of best", "cosine"]
    rows = (
        [
            r["model"],
            r["input"],
            r["contender"],
            f"{r['per_second']:.1f}",
            f"{r['ratio']:.2f} ({r['ratio_min']:.2f} to {r['ratio_max']:.2f})",
            f"{r['ratio_of_best']:.2f}",
            f"{r['min_cosine']:.6f}",
            f"{r['gflop_each']:.3f}",
            f"{r['limit_gflops']:.0f}",
            f"{r['share_of_limit']:.1%}",
        ]
        for r in report["rows"]
    )
    return [
        "# CLIP in batches, beside LlamaIndex's ClipEmbedding",
        "",
        f"{first_line(report)}; {report['took_s']:.0f} s; {report['torch']}.",
        "",
        f"{report['n_pictures']} JPEG files of {PICTURE_SIZE[0]} x {PICTURE_SIZE[1]} "
        f"and {report['n_texts']} captions of 5 to 20 words, {rounds} "
        f"rounds in turn. Speed is the median; *ratio* is the median (and range) of "
        f"each round's time of `ClipEmbedding` over the contender's, *of best* that of "
        f"their best rounds, which a busy machine disturbs least; *cosine* is the "
        f"smallest to `ClipEmbedding`'s vector of the same input. *Limit* is what a "
        f"{SIDE} x {SIDE} matrix product reached in the same rounds in the contender's "
        f"precision; *share* is the model's work on unpadded input, from file to "
        f"vector, against it.",
        "",
        *table([*head, "GFLOP each", "limit GFLOP/s", "share"], rows),
        "",
        last_line(report),
    ]


def main() -> None:
    asked = parser(__doc__, "seed")
    asked.add_argument("--rounds", type=int, default=9)
    asked.add_argument("--budget-s", type=float, default=110, help="for each model")
    asked.add_argument("--pictures", type=int, default=24)
    asked.add_argument("--texts", type=int, default=24)
    args = asked.parse_args()
    warnings.simplefilter("ignore")  # torch.jit.load: not ours
    rng = np.random.default_rng(args.seed)
    begun = header(*PACKAGES)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder), args.pictures, rng)
        texts = write_texts(args.texts, rng)
        rows = [
            row
            for name in MODELS
            for row in measure(
                name,
                pictures,
                texts,
                n_rounds=args.rounds,
                budget_s=args.budget_s,
            )
        ]
    report = {
        **begun,
        "torch": f"{torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}",
        "took_s": time.perf_counter() - start,
        "n_pictures": args.pictures,
        "n_texts": args.texts,
        "rows": rows,
    }
    print(write("encode", report, markdown(report)))


if __name__ == "__main__":
    main()
