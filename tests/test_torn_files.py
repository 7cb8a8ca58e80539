"""Damaged files of a run meet sentences, and one broken run hides no other."""

from __future__ import annotations

import itertools
import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest
from ftev.core.errors import RunError
from ftev.core.report.report import build_report, render_markdown
from ftev.core.run.event_lines import use_history
from ftev.core.run.events import decode_events
from ftev.core.run.runs import Run
from torn_files import DEEP, Folder, cuts, flips, make_folder, wounds

LIGHT = ("list", "facts", "status", "report")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path, "generation")


@pytest.mark.parametrize("name", ["events.jsonl", "worker.json", "notes.json", "reviews.jsonl"])
@pytest.mark.parametrize(
    "bytes_", [b'{"kind":' + b"[" * DEEP, b'{"kind":"\xff"}'], ids=["brackets", "bytes"]
)
def test_deep_brackets_and_broken_utf8_in_one_file_are_no_traceback(
    folder: Folder, name: str, bytes_: bytes
) -> None:
    folder.look((name, "a line of it", folder.files[name] + bytes_ + b"\n"), LIGHT)
    assert not folder.failed


def test_a_clock_that_jumped_is_read(folder: Folder) -> None:
    """Ten years back, twenty forward, to the end of time, and back, between the lines of a run."""
    lines = folder.files["events.jsonl"].splitlines(keepends=True)
    years = itertools.cycle((0.0, -10.0, 20.0, 1e9, -1e9))
    jumped = [
        re.sub(rb'"time":([\d.]+)', lambda m, y=y: b'"time":%.3f' % (float(m[1]) + y * 3.2e7), line)
        for line, y in zip(lines, years, strict=False)
    ]
    folder.look(("events.jsonl", "a clock that jumps", b"".join(jumped)))
    assert not folder.failed


def test_files_torn_at_random_are_read_without_a_traceback(folder: Folder) -> None:
    rng = random.Random(1)
    for damage in islice(flips(folder.files, rng), 16):
        folder.look(damage, LIGHT)
    for damage in [*cuts(folder.files, most=1), *islice(wounds(folder.files, rng), 0, None, 23)]:
        folder.look(damage, LIGHT)
    for damage in islice(flips(folder.files, rng), 1):
        folder.look(damage, ("verify", "compare", "html"))
    assert not folder.failed
    assert folder.tried > 100


@pytest.mark.parametrize("name", ["OSC and CSI", "tags"])
def test_hostile_texts_in_each_key_of_the_events_reach_no_terminal_and_no_page(
    folder: Folder, name: str
) -> None:
    assert not folder.show_hostile(name)
    assert folder.tried >= 6


def test_an_event_of_deep_brackets_is_counted_and_the_others_are_read() -> None:
    note = b'{"kind":"Note","level":"info","text":"here"}\n'
    deep = b'{"kind":"AnalysisComputed","result":' + b"[" * 100_000 + b"\n"
    events, unreadable = decode_events(note + deep + b'{"kind":"\xff"}\n' + note)
    assert len(events) == 2
    assert unreadable == 2


def test_a_line_that_does_not_fit_is_named_and_the_other_runs_are_listed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "classification")
    lines = folder.files["events.jsonl"].splitlines(keepends=True)
    place = next(
        i
        for i, line in enumerate(lines)
        if b'"split":"test","name":"thresholds","model":"tuned"' in line
    )
    event = json.loads(lines[place])
    event["result"]["at_half"]["confusion"]["labels"] = ["one"]
    lines[place] = json.dumps(event).encode() + b"\n"
    run = Run(folder.torn)
    run.events_path.write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=rf"events\.jsonl:{place + 1}: .*ValueError.*unpack"):
        use_history(run, lambda h: render_markdown(build_report(run, h)))
    assert not folder._read("list")


def test_a_fault_of_our_own_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    run = Run(make_folder(tmp_path, "generation").torn)

    def misspelt(history: object) -> object:
        return history.statuss  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="statuss"):
        use_history(run, misspelt)


def test_labels_that_miss_one_are_named_in_a_sentence(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "classification")
    events = folder.files["events.jsonl"]
    start = events.index(b'"labels":["negative"')
    short = events[:start] + b'"labels":["negative"]' + events[events.index(b"]", start) + 1 :]
    folder.look(("events.jsonl", "one label", short), ("list", "status", "report", "html"))
    assert not folder.failed
    assert (folder.torn / "events.jsonl").read_bytes() == events
