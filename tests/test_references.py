"""Answers against references: sacrebleu and rouge-score are the oracles (G2)."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from ftev.core.errors import DataError
from ftev.core.metrics.answer_text import normalise_text
from ftev.core.metrics.bootstrap import Resampling, values_of
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_text
from ftev.core.metrics.references import read_references
from sacrebleu.metrics import BLEU, CHRF

ANSWERS = [
    "the kettle boils and the cup is warm",
    "a cold day",
    "",
    "the tea was bad and the day was worse .",
    "what a good day for a cup of tea",
    "#### 72",
    "completely different words stand in this one",
]
REFERENCES = [
    "the kettle boils and the cup is warm",
    "a cold day makes a warm cup welcome",
    "this kettle is broken",
    "the tea was good and the day was worse .",
    "what a good day for a good cup of tea",
    "The answer is:\n#### 72",
    "nothing of that is here, is it?",
]


def frame(answers: list[str | None], references: list[str] = REFERENCES) -> pl.DataFrame:
    n = len(answers)
    return pl.DataFrame(
        {
            "row_id": range(n),
            "nll": [1.0 + 0.1 * i for i in range(n)],
            "tokens": [4] * n,
            "correct": [2] * n,
            "bytes": [len(r) for r in references],
            "completion": answers,
            "reference": references,
        },
        schema_overrides={"completion": pl.String},
    )


def test_G2_corpus_bleu_and_chrf_are_sacrebleus_with_their_signatures() -> None:
    rows = read_references(frame(ANSWERS))
    assert rows is not None
    found = values_of(rows)
    for name, metric in (("bleu", BLEU(force=True)), ("chrf", CHRF())):
        assert found[name] == pytest.approx(metric.corpus_score(ANSWERS, [REFERENCES]).score)
        assert rows.signatures[name] == str(metric.get_signature())
    assert "tok:13a" in rows.signatures["bleu"]
    assert "NFKC" in rows.signatures["exact_match"]


def test_G2_resampled_sums_are_sacrebleu_on_the_resampled_rows() -> None:
    rows = read_references(frame(ANSWERS))
    assert rows is not None
    rng = np.random.default_rng(3)
    for _ in range(40):
        drawn = rng.integers(0, len(ANSWERS), size=rng.integers(1, 9))
        found = rows.metrics_of_totals(rows.sums[drawn].sum(axis=0))
        answers, references = ([texts[i] for i in drawn] for texts in (ANSWERS, REFERENCES))
        bleu = BLEU(force=True).corpus_score(answers, [references]).score
        chrf = CHRF().corpus_score(answers, [references]).score
        assert found["bleu"] == pytest.approx(bleu, abs=1e-9)
        assert found["chrf"] == pytest.approx(chrf, abs=1e-9)


def test_G2_a_row_by_itself_has_sacrebleus_sentence_chrf() -> None:
    rows = read_references(frame(ANSWERS))
    assert rows is not None
    for value, answer, reference in zip(rows.row_chrf(), ANSWERS, REFERENCES, strict=True):
        assert value == pytest.approx(CHRF().sentence_score(answer, [reference]).score)


def test_G2_rouge_is_the_mean_of_rouge_scores_without_stemming() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    names = ["rouge1", "rouge2", "rougeL"]
    expected = scorer.RougeScorer(names, use_stemmer=False)
    result = evaluate_text(frame(ANSWERS), draws=200)
    for name in names:
        pairs = zip(REFERENCES, ANSWERS, strict=True)
        mean = np.mean([expected.score(r, a)[name].fmeasure for r, a in pairs])
        assert result.metrics[name].value == pytest.approx(mean)
    assert result.signatures is not None
    assert "no stemmer" in result.signatures["rouge1"]


def test_G2_exact_match_names_its_normaliser_and_has_wilsons_interval() -> None:
    assert normalise_text("  Straße\n ①\t") == normalise_text("STRASSE 1")
    assert normalise_text("#### 72") != normalise_text(
        "72"
    )  # no last-number match goes by this name
    estimate = evaluate_text(frame(ANSWERS), draws=50).metrics["exact_match"]
    assert estimate.value == pytest.approx(1 / 7)
    assert estimate.method == "Wilson 95 %, 7 answered rows"
    assert estimate.low == pytest.approx(0.0257, abs=1e-3)


def test_without_rouge_score_its_metrics_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    result = evaluate_text(frame(ANSWERS), draws=50)
    assert {"exact_match", "bleu", "chrf"} <= set(result.metrics)
    assert not {"rouge1", "rouge2", "rougeL"} & set(result.metrics)


def test_rows_without_an_answer_are_scored_but_not_matched() -> None:
    some: list[str | None] = [*ANSWERS[:4], None, None, None]
    result = evaluate_text(frame(some), draws=50)
    assert (result.n, result.answered) == (7, 4)
    assert result.metrics["exact_match"].value == pytest.approx(1 / 4)
    plain = evaluate_text(frame(some).drop("completion"), draws=50)
    assert plain.answered is None
    assert "bleu" not in plain.metrics


def test_S3_differences_of_answers_are_paired() -> None:
    better = [*REFERENCES[:6], "no"]
    found = {
        c.metric: c
        for c in compare(
            "test", "base", frame(ANSWERS), "tuned", frame(better), resampling=Resampling(0, 2_000)
        )
    }
    a, b = (evaluate_text(frame(x), draws=2_000) for x in (ANSWERS, better))
    for name in ("exact_match", "bleu", "chrf"):
        assert found[name].difference == pytest.approx(
            b.metrics[name].value - a.metrics[name].value
        )
        assert found[name].low <= found[name].difference <= found[name].high
        assert "7 answered rows" in found[name].method
    assert found["exact_match"].p == pytest.approx(0.0625)  # fixed 5, broke 0 (S4)
    assert "fixed 5, broke 0" in found["exact_match"].method
    assert (found["exact_match"].fixed, found["exact_match"].broke) == (5, 0)
    assert all(c.fixed is None for name, c in found.items() if name != "exact_match")
    assert "sign-flip" in found["rougeL"].method


def test_S3_other_references_are_an_error() -> None:
    changed = frame(ANSWERS, ["another", *REFERENCES[1:]]).with_columns(
        bytes=frame(ANSWERS)["bytes"]
    )
    with pytest.raises(DataError, match="the reference differs on 1 row"):
        compare("test", "base", frame(ANSWERS), "tuned", changed)


def test_one_answer_has_no_interval() -> None:
    estimate = evaluate_text(frame([ANSWERS[0], *[None] * 6]), draws=50).metrics["bleu"]
    assert estimate.value == pytest.approx(100)
    assert np.isnan(estimate.low)


def test_E2_reasoning_is_left_out_of_answers_and_references_alike() -> None:
    """What is measured is the text after the last `</think>`; what is shown keeps it."""
    plain = read_references(frame(ANSWERS))
    thought = [f"<think>a</think> or {i}</think>\n\n{a}" for i, a in enumerate(ANSWERS)]
    asked = [f"<think>\nother words\n</think>\n\n{r}" for r in REFERENCES]
    for answers, references in ((thought, asked), (thought, REFERENCES), (ANSWERS, asked)):
        rows = read_references(frame(answers, references))
        assert rows is not None
        assert plain is not None
        assert np.array_equal(rows.sums, plain.sums)
        assert rows.references == tuple(references)
        assert all(text.endswith("after the last </think>") for text in rows.signatures.values())
    assert not any("</think>" in text for text in plain.signatures.values())


def test_E2_reasoning_that_never_ends_is_all_there_is_to_measure() -> None:
    rows = read_references(frame(["<think>the tea"], ["the tea"]))
    assert rows is not None
    assert values_of(rows)["exact_match"] == 0
