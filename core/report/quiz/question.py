"""A question with its choices, one of them right, made from the numbers of one run."""

from __future__ import annotations

import random

import msgspec

LETTERS = "abcdefgh"


class Question(msgspec.Struct, frozen=True):
    """`choices` by letter; `right` is the letter of the true one, all others are false here."""

    topic: str
    text: str
    choices: dict[str, str]
    right: str
    explanation: str
    see: list[str]  # terms of the glossary


def ask(
    topic: str, text: str, right: str, wrong: list[str], told: tuple[str, list[str]], seed: int
) -> Question:
    """The choices in an order that the seed gives; `told` is the explanation and its terms."""
    choices = [right, *wrong]
    random.Random(f"{seed} {topic}").shuffle(choices)
    lettered = dict(zip(LETTERS, choices, strict=False))
    letter = next(name for name, choice in lettered.items() if choice == right)
    return Question(topic, text, lettered, letter, *told)
