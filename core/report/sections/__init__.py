"""The sections of a report: each a file, with a function from `ftev.report/1` to blocks.

A section that has nothing to say gives no blocks. A reader who stops anywhere has read what
matters more than the rest: the verdict first, the environment last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..blocks import Block
from .calibration import show_calibration
from .choices import show_choices
from .completions import show_completions
from .computed import show_computed
from .data import show_data, show_leakage
from .differences import show_differences
from .findings import show_findings
from .flips import show_flips
from .guardrails import show_guardrails
from .label_errors import show_label_errors
from .labels import show_labels
from .metrics import show_metrics
from .notes import show_environment, show_notes
from .parity import show_parity
from .reviews import show_reviews
from .slices import show_slices
from .stages import show_stages
from .texts import show_answers, show_texts
from .thresholds import show_thresholds
from .training import show_training
from .verdict import show_verdict

Section = Callable[[Mapping[str, Any]], list[Block]]

SECTIONS: tuple[Section, ...] = (
    show_verdict,
    show_findings,
    show_guardrails,
    show_differences,
    show_metrics,
    show_labels,
    show_flips,
    show_completions,
    show_choices,
    show_calibration,
    show_thresholds,
    show_slices,
    show_label_errors,
    show_reviews,
    show_parity,
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
