"""Optional packages: imported where they are needed, or what to install. Pure."""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from llama_index_mmrag.errors import MissingExtra


def needs(package: str, *, extra: str, for_: str) -> ModuleType:
    """Return an optional package, imported.

    Args:
        package: Its name in an import, such as "torch".
        extra: The extra of this package that installs it.
        for_: What needs it, as the beginning of a sentence: "Training a head".

    Raises:
        MissingExtra: It, or what it needs, is not installed or does not fit together.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = error.name or package
        raise MissingExtra.of(name, extra=extra, needed_for=for_) from error
    except (ImportError, RuntimeError) as error:
        # torchvision raises RuntimeError beside a torch of another build.
        raise MissingExtra(
            f"{for_} needs the package {package!r}, whose import fails: {error}. "
            f"Install versions that fit together; torch and torchvision both for the "
            f"CPU, or both for the same CUDA."
        ) from error


def found(package: str) -> ModuleSpec | None:
    """Return where an optional package is, which is not imported; None for nowhere."""
    try:
        return find_spec(package)
    except (ImportError, ValueError):  # an import hook, or None in sys.modules
        return None
