"""Tokens with their likelihoods: of an answer, and of one stored row under base and tuned."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from ftev.core.data.data import read_run_data
from ftev.core.engine.answering.generate import Voice, generate
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.evaluate import score_tokens
from ftev.core.engine.scoring.generation import SCORER
from ftev.core.engine.scoring.rows import prompt_ids
from ftev.core.engine.scoring.token_scores import (
    StoredRow,
    cross_score,
    piece,
    pieces,
    row_tokens,
    score,
    score_answer,
)
from ftev.core.errors import ConfigError, ModelError, RunError
from ftev.core.run.control import AskPrompt, Completed
from ftev.core.run.launch import ask_engine
from ftev.core.run.runs import Run, create_run
from scoring import causal_model
from transformers import AutoModelForCausalLM, AutoTokenizer

ASKED = AskPrompt(text="", max_new_tokens=6, likelihoods="all", details=True)


@pytest.fixture(scope="module")
def loaded(causal_folder: Path) -> Loaded:
    return causal_model(causal_folder)


def answered(loaded: Loaded, prompt: list[int]) -> tuple[Voice, Completed]:
    voice = Voice("base", loaded)
    *_, done = generate([voice], prompt, ASKED)
    assert isinstance(done, Completed)
    return voice, done


def test_the_pieces_of_tokens_join_to_the_text(loaded: Loaded) -> None:
    text = "the kettle boils \u4e16\u754c \U0001f44d na\u00efve, " * 3
    ids = loaded.tokenizer(text, add_special_tokens=False).input_ids
    assert "".join(pieces(loaded, ids)) == text
    assert len(pieces(loaded, ids)) == len(ids)


def test_the_top_five_are_those_of_the_model(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "the kettle", "text")
    _, done = answered(loaded, prompt)
    token = done.likelihoods[len(prompt) - 1]  # the first that was made
    assert len(token.top) == 5
    with torch.no_grad():
        shares = loaded.model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
    assert [p for _, p in token.top] == pytest.approx(shares.topk(5).values.tolist(), abs=1e-5)
    assert token.rank == 1
    assert token.log_likelihood == pytest.approx(float(shares.max().log()), abs=1e-5)


def test_an_answer_under_its_own_model_has_its_own_likelihoods(loaded: Loaded) -> None:
    prompt = prompt_ids(loaded, "the kettle", "text")
    voice, done = answered(loaded, prompt)
    made = done.likelihoods[len(prompt) - 1 :]
    again = score_answer(loaded, prompt, voice.answered)
    assert [t.text for t in again] == [t.text for t in made]
    for a, b in zip(again, made, strict=True):
        assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-4)
    writer = ("base", loaded, prompt, voice.answered)
    found = cross_score(writer, ("tuned", loaded, prompt), made, aligned=True)
    assert found is not None
    assert found.average_log_likelihood == pytest.approx(found.own_average, abs=1e-4)
    assert found.bits_per_byte == pytest.approx(found.own_bits_per_byte, abs=1e-4)
    assert (
        cross_score(("base", loaded, prompt, []), ("t", loaded, prompt), [], aligned=True) is None
    )


TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<s>{{ m['content'] }}:"
    "{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}"
)


def finished(folder: Path, causal: Path, rows: list[dict[str, Any]]) -> Run:
    """A run over these rows that keeps another model than its base."""
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows[:2])))
    config = RunConfig(
        task="generation",
        name="rows",
        model=ModelConfig(base=str(causal)),
        data=DataConfig(train="train.jsonl", test="test.jsonl", validation=0),
        evaluate=EvaluateConfig(precision="float32"),
        folder=str(folder),
    )
    run = create_run(config, folder / "runs")
    model = AutoModelForCausalLM.from_pretrained(causal)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(run.model_path)
    AutoTokenizer.from_pretrained(causal).save_pretrained(run.model_path)
    return run


def stored(run: Run, name: str) -> dict[int, tuple[float, int]]:
    """What an evaluation stores of each test row: nats, tokens."""
    config = run.config()
    loaded = load(config, name)
    dataset = read_run_data(config)
    *_, rows = SCORER.forms[dataset.columns.form](dataset.splits["test"].frame, loaded)
    *_, found = score_tokens(loaded, rows, "float32", 512)
    columns = (found[name].to_list() for name in ("row_id", "nll", "tokens"))
    return {row: (nll, count) for row, nll, count in zip(*columns, strict=True)}


def same_as_stored(run: Run, row_ids: list[int] | None = None) -> None:
    names = {"base": run.config().model.base, "tuned": str(run.model_path)}
    wanted = {model: stored(run, name) for model, name in names.items()}
    assert wanted["base"] != wanted["tuned"]
    for row_id in row_ids or wanted["base"]:
        found = row_tokens(StoredRow(str(run.path), "test", row_id))
        for model, rows in wanted.items():
            nll, count = rows[row_id]
            assert len(found[model]) == count
            assert -math.fsum(t[1] for t in found[model]) == pytest.approx(nll, abs=1e-4)


def test_the_completion_alone_is_scored_and_adds_up(tmp_path: Path, causal_folder: Path) -> None:
    cup = "a warm cup of tea"
    rows = [{"prompt": f"cup number {i} is", "completion": f"{cup} {i}"} for i in range(4)]
    rows.append({"prompt": cup * 12, "completion": cup})  # loses the prompt's beginning
    rows.append({"prompt": "tea", "completion": cup * 12})  # loses the completion's end
    run = finished(tmp_path, causal_folder, rows)
    same_as_stored(run)
    found = row_tokens(StoredRow(str(run.path), "test", 2))
    for model in ("base", "tuned"):
        assert "".join(t[0] for t in found[model]) == f"{cup} 2</s>"
        assert all(rank >= 1 for _, _, rank in found[model])


def test_a_row_may_be_a_window_of_a_document(tmp_path: Path, causal_folder: Path) -> None:
    long = " ".join(f"the kettle {i} boils and the cup is warm" for i in range(30))
    run = finished(tmp_path, causal_folder, [{"text": "a good day for tea"}, {"text": long}])
    same_as_stored(run, [0, 1, 2, 5])


def test_of_a_chat_the_turns_of_the_assistant_are_scored(
    tmp_path: Path, causal_folder: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(causal_folder, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(base)
    turns = [("user", "tea"), ("assistant", "a cup"), ("user", "warm"), ("assistant", "a day")]
    chat = [{"role": role, "content": text} for role, text in turns]
    run = finished(tmp_path, base, [{"messages": chat}, {"messages": chat[:2]}])
    same_as_stored(run)
    found = row_tokens(StoredRow(str(run.path), "test", 0))
    assert "".join(t[0] for t in found["tuned"]) == "a cup</s>a day</s>"


def test_asked_as_a_screen_asks_and_what_cannot_be_shown(
    tmp_path: Path, causal_folder: Path
) -> None:
    run = finished(tmp_path, causal_folder, [{"text": f"the tea of day {i}"} for i in range(3)])
    heard: list[str] = []
    question = {"run": str(run.path), "split": "test", "row_id": 1}
    found = ask_engine("row_tokens", question, heard.append)
    assert "".join(t[0] for t in found["tuned"]) == "the tea of day 1</s>"
    assert heard[-1] == "scoring this row under tuned"
    with pytest.raises(RunError, match="the file has changed"):
        row_tokens(StoredRow(str(run.path), "test", 1, sha256="another"))
    with pytest.raises(RunError, match="row 7 of test"):
        row_tokens(StoredRow(str(run.path), "test", 7))
    run.model_path.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="no tuned model"):
        row_tokens(StoredRow(str(run.path), "test", 1))


def test_a_classifier_has_no_likelihoods_of_tokens(tmp_path: Path) -> None:
    config = RunConfig(
        task="classification",
        name="labels",
        model=ModelConfig(base="any"),
        data=DataConfig(train="train.csv"),
        folder=str(tmp_path),
    )
    run = create_run(config, tmp_path / "runs")
    with pytest.raises(ConfigError, match="probabilities"):
        row_tokens(StoredRow(str(run.path), "test", 0))


def test_tokens_have_the_likelihood_and_rank_of_a_log_softmax(loaded: Loaded) -> None:
    logits = torch.randn(3, len(loaded.tokenizer), generator=torch.manual_seed(0))
    ids = [5, int(logits[1].argmax()), int(logits[2].argmin())]
    found = list(score(loaded, logits, ids, top=2))
    expected = logits.double().log_softmax(-1)
    for row, token, one in zip(expected, ids, found, strict=True):
        assert one.log_likelihood == pytest.approx(float(row[token]), rel=1e-5)
        assert one.rank == 1 + int((row > row[token]).sum())
        best = row.topk(2)
        assert [p for _, p in one.top] == pytest.approx(best.values.exp().tolist(), rel=1e-5)
        assert [text for text, _ in one.top] == [piece(loaded, int(i)) for i in best.indices]
    assert [one.rank for one in found[1:]] == [1, logits.shape[1]]


def test_the_piece_of_a_token_is_its_text_after_another(loaded: Loaded) -> None:
    ids = loaded.tokenizer("a cold day", add_special_tokens=False).input_ids
    assert "".join(piece(loaded, token) for token in ids[1:]).strip() == "cold day"
