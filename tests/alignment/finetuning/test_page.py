"""The example of docs/finetuning.md runs as a reader would run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ...support.tiny_models import write_model

PAGE = Path(__file__).parents[3] / "docs" / "finetuning.md"


def test_example_of_the_page_runs(packages, few_pairs, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "clip-base")
    lines = [json.dumps({"image": image, "text": text}) for image, text in few_pairs]
    Path("pairs.jsonl").write_text("\n".join(lines))
    exec(compile(blocks[0], str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "14 pairs learned from, 2 judged by" in printed
    assert "clip:" in printed
