"""A step of LlamaIndex's ingestion pipelines: texts are split, pictures pass."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion.pipeline import (
    arun_transformations,
    run_transformations,
)
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
    TransformComponent,
)
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.identity import derived_id, is_random
from llama_index_mmrag.ingestion.pictures import undecoded
from llama_index_mmrag.nodes.node import ENTITY_KEY
from llama_index_mmrag.nodes.shown import has_picture


class MultiModalTransformation(TransformComponent):
    """What stands in a pipeline before an index's vector store; `as_transformation`.

    Texts go through `steps`, and pictures pass. All nodes then have an embedding, an
    empty one: pipelines store only what has one, and the index's store makes the real
    one. Nothing of the index is held, so that a pipeline's workers may have a copy.

    Attributes:
        steps: LlamaIndex's transformations, for texts alone.
    """

    steps: list[TransformComponent] = []

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows the class by."""
        return "MultiModalTransformation"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Return the nodes as the index's vector store takes them."""
        nodes = _seen(nodes)
        made = run_transformations(_texts(nodes), self.steps, **kwargs)
        return _ready(nodes, made)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Return what a call does, by the steps' own asynchronous methods."""
        nodes = _seen(nodes)
        made = await arun_transformations(_texts(nodes), self.steps, **kwargs)
        return _ready(nodes, made)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the class's name, and something new each time.

        LlamaIndex's cache (0.14.25) knows nodes by their texts alone, and would give
        the nodes of one picture without words for another's.
        """
        return {"class_name": self.class_name(), "never_cached": uuid4().hex, **kwargs}

    def __reduce__(self) -> tuple[Any, ...]:
        # In one piece, so that a worker reads it after what it needs.
        return _in_a_worker, (pickle.dumps(self.steps),)


def _in_a_worker(steps: bytes) -> MultiModalTransformation:
    # A tokenizer (tiktoken 0.14) is pickled by its name, and downloaded where nobody
    # asked LlamaIndex for it, which has the file: offline, the pool waits for ever.
    get_tokenizer()
    return MultiModalTransformation(steps=pickle.loads(steps))  # noqa: S301 - our own


def without_encoders(
    steps: Iterable[TransformComponent], name: str
) -> tuple[TransformComponent, ...]:
    """Return the steps, if all that is stored is encoded by the index's encoders alone.

    Args:
        steps: LlamaIndex's transformations.
        name: What they are called where they were given.

    Raises:
        InvalidSetting: One is an encoder.
    """
    steps = tuple(steps)
    for step in steps:
        if isinstance(step, BaseEmbedding):
            raise InvalidSetting(
                f"{name} has the encoder {step.class_name()}; expected what splits and "
                f"enriches documents. Give it as embed_model= or image_embed_model= "
                f"of the index: all that is stored is encoded by these."
            )
    return steps


def _seen(nodes: Sequence[BaseNode]) -> list[BaseNode]:
    return [undecoded(n) if isinstance(n, Document) else n for n in nodes]


def _texts(nodes: Sequence[BaseNode]) -> list[BaseNode]:
    return [node for node in nodes if not has_picture(node)]


def _ready(nodes: Sequence[BaseNode], made: Sequence[BaseNode]) -> list[BaseNode]:
    passed = _each_picture_once(node for node in nodes if has_picture(node))
    lasting = _with_lasting_ids(made, {node.id_ for node in nodes})
    return [n.model_copy(update={"embedding": []}) for n in (*lasting, *passed)]


def _with_lasting_ids(
    made: Sequence[BaseNode], given: Collection[str]
) -> list[BaseNode]:
    """Return nodes of which those that are new have an id that is so in every run.

    A run that is repeated, since it was cut off, then finds what it has stored.
    """
    n_of_document: Counter[str | None] = Counter()
    ids: dict[str, str] = {}
    for node in made:
        if node.id_ not in given and is_random(node.id_):
            at = n_of_document[node.ref_doc_id]
            ids[node.id_] = derived_id("step", node.ref_doc_id, at, node.hash)
            n_of_document[node.ref_doc_id] += 1

    def moved(related: RelatedNodeInfo) -> RelatedNodeInfo:
        id_ = related.node_id
        return related.model_copy(update={"node_id": ids.get(id_, id_)})

    def renamed(node: BaseNode) -> BaseNode:
        if node.id_ not in ids:
            return node
        relationships = {
            kind: [*map(moved, of)] if isinstance(of, list) else moved(of)
            for kind, of in node.relationships.items()
        }
        update = {"id_": ids[node.id_], "relationships": relationships}
        return node.model_copy(update=update)

    return [*map(renamed, made)]


def _each_picture_once(nodes: Iterable[BaseNode]) -> list[BaseNode]:
    """Return nodes of which no two of one document show one picture.

    A splitter makes of a picture with a long text as many pictures as the text has
    chunks: here they are texts, of one entity with the picture.
    """
    shown: dict[tuple[object, ...], list[BaseNode]] = defaultdict(list)
    for node in nodes:
        what: tuple[object, ...] = (node.id_,)
        if isinstance(node, ImageNode) and node.ref_doc_id:
            what = node.ref_doc_id, node.image, node.image_path, node.image_url
        shown[what].append(node)
    return [
        node
        for what, alike in shown.items()
        for node in (alike if len(alike) == 1 else _linked(what, alike))
    ]


def _linked(what: tuple[object, ...], alike: Sequence[BaseNode]) -> list[BaseNode]:
    entity_id = {ENTITY_KEY: derived_id("step", *what)}
    texts = []
    for node in alike:
        fields = {name: getattr(node, name) for name in TextNode.model_fields}
        fields["metadata"] = {**entity_id, **node.metadata}
        texts.append(TextNode(**fields))
    source = {NodeRelationship.SOURCE: alike[0].relationships[NodeRelationship.SOURCE]}
    update = {
        "id_": derived_id("picture", *what),
        "text": "",
        "metadata": texts[0].metadata,
        "relationships": source,  # and no neighbours: those are of the texts
    }
    return [*texts, alike[0].model_copy(update=update)]
