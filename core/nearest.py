"""The names that are nearest to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def plain(name: str) -> str:
    """`Macro-F1`, `macro f1` and `macro_f1` are one name."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def nearest(name: str, known: Iterable[str], count: int = 5) -> list[str]:
    """The known names most like this one, the likest first; there is always one, if any is known.

    Case, hyphens and spaces do not count; a name that holds the other comes before a like one.
    """
    by_plain: dict[str, str] = {}
    for other in known:
        by_plain.setdefault(plain(other), other)
    wanted = plain(name)
    inside = [p for p in by_plain if wanted and (wanted in p or p in wanted)]
    inside.sort(key=lambda p: abs(len(p) - len(wanted)))
    alike = get_close_matches(wanted, by_plain, count, cutoff=0.5)
    found = list(dict.fromkeys(inside[:3] + alike)) or get_close_matches(wanted, by_plain, 3, 0.0)
    return [by_plain[p] for p in found[:count]]
