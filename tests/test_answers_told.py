"""What is told about answers: repetition, lengths, who believes whom, and in which words."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from ftev.core.analysis import ANALYSES, Evaluation, analyse
from ftev.core.analysis.completions import completions, end_tokens, longest_repeat, repeated_share
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.metrics.analyses import Endings, ShortAnswers
from ftev.core.metrics.results import ModelResult
from ftev.core.metrics.statistics import wilson
from ftev.core.report.blocks import Block, Bullets, Heading, Paragraph, Table
from ftev.core.report.sections.answers import show_choices, show_completions
from msgspec.structs import replace

COLUMNS = ("nll", "tokens", "correct", "bytes", "end_nll")
CONFIG = RunConfig(task="generation", model=ModelConfig(base="tiny"))
BASE = ["no", "it is cold it is cold it is cold it is cold it is cold", "", "tea", None]
TUNED = ["yes", "a warm cup of tea and a good day", "no", "tea", None]
REFERENCES = ["yes", "a warm cup of tea and a fine day", "yes", "tea", None]


def frame(answers: list[str | None], own: float, other: float, swap: bool) -> pl.DataFrame:
    """Predictions of a model on five rows, four of them answered."""
    made = [None if a is None else len(a.split()) for a in answers]
    nll = {"base": own, "tuned": other}
    if swap:
        nll = {"base": other, "tuned": own}
    return pl.DataFrame(
        {
            "row_id": [2, 3, 5, 7, 8],
            "nll": [1.0] * 5,
            "tokens": [2] * 5,
            "correct": [1] * 5,
            "bytes": [9] * 5,
            "prompt": ["warm?", "say", "hot?", "drink", None],
            "reference": REFERENCES,
            "reference_tokens": [1, 9, 1, 1, None],
            "completion": answers,
            "completion_tokens": made,
            "completion_limit": [8, 8, 8, 8, None],
            "ended_by_eos": [True, False, True, True, None],
            "prompt_cut": [False, True, False, False, None],
            "answer_tokens": [None if m is None else m + 1 for m in made],
            **{
                f"answer_nll_{m}": [None if n is None else (n + 1) * v for n in made]
                for m, v in nll.items()
            },
            "chosen": ["yes", None, "no", "yes", None] if swap else ["no", None, "no", "yes", None],
            "candidates": [2, None, 2, 2, None],
        }
    )


def analyses() -> dict[str, Any]:
    frames = {"base": frame(BASE, 0.5, 1.5, False), "tuned": frame(TUNED, 0.25, 3.0, True)}
    e = Evaluation("test", frames, pl.DataFrame({"row_id": [2, 3, 5, 7, 8]}), CONFIG)
    found: dict[str, Any] = {}
    for fact in analyse(e):
        if fact.name in ("completions", "examples", "cross_scoring", "closed_choice"):
            found.setdefault(fact.name, {})[fact.model] = fact.result
    return found


def words(blocks: list[Block]) -> str:
    lines = []
    for block in blocks:
        if isinstance(block, Heading | Paragraph):
            lines.append(block.text)
        elif isinstance(block, Bullets):
            lines += block.items
        elif isinstance(block, Table):
            lines += [" | ".join(row) for row in [block.columns, *block.rows]]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ababab", 4),
        ("abab", 2),
        ("abc", 0),
        ("", 0),
        ("aaaa", 3),
        ("x" + "so  happy " * 3, 17),  # white space is collapsed, the last one dropped
        ("”" * 50, 49),
    ],
)
def test_a_repeat_is_what_stood_just_before(text: str, expected: int) -> None:
    assert longest_repeat(text) == expected


def test_four_words_are_repeated_within_one_answer_only() -> None:
    assert repeated_share(["a b c d a b c d"]) == pytest.approx(1 / 5)
    assert repeated_share(["a b c d", "a b c d"]) == 0
    assert math.isnan(repeated_share(["a b c", ""]))


def test_G1_the_share_of_answers_that_ended_by_eos_is_told() -> None:
    result = analyses()["completions"]["tuned"]
    assert (result.rows, result.of, result.limit) == (4, 5, 8)
    assert result.ended_by_eos.value == 0.75
    assert result.references_over_limit == 1
    assert result.prompts_cut == 1
    assert (result.different, result.different_references) == (4, 3)
    assert result.mean_tokens == pytest.approx((1 + 9 + 1 + 1) / 4)
    assert result.mean_reference_tokens == pytest.approx(3)
    base = analyses()["completions"]["base"]
    assert base.empty.count == 1
    assert base.looping.count == 1
    assert base.longest_repeat == len("it is cold it is cold it is cold it is cold")


def test_cross_scoring_divides_sums_over_all_answers() -> None:
    result = analyses()["cross_scoring"][""]
    base, tuned = result.answers_of_base, result.answers_of_tuned
    assert (base.under_base, base.under_tuned) == (-0.5, -1.5)
    assert (tuned.under_base, tuned.under_tuned) == (-3.0, -0.25)
    assert tuned.difference.value == pytest.approx(2.75)
    assert tuned.difference.low <= 2.75 <= tuned.difference.high
    assert tuned.tokens == 12 + 4


def test_the_worst_and_the_best_answers_are_no_row_twice() -> None:
    result = analyses()["examples"][""]
    ids = [row.row_id for kind in ("worst", "best") for row in getattr(result, kind)]
    assert len(ids) == len(set(ids)) == 4
    assert result.worst[0].row_id == 5
    assert result.best[0].chrf_tuned == pytest.approx(100)
    assert result.worst[0].base == ""


def test_a_closed_choice_is_paired_and_beside_the_commonest() -> None:
    result = analyses()["closed_choice"][""]
    assert result.rows == 3
    assert result.accuracy.base.count == 0
    assert result.accuracy.tuned.count == 1
    assert (result.fixed, result.broke, result.p) == (1, 0, 1.0)
    assert (result.commonest.completion, result.commonest.count) == ("yes", 2)
    assert result.commonest.value == pytest.approx(2 / 3)


def test_the_section_says_split_rows_and_meaning() -> None:
    signatures = {"exact_match": "NFKC", "rouge1": "no stemmer", "rougeL": "no stemmer"}
    report = {
        "analyses": {"test": analyses()},
        "results": {"test": {"tuned": ModelResult(n=4, metrics={}, signatures=signatures)}},
    }
    text = words(show_completions(report))
    assert "4 rows of test (of 5, drawn by the run's seed): greedily" in text
    assert "at most 8 tokens each" in text
    assert "different answers | 4 of 4 | 4 of 4" in text
    assert "References longer than an answer may be: 1." in text
    assert "answers that ended by themselves | 75.0 % [30.1, 95.4]" in text
    assert "ROUGE-1, ROUGE-L: no stemmer" in text
    assert "The base gives the tuned model's answers 2.750 nats per token less" in text
    assert "on 16 tokens of 4 rows" in text
    assert "base (chrF 0.0): nothing" in text
    closed = words(show_choices(report))
    assert "Train has only 2 different completions" in closed
    assert "fixed 1 row and broke 0" in closed
    assert "exact McNemar p 1.00" in closed


def test_a_run_without_answers_has_no_section() -> None:
    report = {"analyses": {"test": {"slices": {}}}, "comparisons": [], "results": {}}
    assert show_completions(report) == []
    assert show_choices(report) == []


def test_a_model_that_always_says_the_same_is_told() -> None:
    found = analyses()
    found["completions"]["tuned"] = replace(found["completions"]["tuned"], different=1)
    report = {"analyses": {"test": found}, "comparisons": [], "results": {}}
    assert "tuned: every one of its 4 answers is the same." in words(show_completions(report))


def ended(
    ends: list[bool], references: list[int], end_nll: list[float | None], other: float = 0.25
) -> pl.DataFrame:
    """Answers of at most 8 tokens; rows of five tokens whose others cost `other` each."""
    n = len(ends)
    return pl.DataFrame(
        {
            "row_id": range(n),
            "nll": [4 * other + (e or 0.0) for e in end_nll],
            "tokens": [5] * n,
            "correct": [4] * n,
            "bytes": [9] * n,
            "end_nll": pl.Series(end_nll, dtype=pl.Float64),
            "prompt": ["say"] * n,
            "reference": ["yes"] * n,
            "reference_tokens": references,
            "completion": ["yes"] * n,
            "completion_tokens": [1] * n,
            "completion_limit": [8] * n,
            "ended_by_eos": ends,
            "prompt_cut": [False] * n,
        }
    )


def endings(base: pl.DataFrame, tuned: pl.DataFrame) -> dict[str, Any]:
    e = Evaluation("test", {"base": base, "tuned": tuned}, base.select("row_id"), CONFIG)
    assert end_tokens in ANALYSES
    return {fact.model: fact.result for fact in end_tokens(e)}


def test_V7_the_end_token_is_told_by_itself_and_paired() -> None:
    rows = 20
    base = ended([True] * rows, [3] * rows, [1.0 + i / 10 for i in range(rows)])
    tuned = ended([False] * rows, [3] * rows, [5.0 + i / 10 + i % 2 for i in range(rows)])
    found = endings(base, tuned)
    assert found["base"].end_token.value == pytest.approx(1.95)
    assert found["tuned"].end_token.value == pytest.approx(6.45)
    assert found["tuned"].other_tokens.value == pytest.approx(0.25)
    change = found[""].difference
    assert change.value == pytest.approx(4.5)
    assert 4.2 < change.low < 4.5 < change.high < 4.8
    assert change.p < 0.001
    assert found["tuned"].answers.ended.high == pytest.approx(wilson(0, rows)[1])
    answered = {
        "completions": {m: completions_of(f) for m, f in (("base", base), ("tuned", tuned))}
    }
    report = {"analyses": {"test": answered | {"endings": found}}, "results": {}}
    shown = words(show_completions(report))
    assert "whose reference ends within the limit | 100.0 % [83.9, 100.0] | 0.0 %" in shown
    assert "end token, nats | 1.950 [" in shown
    assert "the end token changes by +4.500 (paired 95 %: +4." in shown


def completions_of(frame: pl.DataFrame) -> dict[str, Any]:
    e = Evaluation("test", {"base": frame, "tuned": frame}, frame.select("row_id"), CONFIG)
    return next(f.result for f in completions(e))


def test_V7_only_answers_that_could_end_are_counted() -> None:
    """The end token takes a place; a reference whose end is not scored shows none to learn."""
    frame = ended([True, False, True, False], [7, 8, 3, 3], [1.0, 1.0, None, 1.0])
    result = endings(frame, frame)["tuned"]
    assert result.answers.rows == 2
    assert result.answers.ended.count == 1
    assert result.rows == 3


def test_V7_texts_without_prompts_still_tell_their_ends() -> None:
    frame = ended([True] * 6, [3] * 6, [1.0] * 6).select("row_id", *COLUMNS)
    shown = words(show_completions({"analyses": {"test": {"endings": endings(frame, frame)}}}))
    assert "Where texts end" in shown
    assert "end token, nats | 1.000" in shown


def test_V7_predictions_of_an_older_version_have_no_end_tokens() -> None:
    frame = ended([True] * 6, [3] * 6, [1.0] * 6).drop("end_nll")
    found = endings(frame, frame)
    assert set(found) == {"base", "tuned"}
    assert found["tuned"] == Endings(answers=found["tuned"].answers)  # and nothing else
    assert found["tuned"].answers is not None


def test_bleu_of_short_answers_is_explained() -> None:
    rows = ended([True] * 6, [3] * 6, [1.0] * 6)
    e = Evaluation("test", {"base": rows, "tuned": rows}, rows.select("row_id"), CONFIG)
    found = {f.name: f.result for f in completions(e) if f.model in ("tuned", "")}
    assert found["short_answers"] == ShortAnswers(6, 6, 6, 4)
    values = {name: {"tuned": result, "": result} for name, result in found.items()}
    shown = words(show_completions({"analyses": {"test": values}, "results": {}}))
    assert (
        "BLEU counts sequences of 4 tokens: 6 of 6 answers and 6 references are shorter, so BLEU "
        "is near 0 even where they agree. Read exact match and chrF instead." in shown
    )
    long = pl.lit("a good cup of tea")
    rows = rows.with_columns(completion=long, reference=long)
    e = Evaluation("test", {"tuned": rows}, rows.select("row_id"), CONFIG)
    assert "short_answers" not in {f.name for f in completions(e)}
