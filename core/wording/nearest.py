"""The names that are nearest to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LEAST_PART = 4  # letters: shorter names are found inside half of all others


def plain(name: str) -> str:
    """`Macro-F1`, `macro f1` and `macro_f1` are one name."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def nearest(name: str, known: Iterable[str], count: int = 5) -> list[str]:
    """The known names most like this one, the likest first; there is always one, if any is known.

    Case, hyphens and spaces do not count; after the like ones come those that one holds the other.
    """
    by_plain: dict[str, str] = {}
    for other in known:
        by_plain.setdefault(plain(other), other)
    wanted = plain(name)
    alike = get_close_matches(wanted, by_plain, count, cutoff=0.6)
    whole = [p for p in by_plain if min(len(p), len(wanted)) >= LEAST_PART]
    inside = sorted(p for p in whole if wanted in p or p in wanted)
    found = list(dict.fromkeys(alike + sorted(inside, key=len)))
    return [by_plain[p] for p in (found or get_close_matches(wanted, by_plain, 3, 0.0))[:count]]
