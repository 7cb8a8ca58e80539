"""Values into words: string equality."""

from __future__ import annotations

import math

import pytest
from ftev.tui.drawing import format as f


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (f.format_count(1_234_567), "1,234,567"),
        (f.format_count(-3), "−3"),
        (f.format_short_count(987), "987"),
        (f.format_short_count(12_345), "12.3 k"),
        (f.format_short_count(4_560_000), "4.56 M"),
        (f.format_short_count(7.1e9), "7.10 G"),
        (f.format_bytes(-1), "–"),
        (f.format_bytes(512), "512 B"),
        (f.format_bytes(812 << 20), "812 MiB"),
        (f.format_bytes(139 << 30), "139 GiB"),
        (f.format_bytes(1.21 * 2**30), "1.21 GiB"),
        (f.format_seconds(0.421), "0.42 s"),
        (f.format_seconds(12.34), "12.3 s"),
        (f.format_seconds(125), "2:05"),
        (f.format_seconds(math.nan), "–"),
        (f.format_clock(3723), "1:02:03"),
        (f.format_clock(200_000), "2 d 7 h"),
        (f.format_age(5), "just now"),
        (f.format_age(600), "10 min"),
        (f.format_age(5 * 3600), "5 h"),
        (f.format_age(3 * 86400), "3 d"),
        (f.format_age(43 * 86400), "6 weeks"),
        (f.format_number(0.412), "0.412"),
        (f.format_number(12.3456), "12.35"),
        (f.format_number(1.2e-5, 3), "1.2e-05"),
        (f.format_number(-0.5), "−0.500"),
        (f.format_number(math.nan), "NaN"),
        (f.format_number(math.inf), "∞"),
        (f.format_number(-math.inf), "−∞"),
        (f.format_number(0.0), "0.000"),
        (f.format_share(0.905), "90.5 %"),
        (f.format_share(math.nan), "–"),
        (f.format_signed(0.1234, 3), "+0.123"),
        (f.format_signed(-0.05, 3), "−0.050"),
        (f.format_signed(-0.0001, 3), "0.000"),
        (f.format_shape(1000, 10), "1,000 × 10"),
        (f.format_shape(900, -1), "900 rows"),
        (f.format_shape(-1, 3), "3 columns"),
        (f.format_shape(-1, -1), ""),
    ],
)
def test_values_become_words(found: str, expected: str) -> None:
    assert found == expected


def test_text_is_fitted_by_cells_and_not_by_characters() -> None:
    assert f.fit("abc", 5) == "abc  "
    assert f.fit("abcdef", 4) == "abc…"
    assert f.fit("日本語", 5) == "日本…"
    assert f.fit("日本語", 4) == "日 …"
    assert f.fit("abc", 0) == ""
    assert f.fit_right("12", 4) == "  12"


def test_text_is_wrapped_at_spaces_and_long_words_are_chopped() -> None:
    assert f.wrap("one two three", 7) == ["one two", "three"]
    assert f.wrap("abcdefgh", 3) == ["abc", "def", "gh"]
    assert f.wrap("日本語", 4) == ["日本", "語"]
    assert f.wrap("", 4) == [""]
    assert f.wrap("x", 0) == []


def test_bars_fill_their_width() -> None:
    assert f.bar(0.5, 4) == "██"
    assert f.bar(0.53, 4) == "██▏"
    assert f.bar(math.nan, 4) == ""
    assert f.progress_bar(0.5, 4) == "━━──"
