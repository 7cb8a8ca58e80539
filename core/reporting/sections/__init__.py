"""The sections of a report: each a file, with a function from `ftev.report/1` to blocks.

A section that has nothing to say gives no blocks. A reader who stops anywhere has read what
matters more than the rest: the verdict first, the environment last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..blocks import Block
from .computed import show_computed
from .data import show_data, show_leakage
from .differences import show_differences
from .findings import show_findings
from .labels import show_labels
from .metrics import show_metrics
from .notes import show_environment, show_notes
from .stages import show_stages
from .texts import show_answers, show_texts
from .training import show_training
from .verdict import show_verdict

Section = Callable[[Mapping[str, Any]], list[Block]]

SECTIONS: tuple[Section, ...] = (
    show_verdict,
    show_findings,
    show_differences,
    show_metrics,
    show_labels,
    # calibration, thresholds, slices, label errors, completions, parity
    show_training,
    show_texts,
    show_answers,
    show_data,
    show_leakage,
    show_stages,
    show_computed,
    show_notes,
    show_environment,
)


def show_all(report: Mapping[str, Any]) -> list[Block]:
    """The blocks of a whole report, in the order in which they are read."""
    return [block for section in SECTIONS for block in section(report)]
