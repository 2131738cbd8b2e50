"""Answers: results in, a text with checked citations out.

`query_engine.py` retrieves and hands over; `synthesizer.py` chooses the evidence
(`evidence.py`), asks the model (`messages.py`) and checks what it cites (`draft.py`).
Without a model `extractive.py` quotes the evidence. `illustrated.py` writes a response
with the pictures that it cites (`figures.py`), in their places (`placing.py`).
"""
