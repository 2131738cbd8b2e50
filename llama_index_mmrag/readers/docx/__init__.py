"""Word files: sections under their headings, from their XML.

In goes a file; out comes its page. Start at `document.py`; `body.py` goes through the
paragraphs, `styles.py` says what they are.
"""
