"""Alignment: what makes two encoders' vectors one good space, fitted and saved.

In go pairs of a picture and its words, encoded; out come transforms, judged on pairs
that they were not fitted to, and encoders that apply them. Start at `align.py`, which
fits, mixes and judges; `artefact.py` saves, `transformed.py` wraps an encoder.
Transforms are values that are applied row by row; fits with a closed form need numpy
alone, trained heads need torch. Nothing here is applied unless it is asked for.
"""

from llama_index_mmrag.alignment.align import Aligned, Fit, PictureParts, align
from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.alignment.autoencoder import (
    AutoencoderSettings,
    TrainedAutoencoder,
    fit_autoencoder,
)
from llama_index_mmrag.alignment.chain import Chain, Columns, Mix, Truncate
from llama_index_mmrag.alignment.diagnose import Diagnosis, Gap, diagnose
from llama_index_mmrag.alignment.encoded_pairs import EncodedPairs, encode_pairs
from llama_index_mmrag.alignment.fitting import (
    fit_center,
    fit_directions,
    fit_pca,
    fit_pca_randomised,
    fit_procrustes,
    fit_ridge,
)
from llama_index_mmrag.alignment.found import Found, FoundBothWays, found_both_ways
from llama_index_mmrag.alignment.heads import IDENTITY, Head
from llama_index_mmrag.alignment.pair_files import (
    PairProblem,
    PairsRead,
    PictureText,
    read_pairs,
)
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
    "Aligned",
    "Alignment",
    "AutoencoderSettings",
    "Center",
    "Chain",
    "Columns",
    "Diagnosis",
    "EncodedPairs",
    "Epoch",
    "Fit",
    "Found",
    "FoundBothWays",
    "Gap",
    "Head",
    "IDENTITY",
    "Mix",
    "Normalize",
    "PCA",
    "PairProblem",
    "Pairs",
    "PairsRead",
    "Perceptron",
    "PictureParts",
    "PictureText",
    "Project",
    "RunningMean",
    "TrainSettings",
    "TrainedAutoencoder",
    "TrainedHeads",
    "Transform",
    "Truncate",
    "align",
    "diagnose",
    "encode_pairs",
    "fit_autoencoder",
    "fit_center",
    "fit_directions",
    "fit_pca",
    "fit_pca_randomised",
    "fit_procrustes",
    "fit_ridge",
    "found_both_ways",
    "read_pairs",
    "train_heads",
]
