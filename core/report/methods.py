"""How intervals and p were made, in a few words: what many metrics have in common is said once."""

from __future__ import annotations

import re
from collections.abc import Iterable

# As `metrics.clusters.told_clusters` has it.
_CLUSTERS = re.compile(r", ([\d,]+ clusters of [\d,]+ rows)(?: \(design effect ([\d.]+)\))?")


def without_clusters(method: str) -> str:
    """A method without how many rows belong together, which differs from metric to metric."""
    return _CLUSTERS.sub("", method)


def describe_clusters(methods: Iterable[str]) -> str:
    """`1,033 clusters of 1,115 rows (design effect 1.01 to 1.55)` of methods on the same rows.

    Empty where every row is by itself.
    """
    found = [m for method in methods for m in _CLUSTERS.finditer(method)]
    if not found:
        return ""
    effects = sorted({m[2] for m in found if m[2]}, key=float)
    told = max((m[1] for m in found), key=_last_number)
    if not effects:
        return told
    span = effects[0] if len(effects) == 1 else f"{effects[0]} to {effects[-1]}"
    return f"{told} (design effect {span})"


def _last_number(text: str) -> int:
    return int(re.findall(r"[\d,]+", text)[-1].replace(",", ""))
