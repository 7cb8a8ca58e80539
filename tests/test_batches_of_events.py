"""Events folded in batches give the history that they give one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import story
from ftev.core.run.events import (
    AnyEvent,
    EventReader,
    EventWriter,
    Note,
    Progress,
    SystemSampled,
    decode_events,
    encode_event,
)
from ftev.core.run.history import History, fold
from msgspec.structs import replace


def one_by_one(events: list[AnyEvent]) -> History:
    history = History()
    for event in events:
        history.add(event)
    return history


IMPOSSIBLE = [
    replace(story.step(5), time=-1.0),
    replace(story.step(5), time=math.nan),
    replace(story.step(5), time=1e18),
    replace(story.step(2**70)),
    replace(story.step(5), tokens=2**64),
]


@pytest.mark.parametrize("bad", [None, *IMPOSSIBLE])
def test_batches_and_single_events_fold_alike(bad: AnyEvent | None) -> None:
    events = [*story.whole()]
    if bad is not None:
        events.insert(len(events) // 2, bad)
    sample = SystemSampled(memory=1, cpu=0.5, time=7.0)
    events += [replace(story.step(90), time=5.0), sample, replace(story.step(91), skipped=True)]
    a, b = fold(events), one_by_one(events)
    assert a == b
    assert a.unreadable_lines == (bad is not None)
    assert a.steps.skipped == 1


def test_lines_are_counted_whole_or_damaged() -> None:
    good = encode_event(story.step(1))
    assert len(decode_events(good * 3)[0]) == 3
    assert decode_events(b"") == ([], 0)
    events, lost = decode_events(good + b"\n  \n" + b'{"kind":"No\n' + good + b"{}{}\n")
    assert (len(events), lost) == (2, 2)
    events, lost = decode_events(good.rstrip() + good)  # two on one line are no line
    assert (len(events), lost) == (0, 1)


def test_a_damaged_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write(*(story.step(n) for n in range(50)))
    writer.close()
    with path.open("ab") as file:
        file.write(b"\x00\xff garbage\n" + encode_event(Note(level="info", text="end")))
    for chunk in (64, 1 << 20):
        reader = EventReader(path, chunk)
        assert len(list(reader.read_all())) == 51
        assert reader.unreadable == 1


@pytest.mark.parametrize("build", [fold, one_by_one])
def test_a_step_ends_the_progress_of_what_came_before(build: Callable[..., History]) -> None:
    """The probe's fitting is told once, at its beginning; training must not wear its words."""
    under_way = Progress(what="fitting the probe", done=0, total=1, time=4.0)
    assert build([under_way]).progress == under_way
    assert build([under_way, story.step(1), story.step(2)]).progress is None
    assert build([story.step(1), under_way]).progress == under_way
