"""What a model is given of a row, and when two rows are given the same.

Two inputs are the same when they agree after NFKC, casefold and white-space collapse (D1). The hash
of that text joins runs, so it must not depend on the machine or on a library's version.
"""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl

from ..metrics.answer_text import normalise_text

CONTENT_BYTES = 8
# What str.split() takes for white space, save a single space, which stays as it is.
_SPACES = r"[\t-\r\x1c-\x1f ]{2,}|[\t-\r\x1c-\x1f]"


def input_of(frame: pl.DataFrame) -> pl.Series:
    """The input of each row: its text, its prompt, or its chat before the last answer."""
    if "messages" in frame.columns:
        chats = [chat_input(chat) for chat in frame["messages"].to_list()]
        return pl.Series("input", chats, dtype=pl.String)
    return frame["prompt" if "prompt" in frame.columns else "text"].alias("input")


def chat_input(chat: list[dict[str, Any]]) -> str:
    """The turns before the last answer that counts; all of them where nothing comes before it."""
    answers = (i for i, t in enumerate(chat) if t["role"] == "assistant" and t.get("weight") != 0)
    last = max(answers, default=0)
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in chat[: last or len(chat)])


def normalise(texts: pl.Series) -> pl.Series:
    """`normalise_text` of each; ASCII rows, where NFKC changes nothing, go vectorised."""
    out = texts.str.to_lowercase().str.replace_all(_SPACES, " ").str.strip_chars(" ")
    others = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if len(others):
        out = out.scatter(others, [normalise_text(text) for text in texts.gather(others)])
    return out.alias("input")


def content_hash(normalised: pl.Series) -> pl.Series:
    """A 64-bit hash of each text, as UInt64, the same everywhere and always."""
    digests = [
        hashlib.blake2b(text.encode(), digest_size=CONTENT_BYTES).digest() for text in normalised
    ]
    numbers = [int.from_bytes(digest, "big") for digest in digests]
    return pl.Series("content", numbers, dtype=pl.UInt64)
