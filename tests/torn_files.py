"""Runs whose files are damaged in every way that a disk, a copy or a killed writer damages them."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec
from ftev.core.catalog.notes import RunNotes, write_notes
from ftev.core.catalog.run_facts import glance, read_facts, status_of
from ftev.core.report.review.review import Judgement, append, find_pairs
from ftev.core.run.runs import Run, WorkerInfo
from ftev.core.wording.text import CONTROL
from ftev.tui.cli import main

SAMPLES = Path(__file__).parents[1] / "sample_runs"
WHOLE, TORN = "whole", "torn"
DEEP = 3_000
LONG = 4 << 20  # bytes of a line
READERS = ("list", "facts", "status", "report", "html", "verify", "compare")
KEYS = (b"text", b"input", b"name", b"prompt", b"tuned", b"base", b"note", b"source", b"error")
TAGS = ("<script>alert", "<img src=x", 'href="javascript:')
HOSTILE = {
    "OSC and CSI": "\x1b]8;;http://x\x07a\x1b]0;b\x07\x1b[2J\x1b[31m",
    "C1": "\x9b31m\x9d0;c\x9c",
    "bidi": "\u202e\u2066abc\u2069\u200f",
    "zero width": "\u200b\u2060\ufeff\U000e0041",
    "tags": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'",
    "links": '[a](javascript:alert(1)) <a href="javascript:alert(1)">',
    "markup": "[bold red]x[/] [link=http://x]y[/link] ``` | # *",
}
Damage = tuple[str, str, bytes]  # file, how it was damaged, what it holds now


@dataclass
class Folder:
    """A folder with a whole run and one that is torn, file by file."""

    path: Path
    files: dict[str, bytes]  # of the torn run, as they were
    failed: list[str] = field(default_factory=list)
    tried: int = 0

    @property
    def torn(self) -> Path:
        return self.path / TORN

    def look(self, damage: Damage, readers: tuple[str, ...] = READERS) -> None:
        """Damage one file, read the run in every way, and put the file back."""
        name, how, content = damage
        (self.torn / name).write_bytes(content)
        try:
            for reader in readers:
                self.tried += 1
                if fault := self._read(reader):
                    self.failed.append(f"{reader} of {name}, {how}: {fault}")
        finally:
            (self.torn / name).write_bytes(self.files[name])

    def _read(self, reader: str) -> str:
        said, complaints = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaints):
                if reader == "facts":
                    run = Run(self.torn)
                    status_of(run, glance(run))
                    status_of(run, read_facts(run))
                    return ""
                code = main([*self._command(reader), "--runs-dir", str(self.path)])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # polars panics with one that is no Exception
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            return f"{type(error).__name__} at {place}: {str(error)[:100]}"
        if reader == "list" and not re.search(rf"^{WHOLE} .*finished", said.getvalue(), re.M):
            return "the whole run is hidden"
        if code and not complaints.getvalue():
            return f"exit code {code} without a word"
        return ""

    def show_hostile(self, name: str) -> list[str]:
        """What of a hostile text in one key of the events reaches the terminal or the HTML."""
        bad = HOSTILE[name]
        result = json.dumps(bad)[1:-1].encode()
        keys = rb'("(?:%s)":")' % b"|".join(KEYS)
        content = re.sub(keys, lambda m: m[1] + result, self.files["events.jsonl"])
        (self.torn / "events.jsonl").write_bytes(content)
        write_notes(Run(self.torn), RunNotes(name=bad, tags=(bad,), note=bad))
        found: list[str] = []
        for reader in ("list", "status", "report", "html", "verify", "flips"):
            self.tried += 1
            said, complaints = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaints):
                main([*self._command(reader), "--runs-dir", str(self.path)])
            shown = (said.getvalue() + complaints.getvalue()).replace("\n", "").replace("\t", "")
            found += [f"{reader}: {m[0]!r}" for m in islice(CONTROL.finditer(shown), 1)]
        pages = [p.read_text(encoding="utf-8") for p in (self.path / "out").glob("*.html")]
        assert pages, "no page was written"
        found += [f"html: {tag}" for tag in TAGS for page in pages if tag in page]
        return found

    def _command(self, reader: str) -> list[str]:
        return {
            "list": ["list"],
            "status": ["status", TORN],
            "report": ["report", TORN],
            "html": ["report", TORN, "--format", "html,json,csv", "--out", str(self.path / "out")],
            "verify": ["verify", TORN],
            "flips": ["flips", TORN],
            "compare": ["compare", TORN, WHOLE],
        }[reader]


def make_folder(path: Path, task: str) -> Folder:
    """Two copies of a sample run with everything beside them that people and workers write."""
    for name in (WHOLE, TORN):
        shutil.copytree(SAMPLES / task, path / name)
    run = Run(path / TORN)
    write_notes(run, RunNotes(name="torn here", tags=("good",), note="a note"))
    info = WorkerInfo(pid=1, started=1.0, host="elsewhere", socket="/tmp/none.sock")
    run.worker_path.write_bytes(msgspec.json.encode(info))
    if task == "generation":
        for pair in find_pairs(run).pairs[:3]:
            judgement = Judgement(pair=pair.pair, reviewer="a", choice="tie", seed=0, time=1.0)
            append(run.path / "reviews.jsonl", judgement)
    kept = ("*.json*", "run.toml", "predictions/*.parquet")
    files = {
        p.relative_to(run.path).as_posix(): p.read_bytes()
        for pattern in kept
        for p in sorted(run.path.glob(pattern))
    }
    return Folder(path, files)


def flips(files: dict[str, bytes], rng: random.Random) -> Iterator[Damage]:
    """One bit each: half of them in the events, the others in every other file equally often."""
    events = "events.jsonl"
    names = [*sorted(files), *[events] * (len(files) - 2)]
    while True:
        name = rng.choice(names)
        content = bytearray(files[name])
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        content[place] ^= 1 << bit
        yield name, f"bit {bit} of byte {place}", bytes(content)


def cuts(files: dict[str, bytes], lines: int = 3, most: int = 2_000) -> Iterator[Damage]:
    """Ended at each byte of the last lines; at some where these are long."""
    for name, content in sorted(files.items()):
        start = len(b"\n".join(content.split(b"\n")[: -lines - 1]))
        step = max(1, (len(content) - start) // most)
        for end in range(start, len(content), step):
            yield name, f"cut at byte {end}", content[:end]


def wounds(files: dict[str, bytes], rng: random.Random) -> Iterator[Damage]:
    """Blocks of NUL, brackets within each other, lines of some MB, bytes that are no UTF-8."""
    makers: tuple[tuple[str, Callable[[], bytes]], ...] = (
        ("a block of NUL", lambda: b"\0" * 4096),
        ("nested brackets", lambda: b"[" * DEEP + b"]" * DEEP),
        ("open brackets", lambda: b'{"a":' * DEEP),
        ("a long line", lambda: b"x" * LONG),
        ("no UTF-8", lambda: b"\xff\xfe\x80"),
        ("a large number", lambda: b"9" * 400),
    )
    for name, content in sorted(files.items()):
        values = [m.span(1) for m in re.finditer(rb'[:=] ?("[^"\n]*"|[\w.+-]+)', content)]
        for what, make in makers:
            place = rng.randrange(len(content))
            yield name, f"{what} over byte {place}", content[:place] + make() + content[place:]
            yield name, f"{what} at its end", content + make()
            yield name, f"{what} alone", make()
            if values:
                start, end = rng.choice(values)
                text = f"{what} for the value at byte {start}"
                yield name, text, content[:start] + make() + content[end:]
