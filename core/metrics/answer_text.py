"""Answers and their references as they are compared: without reasoning, case and white space."""

from __future__ import annotations

import unicodedata

END_OF_REASONING = "</think>"
NORMALISER = "NFKC, casefold, white space collapsed, ends stripped"  # what `normalise_text` does


def normalise_text(text: str) -> str:
    """The text as inputs are compared, and answers with their references by exact match."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def answer_part(text: str) -> str:
    """What is said after the reasoning: after the last `</think>`, else the whole text."""
    _, tag, answer = text.rpartition(END_OF_REASONING)
    return answer.strip() if tag else text
