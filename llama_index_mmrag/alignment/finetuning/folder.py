"""What a fine-tuning leaves: a model like any other, the head, and a card.

config.json, model.safetensors, tokenizer and image processor: `save_pretrained`
captioner.safetensors: the captioning head, where that was a task
adapter/: the low-rank additions alone, where they were trained
finetune.json: the card, written last
checkpoint.safetensors: while it is not finished
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llama_index_mmrag.alignment.finetuning.caption_head import HeadShape
from llama_index_mmrag.alignment.finetuning.checkpoint import Origin
from llama_index_mmrag.alignment.finetuning.joint import JointModel
from llama_index_mmrag.alignment.finetuning.report import (
    FinetuneEpoch,
    FinetuneReport,
    SkippedPair,
)
from llama_index_mmrag.embeddings.clip_torch import weights_sha8
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.writing import sync_folder, sync_tree

CARD = "finetune.json"
CHECKPOINT = "checkpoint.safetensors"
HEAD = "captioner.safetensors"

_FORMAT = "llama-index-mmrag fine-tuned model 1"
_ADAPTER = "adapter"
_STAGING = ".partial"


def finished_report(folder: Path, origin: Origin) -> FinetuneReport | None:
    """Return the report of a fine-tuning that has finished in a folder, else None.

    Raises:
        InvalidSetting: The folder holds another model, or its card is damaged.
    """
    path = folder / CARD
    if not path.exists():
        is_ours = (folder / CHECKPOINT).exists()
        for name, what in (
            ("config.json", "a model that was not made by fine-tuning"),
            (_ADAPTER, f"{_ADAPTER!r}, which fine-tuning would replace"),
        ):
            if (folder / name).exists() and not is_ours:
                raise InvalidSetting(
                    f"The folder {str(folder)!r} holds {what}. Give a folder that is "
                    f"empty or does not exist."
                )
        return None
    try:
        card = read_json(path)
        difference = origin.difference(card["origin"])
        report = _report(folder, card["report"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidSetting(
            f"The card {str(path)!r} cannot be read ({type(error).__name__}: {error}). "
            f"Expected what fine-tuning wrote. Give another folder."
        ) from error
    if difference:
        raise InvalidSetting(
            f"The folder {str(folder)!r} holds a model that was fine-tuned with "
            f"{difference}. Give another folder; to train that model further, give it "
            f"as the model."
        )
    return report


def write_folder(
    model: JointModel, base: str, origin: Origin, report: FinetuneReport
) -> None:
    """Write the model as it is now, and the report, into the report's folder.

    All is written beside its place first and moved there, the card last. A kill at any
    moment leaves a folder without a card, which the next run completes.

    Args:
        model: With the weights to be kept; low-rank additions are merged into it.
        base: Name or path of what was fine-tuned.
        origin: What decided the outcome.
        report: How it went.
    """
    folder = report.folder
    staging = folder / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    clip = model.clip
    if model.peft_model is not None:
        # "auto" would ask the model hub whether the base's vocabulary is as it was.
        model.peft_model.save_pretrained(
            staging / _ADAPTER, save_embedding_layers=False
        )
        clip.model = model.peft_model.merge_and_unload()
    for part in (clip.model, clip.tokenizer, clip.processor):
        part.save_pretrained(staging)
    colours = (list(clip.processor.image_mean), list(clip.processor.image_std))
    sha8 = weights_sha8(clip.model, "transformers", colours)
    if model.head is not None and model.shape is not None:
        _write_head(staging / HEAD, model.head, model.shape, sha8)
    as_json = dataclasses.asdict(report)
    del as_json["folder"]
    card = {
        "format": _FORMAT,
        "package_version": version("llama-index-mmrag"),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "base_model": base,
        "space": f"clip:{sha8}:{clip.dimension}:unit",
        "origin": dataclasses.asdict(origin),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "report": as_json,
    }
    (staging / CARD).write_text(
        json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    sync_tree(staging)
    shutil.rmtree(folder / _ADAPTER, ignore_errors=True)
    for file in sorted(staging.iterdir(), key=lambda file: file.name == CARD):
        sync_folder(folder)  # all others, before the card
        os.replace(file, folder / file.name)
    sync_folder(folder)
    staging.rmdir()
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _write_head(path: Path, head: Any, shape: HeadShape, sha8: str) -> None:
    from safetensors.torch import save_file

    card = {"shape": dataclasses.asdict(shape), "model": sha8}
    weights = {name: w.detach().cpu() for name, w in head.state_dict().items()}
    save_file(weights, path, metadata={"card": json.dumps(card)})


def _report(folder: Path, plain: dict[str, Any]) -> FinetuneReport:
    history = tuple(FinetuneEpoch(**epoch) for epoch in plain["history"])
    skipped = tuple(SkippedPair(**pair) for pair in plain["skipped"])
    return FinetuneReport(
        **{**plain, "folder": folder, "history": history, "skipped": skipped}
    )
