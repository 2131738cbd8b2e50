"""What `mmrag align` says about a head."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.cli.encoders import OFFLINE
from llama_index_mmrag.cli.found_table import found_table
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.report.plain import plain_text

if TYPE_CHECKING:
    from llama_index_mmrag.alignment import Aligned, Fit

FEW_JUDGED = 50
"""Recall over fewer pairs is known to a seventh at best (one standard error of 0.5)."""


def check_out(out: Path) -> None:
    """Do nothing if a head may be written there, and its card beside it.

    Raises:
        InvalidSetting: Not an `.npz` file, or the card would replace a file that is
            none, such as the pairs themselves.
    """
    if out.suffix != ".npz":
        msg = f"--out {str(out)!r} does not end in '.npz'. Give a name such as head.npz"
        raise InvalidSetting(msg)
    card = out.with_suffix(".json")
    if not card.exists():
        return
    try:
        is_card = "llama-index-mmrag" in json.loads(card.read_bytes())["format"]
    except (ValueError, KeyError, TypeError):
        is_card = False
    if not is_card:
        msg = (
            f"--out {str(out)!r} would write its card to {str(card)!r}, which is a "
            f"file of something else. Give another name."
        )
        raise InvalidSetting(msg)


def figures_of(aligned: Aligned, fit: Fit, name: str, seconds: float) -> dict[str, Any]:
    """Return what a head reached and how it was made, for its card and for --json."""
    trained = aligned.trained
    return {
        "encoder": name,
        "pairs_fitted": aligned.n_fitted,
        "pairs_judged": aligned.n_judged,
        "pairs_judged_and_seen": aligned.n_seen,
        "before": {key: asdict(found) for key, found in aligned.before.items()},
        "after": asdict(aligned.after),
        "fit": asdict(fit),
        "training": None
        if trained is None
        else {
            "best_epoch": trained.best_epoch,
            "epochs": len(trained.history) - 1,
            "stopped": trained.stopped,
        },
        "seconds": round(seconds, 1),
    }


def show(
    aligned: Aligned,
    out: Path,
    vectors: Path,
    figures: dict[str, Any],
    output: Output,
) -> None:
    """Print what the head reached, and how to use it."""
    trained = aligned.trained
    how = (
        "closed form"
        if trained is None
        else f"epoch {trained.best_epoch} of {len(trained.history) - 1}, "
        f"{trained.stopped}"
    )
    output.show(
        f"Fitted on {aligned.n_fitted} pairs, judged on {aligned.n_judged} others "
        f"({how}, {figures['seconds']:.0f} s)"
    )
    if aligned.n_seen:
        said = (
            f"{aligned.n_seen} of {aligned.n_judged} judged pairs have pictures that "
            f"the head was fitted on: their figures are flattered. Judge by others."
        )
        output.show(f"Beware: {said}", style="yellow", wrap=False)
    if aligned.n_judged < FEW_JUDGED:
        said = f"{aligned.n_judged} judged pairs prove little; give more pairs."
        output.show(f"Beware: {said}", style="yellow", wrap=False)
    output.show(found_table({**aligned.before, "with the new head": aligned.after}))
    given = "" if figures["encoder"] == OFFLINE else ", text_encoder=..."
    for line in (
        f"Saved {out} and its card. Use it with: mmrag index DIR --store STORE "
        f"--alignment {out}",
        f"or in Python: TransformedEmbedding.from_alignment({str(out)!r}{given})",
        f"Vectors are kept in {vectors} for another fit; delete it when you are done.",
    ):
        output.show(plain_text(line), wrap=False)
