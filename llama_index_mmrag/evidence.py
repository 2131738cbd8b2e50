"""Evidence: results turned into labelled sources that a model can be shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from llama_index.core.base.llms.types import ContentBlock, ImageBlock, TextBlock
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore

from llama_index_mmrag.citations import unlabelled
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.images import ImageSource, load_image, node_image
from llama_index_mmrag.nodes import modality_of, name_of, provenance_of

logger = logging.getLogger(__name__)

_JPEG_QUALITY = 85
"""Pillow's documentation calls 75 the default and more than 95 a waste of space."""


@dataclass(frozen=True, slots=True)
class Source:
    """One result under the label that an answer may cite."""

    label: int
    """From 1, in the order of the ranking."""
    result: NodeWithScore
    text: str
    """The node's text, or the picture's caption; may be empty for a picture.

    Bracketed numbers of its own are in parentheses: a page's footnote "[2]", quoted in
    an answer, would cite the second source.
    """
    picture: bytes | None = None
    """The picture as JPEG, no larger than the budget allows."""

    @property
    def name(self) -> str:
        """What a person would call the source."""
        return name_of(self.result.node)

    @property
    def modality(self) -> str:
        """The node's modality, such as "text" or "image"."""
        return modality_of(self.result.node)

    def blocks(self) -> list[ContentBlock]:
        """Return the source as a model is shown it: its label first."""
        head = f"[{self.label}] {self.modality} from {unlabelled(self.name)}"
        blocks: list[ContentBlock] = [
            TextBlock(text=f"{head}:\n{self.text}\n" if self.text else f"{head}:\n")
        ]
        if self.picture is not None:
            blocks.append(picture_block(self.picture))
        return blocks

    def card(self) -> dict[str, Any]:
        """Return what `response.metadata["citations"]` says of the source."""
        provenance = provenance_of(self.result)
        found = provenance.of_node(self.result.node.node_id) if provenance else ()
        return {
            "node_id": self.result.node.node_id,
            "modality": self.modality,
            "name": self.name,
            "score": self.result.score,
            "entity_id": provenance.entity_id if provenance else None,
            "found_by": [
                {"route": c.route, "rank": c.rank, "raw_score": c.raw_score}
                for c in found
            ],
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sources that are shown, and what was left out and why."""

    sources: tuple[Source, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """(node id, reason)."""


def gather_evidence(
    results: Sequence[NodeWithScore], *, max_images: int, max_side: int
) -> Evidence:
    """Return the results as labelled sources, within a budget of pictures.

    Each picture is read once. One that cannot be read, or that is over the budget, is
    left out with a reason: what is listed as a source is what was shown. With
    `max_images=0`, for models without eyes, pictures are shown by their captions.

    Args:
        results: The ranking, best first; a node that occurs twice is shown once.
        max_images: Most pictures.
        max_side: Longest side of a picture in pixels.
    """
    sources: list[Source] = []
    left_out: list[tuple[str, str]] = []
    n_pictures = 0
    unique: dict[str, NodeWithScore] = {}
    for result in results:
        unique.setdefault(result.node.node_id, result)
    for result in unique.values():
        node = result.node
        picture: bytes | None = None
        if isinstance(node, ImageNode) and max_images > 0:
            if n_pictures >= max_images:
                reason = f"over the budget of pictures ({max_images})"
                left_out.append((node.node_id, reason))
                continue
            try:
                picture = encode_picture(node_image(node), max_side=max_side)
            except ImageUnreadable as error:
                logger.warning("A picture is left out of the evidence: %s", error)
                left_out.append((node.node_id, str(error)))
                continue
            n_pictures += 1
        text = unlabelled(node.get_content(metadata_mode=MetadataMode.NONE).strip())
        if not text and picture is None:
            left_out.append((node.node_id, "neither text nor a picture to show"))
            continue
        sources.append(Source(len(sources) + 1, result, text, picture))
    return Evidence(tuple(sources), tuple(left_out))


def check_budget(*, max_images: int, max_side: int) -> None:
    """Do nothing if the budget of pictures makes sense.

    Raises:
        InvalidSetting: A number is out of range.
    """
    if max_images < 0:
        msg = f"max_images is {max_images!r}; expected 0 (captions only) or more."
        raise InvalidSetting(msg)
    if max_side < 1:
        msg = f"max_image_side is {max_side!r}; expected at least 1 pixel."
        raise InvalidSetting(msg)


def encode_picture(source: ImageSource, *, max_side: int) -> bytes:
    """Return a picture as JPEG bytes, its longest side at most `max_side` pixels.

    Raises:
        ImageUnreadable: The picture cannot be read.
    """
    buffer = BytesIO()
    load_image(source, max_side=max_side).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def picture_block(jpeg: bytes) -> ImageBlock:
    """Return the content block of a JPEG."""
    return ImageBlock(image=jpeg, image_mimetype="image/jpeg")
