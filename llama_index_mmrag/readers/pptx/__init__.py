"""Slides: each an entity, with what its layout and groups place on it.

In goes a file; out comes its page. Start at `document.py`.
"""
