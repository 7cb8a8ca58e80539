"""The sections of the evaluation screen that are the report's own, as they are written there."""

from __future__ import annotations

from ....core.report.blocks import SECTIONS
from ....core.report.sections.choices import show_choices
from ....core.report.sections.completions import show_completions
from ....core.report.sections.texts import show_answers, show_texts
from .sections import BlocksSection

NO_ANSWERS = (
    "No answers to rows of this split are stored: only data of prompts and completions has them."
)


def answers_section() -> BlocksSection:
    return BlocksSection("Answers", (show_completions, show_choices), NO_ANSWERS)


def texts_section() -> BlocksSection:
    told = "No held-out text was scored in this run, and no prompts were configured."
    return BlocksSection("Texts", (show_texts, show_answers), told)


def more_section() -> BlocksSection:
    """The sections of the report that have no pane of their own."""
    kept = [section for section in SECTIONS if section.more is not None]
    shown = sorted(kept, key=lambda section: section.more or 0)
    return BlocksSection("More", [section.show for section in shown], "Nothing else is stored.")
