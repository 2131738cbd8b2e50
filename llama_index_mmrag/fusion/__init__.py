"""Fusion: pure rules from ranked lists to one ranking of entities."""

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
