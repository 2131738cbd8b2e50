"""Quotes in mail: what others have said in theirs, which is there already."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

_FORWARDED = re.compile(
    r"\s*(?:fwd?|wg|tr|rv|enc|i|doorst|vs|vb|vl|pd|\u8f6c\u53d1|\u8f49\u5bc4)\s*[:\uff1a]",
    re.IGNORECASE,
)
"""How mail programs begin the subject of what is passed on, in several languages."""

_QUOTING = frozenset({
    "gmail_quote", "yahoo_quoted", "protonmail_quote", "tutanota_quote", "zmail_extra",
    "moz-cite-prefix",
})  # fmt: skip
_REST = frozenset({"divrplyfwdmsg", "appendonsend", "mail-editor-reference-message"})
_RULE = re.compile(r"border:\s*none;\s*border-top:\s*solid\s+#(?:E1E1E1|B5C4DF)", re.I)
"""Outlook's, above the mail that is answered."""

_ORIGINAL = re.compile(
    r"-{3,}\s*(?:original message|urspr\u00fcngliche nachricht|message d.origine|"
    r"mensaje original|messaggio originale|mensagem original|oorspronkelijk bericht)"
    r"\s*-{3,}|_{20,}",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\*?[\w ]{2,12}\s?:\*?\s.*@")
_SAYS_WHO = re.compile(
    r"(?:on|am|le|el|il|em|op|den|dne|dnia|w dniu|\d).*\d.*:", re.IGNORECASE | re.DOTALL
)
_LONGEST = 300


def is_forwarded(subject: str) -> bool:
    """Return whether a mail passes on another one, which then is what it says."""
    return _FORWARDED.match(subject) is not None


class Quotes:
    """Tells, element by element in their order, what is quoted in HTML."""

    def __init__(self) -> None:
        self._is_rest = False

    def __call__(self, node: LexborNode) -> bool:
        """Return whether an element is to be left out."""
        said = node.attributes
        if self._is_rest:
            return True
        if node.tag == "blockquote" and said.get("type") == "cite":
            return True
        if not _QUOTING.isdisjoint((said.get("class") or "").split()):
            return True
        self._is_rest = (said.get("id") or "").lower() in _REST or bool(
            _RULE.search(said.get("style") or "")
        )
        return self._is_rest


def unquoted(text: str) -> str:
    r"""Return the lines of a mail that are its own.

    Left out are lines that begin with ">", those above them that say who wrote that and
    when, and all below an "Original Message".

    Example:
        >>> unquoted("Yes.\n\nOn 1 May 2024, Ada wrote:\n> Tea?\n>\nNow?")
        'Yes.\n\nNow?'
    """
    own: list[str] = []
    lines = text.split("\n")
    is_quoted = False
    for at, line in enumerate(lines):
        if _ORIGINAL.fullmatch(line.strip()) and (
            "_" not in line or _HEADER.match("".join(lines[at + 1 : at + 2]))
        ):
            break
        if line.startswith(">"):
            if not is_quoted:
                own = _without_who(own)
            is_quoted = True
        else:
            is_quoted = False
            own.append(line)
    return "\n".join(own)


def _without_who(lines: list[str]) -> list[str]:
    """Return lines without the last that say who wrote what follows."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    for start in range(end - 1, max(end - 4, -1), -1):
        said = " ".join(line.strip() for line in lines[start:end])
        if len(said) > _LONGEST or not lines[start].strip():
            break
        if _SAYS_WHO.fullmatch(said):
            return lines[:start]
    return lines
