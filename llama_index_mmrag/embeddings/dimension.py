"""How long an encoder's vectors are."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index_mmrag.errors import InvalidSetting


def dimension_of(embed_model: BaseEmbedding) -> int:
    """Return the length of the encoder's vectors.

    LlamaIndex encoders do not say it: those that have no attribute `dimension` encode
    one word.
    """
    known = getattr(embed_model, "dimension", None)
    return int(known) if known else len(embed_model.get_text_embedding("dimension"))


def known_image_dimension(embed_model: BaseEmbedding) -> int | None:
    """Return the length of the encoder's vectors of pictures; None: it does not say.

    Its `image_dimension`, where pictures and texts differ before they are aligned,
    else its `dimension`.
    """
    own = getattr(embed_model, "image_dimension", None)
    return own or getattr(embed_model, "dimension", None)


def check_one_length(embed_model: BaseEmbedding) -> None:
    """Do nothing unless the encoder says that pictures and texts differ in length.

    Raises:
        InvalidSetting: They do, so that no text could be compared with a picture.
    """
    texts = getattr(embed_model, "dimension", None)
    images = known_image_dimension(embed_model)
    if texts is not None and images is not None and texts != images:
        raise InvalidSetting(
            f"{embed_model.class_name()} makes texts of {texts!r} numbers and pictures "
            f"of {images!r}; expected one length. Align it first: mmrag align, then "
            f"TransformedEmbedding.from_alignment."
        )
