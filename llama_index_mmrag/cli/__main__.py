"""Runs `python -m llama_index_mmrag.cli`."""

from llama_index_mmrag.cli import main

main()
