"""Readers: files of others, into pages, in a process that may hang or be killed.

In goes a file; out comes its page. What is here imports neither LlamaIndex nor numpy,
so that `child.py` starts at once. `kinds.py` is the table of what is read, and of what
is not and why; `frames.py` is what goes between the processes; start at `children.py`.
A format is a folder, whose `document.py` reads a file, or a module.
"""
