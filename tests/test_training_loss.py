"""Means of the training loss with their noise: against numpy, and at the bounds of each rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import story
from ftev.core.judgement.live import (
    Window,
    between,
    fell,
    hardly_moved,
    training_fell,
    windows,
)
from ftev.core.run.events import Evaluated
from ftev.core.run.history import History, fold


def trained(losses: Sequence[float], first: int = 1) -> History:
    return fold([story.step(first + i, loss) for i, loss in enumerate(losses)])


def noisy(n: int, fall: float = 0.0, seed: int = 0) -> np.ndarray:
    return 2.0 + np.random.default_rng(seed).normal(0, 0.1, n) - fall * np.arange(n)


@pytest.mark.parametrize(
    ("n", "length"),
    [(3, 1), (11, 2), (12, 3), (19, 4), (20, 5), (50, 5), (59, 5), (60, 6), (600, 60)],
)
def test_a_window_is_a_tenth_of_the_steps_and_a_quarter_of_few(n: int, length: int) -> None:
    losses = noisy(n)
    found = windows(trained(losses))
    assert [w.first for w in found] == list(range(n - length + 1))
    for w in found:
        part = losses[w.first : w.first + length]
        assert w.last_step == w.first + length
        assert w.mean == pytest.approx(part.mean())
        expected = part.std(ddof=1) / math.sqrt(length) if n >= 20 else math.inf
        assert w.error == pytest.approx(expected, rel=1e-6)


def test_windows_slide_by_more_than_a_step_where_there_are_many_and_end_with_the_series() -> None:
    found = windows(trained([1.0] * 2226))  # 222 steps each: 2,004 places, every fourth of them
    assert [w.first for w in found] == [*range(0, 2004, 4), 2004]
    assert (found[-1].last_step, found[0].mean, found[0].error) == (2226, 1.0, 0.0)


def test_hardly_any_steps_and_losses_that_are_not_finite_have_no_windows() -> None:
    assert windows(trained([1.0, 2.0])) == []
    assert windows(trained([])) == []
    assert windows(trained([1.0, math.nan, 2.0, 3.0])) == []
    assert len(windows(trained([3.0, 2.0, 1.0]))) == 3


def test_between_takes_the_steps_after_one_and_up_to_another() -> None:
    losses = noisy(12)
    found = between(trained(losses, first=5), 6, 10)  # steps 7, 8, 9 and 10
    assert found is not None
    part = losses[2:6]
    assert (found.first, found.last_step) == (2, 10)
    assert found.mean == pytest.approx(part.mean())
    assert found.error == pytest.approx(part.std(ddof=1) / 2)
    two = between(trained([1.0, 3.0, 9.0]), 0, 2)
    assert two is not None
    assert (two.mean, two.error) == (2.0, pytest.approx(1.0))
    assert between(trained([1.0, 3.0]), 1, 2) is None
    assert between(trained([1.0, math.inf, 2.0]), 0, 3) is None
    assert between(trained([1.0, math.inf, 2.0, 4.0]), 2, 4) is not None


@pytest.mark.parametrize(
    ("change", "errors", "expected"),
    [
        (-0.5, (0.15, 0.2), None),  # 2 standard errors of 0.25: noise still
        (0.5, (0.15, 0.2), None),
        (-0.51, (0.15, 0.2), True),
        (0.51, (0.15, 0.2), False),
        (0.0, (0.0, 0.0), None),
        (-9.0, (math.inf, 0.0), None),
    ],
)
def test_V10_what_lies_within_two_standard_errors_neither_fell_nor_rose(
    change: float, errors: tuple[float, float], expected: bool | None
) -> None:
    before, after = Window(0, 4, 1.0, errors[0]), Window(4, 8, 1.0 + change, errors[1])
    assert fell(before, after) is expected
    assert fell(None, after) is None
    assert fell(before, None) is None


@pytest.mark.parametrize("step", [0, 4, 8, 36])
def test_the_steps_that_led_to_one_are_compared_with_as_many_at_the_end(step: int) -> None:
    """Of 40 steps 4 each: means of 2 until step 36, of 1 or 3 at the end."""
    wave = [0.01, -0.01] * 20
    for end, expected in ((1.0, True), (3.0, False), (2.0, None)):
        losses = [2.0 + w for w in wave[:36]] + [end + w for w in wave[36:]]
        assert training_fell(trained(losses), step) is expected
        assert training_fell(trained(losses), 40) is None


def test_at_least_three_steps_stand_on_either_side() -> None:
    falling = [3.0, 3.01, 3.02, 1.0, 1.01, 1.02]
    assert training_fell(trained(falling), 3) is True
    assert training_fell(trained(falling[1:]), 2) is None
    assert training_fell(trained([]), 0) is None
    assert training_fell(trained([*falling[:3], 3.0, *falling[3:]]), 1) is True
    late = [3.0, 3.01, 3.02, -1.0, 1.0, 1.01, 1.02]
    assert training_fell(trained(late), 4) is None, "steps 2 to 4 have 3.01, 3.02 and -1.0"


def evaluated(
    step: int, loss: float, changes: Sequence[tuple[int, float, float]] = ()
) -> Evaluated:
    return Evaluated(
        split="validation", model="tuned", step=step, epoch=0.0, rows=100, loss_sum=loss * 100,
        loss_count=100, correct=50, count=100, changes=[*changes],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "error", "still"),
    [
        (-0.0005, 0.0001, True),  # 0.0005 + 2 x 0.0001 is below 0.002 of 1.0, though not level
        (-0.0025, 0.0001, False),
        (0.0005, 0.0001, True),
        (-0.0017, 0.0001, True),
        (-0.0019, 0.0001, False),
        (-0.001, 0.0006, True),  # level, and the training loss is flat
    ],
)
def test_next_to_nothing_is_two_thousandths_of_the_validation_loss(
    difference: float, error: float, still: bool
) -> None:
    wave = [2.0 + 0.001 * (-1) ** i for i in range(40)]
    history = fold(
        [
            evaluated(0, 1.0),
            *(story.step(i + 1, loss) for i, loss in enumerate(wave)),
            evaluated(40, 1.0 + difference, [(0, difference, error)]),
        ]
    )
    assert hardly_moved(history) is still


def test_training_that_moved_its_own_loss_did_something() -> None:
    wave = [0.001 * (-1) ** i for i in range(40)]
    assert hardly_moved(trained([2.0 + w for w in wave]))
    assert not hardly_moved(trained([2.0 + w - 0.01 * i for i, w in enumerate(wave)]))
    assert not hardly_moved(trained([2.0 + w + 0.01 * i for i, w in enumerate(wave)]))
    up = [2.0 + w + (0.035 if i > 20 else 0.0) for i, w in enumerate(wave)]
    assert hardly_moved(trained(up)), "a clear rise of less than 2 % is no training"
    up = [2.0 + w + (0.05 if i > 20 else 0.0) for i, w in enumerate(wave)]
    assert not hardly_moved(trained(up))
    assert not hardly_moved(trained([2.0] * 19)), "few steps have no noise that is known"
    assert hardly_moved(trained([2.0] * 20))
    assert not hardly_moved(trained([]))
