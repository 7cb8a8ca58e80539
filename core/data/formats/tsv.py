"""Tab-separated files: a quote is text, wherever it stands."""

from __future__ import annotations

from . import File, Format, Records, first_lines
from .csv import Layout, read_delimited, separated_alike, take_separator_line


def read_tsv(file: File) -> Records:
    """Records divided by tabs, unless the config or a line `sep=` says otherwise."""
    data, named = take_separator_line(file.data)
    separator = file.reading.separator if file.reading.separator != "auto" else named
    return read_delimited(file, data, Layout(separator or "\t", quoted=False))


FORMAT = Format(
    endings=(".tsv", ".tab"),
    likeness=lambda head: 0.5 * separated_alike(first_lines(head), "\t"),
    read=read_tsv,
    has_header=True,
)
