"""Two entities whose scores are sums that can be checked by hand."""

from __future__ import annotations

from llama_index.core.schema import ImageNode, NodeWithScore, TextNode

from llama_index_mmrag.nodes.node import FusedNode
from llama_index_mmrag.provenance import Contribution, Degradation, Provenance

LATE = Degradation("video", "text→video", "deadline", "late")


def contribution(node_id: str, modality: str, rank: int, amount: float) -> Contribution:
    route = f"text→{modality}"
    return Contribution(modality, route, node_id, modality, rank, 0.5, 1.0, amount)


def results() -> list[NodeWithScore]:
    """Return two entities: tea with its picture, then a linked text."""
    found = (contribution("t1", "text", 1, 0.5), contribution("i1", "image", 2, 0.25))
    tea = Provenance("tea", 0.75, "rrf(k=60)", found, degraded=(LATE,))
    found = (contribution("i2", "image", 1, 0.125),)
    cake = Provenance("cake", 0.125, "rrf(k=60)", found)
    text = TextNode(id_="t1", text="Tea\nis steeped.", metadata={"file_name": "tea.md"})
    picture = ImageNode(id_="i1", text="a pot", image_path="/photos/pot.png")
    other = ImageNode(id_="i2", image_path="/photos/cake.png")
    kin = TextNode(id_="t2", text="Cake is baked.", metadata={"file_name": "cake.md"})
    return [
        FusedNode.of(text, tea),
        FusedNode.of(picture, tea),
        FusedNode.of(other, cake),
        FusedNode.of(kin, cake),
    ]
