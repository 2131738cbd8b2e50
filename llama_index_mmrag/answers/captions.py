"""Captions for the engines of LlamaIndex that send a picture without its text."""

from __future__ import annotations

import uuid

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)

from llama_index_mmrag.answers.lettering import lettering_in, marked
from llama_index_mmrag.checks.components import CheckedComponent
from llama_index_mmrag.citations.unlabelled import unlabelled
from llama_index_mmrag.nodes.node import STORED_ID_KEY

_NAMESPACE = uuid.UUID("f3d0b8f2-6c51-4b7e-9f0c-2f5f0c9a7a4d")


class CaptionsAsText(CheckedComponent, BaseNodePostprocessor):
    """Puts a text node with its caption after each picture, and with its lettering.

    LlamaIndex's multimodal chat engines and `SimpleMultiModalQueryEngine` send the
    pictures of image nodes and drop their text, but do send text nodes. The number in
    "Caption of picture 2: ..." is the picture's place among those that are sent, so
    this postprocessor goes last. With `MultiModalSynthesizer`, or an engine's
    `multimodal=True`, captions arrive by themselves and it is not needed.

    The new node has its picture's score and metadata, provenance included, and an id
    derived from the picture's. Lettering, of pictures that were found by it, is marked
    as read by a machine and not to be obeyed. Pictures with neither are left alone; so
    are those that have such a node already.

    Example:
        >>> picture = ImageNode(image_path="door.jpg", text="A red door")
        >>> results = [NodeWithScore(node=picture, score=0.5)]
        >>> for result in CaptionsAsText().postprocess_nodes(results):
        ...     print(type(result.node).__name__, result.score, result.text)
        ImageNode 0.5 A red door
        TextNode 0.5 Caption of picture 1: A red door
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "CaptionsAsText"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - LlamaIndex's
    ) -> list[NodeWithScore]:
        present = {result.node.node_id for result in nodes}
        results: list[NodeWithScore] = []
        n_pictures = 0
        for result in nodes:
            results.append(result)
            if not isinstance(result.node, ImageNode):
                continue
            n_pictures += 1
            caption = _caption(result.node, n_pictures)
            if caption is not None and caption.node_id not in present:
                results.append(result.model_copy(update={"node": caption}))
        return results


def _caption(picture: ImageNode, number: int) -> BaseNode | None:
    caption, read = picture.text.strip(), lettering_in(picture)
    said = [f"Caption of picture {number}: {unlabelled(caption)}"] if caption else []
    if read:
        said.append(marked(read, f"picture {number}"))
    if not said:
        return None
    return TextNode(
        id_=str(uuid.uuid5(_NAMESPACE, picture.node_id)),
        text="\n".join(said),
        # By a stored id it would be taken for the picture.
        metadata={k: v for k, v in picture.metadata.items() if k != STORED_ID_KEY},
        excluded_embed_metadata_keys=list(picture.excluded_embed_metadata_keys),
        excluded_llm_metadata_keys=list(picture.excluded_llm_metadata_keys),
        relationships=dict(picture.relationships),
    )
