"""Events are written and read back as they were, from a file that may be in motion."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import records
from ftev.core.metrics.results import Estimate, ModelResult
from ftev.core.run.events import (
    AnyEvent,
    Event,
    EventReader,
    EventWriter,
    Note,
    ResultsComputed,
    RunFinished,
    StepDone,
    decode_event,
    encode_event,
)
from hypothesis import given
from hypothesis import strategies as st


def step(number: int = 1, loss: float = 0.5, **changed: float) -> StepDone:
    return StepDone(
        step=number,
        epoch=0.1,
        loss_sum=loss,
        loss_count=1,
        learning_rate=1e-4,
        grad_norm=changed.get("grad_norm", 1.0),
        tokens=10,
        seconds=0.1,
    )


def written(path: Path, *events: Event) -> Path:
    writer = EventWriter(path)
    writer.write(*events)
    writer.close()
    return path


def read_all(path: Path, chunk: int = 4 << 20) -> list[AnyEvent]:
    return list(EventReader(path, chunk).read_all())


def test_a_line_is_json_with_its_kind() -> None:
    values = json.loads(encode_event(Note(level="info", text="a\nb")))
    assert values == {"kind": "Note", "level": "info", "text": "a\nb"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_survive(value: float) -> None:
    line = encode_event(step(loss=value, grad_norm=value))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = decode_event(line)
    assert isinstance(back, StepDone)
    for got in (back.loss_sum, back.grad_norm):
        assert got == value or (math.isnan(got) and math.isnan(value))


def test_infinities_inside_results_survive() -> None:
    loss = Estimate(math.inf, math.nan, 1.0, "none")
    line = encode_event(records.results("test", "tuned", ModelResult(n=1, metrics={"loss": loss})))
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert json.loads(line)["result"]["metrics"]["loss"]["value"] == "Infinity"
    back = decode_event(line)
    assert isinstance(back, ResultsComputed)
    read = back.result.metrics["loss"]
    assert (read.value, read.high, math.isnan(read.low)) == (math.inf, 1.0, True)


def test_the_word_null_in_a_text_is_a_word() -> None:
    event = Note(level="info", text="null")
    assert decode_event(encode_event(event)) == event


@given(
    st.floats(),
    st.integers(min_value=0, max_value=2**62),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_every_event_comes_back(loss: float, number: int, text: str) -> None:
    for event in (step(number, loss), Note(level="warning", text=text)):
        line = encode_event(event)
        assert line.count(b"\n") == 1
        assert repr(decode_event(line)) == repr(event)


def test_unknown_kinds_and_damaged_lines_are_counted_not_obeyed(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", Note(level="info", text="one"))
    with path.open("ab") as file:
        file.write(b'{"kind": "FromTheFuture", "x": 1}\n{"kind": "Note"\n\xff\xfe\n\n')
        file.write(b'{"kind":"Note","level":"info","text":"two","new_field":[1]}\n')
    reader = EventReader(path)
    texts = [e.text for e in reader.read_all() if isinstance(e, Note)]
    assert texts == ["one", "two"]
    assert reader.unreadable == 3


def test_a_half_written_line_is_left_for_next_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first, second = encode_event(step(1)), encode_event(step(2))
    reader = EventReader(path)
    assert reader.read() == []  # not there yet
    path.write_bytes(first + second[:20])
    assert [e.step for e in reader.read()] == [1]  # type: ignore[union-attr]
    with path.open("ab") as file:
        file.write(second[20:])
    assert [e.step for e in reader.read()] == [2]  # type: ignore[union-attr]
    assert reader.read() == []
    assert reader.unreadable == 0


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_reads_are_bounded_and_lose_nothing(tmp_path: Path, chunk: int) -> None:
    path = written(tmp_path / "events.jsonl", *(step(n) for n in range(20)))
    reader = EventReader(path, chunk)
    before = reader.offset
    reader.read()
    assert reader.offset - before <= chunk
    assert [e.step for e in read_all(path, chunk) if isinstance(e, StepDone)] == list(range(20))


def test_a_writer_closes_the_line_of_one_that_died(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_event(step(1)) + encode_event(step(2))[:15])
    written(path, step(3))
    reader = EventReader(path)
    assert [e.step for e in reader.read_all() if isinstance(e, StepDone)] == [1, 3]
    assert reader.unreadable == 1


def test_events_are_stamped_once(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", RunFinished(status="finished"), step(1))
    stamped = read_all(path)
    assert all(e.time > 1.6e9 for e in stamped)
    again = written(tmp_path / "copy.jsonl", *stamped)
    assert [e.time for e in read_all(again)] == [e.time for e in stamped]


def test_written_events_are_there_before_the_writer_closes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write(records.comparisons([{"low": "NaN"}]))
    assert len(read_all(path)) == 1
    writer.close()
