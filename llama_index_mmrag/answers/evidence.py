"""Evidence: results turned into labelled sources that a model can be shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore

from llama_index_mmrag.answers.lettering import as_shown, lettering_in, marked
from llama_index_mmrag.answers.window import Window
from llama_index_mmrag.checks import whole
from llama_index_mmrag.citations.unlabelled import unlabelled
from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.encoded_picture import EncodedPicture, encode_picture
from llama_index_mmrag.nodes.node import (
    POSITION_KEY,
    is_lettering,
    modality_of,
    stored_as,
)
from llama_index_mmrag.nodes.shown import has_picture, name_of, picture_of
from llama_index_mmrag.report.plain import plain_line

logger = logging.getLogger(__name__)

EvidenceOrder = Literal["ranking", "document"]
EVIDENCE_ORDERS = get_args(EvidenceOrder)
_CAPTION_ALONE = "Its caption is shown."


@dataclass(frozen=True, slots=True)
class PictureBudget:
    """Which of the pictures that were found a model is shown.

    Raises:
        InvalidSetting: A number is out of range.
    """

    max_images: int
    """Most pictures; 0, for models without eyes, shows captions only."""
    max_side: int
    """Longest side of a picture in pixels."""
    max_bytes: int | None = None
    """Most bytes of all pictures' files together; None for no such limit."""

    def __post_init__(self) -> None:
        advice = "0 shows captions only."
        whole(self.max_images, "max_images", at_least=0, advice=advice)
        whole(self.max_side, "max_image_side", at_least=1)
        if self.max_bytes is not None:
            advice = "None is no limit, and max_images=0 shows no pictures."
            whole(self.max_bytes, "max_image_bytes", at_least=1, advice=advice)


@dataclass(frozen=True, slots=True)
class Source:
    """One result under the label that an answer may cite."""

    label: int
    """From 1, in the order in which the sources are shown."""
    rank: int
    """From 1, in the order of the ranking."""
    result: NodeWithScore
    text: str
    """The node's text, or the picture's caption; may be empty for a picture.

    What looks like a label in it is in parentheses: a page's footnote "[2]", quoted in
    an answer, would cite the second source.
    """
    picture: EncodedPicture | None = None
    lettering: str = ""
    """What a machine read in the picture, where it was found by that; without labels,
    as the text is."""

    @property
    def name(self) -> str:
        """What a person would call the source: one line, and no label in it."""
        return unlabelled(plain_line(name_of(self.result.node)))

    @property
    def modality(self) -> str:
        """The node's modality, such as "text" or "image", shown as the name is."""
        return unlabelled(plain_line(modality_of(self.result.node)))

    def blocks(self) -> list[ContentBlock]:
        """Return the source as a model is shown it: its label first."""
        head = f"[{self.label}] {self.modality} from {self.name}"
        read = marked(self.lettering) if self.lettering else ""
        parts = (as_shown(self.result.node, self.text), read)
        said = "".join(f"{part}\n" for part in parts if part)
        blocks: list[ContentBlock] = [TextBlock(text=f"{head}:\n{said}")]
        if self.picture is not None:
            blocks.append(self.picture.block())
        return blocks


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sources that are shown, and what was left out and why."""

    sources: tuple[Source, ...]
    left_out: tuple[tuple[str, str], ...]
    """(node id, reason)."""
    max_side: int
    """Longest side of a picture in pixels, as it is shown."""

    @property
    def pictures(self) -> tuple[EncodedPicture, ...]:
        """The pictures that are shown."""
        return tuple(s.picture for s in self.sources if s.picture is not None)


def gather_evidence(
    results: Sequence[NodeWithScore],
    *,
    budget: PictureBudget,
    order: EvidenceOrder = "ranking",
    window: Window | None = None,
) -> Evidence:
    """Return the results as labelled sources, within a budget of pictures and tokens.

    Each picture is read once. One that cannot be read, or that is over the budget, is
    left out with a reason: what is listed as a source is what was shown. Of one that
    cannot be read, or for which the window has no room, the caption is shown all the
    same. Both budgets are spent on the best-ranked, whatever the order of showing.

    Args:
        results: The ranking, best first; a node that occurs twice, by its channel
            and its id there, is shown once.
        budget: Most pictures, and how large they may be.
        order: Whether sources are shown as ranked, or document by document: the
            documents in the order of their best-ranked nodes, the nodes of one as they
            stand in it. A document whose nodes do not all say where they stand keeps
            the order of the ranking.
        window: What the model has room for; None for no limit.
    """
    sources: list[Source] = []
    left_out: list[tuple[str, str]] = []
    shown: list[EncodedPicture] = []
    unique: dict[tuple[str, str], NodeWithScore] = {}
    for result in results:
        unique.setdefault(stored_as(result.node), result)
    for result in unique.values():
        text, lettering, picture, reason = _content(result.node, budget, shown)
        if text or lettering or picture is not None:
            rank = len(sources) + 1
            full = Source(rank, rank, result, text, picture, lettering)
            source, over = _within(full, window)
            reason = over or reason
            if source is not None:
                sources.append(source)
                shown += [source.picture] if source.picture else []
        if reason:
            left_out.append((result.node.node_id, reason))
    if order == "document":
        sources = _by_document(sources)
    return Evidence(tuple(sources), tuple(left_out), budget.max_side)


def _content(
    node: BaseNode, budget: PictureBudget, shown: Sequence[EncodedPicture]
) -> tuple[str, str, EncodedPicture | None, str]:
    """Return a node's text, lettering and picture, and why it is not all of it."""
    text, read = node.get_content(metadata_mode=MetadataMode.NONE), lettering_in(node)
    text = "" if is_lettering(node.metadata) else unlabelled(text.strip())
    if not has_picture(node) or not budget.max_images:
        reason = "" if text or read else "neither text nor a picture to show"
        return text, read, None, reason
    if len(shown) >= budget.max_images:
        return "", "", None, f"over the budget of pictures ({budget.max_images})"
    try:
        picture = encode_picture(picture_of(node), max_side=budget.max_side)
    except ImageUnreadable as error:
        logger.warning("A picture is left out of the evidence: %s", error)
        reason = f"{error} {_CAPTION_ALONE}" if text else str(error)
        return text, read, None, reason
    spent = sum(other.n_bytes for other in shown)
    if budget.max_bytes is None or spent + picture.n_bytes <= budget.max_bytes:
        return text, read, picture, ""
    over = f"over the budget of bytes ({budget.max_bytes:,}): it has "
    return "", "", None, f"{over}{picture.n_bytes:,}, and {spent:,} are taken"


def _within(source: Source, window: Window | None) -> tuple[Source | None, str]:
    """Return what of a source a window has room for, and why not all of it."""
    if window is None or window.takes(source.blocks()):
        return source, ""
    reason = "over the model's window: see its context_window, or max_context_tokens"
    words = replace(source, picture=None)
    for less in (words, replace(words, lettering="")):
        if less == source or not (less.text or less.lettering):
            continue
        if window.takes(less.blocks()):
            return less, f"{reason}. {_CAPTION_ALONE if less.text else ''}".strip()
    return None, reason


def _by_document(sources: Sequence[Source]) -> list[Source]:
    documents: dict[str, list[Source]] = {}
    for source in sources:
        node = source.result.node
        documents.setdefault(node.ref_doc_id or node.node_id, []).append(source)
    ordered = [source for group in documents.values() for source in _in_place(group)]
    return [replace(source, label=n) for n, source in enumerate(ordered, start=1)]


def _in_place(group: Sequence[Source]) -> list[Source]:
    """Return one document's sources as they stand in it."""
    nodes = [source.result.node for source in group]
    positions = [node.metadata.get(POSITION_KEY) for node in nodes]
    # LlamaIndex's splitters say where a chunk begins, and of pictures nothing is said.
    starts = [getattr(node, "start_char_idx", None) for node in nodes]
    for places in (positions, starts):
        if all(isinstance(place, (int, float)) for place in places):
            order = sorted(zip(places, range(len(group)), strict=True))
            return [group[index] for _, index in order]
    return list(group)
