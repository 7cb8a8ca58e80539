"""Why a column plays its role, in words."""

from __future__ import annotations

from .columns import LABEL_NAMES, PAIRS, TEXT_NAMES

_USUAL = {"text": TEXT_NAMES, "label": LABEL_NAMES}


def why_column(role: str, name: str, named: dict[str, str]) -> str:
    """By what a column was found: it was named, by its name, or by its contents."""
    if named.get(role) == name:
        return "as you chose"
    if name.lower() == role:
        return "by its name"
    usual = {n for pair in PAIRS for n in pair} if role in ("prompt", "completion") else set()
    if name.lower() in usual | set(_USUAL.get(role, ())):
        return f"a usual name of a {role}"
    if role == "label":
        return "by its contents: short values that come again and again"
    return "by its contents: long, and something else in each row"
