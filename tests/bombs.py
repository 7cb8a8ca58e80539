"""Files that are small, or legal, and hold more than anybody can mean."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
from ftev.tui import cli

MIB = 1 << 20
COLUMNS = 100_000


def many_rows(path: Path) -> None:
    """Hundreds of kilobytes, 40 million rows."""
    part = pl.LazyFrame({"text": ["a text of some words"] * 2_000_000, "label": [0] * 2_000_000})
    pl.concat([part] * 20).sink_parquet(path)


def repeated_text(path: Path) -> None:
    """Some kilobytes, a text of a mebibyte in each of 500 rows."""
    part = pl.LazyFrame({"text": ["a" * MIB] * 20, "label": [0, 1] * 10})
    pl.concat([part] * 25).sink_parquet(path)


def packed_text(path: Path) -> None:
    """Some 60 kB of zstandard, one text of 600 MiB."""
    text = "word " * (600 * MIB // 5)
    pl.DataFrame({"text": [text, "b", "c"], "label": ["x", "y", "x"]}).write_parquet(path)


def long_cell(path: Path) -> None:
    """A table of 100 rows and one of 200 MB."""
    rows = [(f"some text {i}", "ab"[i % 2]) for i in range(100)] + [("word " * 40_000_000, "a")]
    with path.open("w", encoding="utf-8") as file:
        if path.suffix == ".csv":
            file.write("text,label\n")
            file.writelines(f"{text},{label}\n" for text, label in rows)
        else:
            file.writelines(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows)


def wide(path: Path) -> None:
    """Ten rows of 100,000 columns."""
    names = [f"c{i}" for i in range(COLUMNS)]
    if path.suffix == ".csv":
        lines = [",".join(names), *[",".join("1" * COLUMNS)] * 10]
    else:
        lines = [json.dumps(dict.fromkeys(names, 1))] * 10
    if path.suffix == ".parquet":
        pl.DataFrame({name: [1, 2] for name in names}).write_parquet(path)
    else:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def own_keys(path: Path) -> None:
    """A key of its own in each of 9,000 rows: 81 million cells in a file of 200 kB."""
    path.write_text("".join(json.dumps({f"c{i}": 1}) + "\n" for i in range(9_000)))


def packed_rows(path: Path) -> None:
    """Some 600 kB of gzip, 600 MB of rows."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"text,label\n")
        for _ in range(600):
            file.write(b"a,b\n" * (MIB // 4))


BOMBS: dict[str, Callable[[Path], None]] = {
    "many_rows.parquet": many_rows,
    "repeated_text.parquet": repeated_text,
    "packed_text.parquet": packed_text,
    "wide.parquet": wide,
    "long_cell.csv": long_cell,
    "wide.csv": wide,
    "packed_rows.csv.gz": packed_rows,
    "long_cell.jsonl": long_cell,
    "wide.jsonl": wide,
    "own_keys.jsonl": own_keys,
}
SMALL = (
    "repeated_text.parquet",
    "own_keys.jsonl",
    "wide.csv",
    "packed_rows.csv.gz",
)  # made and refused in a second


class Checked(NamedTuple):
    """What came of `ftev-tui check`."""

    code: int
    said: str
    peak: int  # MiB
    seconds: float


def check(data: Path, most: int) -> Checked:
    """The command in a process that may have `most` MiB of addresses."""
    config = data.parent / "run.toml"
    config.write_text(
        f'task = "classification"\n[model]\nbase = "ftev-demo/encoder"\n[data]\ntrain = "{data}"\n'
    )
    command = [sys.executable, "-P", __file__, str(most), "check", str(config)]
    started = time.monotonic()
    from waiting import patience  # the checked process has only this file

    bound = patience(300)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=bound)
    peak = int(done.stdout.rpartition("\n")[2] or 0)
    return Checked(done.returncode, done.stderr, peak, time.monotonic() - started)


def main() -> int:
    """A command under a limit; the last line printed is the memory that it filled, in MiB."""
    limit = int(sys.argv[1]) * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    code = cli.main(sys.argv[2:])
    status = Path("/proc/self/status").read_text()
    print("", int(status.partition("VmHWM:")[2].split()[0]) >> 10, sep="\n", end="")
    return code


if __name__ == "__main__":
    sys.exit(main())
