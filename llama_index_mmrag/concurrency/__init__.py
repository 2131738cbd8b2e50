"""Concurrency: jobs at once, each with its deadline, failures as data.

In go jobs (a search, a lookup), out come their results or errors in the same order,
from threads or an event loop. Start at `jobs.py`; `threads.py` has the threads that no
process waits for, `turns.py` the few that an event loop's queries share, `deadlines.py`
and `retries.py` the rules of waiting.
"""
