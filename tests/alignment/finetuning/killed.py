"""A fine-tuning that kills its own process; run by test_resume.py.

    python tiny_models.py killed.py ARGUMENTS.json

The signal is a real SIGKILL: nothing is closed, flushed or caught.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from llama_index_mmrag.alignment.finetuning import FinetuneSettings, finetune
from llama_index_mmrag.alignment.finetuning import folder as folder_module
from llama_index_mmrag.alignment.finetuning import run as run_module


def dying(function: Any, *, at_call: int, before: bool) -> Any:
    calls = []

    def called(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if before and len(calls) == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if len(calls) == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return called


if __name__ == "__main__":
    import torch

    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    if given["kill"] == "between steps":
        # The fifth checkpoint is within the second epoch.
        run_module.write_checkpoint = dying(
            run_module.write_checkpoint, at_call=5, before=False
        )
    elif given["kill"] == "while writing a checkpoint":
        os.fsync = dying(os.fsync, at_call=6, before=True)
    else:
        folder_module._write_head = dying(
            folder_module._write_head, at_call=1, before=False
        )
    finetune(
        given["model"],
        given["pairs"],
        out=given["out"],
        settings=FinetuneSettings(**given["settings"]),
        num_threads=2,
        show_progress=False,
    )
