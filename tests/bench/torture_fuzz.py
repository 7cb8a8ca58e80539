"""Files and messages that nobody wrote, by the hundred thousand: refused in words, or read."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from fuzzed import TARGETS, inputs, opened, try_each

Row = tuple[str, int, list[str]]


def fuzz(options: argparse.Namespace) -> Iterator[Row]:
    """Mutations of what ftev writes, in each format: no traceback, none slow, memory bounded."""
    for name in options.of or TARGETS:
        with opened(name) as target:
            tried = try_each(target, inputs(target, options.inputs, options.seed))
        what = f"{name}: {tried.refused:,} refused, slowest {tried.slowest:.2f} s"
        failed = [f"{fault}: {data[:60]!r}" for fault, data in tried.failed.items()]
        yield f"{what}, +{tried.growth} MiB", tried.count, failed
