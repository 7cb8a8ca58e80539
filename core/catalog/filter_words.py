"""What is typed into a filter, taken apart: words, and conditions like `label="a b"`."""

from __future__ import annotations

import re

_PART = re.compile(r'(?:[^\s"]|"[^"]*")+')
_CONDITION = re.compile(r"([A-Za-z_][\w.]*)(>=|<=|!=|==|=|>|<)(.*)", re.DOTALL)


def is_open(text: str) -> bool:
    """Whether a quotation mark is not closed."""
    return text.count('"') % 2 == 1


def split_parts(text: str) -> list[str]:
    """The parts between spaces; quotes hold a part together and are taken off."""
    if is_open(text):
        text = text.replace('"', " ")
    return [part.replace('"', "") for part in _PART.findall(text)]


def read_condition(part: str) -> tuple[str, str, str] | None:
    """A name, a sign and a value; None for a word."""
    found = _CONDITION.fullmatch(part)
    return (found[1], found[2], found[3]) if found else None


def read_number(text: str) -> float:
    """`1e-4`, `90%`. Raises ValueError."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)
