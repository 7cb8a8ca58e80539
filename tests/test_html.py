"""The HTML report: one file, nothing from elsewhere, and text that stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import story
from ftev.core.report.blocks import Chart, Line
from ftev.core.report.formats.html import draw, format_tick, nice_ticks
from ftev.core.report.report import build_report, render_html, render_markdown
from ftev.core.run.events import AnyEvent, Evaluated, SplitPrepared
from msgspec.structs import replace

HOSTILE = (
    "<script>alert(1)</script></style></script><img src=x onerror=alert(1)>"
    "\" onload='alert(1)' [/] {{ 7*7 }} {% raw %} &amp; \x1b[31m\x07\u202e\u2066\u200b\x00"
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, the text outside style and script, and what is open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_story() -> list[AnyEvent]:
    """The story with every text that is not ours replaced."""

    def rename(event: AnyEvent) -> AnyEvent:
        if isinstance(event, SplitPrepared | Evaluated):
            return event
        plain = msgspec.json.encode(event)
        for word in ("positive", "good?", "all is well", "tiny", "a CPU"):
            plain = plain.replace(json.dumps(word).encode(), json.dumps(HOSTILE).encode())
        return msgspec.json.decode(plain, type=type(event))  # type: ignore[no-any-return]

    return [rename(e) for e in story.whole()]


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    return build_report(story.write_story(tmp_path / "run"))


def test_nothing_comes_from_elsewhere(report: dict[str, Any]) -> None:
    text = render_html(report)
    page = Page(text)
    assert not re.findall(r"https?://|@import|url\(|//[a-z]", text)
    for _, attributes in page.elements:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    names = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    for link in page.named("a"):
        assert str(link["href"])[1:] in names


def test_the_policy_lets_in_the_style_and_the_script_alone(report: dict[str, Any]) -> None:
    text = render_html(report)
    policy = next(m["content"] for m in Page(text).named("meta") if "http-equiv" in m)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"<[^>]+\s(?:style|on\w+)=", text)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", hostile_story())
    text = render_html(build_report(run))
    page = Page(text)
    assert "<script>alert(1)</script></style>" in page.text
    assert "[/] {{ 7*7 }} {% raw %} &amp;" in page.text
    assert len(page.named("script")) == len(page.named("style")) == 1
    assert not page.named("img")
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066\u200b]", text)
    assert "<U+202E>" in page.text


@pytest.mark.parametrize("ended", range(0, len(story.whole()) + 1, 3))
def test_a_run_cut_anywhere_still_gives_a_page(tmp_path: Path, ended: int) -> None:
    run = story.write_story(tmp_path / "run", story.whole()[:ended])
    assert "story" in Page(render_html(build_report(run))).text


def test_the_page_says_what_the_markdown_says(report: dict[str, Any]) -> None:
    page = Page(render_html(report))
    for sentence in report["verdict"]["reasons"]:
        assert sentence in page.text
    headings = re.findall(r"^#+ (.+)$", render_markdown(report), re.MULTILINE)
    for heading in headings[2:]:  # after the title and the banner
        assert heading in page.text, heading
    assert "90.0 % [85.0, 95.0]" in page.text


def test_tables_have_heads_that_a_reader_can_use(report: dict[str, Any]) -> None:
    page = Page(render_html(report))
    assert {h["scope"] for h in page.named("th")} == {"col", "row"}
    assert any(t.get("class") == "sortable" for t in page.named("table"))
    regions = [a for tag, a in page.elements if a.get("role") == "region"]
    assert all(a["aria-label"] and a["tabindex"] == "0" for a in regions)


def test_holm_is_a_column_where_it_was_computed(report: dict[str, Any]) -> None:
    assert "Holm" not in render_markdown(report)
    report["comparisons"] = [replace(c, p_holm=0.0312) for c in report["comparisons"]]
    markdown = render_markdown(report)
    assert "| p | p (Holm) |" in markdown
    assert "| 0.0004 | 0.0312 |" in markdown
    assert "adjusted for multiple comparisons" in markdown
    assert "0.0312" in Page(render_html(report)).text


# Charts


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.21, 0.74, [0.2, 0.4, 0.6, 0.8]),
        (3.0, 3.0, [2.6, 2.8, 3.0, 3.2, 3.4]),
        (-5.0, 12.0, [-5.0, 0.0, 5.0, 10.0, 15.0]),
        (0.0, 1e6, [0.0, 2e5, 4e5, 6e5, 8e5, 1e6]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found == pytest.approx(ticks)
    assert found[0] <= low
    assert found[-1] >= high


def test_ticks_are_written_as_exactly_as_they_differ() -> None:
    assert [format_tick(t, [0.0, 0.2]) for t in (0.2, 1.0)] == ["0.2", "1.0"]
    assert format_tick(2000, [0, 1000]) == "2,000"
    assert format_tick(0.25, [0.20, 0.25]) == "0.25"


def drawn(*lines: Line, marks: Any = ()) -> ElementTree.Element:
    return ElementTree.fromstring(draw(Chart("T <b>", "x", "y", lines, "told &", marks), "c"))


def test_a_chart_is_an_image_with_words() -> None:
    svg = drawn(Line("loss", (0, 1, 2), (3.0, 2.0, 1.0)), marks=[(2, 1.0, "kept")])
    assert svg.get("role") == "img"
    assert (svg.findtext("title"), svg.findtext("desc")) == ("T <b>", "told &")
    texts = [t.text for t in svg.iter("text")]
    assert {"x", "y", "loss", "kept"} <= set(texts)


def test_a_curve_breaks_where_it_is_not_a_number() -> None:
    svg = drawn(Line("a", (0, 1, 2, 3, 4), (1, math.nan, math.inf, 2, 1)))
    path = next(p.get("d", "") for p in svg.iter("path") if "line" in str(p.get("class")))
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert "nan" not in ElementTree.tostring(svg).decode()


def test_curves_differ_by_more_than_their_colour() -> None:
    lines = [Line(str(i), (0, 1), (i, i + 1)) for i in range(4)]
    svg = drawn(*lines, Line("guess", (0, 1), (1, 1), dashed=True))
    points = {}
    for path in svg.iter("path"):
        if "point" in str(path.get("class")):
            points[path.get("class")] = re.sub(r"[\d.-]+", "#", str(path.get("d")))
    assert len(set(points.values())) == 4
    assert any("dashed" in str(p.get("class")) for p in svg.iter("path"))


def test_a_chart_of_nothing_is_nothing() -> None:
    assert draw(Chart("t", "x", "y", [Line("a", (1,), (math.nan,))]), "c") == ""
    assert draw(Chart("t", "x", "y", []), "c") == ""
    assert "<svg" in draw(Chart("t", "x", "y", [Line("a", (1,), (2,))]), "c")
