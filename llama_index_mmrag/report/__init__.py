"""Report: results as people and machines read them.

In go LlamaIndex results with their provenance; out come a table for a terminal
(`table.py`) and the one JSON shape of results, sources and reports. Start at
`results.py`; `plain.py` is what keeps a hostile name from steering a terminal.
"""
