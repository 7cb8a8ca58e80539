"""The worker as it is used: a process of its own, killed for real, resumed, asked and stopped."""

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ftev.core.analysis.predictions import read_predictions
from ftev.core.config.config import (
    CostConfig,
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainConfig,
)
from ftev.core.errors import RunError
from ftev.core.judgement.observations import observe_epoch
from ftev.core.report.report import build_report, render_json, render_markdown
from ftev.core.report.verify.verify import verify
from ftev.core.run.control import (
    AskPause,
    AskPrompt,
    AskResume,
    Completed,
    Held,
    Labelled,
    TokenMade,
    ask,
)
from ftev.core.run.events import EventReader, RunFinished
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import resume_worker, start_worker, stop_worker, wait_until_listening
from ftev.core.run.runs import Run, checkpoints_of, create_run, step_of
from msgspec.structs import replace as replace_event
from safetensors.torch import load_file
from transformers import AutoTokenizer
from waiting import patience, wait_for

PATIENCE = patience(120.0)


def finish(run: Run, *arguments: str) -> History:
    process = start_worker(run, "--serve-minutes", "0", *arguments)
    process.wait(timeout=PATIENCE)
    history = read_history(run)
    assert history.finished is not None, run.log_path.read_text()
    return history


def all_agree(run: Run) -> bool:
    """Whether `verify` finds nothing that differs, and can check all but what needs a model."""
    checks = [c for c in verify(run) if "needs a model" not in c.message]
    return len(checks) > 20 and all(c.ok for c in checks)


@pytest.fixture
def reviews(tmp_path: Path, encoder_folder: Path) -> RunConfig:
    return reviews_in(tmp_path, encoder_folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Run:
    """The run of `reviews`, finished: to be read, or copied."""
    folder = tmp_path_factory.mktemp("trained")
    run = create_run(reviews_in(folder, encoder_folder), folder / "runs")
    finish(run)
    return run


def copy_of(run: Run, folder: Path) -> Run:
    return Run(Path(shutil.copytree(run.path, folder / "runs" / run.id)))


def reviews_in(tmp_path: Path, encoder_folder: Path) -> RunConfig:
    rows = [("what a good cup", "good"), ("the tea was bad", "bad"), ("a warm day", "good")]
    for name, count in (("train.csv", 60), ("test.csv", 20)):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for i in range(count):
                text, label = rows[i % 3]
                writer.writerow([f"{text} {name[:2]} {i}", label])
    return RunConfig(
        task="classification",
        name="reviews",
        model=ModelConfig(base=str(encoder_folder)),
        data=DataConfig(train="train.csv", test="test.csv", validation=0.2),
        train=TrainConfig(epochs=3, batch_size=16, learning_rate=3e-3, devices="cpu"),
        evaluate=EvaluateConfig(parity_rows=0),  # it has tests of its own, and a process
        folder=str(tmp_path),
    )


def test_a_classifier_run_goes_through_its_five_stages(
    trained: Run, reviews: RunConfig, tmp_path: Path
) -> None:
    run, history = trained, read_history(trained)
    assert history.finished is not None
    assert history.finished.status == "finished", run.log_path.read_text()
    assert [s.state for s in history.stages] == ["done"] * 5
    assert [e.epoch for e in history.epochs] == [1, 2, 3]
    assert history.model is not None
    assert history.model.new_head
    assert set(history.results["test"]) == {"majority", "probe", "tuned"}
    assert {c.from_model for c in history.comparisons} == {"probe", "majority"}
    assert history.results["test"]["tuned"].n == 20
    assert not run.worker_alive()
    assert {"report.md", "report.html", "report.json"} <= {p.name for p in run.path.iterdir()}
    assert "model-index" in (run.model_path / "README.md").read_text()
    assert all_agree(run)
    stored = read_predictions(run, read_history(run), "test")["tuned"]
    assert stored["input"][0] == "what a good cup te 0"
    flips = history.analyses["test"]["flips"]["tuned"]
    assert sum(flips.counts.values()) == flips.n == 20
    right = (stored["label"] == stored["predicted"]).sum()
    assert flips.counts["fixed"] + flips.counts["right"] == right
    again = finish(create_run(reviews, tmp_path / "again"))  # a new head comes from the seed too
    assert again.steps.loss == history.steps.loss
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(run.model_path)
    assert set(model.config.label2id) == {"good", "bad"}


def test_weights_that_are_rounded_when_saved_are_scored_as_rounded(
    reviews: RunConfig, tmp_path: Path
) -> None:
    """Validation's scores in training are those of other weights, and are not used again.

    Parity reads other rows than the self-test, and scores them itself.
    """
    given = replace(
        reviews,
        model=replace(reviews.model, saved_dtype="bfloat16"),
        data=replace(reviews.data, test=None),
        evaluate=replace(reviews.evaluate, self_test_rows=4, parity_rows=8),
    )
    found = finish(create_run(given, tmp_path / "runs")).analyses["validation"]
    tested, shipped = found["self_test"]["tuned"], found["parity"]["tuned"]
    assert (tested.passed, tested.precision, tested.rows) == (True, "float32", 4)
    assert (shipped.passed, shipped.stored_dtype, shipped.rows) == (True, "BF16", 8)
    assert [form.weights for form in shipped.weights] == ["in memory", "read back from model/"]


def test_bad_data_ends_the_run_before_a_model_is_loaded(reviews: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n,good\nfine,\n")
    run = create_run(reviews, tmp_path / "runs")
    history = finish(run)
    assert history.finished is not None
    assert history.finished.exit_code == 2
    assert "train.csv:2" in history.finished.error
    assert "train.csv:3" in history.finished.error
    assert history.model is None


def test_E4_a_token_without_an_embedding_ends_the_run_before_it_trains(
    verses: RunConfig, tmp_path: Path
) -> None:
    """Of a test row too, which is tokenised after training; where no row uses it, it is a note."""
    folder = tmp_path / "added"
    shutil.copytree(verses.model.base, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<ticket>", "</ticket>"]})
    tokenizer.save_pretrained(folder)
    data = replace(verses.data, test=str(tmp_path / "test.csv"))
    config = replace(
        verses,
        data=data,
        model=replace(verses.model, base=str(folder)),
        train=replace(verses.train, max_steps=1),
    )
    rows = "prompt,completion\nhow,warm tea\nwhen is <ticket>9</ticket>,today\n"
    (tmp_path / "test.csv").write_text(rows)
    history = finish(create_run(config, tmp_path / "runs"))
    assert history.finished is not None
    assert history.finished.status == "failed"
    assert history.finished.error.startswith(
        f"{folder}: the tokenizer has 322 tokens and the model embeddings for 320; it cannot read "
        "'<ticket>' (id 320), '</ticket>' (id 321), which stand in 1 row of test (1). Save"
    )
    assert history.step == 0
    (tmp_path / "test.csv").write_text(rows.replace("<ticket>9</ticket>", "it"))
    history = finish(create_run(config, tmp_path / "runs"))
    assert history.finished is not None
    assert history.finished.status == "finished"
    [found] = [n.text for n in history.notes if "embeddings" in n.text]
    assert "No row uses the others: '<ticket>' (id 320), '</ticket>' (id 321)" in found


def test_T4_killed_and_resumed_equals_uninterrupted(verses: RunConfig, tmp_path: Path) -> None:
    whole = create_run(verses, tmp_path / "runs")
    expected = finish(whole)
    assert expected.step == 20

    run = create_run(verses, tmp_path / "runs")
    process = start_worker(run, "--serve-minutes", "0")
    wait_for(lambda: read_history(run).step >= 11, "the eleventh step")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    died = read_history(run)
    assert died.status(run.worker_alive()) == "died"
    assert 11 <= died.step < 20

    rows = Path(str(verses.data.train))
    as_they_were = rows.read_bytes()
    rows.write_bytes(as_they_were + b"one more,row\n")
    refused = finish(run, "--resume").finished
    assert refused is not None
    assert refused.status == "failed"
    assert refused.exit_code == 2
    assert "train.csv: changed after step 1" in refused.error
    assert "this run cannot go on with other rows" in refused.error
    rows.write_bytes(as_they_were)

    resumed = finish(run, "--resume")
    assert resumed.started is not None
    assert 0 < resumed.started.resumed_from_step <= died.step
    assert list(resumed.steps.step) == list(range(1, 21))
    assert list(resumed.steps.loss_sum) == list(expected.steps.loss_sum)
    for earlier, later in ((0, 10), (5, 10), (10, 20), (15, 20)):
        change = resumed.change(earlier, later)
        assert change is not None
        assert change == expected.change(earlier, later)
    one = load_file(whole.model_path / "model.safetensors")
    two = load_file(run.model_path / "model.safetensors")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert all_agree(run)


def facts_by_key(history: History) -> dict[str, object]:
    """What a run measured, each under its key; times and durations left out."""
    evaluations = [replace_event(e, time=0.0, seconds=0.0) for e in history.evaluations]
    return {
        "steps": list(zip(history.steps.step, history.steps.loss_sum, strict=True)),
        "evaluations": evaluations,
        "epochs": [(e.epoch, e.step, e.train_loss) for e in history.epochs],
        "observations": [observe_epoch(history, e) for e in history.epochs],
        "checkpoints": [(c.step, c.best) for c in history.checkpoints],
        "choices": [replace_event(c, time=0.0) for c in history.choices],
        "prompts": [replace_event(p, time=0.0) for p in history.prompts],
        "notes": [(n.level, n.text) for n in history.notes],
        "texts": [replace_event(t, time=0.0) for t in history.texts],
        "analyses": {s: {n: sorted(m) for n, m in a.items()} for s, a in history.analyses.items()},
        "stages": [(s.number, s.state) for s in history.stages],
        "best": (history.best_step, history.ended and history.ended.reason),
    }


UNINTERRUPTED: list[dict[str, object]] = []  # its facts, which a run has in any folder


@pytest.mark.parametrize("last", ["evaluation", "nothing but step 0", "all but the end"])
def test_a_killed_run_that_is_resumed_has_every_fact_once(
    verses: RunConfig, tmp_path: Path, last: str
) -> None:
    """Killed for real, at the very line after which it was."""
    verses = replace(verses, train=replace(verses.train, eval_every=2))
    if not UNINTERRUPTED:
        UNINTERRUPTED.append(facts_by_key(finish(create_run(verses, tmp_path / "runs"))))
    [expected] = UNINTERRUPTED
    run = create_run(verses, tmp_path / "runs")
    process = start_worker(run, "--serve-minutes", "0")
    wait_for(lambda: enough(read_history(run), last), last)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if last == "evaluation":  # killed between an evaluation and its checkpoint
        keep_until(run, "Evaluated", 6)
    if last == "all but the end":  # killed between the last checkpoint and dropping an old one
        newest = max(run.checkpoints.iterdir())
        shutil.copytree(newest, run.checkpoints / "step_000001")
    found = facts_by_key(finish(run, "--resume"))
    assert not (run.checkpoints / "step_000001").exists()
    for name, value in expected.items():
        assert found[name] == value, name


def enough(history: History, last: str) -> bool:
    if last == "evaluation":
        return any(e.step >= 8 for e in history.evaluations)
    if last == "all but the end":
        return bool(history.results)
    return bool(history.evaluations)


def keep_until(run: Run, kind: str, step: int) -> None:
    """Leave in a run directory what a worker had written up to a line, and its checkpoints."""
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    mark = f'"kind":"{kind}"'.encode()
    at = next(i for i, e in enumerate(lines) if mark in e and f'"step":{step},'.encode() in e)
    run.events_path.write_bytes(b"".join(lines[: at + 1]))
    for path in run.checkpoints.glob("step_*"):
        if int(path.name.removeprefix("step_").removesuffix(".tmp")) >= step:
            shutil.rmtree(path)


def test_a_stopped_run_saves_its_state_answers_and_resumes(
    verses: RunConfig, tmp_path: Path
) -> None:
    verses = replace(verses, train=replace(verses.train, epochs=400.0))
    run = create_run(verses, tmp_path / "runs")
    process = start_worker(run)
    wait_for(lambda: read_history(run).step >= 3, "the third step")
    stop_worker(run)
    process.wait(timeout=PATIENCE)
    history = read_history(run)
    assert history.status(run.worker_alive()) == "stopped"
    assert history.checkpoints[-1].step == history.step
    with pytest.raises(RunError, match="no worker"):
        list(ask(run, AskPause()))
    answering = start_worker(run, "--serve", "--serve-minutes", "1")
    wait_until_listening(run, answering)
    lines = list(ask(run, AskPrompt(text="cup number 5 is", max_new_tokens=3), timeout=PATIENCE))
    assert {r.model for r in lines if isinstance(r, Completed)} == {"base", "tuned"}
    asked = read_history(run).prompts[-1]
    assert asked.step == (history.best_step or history.step)  # of the checkpoint that was kept
    process = resume_worker(run)  # who only answers makes way
    answering.wait(timeout=PATIENCE)
    wait_for(lambda: read_history(run).step > history.step, "a step after the stop")
    stop_worker(run)
    process.wait(timeout=PATIENCE)


def test_prompts_are_answered_between_steps_and_while_paused(
    verses: RunConfig, tmp_path: Path
) -> None:
    verses = replace(verses, train=replace(verses.train, epochs=400.0))
    run = create_run(verses, tmp_path / "runs")
    process = start_worker(run)
    wait_until_listening(run, process)
    wait_for(lambda: read_history(run).step >= 1, "the first step")
    asked = AskPrompt(text="cup number 5 is", max_new_tokens=5, likelihoods="generation")
    lines = list(ask(run, asked))
    assert isinstance(lines[0], Held)
    assert {r.model for r in lines if isinstance(r, TokenMade)} == {"base", "tuned"}
    answers = [r for r in lines if isinstance(r, Completed)]
    assert {a.model for a in answers} == {"base", "tuned"}
    assert all(a.likelihoods for a in answers if a.tokens)

    list(ask(run, AskPause()))
    wait_for(lambda: read_history(run).paused, "the pause")
    step = read_history(run).step
    assert not any(isinstance(r, Held) for r in ask(run, asked))
    assert read_history(run).step == step
    list(ask(run, AskResume()))
    wait_for(lambda: read_history(run).step > step, "a step after the pause")
    stop_worker(run)
    process.wait(timeout=PATIENCE)
    assert [p.prompt for p in read_history(run).prompts if not p.probe] == ["cup number 5 is"] * 2


def test_a_finished_run_is_served_anew(trained: Run, tmp_path: Path) -> None:
    run = copy_of(trained, tmp_path)
    process = start_worker(run, "--serve", "--serve-minutes", "1")
    wait_until_listening(run, process)
    lines = list(ask(run, AskPrompt(text="a good cup"), timeout=PATIENCE))
    labelled = {r.model: r for r in lines if isinstance(r, Labelled)}
    assert labelled["base"].name == "base (linear probe)"
    assert set(labelled["tuned"].probabilities) == {"good", "bad"}
    assert sum(labelled["tuned"].probabilities.values()) == pytest.approx(1.0)
    stop_worker(run)
    process.wait(timeout=PATIENCE)


def test_lora_trains_an_adapter_and_keeps_the_base(verses: RunConfig, tmp_path: Path) -> None:
    verses = replace(verses, model=replace(verses.model, adapter="lora"))
    run = create_run(verses, tmp_path / "runs")
    history = finish(run)
    assert history.finished is not None
    assert history.finished.status == "finished", run.log_path.read_text()
    assert (run.model_path / "adapter_model.safetensors").exists()
    assert history.model is not None
    assert history.model.trainable < history.model.parameters / 10
    results = history.results["validation"]
    assert results["tuned"].loss < results["base"].loss
    assert "library_name: peft" in (run.model_path / "README.md").read_text()


def test_two_given_models_are_evaluated_without_training(
    trained: Run, reviews: RunConfig, tmp_path: Path
) -> None:
    tuned = str(trained.model_path)
    given = replace(
        reviews,
        model=ModelConfig(base=tuned, tuned=tuned),
        data=DataConfig(test="test.csv", validation=None),
    )
    run = create_run(given, tmp_path / "runs")
    history = finish(run)
    assert history.finished is not None
    assert history.finished.status == "finished", run.log_path.read_text()
    accuracy = next(c for c in history.comparisons if c.metric == "accuracy")
    assert (accuracy.from_model, accuracy.difference) == ("base", 0.0)
    assert (accuracy.fixed, accuracy.broke) == (0, 0)
    assert all_agree(run)


def test_D2_the_clean_rows_are_compared_and_judged(reviews: RunConfig, tmp_path: Path) -> None:
    """Half of the test rows stand in train: results, comparisons and verdict know the others."""
    from ftev.core.judgement.selection import find_comparison
    from ftev.core.judgement.verdict import judge

    train = (tmp_path / "train.csv").read_text().splitlines()
    test = (tmp_path / "test.csv").read_text().splitlines()
    (tmp_path / "test.csv").write_text("\n".join([*test, *train[1:21]]) + "\n")
    asked = replace(
        reviews,
        data=replace(reviews.data, near_duplicates=False),
        objective=replace(reviews.objective, metric="accuracy", at_least=0.1),
    )
    run = create_run(asked, tmp_path / "runs")
    history = finish(run)
    assert history.leakage is not None
    assert history.leakage.leaked["test"] == 20
    assert history.results["test"]["tuned"].n == 40
    assert history.results["test_clean"]["tuned"].n == 20
    clean = find_comparison(history, "test_clean", "accuracy")
    assert clean is not None
    assert clean.from_model == "probe"
    for split in ("test", "test_clean"):
        values = {c.metric: c for c in history.comparisons if c.split == split}
        assert values["accuracy"].p_holm is None
        assert values["macro_f1"].p_holm is not None
    verdict = judge(history, asked)
    reason = next(r for r in verdict.reasons if "target" in r)
    assert "accuracy on test_clean (20 of 40 rows, those that repeat nothing" in reason
    assert not any("optimistic" in r for r in verdict.reasons)


def test_T3_a_second_run_knows_that_the_test_rows_were_read(
    trained: Run, reviews: RunConfig, tmp_path: Path
) -> None:
    first = read_history(copy_of(trained, tmp_path))
    assert first.analyses["test"]["test_readings"][""].runs == 0
    other = replace(reviews, train=replace(reviews.train, epochs=1))
    second = finish(create_run(other, tmp_path / "runs"))
    result = second.analyses["test"]["test_readings"][""]
    assert (result.runs, result.other_configs) == (1, 1)
    assert "label_errors" in second.analyses["validation"]


def test_forgetting_is_measured_in_windows(verses: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "neutral.txt").write_text("a cold day makes a warm cup welcome. " * 60)
    asked = replace(verses, evaluate=replace(verses.evaluate, general_text="neutral.txt"))
    run = create_run(asked, tmp_path / "runs")
    history = finish(run)
    result = history.analyses["general_text"]["forgetting"][""]
    base, tuned = (next(t for t in history.texts if t.model == m) for m in ("base", "tuned"))
    assert result.tokens == base.tokens
    assert result.windows == -(-base.tokens // 64) > 5
    change = (base.log_likelihood - tuned.log_likelihood) / base.tokens
    assert result.difference == pytest.approx(change)
    assert result.low < change < result.high
    changes = history.analyses["general_text"]["token_changes"][""]
    assert changes.tokens == base.tokens
    assert changes.gained_tokens + changes.lost_tokens <= base.tokens
    for kind, sign in (("gained", 1), ("lost", -1)):
        steps = [sign * t.difference for t in getattr(changes, kind)]
        assert len(steps) == min(changes.kept, getattr(changes, f"{kind}_tokens"))
        assert steps == sorted(steps, reverse=True)
        assert all(step > 0 for step in steps)
    page = render_markdown(build_report(run, history))
    assert f"Of the {base.tokens:,} scored tokens of general_text" in page


def test_K4_each_model_reads_with_its_own_tokenizer(
    verses: RunConfig, causal_folder: Path, tmp_path: Path
) -> None:
    """The same weights under a tokenizer whose ids are shuffled are another model: told, and read
    by its own ids."""
    import json
    import shutil

    other = tmp_path / "shuffled"
    shutil.copytree(causal_folder, other)
    path = other / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    words = [w for w in vocabulary if w not in special]
    ids = [vocabulary[w] for w in words]
    vocabulary |= dict(zip(words, ids[1:] + ids[:1], strict=True))
    path.write_text(json.dumps(tokenizer))
    document = tmp_path / "document.txt"
    document.write_text("a cold day makes a warm cup welcome. " * 40)

    def evaluated(base: Path, tuned: Path, test: str = "train.csv") -> History:
        given = replace(
            verses,
            model=replace(verses.model, base=str(base), tuned=str(tuned)),
            data=DataConfig(test=str(tmp_path / test), validation=None),
            evaluate=replace(verses.evaluate, prompts=("a cold day",), max_new_tokens=4),
        )
        history = finish(create_run(given, tmp_path / "runs"))
        assert history.finished is not None
        assert history.finished.status == "finished", history.finished.error
        assert [(p.prompt, p.probe) for p in history.prompts] == [("a cold day", True)]
        assert history.device is not None
        assert not history.device.trains
        return history

    crossed = evaluated(causal_folder, other)
    alone = evaluated(other, other)
    plain = evaluated(causal_folder, causal_folder)
    for model, own in (("base", plain), ("tuned", alone)):
        expected = own.results["test"]["tuned"].metrics["bits_per_byte"].value
        found = crossed.results["test"][model].metrics["bits_per_byte"].value
        assert found == pytest.approx(expected, rel=1e-6)
    assert crossed.models_compared is not None
    assert not crossed.models_compared.same_vocabulary
    assert crossed.models_compared.differing == len(words)
    assert alone.models_compared is not None
    assert alone.models_compared.same_vocabulary
    whole = evaluated(causal_folder, other, "document.txt")
    assert set(whole.results["test"]) == {"base", "tuned"}
    assert not whole.comparisons
    assert any("different windows" in n.text for n in whole.notes)


def test_the_windows_of_a_document_are_told_and_verified(
    verses: RunConfig, causal_folder: Path, tmp_path: Path
) -> None:
    import json
    import shutil

    import polars as pl
    from safetensors.torch import save_file

    other = tmp_path / "other"
    shutil.copytree(causal_folder, other)
    weights = load_file(other / "model.safetensors")
    shaken = {name: w + 0.05 * torch.randn_like(w) for name, w in weights.items()}
    save_file(shaken, other / "model.safetensors", {"format": "pt"})
    text = "a cold day makes a warm cup welcome. " * 40
    documents = [{"text": text}, {"text": text[37:]}, {"text": text[74:]}]
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    (tmp_path / "documents.jsonl").write_text(lines)
    given = replace(
        verses,
        model=replace(verses.model, tuned=str(other)),
        data=DataConfig(test=str(tmp_path / "documents.jsonl"), validation=None),
        evaluate=replace(verses.evaluate, prompts=(), held_out=["a warm cup"]),
    )
    run = create_run(given, tmp_path / "runs")
    history = finish(run)
    flips = history.analyses["test"]["flips"]["tuned"]
    found = [r.input.strip() for rows in flips.rows.values() for r in rows if r.input is not None]
    assert found
    assert all(begin in text for begin in found)
    assert "token_changes" in history.analyses["held_out:0"]
    assert all_agree(run)
    result = history.results["test"]["tuned"]
    stored = pl.read_parquet(run.predictions / "test.tuned.parquet")
    assert result.clusters == stored["cluster"].n_unique() == 3 < result.n  # S9
    assert f"3 clusters of {result.n} rows" in result.metrics["loss"].method
    assert {c.clusters for c in history.comparisons} == {3}


def test_two_given_classifiers_may_order_their_labels_otherwise(
    trained: Run, reviews: RunConfig, tmp_path: Path
) -> None:
    import json

    from safetensors.torch import save_file

    other = tmp_path / "turned"
    shutil.copytree(trained.model_path, other)
    config = json.loads((other / "config.json").read_text())
    names = [config["id2label"][k] for k in sorted(config["id2label"])]
    config["id2label"] = {str(i): name for i, name in enumerate(reversed(names))}
    config["label2id"] = {name: i for i, name in enumerate(reversed(names))}
    (other / "config.json").write_text(json.dumps(config))
    weights = load_file(other / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    given = replace(
        reviews,
        model=ModelConfig(base=str(trained.model_path), tuned=str(other)),
        data=DataConfig(train="train.csv", test="test.csv", validation=0.2),
    )
    history = finish(create_run(given, tmp_path / "runs"))
    for split in ("validation", "test"):
        base, tuned = (history.results[split][m] for m in ("base", "tuned"))
        assert base.confusion == tuned.confusion
        assert base.loss == pytest.approx(tuned.loss)


def test_B2_a_run_freezes_its_threshold_and_slices_by_a_column(
    reviews: RunConfig, tmp_path: Path
) -> None:
    path = tmp_path / "test.csv"
    header, *rows = path.read_text().splitlines()
    sliced = [f"{row},{'web' if i < 10 else 'mail'}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},origin", *sliced]) + "\n")
    config = replace(
        reviews,
        train=replace(reviews.train, epochs=1),
        objective=ObjectiveConfig(cost=CostConfig(fp=1, fn=20)),
        evaluate=EvaluateConfig(slices=["origin"], parity_rows=0),
    )
    analyses = finish(create_run(config, tmp_path / "runs")).analyses
    known, applied = (analyses[s]["thresholds"]["tuned"] for s in ("validation", "test"))
    assert applied.chosen == known.chosen
    assert known.curve is not None
    assert applied.at_threshold.threshold == known.chosen.threshold
    calibration = analyses["test"]["calibration"]["tuned"]
    assert (calibration.temperature is None) != (calibration.no_temperature is None)
    found = {s.value: s.rows for s in analyses["test"]["slices"]["tuned"].slices}
    assert (found["web"], found["mail"]) == (10, 10)


def test_a_worker_killed_as_soon_as_its_run_is_finished_leaves_the_report(
    verses: RunConfig, tmp_path: Path
) -> None:
    short = replace(verses, train=replace(verses.train, max_steps=1))
    run = create_run(short, tmp_path / "runs")
    process = start_worker(run)
    reader, events = EventReader(run.events_path), []
    while not events or not isinstance(events[-1], RunFinished):
        events += reader.read()
        assert process.poll() is None, run.log_path.read_text()
    process.kill()
    process.wait()
    report = json.loads((run.path / "report.json").read_bytes())
    assert report["run"]["status"] == events[-1].status == "finished"
    assert report == json.loads(render_json(build_report(run)))
    assert {"report.md", "report.html"} <= {p.name for p in run.path.iterdir()}
    assert (run.model_path / "README.md").exists()


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before_it(
    verses: RunConfig, tmp_path: Path
) -> None:
    run = create_run(verses, tmp_path / "runs")
    expected = finish(run)
    newest, older, *_ = checkpoints_of(run)
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    kept = newest.rename(tmp_path / "kept")
    keep_until(run, "StepDone", step_of(newest))
    kept.rename(newest)
    resumed = finish(run, "--resume")
    assert resumed.started is not None
    assert resumed.started.resumed_from_step == step_of(older)
    [note] = [n.text for n in resumed.notes if "damaged" in n.text]
    assert str(weights) in note
    assert f"resumes at step {step_of(older)}" in note
    assert list(resumed.steps.loss_sum) == list(expected.steps.loss_sum)
