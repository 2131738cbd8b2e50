"""Web pages: HTML as what it shows, for files, books and mail.

In goes HTML; out come sections. Start at `document.py`; `writing.py` goes through the
elements, `parts.py` makes the sections.
"""
