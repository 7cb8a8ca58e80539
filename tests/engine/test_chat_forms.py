"""The forms of rows for generation from their files to scored tokens, and one run with chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from chat_templates import ZEPHYR
from ftev.core.config.config import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    to_dict,
)
from ftev.core.engine.scoring.preview import Preview, preview
from ftev.core.errors import ConfigError, DataError
from ftev.core.report.report import build_report
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import create_run
from waiting import patience

PATIENCE = patience(200.0)
USER, ASSISTANT = {"role": "user", "content": "tea"}, {"role": "assistant", "content": "warm"}
TEMPLATE = (
    "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}"
    + ZEPHYR.replace("m['content']", "m['content'] ~ (m.tool_calls or '')")
)  # fmt: skip
SHORT = (
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
CALL = {"type": "function", "function": {"name": "pour", "arguments": {"cup": 1}}}
FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [USER, ASSISTANT]},
    "parts": {"messages": [USER, ASSISTANT | {"content": [{"type": "text", "text": "warm"}]}]},
    "weights": {"messages": [USER, ASSISTANT | {"weight": 0}, USER, ASSISTANT]},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "tea"}, {"from": "gpt", "value": "warm"}]
    },
    "lima": {"conversations": ["tea", "warm"]},
    "two columns": {"prompt": [USER], "completion": [ASSISTANT]},
    "alpaca": {"instruction": "tea", "input": "cup", "output": "warm"},
    "dolly": {"instruction": "tea", "context": "cup", "response": "warm"},
    "squad": {"context": "cup", "question": "tea", "answers": {"text": ["warm"]}},
    "query": {"query": "tea", "response": "warm"},
    "question": {"question": "tea", "answer": "warm"},
    "kto": {"prompt": "tea", "completion": "warm", "label": True},
}


def written(folder: Path, base: Path, rows: list[dict[str, Any]], **data: Any) -> RunConfig:
    """A configuration whose rows and template lie in a folder."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "chat.jinja").write_text(TEMPLATE)
    return RunConfig(
        task="generation",
        model=ModelConfig(base=str(base), chat_template="chat.jinja", precision="float32"),
        data=DataConfig(**({"train": "rows.jsonl", "validation": None} | data)),
        train=TrainConfig(max_steps=2, batch_size=4, devices="cpu"),
        evaluate=EvaluateConfig(turns="all", completions=4, serve_minutes=0),
        folder=str(folder),
    )


@pytest.mark.parametrize("form", FORMS)
def test_what_is_scored_of_each_form(tmp_path: Path, causal_folder: Path, form: str) -> None:
    config = to_dict(written(tmp_path, causal_folder, [FORMS[form]] * 3))
    del config["evaluate"]["turns"]
    found = preview(Preview(config=config))
    shown = found["splits"]["train"]["rows_shown"][0]
    masked = "".join(text for text, scored in shown if not scored)
    assert "".join(text for text, scored in shown if scored) == "warm</s>"
    assert "tea" in masked
    assert ("cup" in masked) == (form in ("alpaca", "dolly", "squad"))
    assert found["unread_keys"] == []


def test_what_the_template_does_not_render_is_named(tmp_path: Path, causal_folder: Path) -> None:
    thought = ASSISTANT | {"reasoning_content": "cold"}
    rows = [{"messages": [USER, thought], "tools": [CALL]}] * 3
    config = to_dict(written(tmp_path, causal_folder, rows))
    assert preview(Preview(config=config))["unread_keys"] == ["reasoning_content"]


def test_a_template_that_cannot_be_used_is_a_fault_of_its_setting(
    tmp_path: Path, causal_folder: Path
) -> None:
    config = written(tmp_path, causal_folder, [{"messages": [USER, ASSISTANT]}] * 3)
    (tmp_path / "chat.jinja").write_text("{% for m in messages %}")
    with pytest.raises(ConfigError, match=r"chat.jinja: cannot be used as a template") as caught:
        preview(Preview(config=to_dict(config)))
    assert caught.value.faults[0].setting == "model.chat_template"
    (tmp_path / "chat.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(DataError, match=r"rows.jsonl:1: the chat template refuses it: no \(2 more"):
        preview(Preview(config=to_dict(config)))


def test_every_answer_of_a_chat_is_judged_and_a_chat_is_one_cluster(
    tmp_path: Path, causal_folder: Path
) -> None:
    """A whole run, with a system message and a template of the configuration."""
    chats = [
        [USER | {"content": f"tea {i}"}, ASSISTANT, USER, ASSISTANT | {"content": f"day {i}"}]
        for i in range(12)
    ]
    rows = [{"messages": chat} for chat in chats]
    config = written(tmp_path, causal_folder, rows, test=0.5, system="be")
    (tmp_path / "chat.jinja").write_text(SHORT)  # the model reads no more than 64 tokens
    run = create_run(config, tmp_path / "runs")
    start_worker(run, "--serve-minutes", "0").wait(timeout=PATIENCE)
    history = read_history(run)
    assert history.finished is not None, run.log_path.read_text()
    assert history.finished.status == "finished", run.log_path.read_text()
    frame = pl.read_parquet(run.predictions / "test.tuned.parquet")
    assert frame.height == 12
    assert frame["cluster"].n_unique() == 6
    asked = frame.drop_nulls("prompt")
    assert asked.height == 4
    assert asked["prompt"].str.starts_with("system: be\nuser: tea").all()
    turns = asked["prompt"].str.count_matches("assistant: warm")
    assert (turns == (asked["reference"] != "warm").cast(pl.Int64)).all()
    result = build_report(run)["results"]["test"]["tuned"]
    assert (result.n, result.clusters) == (12, 6)
    assert (run.model_path / "chat_template.jinja").read_text() == SHORT
