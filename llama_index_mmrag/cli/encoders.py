"""Which encoder a command uses: the offline one, a CLIP model, or either aligned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.embeddings import MultiModalEmbedding

OFFLINE = "offline"


def base_encoder(name: str, *, with_features: bool = False) -> MultiModalEmbedding:
    """Return an encoder of texts and pictures by the name that --encoder takes.

    Args:
        name: As for `encoder_named`.
        with_features: Of the offline encoder the one that heads are learned on.

    Raises:
        InvalidSetting: It names none, or one of texts alone.
        MissingExtra: Its packages are not installed.
    """
    from llama_index_mmrag import embeddings
    from llama_index_mmrag.embeddings.named import encoder_named
    from llama_index_mmrag.embeddings.weights import check_offline

    if with_features and name == OFFLINE:
        check_offline(needed_for="The offline encoder")
        return embeddings.OfflineFeaturesEmbedding()
    return seeing(encoder_named(name, "--encoder"))


def seeing(model: BaseEmbedding) -> MultiModalEmbedding:
    """Return an encoder, which must encode pictures too."""
    from llama_index.core.embeddings import MultiModalEmbedding

    from llama_index_mmrag.checks import instance

    instance(model, "--encoder", MultiModalEmbedding)
    return cast("MultiModalEmbedding", model)


def chosen_encoder(encoder: str | None, alignment: Path | None) -> BaseEmbedding | None:
    """Return what --encoder and --alignment ask for; None: neither was given.

    An alignment remembers the encoder that `mmrag align` was given, and --encoder
    overrides it: a model's folder may lie elsewhere now. A name that would be looked up
    on a model hub is not taken from a file: nothing is downloaded unasked.

    Raises:
        InvalidSetting: The alignment is damaged, or was fitted with another encoder.
        OSError: There is no such file.
        MissingExtra: The encoder's packages are not installed.
    """
    from llama_index_mmrag.embeddings.named import encoder_named

    if alignment is None:
        return None if encoder is None else encoder_named(encoder, "--encoder")
    from llama_index_mmrag.alignment import Alignment
    from llama_index_mmrag.alignment.transformed import TransformedEmbedding
    from llama_index_mmrag.embeddings.offline_features import FEATURES_SPACE

    try:
        loaded = Alignment.load(alignment)
    except FileNotFoundError as error:
        raise InvalidSetting(
            f"There is no alignment {str(alignment)!r} with its card (.json) beside "
            f"it. Make one with: mmrag align --pairs FILE --out {alignment}"
        ) from error
    name = encoder
    if name is None:
        name = str(loaded.figures.get("encoder", OFFLINE))
        if name != OFFLINE and not Path(name.removeprefix("clip:")).exists():
            raise InvalidSetting(
                f"The alignment {str(alignment)!r} was fitted with the encoder "
                f"{name!r}, which is no file or folder here. Give --encoder NAME."
            )
    base = base_encoder(name, with_features=loaded.image_space == FEATURES_SPACE)
    return TransformedEmbedding.from_alignment(loaded, text_encoder=base)
