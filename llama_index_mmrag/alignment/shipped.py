"""The offline encoder's shipped head, as a transform of its features."""

from __future__ import annotations

from llama_index_mmrag.alignment.chain import Chain, Columns, Mix
from llama_index_mmrag.alignment.transforms import Project, Transform
from llama_index_mmrag.embeddings.offline import HEAD_WEIGHT
from llama_index_mmrag.embeddings.offline_features import OfflineFeaturesEmbedding
from llama_index_mmrag.embeddings.picture_tower import open_head


def shipped_head() -> Transform:
    """Return what makes `OfflineMultiModalEmbedding` of `OfflineFeaturesEmbedding`.

    For comparing: `unit(conse + 0.5 * head)`, with docs/model-card-open-head.md's head.
    """
    encoder = OfflineFeaturesEmbedding()
    head = open_head()
    return Mix(
        (
            Columns(*encoder.plain_columns),
            Chain((Columns(*encoder.feature_columns), Project(head.weight, head.bias))),
        ),
        weights=(1.0, HEAD_WEIGHT),
    )
