"""The sections of the evaluation screen that are the report's own, as they are written there."""

from __future__ import annotations

from ....core.report.sections.choices import show_choices
from ....core.report.sections.completions import show_completions
from ....core.report.sections.computed import show_computed
from ....core.report.sections.data import show_data, show_leakage
from ....core.report.sections.label_errors import show_label_errors
from ....core.report.sections.notes import show_environment, show_notes
from ....core.report.sections.parity import show_parity
from ....core.report.sections.reviews import show_reviews
from ....core.report.sections.stages import show_stages
from ....core.report.sections.texts import show_answers, show_texts
from ....core.report.sections.training import show_training
from .sections import BlocksSection

NO_ANSWERS = (
    "No answers to rows of this split are stored: only data of prompts and completions has them."
)
MORE = (
    show_parity,
    show_label_errors,
    show_reviews,
    show_texts,
    show_answers,
    show_leakage,
    show_data,
    show_training,
    show_stages,
    show_computed,
    show_notes,
    show_environment,
)


def answers_section() -> BlocksSection:
    return BlocksSection("Answers", (show_completions, show_choices), NO_ANSWERS)


def texts_section() -> BlocksSection:
    told = "No held-out text was scored in this run, and no prompts were configured."
    return BlocksSection("Texts", (show_texts, show_answers), told)


def more_section() -> BlocksSection:
    return BlocksSection("More", MORE, "Nothing else is stored.")
