"""mmrag finetune, as it is run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llama_index_mmrag import BatchedClipEmbedding, cli

QUICK = ("--epochs", "1", "--batch-size", "8", "--learning-rate", "1e-3")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        cli.app, ["finetune", *map(str, arguments)], env={"COLUMNS": "200"}
    )


@pytest.fixture
def finetuned(tiny_clip, few_pairs, tmp_path) -> Callable[..., Result]:
    """Return a function that runs the command on pairs of which two are bad."""
    file = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"image": image, "text": text}) for image, text in few_pairs]
    lines += ['{"image": "gone.png", "text": "gone"}', "no json"]
    file.write_text("\n".join(lines))
    known = {"--model": tiny_clip, "--pairs": file, "--out": tmp_path / "out"}

    def finetuned(*flags: str, **changed: str) -> Result:
        given = known | {f"--{name}": value for name, value in changed.items()}
        return run(*(part for option in given.items() for part in option), *flags)

    return finetuned


def test_pairs_become_a_model_and_skipped_lines_are_told(finetuned, tmp_path):
    done = finetuned(*QUICK)
    assert done.exit_code == 0, done.output
    assert "14 pairs learned from, 2 judged by" in done.stdout
    assert "pairs.jsonl:17: gone.png: Cannot read the picture" in done.stderr
    assert "pairs.jsonl:18:" in done.stderr
    # No terminal, and so no bar: a line for each epoch.
    (epoch,) = [x for x in done.stderr.splitlines() if x.startswith("Epoch ")]
    assert epoch.startswith("Epoch 1 of 1: contrastive ")
    assert "recall@1" in epoch
    model = BatchedClipEmbedding(model_name=str(tmp_path / "out"))
    assert len(model.encode_texts(["cup"])) == 1
    # Again: nothing is trained, the same is told.
    assert finetuned(*QUICK).stdout == done.stdout


def test_strict_and_json(finetuned, tmp_path):
    done = finetuned(*QUICK, "--strict", "--json", "--captioning", "0")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["folder"] == str(tmp_path / "out")
    assert [problem["line"] for problem in told["unread"]] == [17, 18]
    assert [epoch["epoch"] for epoch in told["history"]] == [0, 1]
    assert list(told["history"][1]["losses"]) == ["contrastive"]


def test_loss_that_is_no_number_ends_with_2(finetuned):
    done = finetuned("--learning-rate", "1e25", "--batch-size", "4", method="full")
    assert done.exit_code == 2
    assert "Stopped: " in done.stdout
    assert "Lower the learning rate" in done.stdout


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"pairs": "gone.jsonl"}, "Error: Cannot read the pairs in 'gone.jsonl'"),
        ({"method": "prompt"}, "'prompt' is not one of 'lora'"),
        ({"precision": "int8"}, "'int8' is not one of 'auto'"),
        ({"model": "."}, "Error: Cannot load '.' with transformers"),
        ({"device": "abacus"}, "Error: The device 'abacus' cannot be used"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    changed, told, finetuned, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = finetuned(*QUICK, **changed)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_names_every_setting_with_its_default():
    done = run("--help")
    assert done.exit_code == 0
    for option in ("--model", "--pairs", "--out", "--method", "--captioning"):
        assert option in done.stdout
    assert "default: lora" in done.stdout


def test_loading_a_model_draws_no_bar_where_there_is_no_terminal(
    tiny_clip, finetuned, tmp_path
):
    script = tmp_path / "run.py"
    script.write_text("from llama_index_mmrag import cli; cli.main()")
    tiny = Path(__file__).parents[2] / "support/tiny_models.py"
    options = ("--pairs", tmp_path / "pairs.jsonl", "--encoder", tiny_clip, "--json")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tiny, script, "diagnose", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gap"]
    said = [line.partition(" ")[0] for line in done.stderr.splitlines()]
    assert said == ["Skipped", "Skipped"]
