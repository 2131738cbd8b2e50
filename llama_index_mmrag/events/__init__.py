"""Events: what becomes known while a query runs, as spans, events and log lines.

In go the names of steps and the routes that failed; out come LlamaIndex's spans and
`RouteDegradedEvent`s, and `collect_routes` for a caller who wants both as data. Start
at `degraded.py`; `spans.py` is what every step is wrapped in.
"""

from llama_index_mmrag.events.degraded import (
    RouteDegradedEvent,
    collect_degradations,
    collect_routes,
    report,
)

__all__ = ["RouteDegradedEvent", "collect_degradations", "collect_routes", "report"]
