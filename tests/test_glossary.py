"""Every word that a report uses is explained, each in words of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from ftev.core.config.config import EvaluateConfig, ObjectiveConfig
from ftev.core.errors import ConfigError
from ftev.core.metrics.metric import METRICS
from ftev.core.report.glossary import Entry, entries, explain, lookup, of_kind
from ftev.core.wording.text import nearest, plain

CORE = Path(__file__).parents[1] / "core"
READERS_MEET = (
    "interval",
    "bootstrap",
    "Wilson",
    "McNemar",
    "mid-p",
    "Holm",
    "smallest detectable difference",
    "paired",
    "probe",
    "majority",
    "step 0",
    "ln V",
    "prefix token",
    "bits per byte",
    "perplexity",
    "temperature",
    "threshold",
    "ECE null value",
    "leakage-adjusted",
    "exact match",
    "BLEU",
    "chrF",
    "ROUGE",
    "cross-scoring",
    "deploy parity",
    "slices",
    "Brier",
    "reliability",
    "verdict",
    "no evidence",
    "fixed and broke",
    "self-test",
    "sign test",
)
LEAST = {"meaning": 30, "reading": 120, "trap": 50}  # characters
SHINGLE = 5  # words


def finding_codes() -> dict[str, str]:
    """Each code that the source makes a finding of, with where; read from the calls."""
    found = {}
    for path in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node) == "Finding":
                for code in _codes(node):
                    found[code] = f"{path.name}:{node.lineno}"
    return found


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _codes(node: ast.Call) -> Iterator[str]:
    given = [k.value for k in node.keywords if k.arg == "code"] or node.args[:1]
    for value in given:
        for part in ast.walk(value):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def test_the_codes_of_findings_are_found_in_the_source() -> None:
    codes = finding_codes()
    assert {"leakage", "overfitting", "accuracy_paradox", "end_not_scored"} <= set(codes)
    assert len(codes) >= 14


def test_every_finding_of_the_source_is_explained() -> None:
    missing = {code: where for code, where in finding_codes().items() if lookup(code) is None}
    assert not missing
    known = {e.name for e in of_kind("finding")}
    assert set(finding_codes()) <= known, "a code is explained as something else"


def test_every_metric_is_explained_and_no_other() -> None:
    assert [e.name for e in of_kind("metric")] == list(METRICS)
    for name, known in METRICS.items():
        assert lookup(known.title.partition(" (")[0]), f"the title of {name} is not known"


def test_the_terms_a_reader_meets_are_explained() -> None:
    assert [term for term in READERS_MEET if lookup(term) is None] == []


@pytest.mark.parametrize("entry", entries(), ids=lambda e: e.name)
def test_no_entry_is_thin(entry: Entry) -> None:
    for field, least in LEAST.items():
        text = getattr(entry, field)
        assert len(text) >= least, field
        assert text.endswith((".", "?")), f"{field} does not end: {text[-20:]}"
        assert "  " not in text
        assert "\n" not in text
    assert entry.title
    assert 1 <= entry.meaning.count(". ") + 1 <= 2, "the meaning is one sentence"
    assert entry.see, "nothing to go on to"


def shingles(entry: Entry) -> set[tuple[str, ...]]:
    words = f"{entry.meaning} {entry.reading} {entry.trap}".casefold().split()
    return set(zip(*(words[i:] for i in range(SHINGLE)), strict=False))


def test_no_entry_is_a_near_copy_of_another() -> None:
    of = {e.name: shingles(e) for e in entries()}
    alike = [
        (a, b)
        for a, b in combinations(of, 2)
        if len(of[a] & of[b]) > 0.1 * min(len(of[a]), len(of[b]))
    ]
    assert alike == []
    texts = [text for e in entries() for text in (e.meaning, e.reading, e.trap)]
    assert len(texts) == len(set(texts))


def test_see_also_leads_somewhere_else() -> None:
    for entry in entries():
        for other in entry.see:
            found = lookup(other)
            assert found is not None, f"{entry.name} points at {other}"
            assert found.name != entry.name
        assert len(set(entry.see)) == len(entry.see)


def test_no_spelling_belongs_to_two_entries() -> None:
    owner: dict[str, str] = {}
    for entry in entries():
        for spelling in {plain(s) for s in (entry.name, entry.title, *entry.aliases)}:
            assert owner.setdefault(spelling, entry.name) == entry.name, spelling


def test_settings_that_entries_name_exist() -> None:
    assert hasattr(ObjectiveConfig(), "at_least")
    assert hasattr(EvaluateConfig(), "general_text")
    assert lookup("at_least") == explain("target")
    assert lookup("general_text") == explain("general text")


@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("F1 score", "f1"),
        ("mid p", "mid-p"),
        ("AUC", "roc_auc"),
        ("Wilson 95 %", "Wilson interval"),
    ],
)
def test_a_term_is_found_however_it_is_spelt(term: str, name: str) -> None:
    assert explain(term).name == name


def test_a_miss_names_what_is_near() -> None:
    with pytest.raises(ConfigError, match="Nearest: accuracy") as caught:
        explain("acuracy")
    assert len(caught.value.faults) == 1
    with pytest.raises(ConfigError, match="`ftev-tui explain` lists every term"):
        explain("zzzz")


def test_nearest_always_names_something() -> None:
    assert nearest("recal", ["recall", "loss", "macro_recall"])[:2] == ["recall", "macro_recall"]
    assert nearest("", ["loss"]) == ["loss"]
    assert nearest("x", []) == []
