"""Errors: one base, and one class for each decision a caller can make.

Every message has three parts: what was given, what was expected, what to do.
"""

from __future__ import annotations


class MmragError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidQuery(MmragError, ValueError):
    """The query has no part that a channel could search for."""


class ImageUnreadable(MmragError, ValueError):
    """A picture is missing, empty, truncated, too large or of no known format."""


class DocumentUnreadable(MmragError, ValueError):
    """A text, file or folder is missing, not permitted, or cannot be read as it is."""


class InvalidVector(MmragError, ValueError):
    """A vector is not finite, has the wrong size, or has no length."""


class CollectionMismatch(MmragError, ValueError):
    """A collection's vector name, size or distance is not what is asked for."""


class InvalidSetting(MmragError, ValueError):
    """Two settings contradict each other, or one is out of its range."""


class PromiseNotKept(MmragError, ValueError):
    """No setting that saves anything keeps a promised recall.

    Attributes:
        compression: What was measured: `Compression`, whose `str()` is the table.
    """

    def __init__(self, message: str, *, compression: object = None) -> None:
        super().__init__(message)
        self.compression = compression


class StoreInUse(MmragError, RuntimeError):
    """Another process, or another object of this one, has the store open."""


class StoreClosed(MmragError, RuntimeError):
    """The store was closed and is used again."""


class StoreUnusable(MmragError, OSError):
    """A store's folder, or its server, cannot be made, read or written."""


class StoreFull(StoreUnusable):
    """A store's disk has no room for what is to be written; nothing was."""


class ReaderUnusable(MmragError, RuntimeError):
    """An engine that reads pictures cannot be begun, for this picture or another."""


class MissingExtra(MmragError, ImportError):
    """An optional package is not installed; the message has the install command."""

    @classmethod
    def of(cls, package: str, *, extra: str, needed_for: str) -> MissingExtra:
        """Return the error for `package`, which `extra` would install."""
        return cls(
            f"{needed_for} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "llama-index-mmrag[{extra}]" (in a clone: '
            f'pip install ".[{extra}]")'
        )


class AllRoutesFailed(MmragError, RuntimeError):
    """No route of a query gave an answer; the message lists each one's reason."""


class RouteFailed(MmragError, RuntimeError):
    """A route failed and the retriever was told to raise (`on_degraded="raise"`)."""
