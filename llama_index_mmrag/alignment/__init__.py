"""Alignment: what makes two encoders' vectors one good space, fitted and saved.

Transforms are values that are applied row by row; fits with a closed form need numpy
alone, trained heads need torch. Nothing here is applied unless it is asked for.
"""

from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.alignment.autoencoder import (
    AutoencoderSettings,
    TrainedAutoencoder,
    fit_autoencoder,
)
from llama_index_mmrag.alignment.chain import Chain, Columns, Mix, Truncate
from llama_index_mmrag.alignment.diagnose import Diagnosis, Gap, diagnose
from llama_index_mmrag.alignment.fitting import (
    fit_center,
    fit_directions,
    fit_pca,
    fit_pca_randomised,
    fit_procrustes,
    fit_ridge,
)
from llama_index_mmrag.alignment.heads import IDENTITY, Head
from llama_index_mmrag.alignment.pairs import Pairs
from llama_index_mmrag.alignment.running_mean import RunningMean
from llama_index_mmrag.alignment.settings import Epoch, TrainSettings
from llama_index_mmrag.alignment.train import TrainedHeads, train_heads
from llama_index_mmrag.alignment.transforms import (
    PCA,
    Center,
    Normalize,
    Perceptron,
    Project,
    Transform,
)

__all__ = [
    "IDENTITY",
    "PCA",
    "Alignment",
    "AutoencoderSettings",
    "Center",
    "Chain",
    "Columns",
    "Diagnosis",
    "Epoch",
    "Gap",
    "Head",
    "Mix",
    "Normalize",
    "Pairs",
    "Perceptron",
    "Project",
    "RunningMean",
    "TrainSettings",
    "TrainedAutoencoder",
    "TrainedHeads",
    "Transform",
    "Truncate",
    "diagnose",
    "fit_autoencoder",
    "fit_center",
    "fit_directions",
    "fit_pca",
    "fit_pca_randomised",
    "fit_procrustes",
    "fit_ridge",
    "train_heads",
]
