"""What the check notices in rows: mark-up, quoted mails, labels that look mistyped, gaps."""

from __future__ import annotations

from pathlib import Path

import forked
import pytest
from data_files import TEN, read, write_csv, write_jsonl
from ftev.core.data.hygiene import like_labels
from waiting import patience

BODIES = {
    "HTML tags": "<p>the parcel<br/> came late</p>",
    "HTML entities": "salt &amp; pepper&#39;s",
    "quoted replies": "I agree\n> the parcel came late",
    "e-mail signatures": "the parcel came late\n-- \nAnn Smith",
}
PLAIN = ["a < b and b > c", "if x <y then", "R&D; a && b", "a -- b", "3 > 2", "x <- y"]


@pytest.mark.parametrize(("name", "body"), list(BODIES.items()))
def test_traces_are_counted_with_an_example(tmp_path: Path, name: str, body: str) -> None:
    rows = [{"text": text, "label": label} for text, label in TEN]
    write_jsonl(tmp_path / "a.jsonl", [*rows, {"text": body, "label": "good"}])
    [remark] = read(tmp_path, train="a.jsonl").remarks
    assert remark.startswith(f"{name} in 1 row (9.1%), such as '")


def test_what_only_looks_like_it_is_left_alone(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in TEN]
    odd = [{"text": text, "label": "good"} for text in PLAIN]
    write_jsonl(tmp_path / "a.jsonl", rows + odd)
    assert read(tmp_path, train="a.jsonl").remarks == ()


def test_labels_one_letter_apart_are_named() -> None:
    assert like_labels(["card_arival", "card_arrival", "lost_card"]) == [
        ("card_arival", "card_arrival")
    ]
    assert like_labels(["colour", "color"]) == [("color", "colour")]
    assert like_labels(["travel", "gravel"]) == [("gravel", "travel")]
    assert like_labels(["level_1", "level_2", "level_12"]) == [], "numbers are meant"
    assert like_labels(["cat", "cut", "ham", "spam"]) == [], "short ones often are"
    assert like_labels(["Refund", "refund"]) == [], "a finding of its own"
    assert like_labels([f"label {chr(97 + i)}x{chr(97 + i)}y" for i in range(20)]) == []


def test_groups_and_gaps_are_counted(tmp_path: Path) -> None:
    rows = [(*row, f"c{i // 4}", "" if i % 2 else "x") for i, row in enumerate(TEN)]
    write_csv(tmp_path / "a.csv", rows, "text,label,customer,note")
    groups, gaps = read(tmp_path, train="a.csv", group="customer").remarks
    assert groups == "3 groups, 3.3 rows each; the largest, 'c0', has 4 rows"
    assert gaps == "empty in part: 'note' 50%"


def test_the_check_prints_remarks_and_faults_line_by_line(tmp_path: Path) -> None:
    rows = [(f"a {text}", f"so {text}", label) for text, label in TEN]
    write_csv(tmp_path / "a.csv", rows, "one,two,why")
    (tmp_path / "run.toml").write_text(
        'task = "classification"\n[model]\nbase = "ftev-demo/encoder"\n'
        '[data]\ntrain = "a.csv"\nlabel = "why"\n'
    )
    done = forked.completed(
        "ftev.tui.cli", "check", "run.toml", cwd=tmp_path, timeout=patience(100.0)
    )
    assert done.returncode == 2
    first, *listing = done.stderr.splitlines()
    assert first.endswith("columns:")
    assert [line.split()[0] for line in listing] == ["one", "two", "why"]
    assert all(line.startswith("    ") for line in listing)
