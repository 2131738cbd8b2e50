"""Fine-tuning both encoders of a CLIP or SigLIP; needs torch, transformers, peft."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from llama_index_mmrag.alignment.finetuning.checkpoint import (
    Origin,
    State,
    read_checkpoint,
    write_checkpoint,
)
from llama_index_mmrag.alignment.finetuning.examples import (
    Examples,
    PairLike,
    TooFewPairs,
    checked,
)
from llama_index_mmrag.alignment.finetuning.folder import (
    CHECKPOINT,
    finished_report,
    write_folder,
)
from llama_index_mmrag.alignment.finetuning.gradients import NotFinite
from llama_index_mmrag.alignment.finetuning.joint import JointModel
from llama_index_mmrag.alignment.finetuning.report import FinetuneReport, Stopped
from llama_index_mmrag.alignment.finetuning.settings import FinetuneSettings
from llama_index_mmrag.alignment.finetuning.training import Training
from llama_index_mmrag.alignment.training import out_of_patience
from llama_index_mmrag.checks import needs
from llama_index_mmrag.checks.arguments import checked as checked_arguments
from llama_index_mmrag.concurrency.threads import usable_cpus
from llama_index_mmrag.embeddings.clip_torch import choose_device
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable
from llama_index_mmrag.embeddings.clip_transformers import (
    TransformersClip,
    load_transformers,
)

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)

_NEEDED_FOR = "Fine-tuning"


@checked_arguments
def finetune(
    model: str | Path,
    pairs: Sequence[PairLike],
    *,
    out: str | Path,
    settings: FinetuneSettings | None = None,
    held_out: Sequence[PairLike] | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    show_progress: bool = True,
) -> FinetuneReport:
    """Train both encoders of a CLIP or SigLIP on pairs; write the best epoch's model.

    Each epoch is judged by recall@1, both ways, on held-out pairs, and where that is
    equal by the captions' loss. What `out` holds in the end is loaded with
    `BatchedClipEmbedding(model_name=out)`, and `Captioner.load(out)` where captioning
    was a task. The outcome depends on the arguments alone, torch's random state neither
    read nor changed.

    Call it again with the same arguments after an interruption: it goes on from the
    last checkpoint in `out`, and on a CPU ends with the same bits as without (same
    machine, torch and number of threads). After it has finished, a call returns the
    report at once.

    Args:
        model: A folder with a `CLIPModel` or `SiglipModel`, its tokenizer and its image
            processor; or a name on the model hub.
        pairs: As `read_pairs` gives them, or picture's path and text. Those that cannot
            be used are reported and skipped. Pairs of one picture, or of one group,
            are no negatives of each other.
        out: Folder that is written; it must not hold another model.
        settings: None: `FinetuneSettings()`.
        held_out: Pairs to judge by; None: a share of `pairs`.
        device: A torch device; auto: CUDA if there is one.
        num_threads: Threads that decode pictures; None: one for each usable CPU.
        show_progress: A bar over the steps, with each task's loss and the recall.

    Raises:
        TooFewPairs: Fewer than two things to learn from, or none to judge by.
        CheckpointUnusable: The model cannot be loaded, or is of another kind.
        InvalidSetting: `out` holds another model or another fine-tuning's checkpoint.
        MissingExtra: torch, transformers or peft is not installed.
    """
    for package in ("torch", "transformers", "safetensors"):
        needs(package, extra="finetune", for_=_NEEDED_FOR)
    import torch

    settings = FinetuneSettings() if settings is None else settings
    threads = num_threads or usable_cpus()
    examples, skipped = checked(pairs, num_threads=threads)
    share = settings.held_out if held_out is None else 0.0
    examples, judged = examples.split(share, seed=settings.seed)
    if held_out is not None:
        judged, not_judged = checked(held_out, num_threads=threads)
        if not len(judged):
            raise TooFewPairs(
                f"None of the {len(held_out)} held-out pairs can be used; expected at "
                f"least one to judge by. Mend them, or leave held_out out."
            )
        skipped += not_judged
    place = choose_device(device)
    cuda = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(settings.seed)
        clip = _loaded(str(model), place)
        origin = _origin(clip, (examples, judged), settings)
        folder = Path(out)
        if (report := finished_report(folder, origin)) is not None:
            return report
        folder.mkdir(parents=True, exist_ok=True)
        joint = JointModel(clip, settings)
        run = Training(
            joint, examples, judged if len(judged) else examples, settings,
            num_threads=threads,
        )  # fmt: skip
        state, stopped, why = _trained(run, folder / CHECKPOINT, origin, show_progress)
        run.put(state.best)
        report = FinetuneReport(
            folder=folder,
            best_epoch=state.best_epoch,
            history=state.history,
            stopped=stopped,
            not_finite=why,
            skipped=skipped,
            n_trained=len(examples),
            n_held_out=len(judged),
            n_weights=sum(weight.numel() for weight in run.weights.values()),
        )
        write_folder(joint, str(model), origin, report)
    return report


def _trained(
    run: Training, path: Path, origin: Origin, show_progress: bool
) -> tuple[State, Stopped, str | None]:
    settings = run.settings
    state = read_checkpoint(path, origin, run.weights)
    if state is None:
        try:
            state = run.begin()
        except NotFinite as error:
            raise CheckpointUnusable(
                f"Before the first step {error}; expected a number. Use "
                f"precision='float32', or another checkpoint."
            ) from error
    else:
        run.resume(state)
        _LOG.info("Going on from step %d of %d", state.n_steps, run.n_all_steps)
    bar = tqdm(
        total=run.n_all_steps,
        initial=state.n_steps,
        desc="Fine-tuning",
        unit="step",
        disable=not show_progress,
    )

    def on_step(now: State, losses: dict[str, float]) -> None:
        shown = {task: f"{loss:.3f}" for task, loss in losses.items()}
        bar.set_postfix({**shown, "recall@1": f"{now.history[-1].recall:.3f}"})
        bar.update()
        every = settings.checkpoint_steps
        # An epoch's last step waits until the epoch is judged.
        if every and now.n_steps % every == 0 and now.n_steps % run.steps_per_epoch:
            write_checkpoint(path, run.snapshot(now), origin)

    with bar:
        while len(state.history) <= settings.epochs:
            if out_of_patience([*map(run.figure, state.history)], settings.patience):
                return state, "early", None
            try:
                state = run.epoch(state, on_step)
            except NotFinite as error:
                why = _why_not_finite(str(error), state, settings)
                _LOG.warning("Fine-tuning stopped: %s", why)
                return state, "not finite", why
            write_checkpoint(path, state, origin)
            reached = state.history[-1]
            losses = ", ".join(f"{k} {v:.3f}" for k, v in reached.losses.items())
            _LOG.info(
                "Epoch %d of %d: %s, recall@1 %.3f",
                reached.epoch, settings.epochs, losses, reached.recall,
            )  # fmt: skip
    return state, "finished", None


def _why_not_finite(what: str, state: State, settings: FinetuneSettings) -> str:
    return (
        f"{what} in epoch {len(state.history)} with a learning rate of "
        f"{settings.encoder_learning_rate!r}; the weights of epoch "
        f"{state.best_epoch} are kept. Lower the learning rate, or use "
        f"precision='float32', in another folder."
    )


def _loaded(name: str, place: torch.device) -> TransformersClip:
    import torch

    clip = load_transformers(name, place, torch.float32, needed_for=_NEEDED_FOR)
    if (kind := clip.model.config.model_type) not in ("clip", "siglip"):
        raise CheckpointUnusable(
            f"{name!r} is a model of type {kind!r}; expected a CLIP or SigLIP, which "
            f"are all that is fine-tuned. Align its vectors instead: mmrag align."
        )
    for weight_name, weight in clip.model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise CheckpointUnusable(
                f"The weights {weight_name!r} of {name!r} hold values that are no "
                f"numbers; expected finite ones. Choose another checkpoint."
            )
    return clip


def _origin(
    clip: TransformersClip, pairs: Sequence[Examples], settings: FinetuneSettings
) -> Origin:
    shas = json.dumps([part.sha256 for part in pairs])
    return Origin(
        model=f"clip:{clip.sha8}:{clip.dimension}",
        pairs=hashlib.sha256(shas.encode()).hexdigest(),
        # As JSON gives them back, to be compared.
        settings=json.loads(json.dumps(dataclasses.asdict(settings))),
    )
