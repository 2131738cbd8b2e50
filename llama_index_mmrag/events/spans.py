"""Spans that are named by what they do, and end when nobody waits for them any more."""

from __future__ import annotations

import inspect
import threading
import uuid
from collections import OrderedDict
from contextvars import Token
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id

dispatcher = get_dispatcher(__name__)

# A UUID for each span would ask the system for randomness, and let go of the
# interpreter's lock on the way.
_PROCESS, _numbers = uuid.uuid4(), count()
_SIGNATURE = inspect.signature(lambda **about: about)


@dataclass(slots=True)
class Span:
    """One LlamaIndex span, from `with` to its end or to `drop`, whichever is first.

    LlamaIndex's decorator names spans by their function, so that all routes would look
    the same, and ends them when the function returns, which a search that hangs never
    does.

    Args:
        name: What tracing tools show. They cut names at a hyphen, so each becomes "_".
        about: Shown as the span's input, and as its tags where they show tags.
    """

    name: str
    about: dict[str, Any] = field(default_factory=dict)
    _id: str = field(default="", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _is_open: bool | None = field(default=None, init=False)
    _token: Token[str | None] = field(init=False)

    @property
    def _bound(self) -> inspect.BoundArguments:
        return inspect.BoundArguments(_SIGNATURE, OrderedDict(about=self.about))

    def __enter__(self) -> Span:
        with self._lock:
            if self._is_open is None:
                self._is_open = True
                self._id = f"{self.name.replace('-', '_')}-{_PROCESS}-{next(_numbers)}"
        parent = active_span_id.get(None)
        self._token = active_span_id.set(self._id or parent)
        if self._is_open:
            dispatcher.span_enter(
                id_=self._id,
                bound_args=self._bound,
                parent_id=parent,
                tags={**active_instrument_tags.get(), **self.about},
            )
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self.drop(error)
            elif self._ends():
                dispatcher.span_exit(id_=self._id, bound_args=self._bound)
        finally:
            active_span_id.reset(self._token)

    def drop(self, error: BaseException) -> None:
        """End the span with an error; does nothing where it has ended already.

        May be called from another thread than the one in the span.
        """
        if self._ends():
            dispatcher.event(SpanDropEvent(span_id=self._id, err_str=str(error)))
            dispatcher.span_drop(id_=self._id, bound_args=self._bound, err=error)

    def _ends(self) -> bool:
        with self._lock:
            was_open, self._is_open = bool(self._is_open), False
        return was_open
