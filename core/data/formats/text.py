"""Plain text: a file is one document, or several between lines of the usual separator.

Lines that are not UTF-8 are left out, and every line ends in one line feed.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ..encodings import undecodable_lines
from ..faults import DAMAGED, NOT_UTF8
from . import File, Format, Records

SEPARATOR = "<|endoftext|>"  # as GPT-2's data and most since divide documents


def read_document(file: File) -> Records:
    """The texts of a file, without the lines that are not UTF-8."""
    data, broken = file.data, undecodable_lines(file.data)
    if broken:
        file.leave_out(NOT_UTF8, broken, DAMAGED)
        lines, left_out = data.split(b"\n"), set(broken)
        data = b"\n".join(line for i, line in enumerate(lines, 1) if i not in left_out)
    texts = _even_ends(data.decode(), file.notes).split(SEPARATOR)
    starts = 1 + np.cumsum([0, *(text.count("\n") for text in texts[:-1])])
    if len(texts) > 1:
        file.notes.append(f"cut into documents at each {SEPARATOR}")
        starts = starts[[bool(text.strip()) for text in texts]]
        texts = [text.strip("\n") for text in texts if text.strip()]
    count = len(texts)
    column = pl.Series("text", texts, dtype=pl.String)
    return Records({"text": column}, np.arange(count), starts, count, len(broken))


def _even_ends(text: str, notes: list[str]) -> str:
    """With `\\n` at the end of each line, as a model's tokenizer knows it."""
    returns = text.count("\r\n") or (0 if "\n" in text else text.count("\r"))
    if returns:
        notes.append(f"{returns:,} line ends of Windows or an old Mac read as plain ones")
        text = text.replace("\r\n", "\n")
        text = text if "\n" in text else text.replace("\r", "\n")
    return text


FORMAT = Format(
    endings=(".txt", ".text", ".md"),
    likeness=lambda head: 0.1,  # what nothing else claims
    read=read_document,
    is_document=True,
)
