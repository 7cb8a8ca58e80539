"""The arithmetic of charts."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from ftev.tui.drawing.lines import text_of
from ftev.tui.drawing.plot import (
    ASCII,
    BLOCK,
    BRAILLE,
    Raster,
    Scale,
    column_parts,
    edge_parts,
    nice_range,
    nice_ticks,
)
from ftev.tui.drawing.series import Pyramid


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1023, 1024, 1025, 5000])
def test_a_pyramid_tells_the_extremes_of_any_range(count: int) -> None:
    dice = random.Random(count)
    values = [dice.gauss(0, 1) for _ in range(count)]
    pyramid = Pyramid()
    pyramid.extend(values)
    for _ in range(200):
        start = dice.randint(0, count)
        end = dice.randint(start, count)
        part = values[start:end]
        expected = (min(part), max(part)) if part else (math.inf, -math.inf)
        assert pyramid.span(start, end) == expected


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    pyramid = Pyramid()
    pyramid.extend([1.0, math.nan, 3.0, math.inf])
    assert pyramid.span(0, 4) == (1.0, 3.0)
    assert list(pyramid.not_finite) == [1, 3]


def test_a_spike_of_one_step_among_twenty_thousand_is_always_seen() -> None:
    for at in (0, 1, 777, 9_999, 19_999):
        pyramid = Pyramid()
        pyramid.extend(9.0 if i == at else 1.0 for i in range(20_000))
        parts = column_parts(range(20_000), pyramid, 0, 20_000, 160)
        assert max(part.high for part in parts) == 9.0
        assert len(parts) <= 160


def test_columns_cover_each_point_once() -> None:
    pyramid = Pyramid()
    pyramid.extend(float(i) for i in range(1000))
    parts = column_parts(range(1000), pyramid, 0, 999, 64)
    assert parts[0].low == 0
    assert parts[-1].high == 999
    assert all(b.low == a.high + 1 for a, b in pairwise(parts))


def test_a_line_is_seen_between_two_of_its_points() -> None:
    enters, leaves = edge_parts([0, 10, 20], [0.0, 1.0, 3.0], 4, 16, 50)
    assert [(p.x, p.first) for p in enters] == [(0, pytest.approx(0.4))]
    assert [(p.x, p.first) for p in leaves] == [(49, pytest.approx(2.2))]
    enters, leaves = edge_parts([0, 10, 20], [0.0, 1.0, 3.0], 12, 18, 50)  # no point in sight
    assert [p.first for p in (*enters, *leaves)] == [pytest.approx(1.4), pytest.approx(2.6)]
    assert edge_parts([0, 10], [0.0, 1.0], 0, 10, 50) == ([], [])  # its ends are in sight
    assert edge_parts([0, 10], [0.0, 1.0], 11, 20, 50) == ([], [])  # it ended before
    assert edge_parts([0, 10], [math.nan, 1.0], 5, 10, 50) == ([], [])
    assert edge_parts([], [], 0, 1, 50) == ([], [])


def test_ticks_and_ranges_are_round() -> None:
    assert nice_ticks(0, 1, 4) == [0, 0.2, 0.4, pytest.approx(0.6), 0.8, 1.0]
    assert nice_ticks(3, 3, 4) == [3]
    assert nice_range(0.123, 0.71, 5) == (pytest.approx(0.1), pytest.approx(0.8))
    assert nice_range(math.inf, -math.inf) == (0.0, 1.0)
    low, high = nice_range(2.0, 2.0)
    assert low < 2.0 < high


def test_a_scale_counts_rows_from_the_top() -> None:
    scale = Scale(0.0, 10.0, 11)
    assert [scale.row(v) for v in (10, 5, 0, 99, -99)] == [0, 5, 10, 0, 10]
    log = Scale(0.01, 100.0, 5, log=True)
    assert [log.row(v) for v in (100, 1, 0.01, 0)] == [0, 2, 4, 4]
    assert log.ticks(4) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]


def drawn(marker: object, values: list[float]) -> list[str]:
    pyramid = Pyramid()
    pyramid.extend(values)
    raster = Raster(4, 2, marker)  # type: ignore[arg-type]
    scale = Scale(min(values), max(values), raster.dots_down)
    parts = column_parts(range(len(values)), pyramid, 0, len(values) - 1, raster.dots_across)
    raster.draw_parts(parts, scale, "train")
    return [text_of(line) for line in raster.lines()]


def test_lines_are_drawn_in_each_marker() -> None:
    values = [0, 1, 2, 3, 4, 5, 6, 7]
    assert drawn(BRAILLE, values) == ["  ⡠⠊", "⡠⠊  "]
    assert drawn(BLOCK, values) == ["  ▄▀", "▄▀  "]
    assert drawn(ASCII, values) == ["  **", "**  "]


def test_gaps_between_points_are_joined() -> None:
    assert drawn(BRAILLE, [0, 7]) == ["  ⡠⠊", "⡠⠊  "]


def test_the_last_one_who_drew_owns_a_cell() -> None:
    raster = Raster(2, 1, BRAILLE)
    raster.set_dots(0, 0, 0, "train")
    raster.set_dots(1, 3, 3, "validation")
    raster.put_sign(2, 0, "◆", "accent")
    assert raster.lines() == [[("⢁", "validation"), ("◆", "accent")]]
