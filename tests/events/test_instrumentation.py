"""What tracing tools see: a span a route, a degradation's event, the callbacks."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.dispatcher import instrument_tags
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span import SimpleSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler

from llama_index_mmrag import MultiModalSynthesizer
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed
from llama_index_mmrag.events.degraded import RouteDegradedEvent
from llama_index_mmrag.events.spans import Span

from ..support.colours import GAP, channel, image_node, retriever_of, text_node
from ..support.patience import patient
from ..support.stores import FaultyStore

ROOT = Path(__file__).parents[2]


class Trace(BaseSpanHandler[SimpleSpan]):
    """Every span that began, with its parent, and how it ended."""

    parents: dict[str, str | None] = {}
    ended: list[tuple[str, str]] = []
    tags: dict[str, dict[str, Any]] = {}

    def new_span(
        self,
        id_: str,
        bound_args: Any,
        instance: Any = None,
        parent_span_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> SimpleSpan:
        self.parents[id_] = parent_span_id
        self.tags[id_] = dict(tags or {})
        return SimpleSpan(id_=id_, parent_id=parent_span_id, tags=tags or {})

    def prepare_to_exit_span(self, id_: str, *args: Any, **kwargs: Any) -> Any:
        self.ended.append((id_, "OK"))
        return self.open_spans.get(id_)

    def prepare_to_drop_span(
        self, id_: str, *args: Any, err: BaseException | None = None, **kwargs: Any
    ) -> Any:
        self.ended.append((id_, str(err)))
        return self.open_spans.get(id_)

    def named(self, name: str) -> list[str]:
        return [id_ for id_ in self.parents if name_of(id_) == name]

    def path(self, id_: str) -> list[str]:
        """Return the names from the query down to the span."""
        parent = self.parents.get(id_)
        return [*(self.path(parent) if parent else []), name_of(id_)]

    def endings(self, name: str) -> list[str]:
        return [how for id_, how in self.ended if name_of(id_) == name]


class Heard(BaseEventHandler):
    """Every event."""

    events: list[BaseEvent] = []

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def name_of(id_: str) -> str:
    """Return what tracing tools show: they cut names at the first hyphen."""
    return id_.partition("-")[0].removeprefix("MultiModalFusionRetriever.")


@pytest.fixture
def trace() -> Iterator[Trace]:
    root, handler = get_dispatcher(), Trace()
    root.add_span_handler(handler)
    yield handler
    root.span_handlers.remove(handler)


@pytest.fixture
def heard() -> Iterator[Heard]:
    root, handler = get_dispatcher(), Heard()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def texts(open_store) -> Any:
    return open_store(FaultyStore, [text_node("red", entity="r")])


@pytest.fixture
def pictures(open_store, paint) -> Any:
    return open_store(FaultyStore, [image_node(paint("red"), entity="r")])


# Spans


@pytest.mark.parametrize("timeout_s", [None, 5])
@pytest.mark.parametrize("kind", ["edge", "local"])
async def test_routes_are_spans_under_the_query(
    kind, timeout_s, retrieve, open_store, paint, trace, request
):
    texts = open_store(kind, [text_node("red")])
    pictures = open_store(kind, [image_node(paint("red"))])
    retriever = retriever_of(
        channel("text", texts),
        channel("image", pictures, ColourEncoder(modality_gap=GAP)),
        timeout_s=timeout_s,
    )
    trace.parents.clear()  # filling the stores has spans of its own
    await retrieve(retriever, "red")
    (query,) = {trace.path(id_)[0] for id_ in trace.parents}
    is_async = request.node.callspec.params["retrieve"] == "async"
    assert query == ("aretrieve" if is_async else "retrieve")
    for name in ("search text→text", "search text→image", "fuse"):
        (span,) = trace.named(name)
        assert trace.path(span) == [query, f"_{query}", name]
        assert trace.endings(name) == ["OK"]
    # Its encoding is part of a route, in whatever thread.
    encodings = trace.named("ColourEncoder.get_query_embedding")
    encoded = {trace.path(id_)[2] for id_ in encodings}
    assert encoded == {"search text→text", "search text→image"}
    fetched = [*trace.named("fetch text"), *trace.named("fetch image")]
    assert len(fetched) == (2 if kind == "edge" else 0)
    assert all(trace.path(id_)[:2] == [query, f"_{query}"] for id_ in fetched)
    (span,) = trace.named("search text→image")
    expected = {"route": "text→image", "channel": "image", "query": "red"}
    assert trace.tags[span] == expected
    assert not trace.open_spans


async def test_every_step_of_an_engine_is_one_span(trace, texts):
    engine = MultiModalQueryEngine(
        retriever_of(channel("text", texts)),
        response_synthesizer=MultiModalSynthesizer(),
    )
    trace.parents.clear()
    engine.query("red")
    await engine.aquery("red")
    names = [name_of(id_) for id_ in trace.parents]
    of_engine = [name for name in names if name.startswith("MultiModalQueryEngine.")]
    assert sorted(of_engine) == [
        f"MultiModalQueryEngine.{step}"
        for step in ("_aquery", "_query", "aquery", "query")
    ]
    for step in ("retrieve", "_retrieve", "aretrieve", "_aretrieve"):
        assert names.count(step) == 1


async def test_tags_of_the_application_are_on_every_route(retrieve, texts, trace):
    with instrument_tags({"tenant": "a"}):
        await retrieve(retriever_of(channel("text", texts)), "red")
    (span,) = trace.named("search text→text")
    assert trace.tags[span]["tenant"] == "a"


async def test_span_of_a_route_that_hangs_ends_at_its_deadline(
    retrieve, texts, pictures, trace
):
    pictures._stuck = threading.Event()
    late = channel("image", pictures, timeout_s=0.1)
    await retrieve(retriever_of(channel("text", texts), late), "red")
    assert trace.endings("search text→image") == ["no answer within 0.1 s"]
    assert not trace.open_spans
    pictures._stuck.set()
    await asyncio.sleep(0.1)
    # Its thread came back, and had nothing more to say.
    assert trace.endings("search text→image") == ["no answer within 0.1 s"]


async def test_span_of_a_cancelled_query_ends_with_it(texts, trace):
    texts._stuck = threading.Event()
    retriever = retriever_of(channel("text", texts))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(retriever.aretrieve("red"), 0.1)
    assert trace.endings("search text→text") == ["the query was cancelled"]
    texts._stuck.set()


def test_channel_of_a_name_with_a_hyphen_is_not_cut_off(trace):
    with Span("search text→my-photos"):
        pass
    assert [name_of(id_) for id_ in trace.parents] == ["search text→my_photos"]


def test_span_that_ended_before_it_began_is_none(trace):
    span = Span("late")
    span.drop(TimeoutError("late"))
    with span:
        pass
    assert trace.parents == {}
    with pytest.raises(ValueError, match="wrong"), Span("broken"):
        raise ValueError("wrong")
    assert trace.endings("broken") == ["wrong"]


# Degradations


async def test_degradation_is_one_event_and_one_warning(
    retrieve, texts, pictures, heard, caplog
):
    pictures._error = ConnectionError("refused")
    retriever = retriever_of(channel("text", texts), channel("image", pictures))
    with caplog.at_level(logging.WARNING), instrument_tags({"tenant": "a"}):
        await retrieve(retriever, "red")
    (event,) = heard.of(RouteDegradedEvent)
    assert (event.channel, event.route, event.kind) == ("image", "text→image", "error")
    assert event.reason == "ConnectionError: refused"
    assert event.class_name() == event.model_dump()["class_name"]
    assert event.class_name() == "RouteDegradedEvent"
    assert event.tags == {"tenant": "a"}
    # In the query's own span, so that tools show it with the query.
    assert name_of(event.span_id) in {"_retrieve", "_aretrieve"}
    lines = [r.getMessage() for r in caplog.records if "text→image" in r.getMessage()]
    assert lines == ["Route text→image gave no answer: ConnectionError: refused"]
    assert len(heard.of(RetrievalEndEvent)) == 1


async def test_degradations_are_known_also_where_they_are_errors(
    retrieve, texts, heard
):
    texts._error = ConnectionError("refused")
    with pytest.raises(AllRoutesFailed):
        await retrieve(retriever_of(channel("text", texts)), "red")
    assert [event.route for event in heard.of(RouteDegradedEvent)] == ["text→text"]


# Callbacks


class Callbacks(BaseCallbackHandler):
    """LlamaIndex's older events, as they come."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.started: list[tuple[CBEventType, dict[str, Any] | None]] = []
        self.ended: list[tuple[CBEventType, dict[str, Any] | None]] = []

    def on_event_start(
        self, event_type: CBEventType, payload: Any = None, *args: Any, **kwargs: Any
    ) -> str:
        self.started.append((event_type, payload))
        return ""

    def on_event_end(
        self, event_type: CBEventType, payload: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        self.ended.append((event_type, payload))

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.mark.parametrize("timeout_s", [None, 5])
async def test_callbacks_are_those_of_the_base_classes(
    timeout_s, retrieve, texts, pictures
):
    callbacks = Callbacks()
    manager = CallbackManager([callbacks])
    retriever = retriever_of(
        channel("text", texts, ColourEncoder(callback_manager=manager)),
        channel("image", pictures, ColourEncoder(callback_manager=manager)),
        callback_manager=manager,
        timeout_s=timeout_s,
    )
    found = await retrieve(retriever, "red")
    kinds = sorted(kind.value for kind, _ in callbacks.started)
    assert kinds == ["embedding", "embedding", "retrieve"]
    asked, answered = {EventPayload.QUERY_STR: "red"}, {EventPayload.NODES: found}
    assert callbacks.started[0] == (CBEventType.RETRIEVE, asked)
    assert callbacks.ended[-1] == (CBEventType.RETRIEVE, answered)
    chunks = [
        payload[EventPayload.CHUNKS]
        for kind, payload in callbacks.ended
        if kind == CBEventType.EMBEDDING and payload
    ]
    assert chunks == [["red"], ["red"]]


# OpenTelemetry


def test_example_shows_both_channels_and_the_late_one():
    pytest.importorskip("openinference.instrumentation.llama_index")
    pytest.importorskip("opentelemetry.sdk")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/tracing.py")],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "Found 'red'; the query's spans:"
    assert lines[1].startswith("MultiModalFusionRetriever.retrieve (")
    routes = [line for line in lines if line.startswith("    search ")]
    assert len(routes) == 2
    assert any("text→text" in line and "OK" in line for line in routes)
    assert any(
        "text→image" in line and "no answer within 0.1 s" in line for line in routes
    )
    assert any(line.startswith("    fuse (") for line in lines)
    assert any("ColourEncoder.get_query_embedding" in line for line in lines)
