"""What a long run's charts need is made ahead, block by block, and is the same as made at once."""

from __future__ import annotations

import threading

import pytest
from ftev.core.run.events import StepDone
from ftev.core.run.history import fold
from ftev.tui.drawing.series import SMOOTHINGS
from ftev.tui.screens.charts import chart
from ftev.tui.screens.charts.chart import make_ahead
from ftev.tui.screens.charts.data import ChartData


def data_of(steps: int) -> ChartData:
    def loss(n: int) -> float:
        return float("nan") if n % 97 == 5 else 1 + (n * 7919 % 100) / 100

    events = [
        StepDone(
            step=n,
            epoch=n / 100,
            loss_sum=loss(n),
            loss_count=1,
            learning_rate=1e-4,
            grad_norm=loss(n + 1),
            tokens=10 + n % 3,
            seconds=0.1,
            time=1e9 + n,
        )
        for n in range(1, steps + 1)
    ]
    data = ChartData()
    data.update(fold(events))
    return data


def test_blocks_make_the_same_averages_and_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "LONG", 100)
    monkeypatch.setattr(chart, "BLOCK", 64)
    ahead, at_once = data_of(1000), data_of(1000)
    make_ahead(ahead, threading.RLock(), lambda: True)
    for axis in ("time", "tokens"):
        assert len(ahead._seconds) == len(ahead._tokens) == 1000
        assert list(ahead.xs(axis)) == list(at_once.xs(axis))
    for name in ("loss", "grad_norm", "tokens_per_second"):
        made, wanted = ahead.chart(name).series[0], at_once.chart(name).series[0]
        for share in SMOOTHINGS[1:]:
            assert len(made.average(share).series) == 1000
            told = [
                (float(v).hex(), float(w).hex())
                for v, w in zip(
                    made.smoothed(share).values, wanted.smoothed(share).values, strict=True
                )
            ]
            assert all(v == w for v, w in told)


def test_a_short_run_and_a_closed_screen_make_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(1000)
    make_ahead(data, threading.RLock(), lambda: True)
    assert not len(data._seconds)
    monkeypatch.setattr(chart, "LONG", 100)
    make_ahead(data, threading.RLock(), lambda: False)
    assert not len(data._seconds)


def test_steps_taken_back_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "LONG", 100)
    monkeypatch.setattr(chart, "BLOCK", 64)
    data = data_of(1000)
    rounds = iter(range(10_000))

    def wanted() -> bool:
        if next(rounds) == 5:  # a resumed run: fewer steps than were drawn
            for name in ("loss", "time", "tokens"):
                del getattr(data.history.steps, name)[200:]
        return True

    make_ahead(data, threading.RLock(), wanted)
    assert next(rounds) < 1000
