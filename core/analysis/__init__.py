"""What the stored rows of a split say beyond the metrics: calibration, slices, flips and the like.

Each analysis is one function of an `Evaluation` and one line in `ANALYSES`; its struct stands in
`metrics.analyses`. What it yields is folded into `History.analyses`. No torch: the worker calls
them at the end of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..run.events import AnalysisComputed
from .calibration import calibration
from .choices import choices
from .completions import completions, end_tokens
from .evaluation import Evaluation, Frames
from .flips import find_flips
from .guardrails import guardrails
from .label_errors import find_label_errors
from .slices import slices
from .thresholds import at_operating_point, thresholds

__all__ = [
    "ANALYSES",
    "Evaluation",
    "Frames",
    "analyse",
    "at_operating_point",
    "guardrails",
    "thresholds",
]

Look = Callable[[Evaluation], Iterator[AnalysisComputed]]

ANALYSES: tuple[Look, ...] = (
    find_flips,
    calibration,
    thresholds,
    guardrails,
    slices,
    find_label_errors,
    completions,
    end_tokens,
    choices,
)


def analyse(e: Evaluation, looks: Sequence[Look] = ANALYSES) -> Iterator[AnalysisComputed]:
    """Every analysis that applies to a split, as facts to be written down."""
    for look in looks:
        yield from look(e)
