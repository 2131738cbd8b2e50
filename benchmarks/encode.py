"""Pictures and texts a second: BatchedClipEmbedding beside LlamaIndex's ClipEmbedding.

Two models with random weights, saved to disk and loaded by both: a tiny one, and one of
ViT-B/32's size. Contenders take turns in one process, round by round, so that a busy
machine slows them all: read the ratios, which are medians of each round's own. Each
round also measures a large matrix product, the limit of what the machine could do.
From the repository's root:

    python benchmarks/encode.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from llama_index_mmrag.embeddings import BatchedClipEmbedding

RESULTS = Path(__file__).parent / "results"
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


def import_clip() -> Any:
    """Return OpenAI's clip, beside a torch without CUDA too (see tests/conftest.py)."""
    operators = torch.library.Library("torchvision", "DEF")
    with contextlib.suppress(RuntimeError):
        operators.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import clip

    clip.kept_alive = operators
    return clip


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
    clip: Any,
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


def as_markdown(report: dict[str, Any]) -> str:
    counts = sorted({row["n_rounds"] for row in report["rows"]})
    rounds = " or ".join(map(str, counts))
    lines = [
        "# CLIP in batches, beside LlamaIndex's ClipEmbedding",
        "",
        f"{report['date']}, {report['machine']}; `{report['command']}`; "
        f"{report['took_s']:.0f} s; load average before: {report['load_before']:.1f}.",
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
        "| model | input | contender | a second | ratio | of best | cosine "
        "| GFLOP each | limit GFLOP/s | share |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['model']} | {r['input']} | {r['contender']} | {r['per_second']:.1f} "
        f"| {r['ratio']:.2f} ({r['ratio_min']:.2f} to {r['ratio_max']:.2f}) "
        f"| {r['ratio_of_best']:.2f} | {r['min_cosine']:.6f} "
        f"| {r['gflop_each']:.3f} | {r['limit_gflops']:.0f} "
        f"| {r['share_of_limit']:.1%} |"
        for r in report["rows"]
    ]
    versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items())
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget-s", type=float, default=110, help="for each model")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # pkg_resources, torch.jit.load: not ours
    clip = import_clip()
    rng = np.random.default_rng(args.seed)
    load = os.getloadavg()[0]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder), args.pictures, rng)
        texts = write_texts(args.texts, rng)
        rows = [
            row
            for name in MODELS
            for row in measure(
                name,
                clip,
                pictures,
                texts,
                n_rounds=args.rounds,
                budget_s=args.budget_s,
            )
        ]
    report = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, {platform.system()}",
        "command": "python benchmarks/encode.py",
        "load_before": load,
        "took_s": time.perf_counter() - start,
        "n_pictures": args.pictures,
        "n_texts": args.texts,
        "versions": {name: version(name) for name in PACKAGES},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "encode.json").write_text(json.dumps(report, indent=2) + "\n")
    (RESULTS / "encode.md").write_text(as_markdown(report))
    print(as_markdown(report))


if __name__ == "__main__":
    main()
