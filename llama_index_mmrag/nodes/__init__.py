"""Nodes: what a node must carry, and the picture that it shows.

In go LlamaIndex nodes and pictures in any form; out come their entity, modality and
name, results with provenance, and pictures opened safely. Start at `node.py`;
`shown.py` says where a node's picture is and what it is called, `images.py` opens
pictures, `encoded_picture.py` makes the file that a model is sent.
"""

from llama_index_mmrag.nodes.node import (
    BOOKKEEPING_KEYS,
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    MODALITY_KEY,
    POSITION_KEY,
    PROVENANCE_KEY,
    STORED_ID_KEY,
    CaptionedImageNode,
    ExplainedTextNode,
    FusedNode,
    entity_id_of,
    entity_of,
    hide_bookkeeping,
    modality_of,
    provenance_of,
    stored_as,
    with_provenance,
)
from llama_index_mmrag.nodes.shown import name_of

__all__ = [
    "BOOKKEEPING_KEYS",
    "CONTENT_HASH_KEY",
    "ENTITY_KEY",
    "MODALITY_KEY",
    "POSITION_KEY",
    "PROVENANCE_KEY",
    "STORED_ID_KEY",
    "CaptionedImageNode",
    "ExplainedTextNode",
    "FusedNode",
    "entity_id_of",
    "entity_of",
    "hide_bookkeeping",
    "modality_of",
    "name_of",
    "provenance_of",
    "stored_as",
    "with_provenance",
]
