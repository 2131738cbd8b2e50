"""Formulas of Office files (OMML) as they are said in one line."""

from __future__ import annotations

import re
from typing import Any

from llama_index_mmrag.readers.office import first, local, said

_ONE = re.compile(r"\w*|[^\w\s]")
_WRITTEN = {
    "f": "{num}/{den}",
    "sSup": "{e}^{sup}",
    "sSub": "{e}_{sub}",
    "sSubSup": "{e}_{sub}^{sup}",
    "sPre": "_{sub}^{sup}{e}",
    "limLow": "{e}_{lim}",
    "limUpp": "{e}^{lim}",
}
"""Elements by their children, which stand in brackets where they are more than one."""
_LISTED = {"m": "[;]", "mr": ("", ", ", ""), "eqArr": ("", "; ", ""), "d": "(|)"}
"""What stands before, between and behind the elements of others."""
_SEPARATORS = ("begChr", "sepChr", "endChr")
_SIGNS = {"acc": "\u0302", "bar": "\u0305", "groupChr": "\u23df"}
_NAMED = re.compile(r"{(\w+)}")


def linear(formula: Any) -> str:
    r"""Return a formula in one line, as Word's linear format has it.

    Args:
        formula: An `oMath` or `oMathPara`, or any element in one.

    Example:
        >>> from lxml.etree import fromstring
        >>> linear(fromstring("<f><num><r><t>a+b</t></r></num><den><r><t>2</t></r>"
        ...                   "</den></f>"))
        '(a+b)/2'
    """
    kind = local(formula)
    if kind == "t":
        return str(formula.text or "")
    if kind.endswith("Pr") or kind in ("del", "moveFrom"):
        return ""
    parts = [(local(one), linear(one)) for one in formula]
    its = {name: text.strip() for name, text in parts}
    text = "".join(text for _, text in parts)
    if kind in _WRITTEN:
        text = _NAMED.sub(lambda name: _one(its.get(name[1], "")), _WRITTEN[kind])
    elif kind == "func":
        text = f"{its.get('fName', '')} {its.get('e', '')}"
    elif kind == "rad":
        degree, under = its.get("deg", ""), its.get("e", "")
        text = f"√({degree}&{under})" if degree else f"√{_one(under)}"
    elif kind == "nary":
        ends = [(mark, its.get(name)) for mark, name in (("_", "sub"), ("^", "sup"))]
        limits = "".join(f"{mark}{_one(end)}" for mark, end in ends if end)
        text = f"{_sign(formula, 'chr', '∫')}{limits} {its.get('e', '')}"
    elif kind in _LISTED:
        begin, between, end = (
            _sign(formula, name, usual)
            for name, usual in zip(
                ("begChr", "sepChr", "endChr"), _LISTED[kind], strict=True
            )
        )
        each = (text for name, text in parts if name in ("e", "mr"))
        text = f"{begin}{between.join(each)}{end}"
    elif kind in _SIGNS:
        text = its.get("e", "") + _sign(formula, "chr", _SIGNS[kind])
    return text


def _sign(formula: Any, name: str, usual: str) -> str:
    return said(first(formula, f"{local(formula)}Pr", name), "val", usual)


def _one(text: str) -> str:
    """Return a text as one thing: in brackets, if it is more than a word or a sign."""
    return text if _ONE.fullmatch(text) else f"({text})"
