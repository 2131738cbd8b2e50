"""Which model writes an answer: given, named, of LlamaIndex's Settings, or none."""

from __future__ import annotations

from typing import Any

from llama_index.core import Settings
from llama_index.core.llms import LLM, MockLLM

from llama_index_mmrag.errors import InvalidSetting, MissingExtra

SETTINGS = "settings"
"""As `llm`: the one that the user set as `Settings.llm`; none where nobody did."""


def chosen_llm(llm: Any) -> LLM | None:
    """Return a model; None for an answer of the evidence's own sentences.

    Args:
        llm: A model; `SETTINGS`; what LlamaIndex's `resolve_llm` takes, such as
            "default", which is OpenAI's; or None for none.

    Raises:
        InvalidSetting: It names no model.
        MissingExtra: The model's package is not installed.
    """
    if llm is None or isinstance(llm, LLM):
        return llm
    if llm == SETTINGS:
        # Never the property: where nothing was set, it makes a client of OpenAI's.
        chosen = Settings._llm  # noqa: SLF001
        # A mock is what `Settings.llm = None` leaves.
        return None if isinstance(chosen, MockLLM) else chosen
    from llama_index.core.llms.utils import resolve_llm

    try:
        return resolve_llm(llm)
    except ImportError as error:
        raise MissingExtra(f"llm is {llm!r}: {str(error).strip()}") from error
    except (AssertionError, ValueError) as error:
        raise InvalidSetting(
            f"llm is {llm!r}; expected a model, None, 'settings', or what LlamaIndex's "
            f"resolve_llm takes. {str(error).strip()}"
        ) from error
