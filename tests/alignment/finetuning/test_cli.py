"""mmrag finetune, as it is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from llama_index_mmrag import BatchedClipEmbedding, cli

QUICK = ("--epochs", "1", "--batch-size", "8", "--learning-rate", "1e-3")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        cli.app, ["finetune", *map(str, arguments)], env={"COLUMNS": "200"}
    )


@pytest.fixture
def pairs_file(few_pairs: Any, tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"image": image, "text": text}) for image, text in few_pairs]
    lines += ['{"image": "gone.png", "text": "gone"}', "no json"]
    file.write_text("\n".join(lines))
    return file


def test_pairs_become_a_model_and_skipped_lines_are_told(
    tiny_clip: str, pairs_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run("--model", tiny_clip, "--pairs", pairs_file, "--out", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert "14 pairs learned from, 2 judged by" in done.stdout
    assert "pairs.jsonl:17: gone.png: Cannot read the picture" in done.stderr
    assert "pairs.jsonl:18:" in done.stderr
    # No terminal, and so no bar: a line for each epoch.
    (epoch,) = [x for x in done.stderr.splitlines() if x.startswith("Epoch ")]
    assert epoch.startswith("Epoch 1 of 1: contrastive ")
    assert "recall@1" in epoch
    assert len(BatchedClipEmbedding(model_name=str(out)).encode_texts(["cup"])) == 1
    # Again: nothing is trained, the same is told.
    again = run("--model", tiny_clip, "--pairs", pairs_file, "--out", out, *QUICK)
    assert again.stdout == done.stdout


def test_strict_and_json(tiny_clip: str, pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--model", tiny_clip, "--pairs", pairs_file, "--out", out, *QUICK)
    done = run(*arguments, "--strict", "--json", "--captioning", "0")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["folder"] == str(out)
    assert [problem["line"] for problem in told["unread"]] == [17, 18]
    assert [epoch["epoch"] for epoch in told["history"]] == [0, 1]
    assert list(told["history"][1]["losses"]) == ["contrastive"]


def test_loss_that_is_no_number_ends_with_2(
    tiny_clip: str, pairs_file: Path, tmp_path: Path
) -> None:
    done = run(
        *("--model", tiny_clip, "--pairs", pairs_file, "--out", tmp_path / "out"),
        *("--learning-rate", "1e25", "--batch-size", "4", "--method", "full"),
    )
    assert done.exit_code == 2
    assert "Stopped: " in done.stdout
    assert "Lower the learning rate" in done.stdout


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--pairs", "gone.jsonl"), "Cannot read the pairs in 'gone.jsonl'"),
        (("--method", "prompt"), "method is 'prompt'"),
        (("--model", "."), "Cannot load '.' with transformers"),
        (("--device", "abacus"), "The device 'abacus' cannot be used"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    changed: tuple[str, str],
    told: str,
    tiny_clip: str,
    pairs_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"--model": tiny_clip, "--pairs": str(pairs_file), "--out": "out"}
    given |= dict([changed])
    done = run(*(part for option in given.items() for part in option), *QUICK)
    assert done.exit_code == 2
    assert f"Error: {told}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_names_every_setting_with_its_default() -> None:
    done = run("--help")
    assert done.exit_code == 0
    for option in ("--model", "--pairs", "--out", "--method", "--captioning"):
        assert option in done.stdout
    assert "default: lora" in done.stdout


def test_loading_a_model_draws_no_bar_where_there_is_no_terminal(
    tiny_clip: str, pairs_file: Path, tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text("from llama_index_mmrag import cli; cli.main()")
    tiny = Path(__file__).with_name("tiny.py")
    options = ("--pairs", pairs_file, "--encoder", tiny_clip, "--json")
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
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [
        "Skipped",
        "Skipped",
    ]
