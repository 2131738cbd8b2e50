"""Encoders by the names that people give them: "offline", "clip", or LlamaIndex's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index_mmrag.errors import InvalidSetting, MissingExtra

OFFLINE = "offline"
_CLIP = "clip"


def encoder_named(given: Any, name: str) -> BaseEmbedding:
    """Return an encoder: one that is one, or the one that a text names.

    Args:
        given: An encoder; "offline", "clip", "clip:NAME" with a name, folder or file
            that `BatchedClipEmbedding` takes, or such a folder or file alone; or what
            LlamaIndex's `resolve_embed_model` takes: "local:NAME", "default", or an
            encoder of LangChain's.
        name: What it is called where it was given.

    Raises:
        InvalidSetting: It names none.
        MissingExtra: Its packages are not installed.
    """
    from llama_index_mmrag import embeddings
    from llama_index_mmrag.embeddings.weights import check_offline

    if isinstance(given, BaseEmbedding):
        return given
    if given == OFFLINE:
        check_offline(needed_for="The offline encoder")
        return embeddings.OfflineMultiModalEmbedding()
    if isinstance(given, str):
        kind, _, model = given.partition(":")
        if given.strip() and kind != _CLIP and Path(given).exists():
            kind, model = _CLIP, given
        if kind == _CLIP:
            named = {"model_name": model} if model else {}
            return embeddings.BatchedClipEmbedding(**named)
    reason = ""
    is_theirs = not isinstance(given, str) or given.startswith(("default", "local:"))
    if given is not None and is_theirs:  # of None they would make a mock
        from llama_index.core.embeddings import resolve_embed_model

        try:
            return resolve_embed_model(given)
        except ImportError as error:
            raise MissingExtra(f"{name} is {given!r}: {str(error).strip()}") from error
        except (AssertionError, ValueError) as error:
            reason = str(error).strip()
    raise InvalidSetting(
        f"{name} is {given!r}; expected an encoder, 'offline', 'clip', 'clip:NAME' "
        f"such as 'clip:ViT-B/32', a CLIP model's folder or file, or what LlamaIndex's "
        f"resolve_embed_model takes, such as 'local:NAME'. {reason}".strip()
    )
