"""Joint fine-tuning: both encoders of a CLIP or SigLIP, trained on pairs.

In go a model's folder and pairs; out come the trained model's folder and a report.
Retrieval by contrast and, beside it, captioning; low-rank additions unless asked for
more. Start at `run.py`, then `training.py`. Needs the extra `finetune`.
"""

from llama_index_mmrag.alignment.finetuning.captioner import Captioner
from llama_index_mmrag.alignment.finetuning.examples import TooFewPairs
from llama_index_mmrag.alignment.finetuning.report import (
    FinetuneEpoch,
    FinetuneReport,
    SkippedPair,
)
from llama_index_mmrag.alignment.finetuning.run import finetune
from llama_index_mmrag.alignment.finetuning.settings import FinetuneSettings

__all__ = [
    "Captioner",
    "FinetuneEpoch",
    "FinetuneReport",
    "FinetuneSettings",
    "SkippedPair",
    "TooFewPairs",
    "finetune",
]
