"""A killed fine-tuning goes on, and ends with the same bits as one in peace."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag.alignment.finetuning import (
    FinetuneReport,
    FinetuneSettings,
    finetune,
)

HERE = Path(__file__).parent
TINY = HERE.parents[1] / "support/tiny_models.py"
SETTINGS: dict[str, Any] = {
    "method": "lora", "epochs": 3, "batch_size": 4, "micro_batch_size": 3,
    "held_out": 0.2, "learning_rate": 3e-3, "head_width": 32, "head_layers": 1,
    "checkpoint_steps": 1, "patience": 5, "seed": 7,
    "lora_dropout": 0.3, "augment": True,  # what is random must go on where it was
}  # fmt: skip
FILES = (
    "model.safetensors", "captioner.safetensors", "adapter/adapter_model.safetensors"
)  # fmt: skip


def shas_of(report: FinetuneReport) -> dict[str, str]:
    return {
        file: sha256((report.folder / file).read_bytes()).hexdigest() for file in FILES
    }


def run(model: str, pairs: Any, out: Path, **changed: Any) -> FinetuneReport:
    return finetune(
        model,
        pairs,
        out=out,
        settings=FinetuneSettings(**{**SETTINGS, **changed}),
        num_threads=2,
        show_progress=False,
    )


@pytest.fixture(scope="module")
def in_peace(tiny_clip, few_pairs, tmp_path_factory) -> FinetuneReport:
    return run(tiny_clip, few_pairs, tmp_path_factory.mktemp("peace") / "out")


@pytest.mark.parametrize(
    "kill", ["between steps", "while writing a checkpoint", "while writing the model"]
)
def test_after_a_kill_the_same_bits(kill, tiny_clip, few_pairs, in_peace, tmp_path):
    out = tmp_path / "out"
    arguments = tmp_path / "arguments.json"
    given = {"kill": kill, "model": tiny_clip, "pairs": few_pairs, "out": str(out)}
    arguments.write_text(json.dumps({**given, "settings": SETTINGS}))
    killed = subprocess.run(
        [sys.executable, TINY, HERE / "killed.py", arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (out / "checkpoint.safetensors").exists()
    assert not (out / "finetune.json").exists()

    report = run(tiny_clip, few_pairs, out)

    assert shas_of(report) == shas_of(in_peace)
    assert report.history == in_peace.history
    assert report.best_epoch == in_peace.best_epoch
    left, expected = (sorted(r.folder.rglob("*")) for r in (report, in_peace))
    assert [p.name for p in left] == [p.name for p in expected]


def test_finished_one_is_not_run_again(tiny_clip, few_pairs, in_peace):
    before = {p: p.stat().st_mtime_ns for p in in_peace.folder.iterdir()}
    assert run(tiny_clip, few_pairs, in_peace.folder) == in_peace
    assert {p: p.stat().st_mtime_ns for p in in_peace.folder.iterdir()} == before


def test_outcome_follows_from_the_arguments_alone(
    tiny_clip, few_pairs, in_peace, tmp_path
):
    import torch

    torch.manual_seed(12345)
    before = torch.get_rng_state()
    again = run(tiny_clip, few_pairs, tmp_path / "out")
    assert bool((torch.get_rng_state() == before).all())
    assert shas_of(again) == shas_of(in_peace)
    other = run(tiny_clip, few_pairs, tmp_path / "other", seed=8)
    assert shas_of(other)[FILES[0]] != shas_of(in_peace)[FILES[0]]


def test_how_often_checkpoints_are_written_changes_no_weight(
    tiny_clip, few_pairs, in_peace, tmp_path
):
    rarely = run(tiny_clip, few_pairs, tmp_path / "out", checkpoint_steps=None)
    assert shas_of(rarely) == shas_of(in_peace)
