"""The prompts of a split as a model is asked them, each with the reference answer it is held to.

The same rendering as in training (M3): the ids of a prompt here begin the row that was scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..models.models import Loaded, stop_ids
from .chats import Message, counts, render_chat, render_prompt, runs
from .rows import encode, prompt_text

LEAST_LIMIT = 16  # tokens: where references are a word or two, an answer still shows itself
FORMS = ("prompt_completion", "messages")  # how rows with references are made


@dataclass(frozen=True)
class Question:
    """One prompt: its text, its reference, and the reference's length in tokens, its end out."""

    row_id: int
    prompt: str
    reference: str
    reference_tokens: int
    ids: list[int]


def draw_questions(frame: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many rows, drawn by seed, in their order: the first ones may be sorted."""
    if frame.height <= most:
        return frame
    drawn = np.random.default_rng(seed).permutation(frame.height)[:most]
    return frame[np.sort(drawn)]


def questions(frame: pl.DataFrame, loaded: Loaded, form: str) -> Iterator[Question]:
    """A question for each row that has a prompt and a reference."""
    if form == "prompt_completion":
        yield from _of_pairs(frame, loaded)
    elif form == "messages":
        yield from _of_chats(frame, loaded)


def _of_pairs(frame: pl.DataFrame, loaded: Loaded) -> Iterator[Question]:
    for number, prompt, reference in frame.select("row_id", "prompt", "completion").iter_rows():
        head, wanted = encode(loaded, [prompt_text(prompt, reference), reference])
        yield Question(number, prompt, reference, len(wanted), [loaded.prefix_id, *head])


def _of_chats(frame: pl.DataFrame, loaded: Loaded) -> Iterator[Question]:
    """The last assistant turn that is scored is the reference; all before it is the prompt."""
    for number, chat in frame.select("row_id", "messages").iter_rows():
        last = max((k for k, message in enumerate(chat) if counts(message)), default=0)
        if not last:
            continue
        ids = render_prompt(chat[:last], loaded.tokenizer)
        reference, length = _reference(chat[: last + 1], loaded)
        yield Question(number, _told(chat[:last]), reference, length, ids)


def _reference(chat: list[Message], loaded: Loaded) -> tuple[str, int]:
    """What the last turn says, its reasoning as the template renders it, and its tokens.

    Every token that the model must write counts, or an answer with reasoning would not fit.
    """
    stop, message = stop_ids(loaded), chat[-1]
    ids, scored = render_chat(chat, loaded.tokenizer, stop)
    start, end = list(runs(scored))[-1]
    written = ids[start : end - 1] if ids[end - 1] in stop else ids[start:end]
    if not message.get("reasoning_content"):
        return message["content"], len(written)
    text: str = loaded.tokenizer.decode(written, clean_up_tokenization_spaces=False)
    return text, len(written)


def _told(chat: Sequence[Message]) -> str:
    return "\n".join(f"{m['role']}: {m['content']}" for m in chat)


def answer_limit(asked: Sequence[Question], most: int, max_length: int) -> int:
    """Tokens that an answer may have: one and a half of the longest reference, within bounds.

    Never more than half of what the model can read, so that the prompt keeps the other half.
    """
    longest = max(q.reference_tokens for q in asked)
    wanted = max(LEAST_LIMIT, longest + -(-longest // 2))
    return max(1, min(wanted, most, max_length // 2))


def fit_prompt(ids: list[int], room: int) -> list[int]:
    """What is too long loses its beginning, but not the prefix token that everything follows."""
    return ids if len(ids) <= room else [ids[0], *ids[len(ids) - room + 1 :]]
