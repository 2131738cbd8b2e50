"""PDF: a file's pages into sections, by its tags or by where its characters stand.

In goes a file; out come sections, figures and tables with their places. Start at
`document.py`; `tagged.py` reads by tags, `layout.py` by geometry. `words.py` and
`lines.py` are what a page says, `figures.py` and `tables.py` what it shows.
"""
