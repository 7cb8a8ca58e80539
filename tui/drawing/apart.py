"""Names that stay apart: labels cut to a width, runs of one name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len

from ...core.run.runs import Run
from ...core.wording.text import visible
from .format import fit

STARTED = re.compile(r"(\d{4})-(\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)")  # of a run's folder
FORMS = (r"\3:\4", r"\3:\4:\5", r"\2 \3:\4", r"\1-\2 \3:\4:\5")  # the shortest first


@lru_cache(64)
def cut_apart(labels: tuple[str, ...], width: int) -> tuple[str, ...]:
    """The labels in at most `width` cells: those that would look alike keep their ends as well."""
    seen = [visible(label) for label in labels]
    cut = [fit(name, width) for name in seen]
    count = Counter(cut)
    ways = [
        [
            fit_middle(name, width, before) if count[short] > 1 else short
            for name, short in zip(seen, cut, strict=True)
        ]
        for before in range(max(1, (width - 1) // 3), 0, -1)
    ]
    best = max(ways, key=lambda names: len(set(names)))
    return tuple(name.rstrip() for name in best)


def fit_middle(text: str, width: int, before: int) -> str:
    """Exactly `width` cells: padded on the right, or cut behind the first `before` cells."""
    if cell_len(text) <= width or width < 4:
        return fit(text, width)
    head, tail = fit(text, before + 1)[:-1], text
    while cell_len(tail) > width - 1 - cell_len(head):
        tail = tail[1:]
    return fit(f"{head}…{tail}", width)


def name_runs(named: Sequence[tuple[str, Run]]) -> list[tuple[str, Run]]:
    """The runs with names that differ: those of one name tell when they were started."""
    count = Counter(name for name, _ in named)
    return [
        (name if count[name] == 1 else _with_start(name, run, named), run) for name, run in named
    ]


def _with_start(name: str, run: Run, named: Sequence[tuple[str, Run]]) -> str:
    ids = [other.path.name for known, other in named if known == name]
    for form in FORMS:
        starts = [found.expand(form) for i in ids if (found := STARTED.match(i))]
        if len(set(starts)) == len(ids):
            return f"{name} {starts[ids.index(run.path.name)]}"
    return run.path.name
