"""Retrieval: a query in, one ranking of entities out, each with its provenance.

`retriever.py` is the walk from the one to the other: parts of the query, searches of
the channels, their answers fused, the nodes of what is left read and shown.
"""
