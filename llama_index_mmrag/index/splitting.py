"""How an index reads: as given, or as LlamaIndex's Settings say where they were set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TransformComponent

from llama_index_mmrag.ingestion import ReadSettings

_LOG = logging.getLogger(__name__)
_SIZES = ("chunk_size", "chunk_overlap")


def reading(
    settings: ReadSettings | None,
    transformations: Sequence[TransformComponent] | None = None,
    *,
    media_dir: Path | None = None,
) -> ReadSettings:
    """Return an index's settings; what is set and not used is a line in the log.

    Args:
        settings: As given. They say how texts are split, and Settings do not.
        transformations: Given beside them, they win over both.
        media_dir: The folder for inline pictures, where no settings are given.

    Raises:
        InvalidSetting: `transformations` has an encoder.
    """
    name, steps = _set()
    kept = [step for step in steps if not isinstance(step, BaseEmbedding)]
    why = ""
    if transformations is not None:
        kept, why = [*transformations], "transformations= says what splits"
    elif settings is not None:
        kept, why = [*settings.transformations], "settings= says how texts are split"
    elif len(kept) < len(steps):
        _LOG.info("An encoder in %s is not used: the index has its own.", name)
    if steps and why:
        _LOG.info("%s is set and not used: %s.", name, why)
    return replace(settings or ReadSettings(media_dir=media_dir), transformations=kept)


def _set() -> tuple[str, list[TransformComponent]]:
    """Return which of Settings says what splits texts, and the steps."""
    # Never the properties: where nothing was set, they make and keep a splitter.
    name, steps = "Settings.transformations", Settings._transformations  # noqa: SLF001
    if steps is None:
        parser = Settings._node_parser  # noqa: SLF001
        name = "Settings.node_parser (text_splitter, chunk_size, chunk_overlap)"
        steps = [] if parser is None else [parser]
    return name, [] if len(steps) == 1 and _is_default(steps[0]) else [*steps]


def _is_default(step: TransformComponent) -> bool:
    """Return whether it is the splitter that reading an unset property leaves."""
    fields = SentenceSplitter.model_fields
    return type(step) is SentenceSplitter and all(
        getattr(step, size) == fields[size].default for size in _SIZES
    )
