"""Plain text: a file is one document, from which the lines that are not UTF-8 are left out."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..encodings import undecodable_lines
from ..faults import DAMAGED, NOT_UTF8
from . import File, Format, Records


def read_document(file: File) -> Records:
    """The whole file as one text, without the lines that are not UTF-8."""
    data, broken = file.data, undecodable_lines(file.data)
    if broken:
        file.leave_out(NOT_UTF8, broken, DAMAGED)
        lines, left_out = data.split(b"\n"), set(broken)
        data = b"\n".join(line for i, line in enumerate(lines, 1) if i not in left_out)
    text = pl.Series("text", [data.decode()], dtype=pl.String)
    return Records({"text": text}, np.zeros(1, np.int64), np.ones(1, np.int64), 1, len(broken))


FORMAT = Format(
    endings=(".txt", ".text", ".md"),
    likeness=lambda head: 0.1,  # what nothing else claims
    read=read_document,
    is_document=True,
)
