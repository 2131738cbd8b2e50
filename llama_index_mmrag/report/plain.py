"""Texts of unknown origin in a terminal. Pure."""

from __future__ import annotations


def plain_line(text: str) -> str:
    r"""Return the text in one line, with nothing in it that could steer a terminal.

    >>> plain_line("tea\n\tand \x1b[31mcake")
    'tea and �[31mcake'
    """
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )


def plain_text(text: str) -> str:
    """Return the text as `plain_line` does, line by line."""
    return "\n".join(map(plain_line, text.splitlines()))
