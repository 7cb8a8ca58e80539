"""Labels by likelihood and closed choices: the boundary rule, and who is likeliest (K2)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.load import is_causal, load
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.choices import (
    TEMPLATE,
    LabelScores,
    choose,
    closed_set,
    join_texts,
    label_likelihoods,
    zero_shot_frame,
)
from ftev.core.engine.scoring.rows import encode
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run
from waiting import patience

LABELS = ("good", "bad", "warm cup")


@pytest.fixture(scope="module")
def loaded(causal_folder: Path) -> Loaded:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    loaded = load(config, str(causal_folder))
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return loaded


def likelihood(loaded: Loaded, context: list[int], said: list[int]) -> float:
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([[loaded.prefix_id, *context, *said]])).logits[0]
    chosen = logits.float().log_softmax(-1)[len(context) : -1][range(len(said)), said]
    return float(chosen.double().sum())


def test_K2_white_space_at_the_end_of_the_context_goes_to_the_continuation(loaded: Loaded) -> None:
    spaced = join_texts(loaded, "the kettle is ", ["warm"])
    plain = join_texts(loaded, "the kettle is", [" warm"])
    assert spaced == plain
    (joined,) = spaced
    assert not joined.fallback
    assert joined.context == encode(loaded, ["the kettle is"])[0]
    whole = encode(loaded, ["the kettle is warm"])[0]
    assert joined.context + joined.continuation == whole
    assert len(joined.continuation) >= 1


def test_K2_a_token_over_the_join_makes_a_fallback(loaded: Loaded) -> None:
    """ "ket" and "tle" are one token together: the whole does not begin with the context's ids."""
    whole, context, tail = encode(loaded, ["the kettle", "the ket", "tle"])
    assert whole[: len(context)] != context
    joined = join_texts(loaded, "the ket", ["tle", " is"])
    assert [j.fallback for j in joined] == [True, False]
    assert joined[0].context == context
    assert joined[0].continuation == tail
    assert all(j.continuation for j in joined)


def test_K2_labels_are_scored_after_the_text_in_the_template(loaded: Loaded) -> None:
    texts = ["the tea was", "a cold day", "kettle " * 80]
    *_, scores = label_likelihoods(loaded, texts, LABELS, "float32", 120)
    assert isinstance(scores, LabelScores)
    assert scores.sums.shape == (3, 3)
    assert scores.cut == [False, False, True]
    assert scores.fallbacks == [0, 0, 0]
    for i, text in enumerate(texts[:2]):
        for k, label in enumerate(LABELS):
            context, said = encode(loaded, [f"{text}\nLabel:", f" {label}"])
            assert encode(loaded, [TEMPLATE.format(text=text, label=label)])[0] == context + said
            expected = likelihood(loaded, context, said)
            assert scores.sums[i, k] == pytest.approx(expected, abs=1e-4)


def test_K2_batches_change_no_likelihood(loaded: Loaded) -> None:
    texts = ["the tea was", "a cold day makes a warm cup", "tea"]
    found = []
    for budget in (1, 100, 8192):
        *_, scores = label_likelihoods(loaded, texts, LABELS, "float32", budget)
        assert isinstance(scores, LabelScores)
        found.append(scores.sums)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


def test_zero_shot_predictions_are_stored_as_a_classifiers_are() -> None:
    frame = pl.DataFrame({"row_id": [4, 5], "text": ["a", "b"], "label": ["bad", "good"]})
    scores = LabelScores(np.log([[0.1, 0.3, 0.01], [0.2, 0.15, 0.25]]), [0, 2], [False, True])
    found = zero_shot_frame(frame, LABELS, scores)
    assert found["predicted"].to_list() == ["bad", "warm cup"]
    assert found["probabilities"][0].to_list() == pytest.approx(
        [0.1 / 0.41, 0.3 / 0.41, 0.01 / 0.41]
    )
    assert found["nll"].to_list() == pytest.approx([-np.log(0.3 / 0.41), -np.log(0.2 / 0.6)])
    assert found["chosen_by_byte"].to_list() == ["bad", "warm cup"]
    assert found["fallbacks"].sum() == 2


def test_completions_are_a_closed_set_where_each_is_common() -> None:
    assert closed_set(["yes", "no"] * 5) == ["no", "yes"]
    assert closed_set(["yes"] * 5 + ["no"] * 4) == []
    assert closed_set(["yes"] * 50) == []
    assert closed_set([str(i) for i in range(21)] * 5) == []


def test_M3_a_choice_is_the_likeliest_completion_as_training_renders_it(loaded: Loaded) -> None:
    frame = pl.DataFrame(
        {
            "row_id": [1, 2, 7],
            "prompt": ["the tea was", "a cold day", "cup"],
            "completion": ["bad", "good", "something else"],
        }
    )
    candidates = ["bad", "good", "the good"]
    *_, found = choose(loaded, frame, candidates, "float32", 60)
    assert isinstance(found, pl.DataFrame)
    assert found["row_id"].to_list() == [1, 2]  # the third row's reference is no candidate
    for prompt, chosen in zip(frame["prompt"], found["chosen"], strict=False):
        values = {}
        for candidate in candidates:
            context, said = encode(loaded, [prompt + "\n", candidate])
            said = [*said, loaded.tokenizer.eos_token_id]
            values[candidate] = likelihood(loaded, context, said)
        assert chosen == max(values, key=lambda c: values[c])


def test_only_a_language_model_labels_without_training(
    causal_folder: Path, encoder_folder: Path
) -> None:
    for folder, causal in ((causal_folder, True), (encoder_folder, False)):
        config = RunConfig(task="classification", model=ModelConfig(base=str(folder)))
        assert is_causal(config) is causal


def finish(run: Run) -> None:
    process = start_worker(run, "--serve-minutes", "0")
    process.wait(timeout=patience(120))
    history = read_history(run)
    assert history.finished is not None
    assert history.finished.status == "finished", run.log_path.read_text()


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_C6_a_classifiers_base_answers_by_label_likelihood(
    causal_folder: Path, tmp_path: Path
) -> None:
    rows = [["what a good cup", "good"], ["the tea was bad", "bad"], ["a warm day", "good"]]
    for name, n in (("train.csv", 48), ("test.csv", 15)):
        write(
            tmp_path / name,
            ["text", "label"],
            [[f"{rows[i % 3][0]} {name[:2]} {i}", rows[i % 3][1]] for i in range(n)],
        )
    config = RunConfig(
        task="classification",
        name="zero",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train="train.csv", test="test.csv", validation=0.2),
        train=TrainConfig(epochs=1, batch_size=16, devices="cpu"),
        folder=str(tmp_path),
    )
    run = create_run(config, tmp_path / "runs")
    finish(run)
    history = read_history(run)
    assert set(history.results["test"]) == {"majority", "probe", "base", "tuned"}
    assert "base" not in history.results["validation"]
    base = history.results["test"]["base"]
    assert base.method.startswith("zero-shot label likelihood")
    assert base.n == 15
    assert history.results["test"]["tuned"].method is None
    result = history.analyses["test"]["zero_shot"]["base"]
    assert result.accuracy.value == base.metrics["accuracy"].value
    assert result.scored == 30
    assert {c.from_model for c in history.comparisons} == {"probe", "base", "majority"}


def test_a_generation_run_ends_with_answers_and_closed_choices(
    causal_folder: Path, tmp_path: Path
) -> None:
    words = ["yes", "no", "maybe so"]
    for name, n in (("train.csv", 45), ("test.csv", 12)):
        write(
            tmp_path / name,
            ["prompt", "completion"],
            [[f"is cup {name[:2]} {i} warm", words[i % 3]] for i in range(n)],
        )
    config = RunConfig(
        task="generation",
        name="words",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train="train.csv", test="test.csv", validation=0.2),
        train=TrainConfig(epochs=1, batch_size=16, devices="cpu"),
        evaluate=EvaluateConfig(completions=9),
        folder=str(tmp_path),
    )
    run = create_run(config, tmp_path / "runs")
    finish(run)
    history = read_history(run)
    result = history.analyses["test"]
    assert result["completions"]["tuned"].rows == 9
    assert result["completions"]["tuned"].of == 12
    assert result["closed_choice"][""].candidates == 3
    assert result["closed_choice"][""].rows == 9
    crossed = result["cross_scoring"][""]
    assert crossed.answers_of_base is not None
    assert crossed.answers_of_tuned is not None
    assert "completions" not in history.analyses.get("validation", {})
    metrics = history.results["test"]["tuned"].metrics
    assert {"exact_match", "bleu", "chrf"} <= set(metrics)
    assert "exact_match" not in history.results["validation"]["tuned"].metrics
    stored = pl.read_parquet(run.predictions / "test.base.parquet")
    assert stored.height == 12
    assert stored["completion"].null_count() == 3
    from ftev.core.metrics.evaluate import evaluate_text

    again = evaluate_text(pl.read_parquet(run.predictions / "test.tuned.parquet"))
    assert again.metrics["chrf"].value == metrics["chrf"].value


class Noted:
    """As much of a session as is needed to ask whether zero-shot labels would take too long."""

    def __init__(self, tokens: int, zero_shot: object) -> None:
        from ftev.core.engine.scoring.rows import TokenRows

        evaluate = EvaluateConfig(zero_shot=zero_shot)  # type: ignore[arg-type]
        self.config = RunConfig(
            task="classification", model=ModelConfig(base="m"), evaluate=evaluate
        )
        self.labels = LABELS
        self.rows = {"test": TokenRows(ids=[np.zeros(tokens, dtype=np.int32)], row_ids=[0])}
        self.notes: list[str] = []

    def note(self, text: str, level: str = "info") -> None:
        self.notes.append(text)


def test_zero_shot_labels_of_a_million_tokens_are_left_out_and_said_so() -> None:
    from ftev.core.engine.scoring.choices import _is_too_long

    for tokens, setting, expected in ((300_000, "auto", False), (400_000, "auto", True)):
        s = Noted(tokens, setting)
        assert _is_too_long(s, "test") is expected  # type: ignore[arg-type]
        assert len(s.notes) == expected
    assert not _is_too_long(Noted(400_000, True), "test")  # type: ignore[arg-type]
