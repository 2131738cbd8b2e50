"""Agents: the retriever and the query engine as tools of LlamaIndex agents.

In go the arguments that a model writes (`tool_arguments.py` checks them); out come text
and picture blocks. Start at `retriever_tool.py` and `query_engine_tool.py`.
"""
