"""Fusion: pure rules from ranked lists to one ranking of entities.

In go a ranked list for each search, and what a channel's scores look like in general;
out come entities with a score and what each hit added to it. Start at `ranked_list.py`,
which has the words and the protocol `Fusion`, then `rrf.py`, the shortest rule.
"""

from llama_index_mmrag.fusion.calibrated import CalibratedSum
from llama_index_mmrag.fusion.ranked_list import (
    Background,
    FusedEntity,
    Fusion,
    Hit,
    RankedList,
)
from llama_index_mmrag.fusion.rrf import RRF
from llama_index_mmrag.fusion.weighted import WeightedSum

__all__ = [
    "RRF",
    "Background",
    "CalibratedSum",
    "FusedEntity",
    "Fusion",
    "Hit",
    "RankedList",
    "WeightedSum",
]
