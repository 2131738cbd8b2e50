"""Tracing: both channels of a query in OpenTelemetry, one of them late.

    pip install openinference-instrumentation-llama-index opentelemetry-sdk
    python examples/tracing.py

The spans are kept in memory here. Any OpenTelemetry exporter takes the exporter's
place: Phoenix, Jaeger, Langfuse and others then show the same tree.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Sequence

from llama_index.core.schema import TextNode
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llama_index_mmrag import Channel, MultiModalFusionRetriever, QdrantEdgeVectorStore
from llama_index_mmrag.embeddings.colour import ColourEncoder


class LateEncoder(ColourEncoder):
    """An encoder that is too late for its channel's deadline."""

    def _get_query_embedding(self, query: str) -> list[float]:
        time.sleep(0.5)
        return super()._get_query_embedding(query)


def filled(folder: str, encoder: ColourEncoder) -> QdrantEdgeVectorStore:
    """Return a store of three colours."""
    store = QdrantEdgeVectorStore.open(folder, dim=4)
    store.add(
        [
            TextNode(
                id_=str(uuid.uuid4()),
                text=text,
                embedding=encoder.get_text_embedding(text),
            )
            for text in ("red", "green", "blue")
        ]
    )
    return store


def tree(spans: Sequence[ReadableSpan]) -> list[str]:
    """Return a line a span, children below their parents in the order they began."""
    children: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        parent = span.parent.span_id if span.parent else None
        children.setdefault(parent, []).append(span)

    def lines(parent: int | None, depth: int) -> list[str]:
        found = []
        for span in children.get(parent, ()):
            ms = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
            status = span.status.status_code.name
            why = f" {span.status.description}" if span.status.description else ""
            found.append(f"{'  ' * depth}{span.name} ({ms:.1f} ms, {status}{why})")
            found += lines(span.context.span_id if span.context else None, depth + 1)
        return found

    return lines(None, 0)


def main() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    LlamaIndexInstrumentor().instrument(tracer_provider=provider)

    encoder = ColourEncoder()
    with (
        tempfile.TemporaryDirectory() as folder,
        filled(f"{folder}/text", encoder) as texts,
        filled(f"{folder}/image", encoder) as pictures,
    ):
        retriever = MultiModalFusionRetriever(
            [
                Channel("text", vector_store=texts, embed_model=encoder),
                Channel(
                    "image",
                    vector_store=pictures,
                    embed_model=LateEncoder(),
                    timeout_s=0.1,
                ),
            ]
        )
        exporter.clear()  # of the spans of filling the stores
        found = retriever.retrieve("red")
    print(f"Found {found[0].node.get_content()!r}; the query's spans:")
    print("\n".join(tree(exporter.get_finished_spans())))


if __name__ == "__main__":
    main()
