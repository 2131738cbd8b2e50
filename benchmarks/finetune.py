"""Fine-tuning of a tiny CLIP: 64 pairs by heart, seconds a step, bits after a kill.

The model has random weights and the pictures are painted, so that this says whether
training works, not how good a fine-tuned model is. Run from the repository's root:

    python benchmarks/finetune.py
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from page import first_line, header, last_line, parser, table, write

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
TINY = TESTS / "support" / "tiny_models.py"
KILLED = TESTS / "alignment" / "finetuning" / "killed.py"
sys.path.insert(0, str(TESTS))

from support.tiny_models import make_torchvision_importable, write_model, write_pairs  # noqa: E402

kept_alive = make_torchvision_importable()

from llama_index_mmrag.alignment.finetuning import (  # noqa: E402
    Captioner,
    FinetuneSettings,
    finetune,
)
from llama_index_mmrag.alignment.finetuning.gradients import (  # noqa: E402
    accumulate_gradients,
)
from llama_index_mmrag.alignment.finetuning.joint import Batch, JointModel  # noqa: E402
from llama_index_mmrag.alignment.finetuning.trained_weights import (  # noqa: E402
    new_optimizer,
)
from llama_index_mmrag.embeddings.clip_transformers import (  # noqa: E402
    TransformersClip,
    load_parts,
)
from llama_index_mmrag.nodes.images import load_image  # noqa: E402

RATES = {"lora": 2e-3, "last_blocks": 1e-3, "full": 7e-4}
SHOWN = (0, 1, 2, 4, 8, 16, 32)


def curve(
    base: str, pairs: list[tuple[str, str]], method: str, out: Path
) -> dict[str, Any]:
    """Return recall and losses while 64 pairs are learned by heart."""
    report = finetune(
        base,
        pairs,
        out=out,
        settings=FinetuneSettings(
            method=method,  # type: ignore[arg-type]
            learning_rate=RATES[method],
            head_learning_rate=3e-3,
            lora_dropout=0.0,
            epochs=32,
            batch_size=16,
            held_out=0.0,
            patience=32,
            head_width=64,
            head_layers=1,
        ),
        show_progress=False,
    )
    written = Captioner.load(out).captions([image for image, _ in pairs])
    return {
        "method": method,
        "n_weights": report.n_weights,
        "captions_right": sum(
            caption == text for caption, (_, text) in zip(written, pairs, strict=True)
        ),
        "epochs": [
            {
                "epoch": epoch.epoch,
                "text_to_image": epoch.text_to_image,
                "image_to_text": epoch.image_to_text,
                "contrastive": epoch.losses.get("contrastive"),
                "captioning": epoch.captioning_loss,
            }
            for epoch in report.history
        ],
    }


def seconds_a_step(
    base: str, pairs: list[tuple[str, str]], method: str, micro: int | None
) -> dict[str, Any]:
    """Return the median of 20 steps of 32 pairs, after 3 that are not counted."""
    settings = FinetuneSettings(method=method, head_width=64)  # type: ignore[arg-type]
    clip = TransformersClip(
        *load_parts(base, needed_for="the benchmark"), dtype=torch.float32
    )
    model = JointModel(clip, settings)
    model.train(learns=True)
    weights = model.trained()
    optimizer = new_optimizer(weights, settings)
    batch = Batch(
        [clip.pixels(load_image(image)) for image, _ in pairs[:32]],
        clip.token_ids([text for _, text in pairs[:32]]),
        np.arange(32),
    )
    seconds = []
    for step in range(23):
        began = time.perf_counter()
        optimizer.zero_grad()
        accumulate_gradients(model, batch, micro_batch_size=micro, seed=step)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return {
        "method": method,
        "micro_batch_size": micro or 32,
        "n_weights": sum(weight.numel() for weight in weights.values()),
        "milliseconds": 1000 * median(seconds[3:]),
    }


def bits_after_a_kill(
    base: str, pairs: list[tuple[str, str]], folder: Path
) -> dict[str, Any]:
    """Return the files' SHA-256 without and with a SIGKILL between two steps."""
    settings: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "micro_batch_size": 8,
        "lora_dropout": 0.3,
        "augment": True,
        "checkpoint_steps": 1,
        "head_width": 64,
        "learning_rate": 2e-3,
    }
    known = FinetuneSettings(**settings)
    arguments = folder / "arguments.json"
    out = folder / "killed"
    given = {"kill": "between steps", "model": base, "pairs": pairs, "out": str(out)}
    arguments.write_text(json.dumps({**given, "settings": settings}))
    killed = subprocess.run(
        [sys.executable, TINY, KILLED, arguments],
        check=False,
        capture_output=True,
    )
    runs = {
        name: finetune(
            base, pairs, out=folder / name, settings=known, num_threads=2,
            show_progress=False,
        ).folder
        for name in ("in peace", "killed")
    }  # fmt: skip
    shas = {
        name: {
            file: hashlib.sha256((place / file).read_bytes()).hexdigest()
            for file in ("model.safetensors", "captioner.safetensors")
        }
        for name, place in runs.items()
    }
    return {
        "killed_by": signal.Signals(-killed.returncode).name,
        "sha256": shas,
        "same": shas["in peace"] == shas["killed"],
    }


def markdown(report: dict[str, Any]) -> list[str]:
    """Return the report as the lines of a page."""
    methods = [row["method"] for row in report["curves"]]
    rows: list[list[object]] = []
    for epoch in SHOWN:
        epochs = [row["epochs"][epoch] for row in report["curves"]]
        cells = [
            f"{one['text_to_image']:.3f} / {one['image_to_text']:.3f}, "
            f"{one['captioning']:.2f}"
            for one in epochs
        ]
        rows.append([epoch, *cells])
    counts = [f"{row['captions_right']} of 64" for row in report["curves"]]
    kill = report["kill"]
    found = "the same bits" if kill["same"] else "OTHER BITS"
    return [
        "# Fine-tuning a tiny CLIP",
        "",
        f"{first_line(report)}; 1 thread.",
        "",
        "Two blocks of width 64 in each tower, random weights; 64 painted pictures "
        "with two words each. It shows that training works, not how good a fine-tuned "
        "model is.",
        "",
        "## 64 pairs by heart",
        "",
        "Recall@1 on the pairs that were learned, text to image / image to text, and "
        "the captions' loss in nats a token.",
        "",
        *table(["epoch", *methods], [*rows, ["captions right", *counts]]),
        "",
        "## A step of 32 pairs",
        "",
        "Median of 20. Parts are encoded twice, for the gradient of the whole batch. A "
        "model as small as this one spends its time between operations, and other "
        "programs ran: no guide to real models.",
        "",
        *table(
            ["trained", "numbers that learn", "pairs at once", "ms"],
            (
                [
                    row["method"],
                    f"{row['n_weights']:,}",
                    row["micro_batch_size"],
                    f"{row['milliseconds']:.0f}",
                ]
                for row in report["steps"]
            ),
        ),
        "",
        "## After a kill",
        "",
        f"LoRA with dropout, augmentation and parts; {kill['killed_by']} between two "
        f"steps of the second epoch, then run again: {found} as without "
        f"(model {kill['sha256']['killed']['model.safetensors'][:16]}…).",
        "",
        last_line(report),
    ]


def main() -> None:
    """Measure and write the results."""
    parser(__doc__).parse_args()
    torch.set_num_threads(1)
    begun = header("llama-index-mmrag", "torch", "transformers", "peft")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pairs").mkdir()
        base, pairs = write_model(folder / "base"), write_pairs(folder / "pairs")
        curves = [curve(base, pairs, method, folder / method) for method in RATES]
        steps = [
            seconds_a_step(base, pairs, method, micro)
            for method in RATES
            for micro in (None, 8)
        ]
        kill = bits_after_a_kill(base, pairs, folder)
    report = {**begun, "curves": curves, "steps": steps, "kill": kill}
    print(write("finetune", report, markdown(report)))


if __name__ == "__main__":
    main()
