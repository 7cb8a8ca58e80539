"""Rows for generation in the forms of usual data sets: found, made, left out and counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_files import faults, read, write_csv, write_jsonl
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from ftev.core.data.data import read_run_data
from ftev.core.errors import DataError

USER, ASSISTANT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


def pairs(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    write_jsonl(folder / "a.jsonl", rows)
    frame = read(folder, "generation", train="a.jsonl").splits["train"].frame
    return list(frame.select("prompt", "completion").iter_rows())


def chats(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> list[list[dict[str, Any]]]:
    """Without the keys that a message does not have."""
    write_jsonl(folder / "a.jsonl", rows)
    frame = read(folder, "generation", train="a.jsonl", **settings).splits["train"].frame
    return [
        [{key: value for key, value in turn.items() if value is not None} for turn in chat]
        for chat in frame["messages"].to_list()
    ]


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        ({"instruction": "Add", "input": "1 1", "output": "2"}, ("Add\n\n1 1", "2")),
        ({"instruction": "Add", "input": "", "output": "2", "text": "Add: 2"}, ("Add", "2")),
        ({"instruction": "Who?", "context": "Ann.", "response": "A"}, ("Ann.\n\nWho?", "A")),
        ({"instruction": "Who?", "context": "", "response": "A", "category": "qa"}, ("Who?", "A")),
        ({"query": "a", "response": "b"}, ("a", "b")),
        ({"question": "a", "answer": "b"}, ("a", "b")),
        ({"prompt": "a", "completion": "b"}, ("a", "b")),
        (
            {"id": "1", "context": "Ann.", "question": "Who?", "answers": {"text": ["A", "B"]}},
            ("Ann.\n\nWho?", "A"),
        ),
        ({"system_prompt": "Be brief.", "question": "a", "response": "b"}, ("Be brief.\n\na", "b")),
        ({"prompt": "a", "completion": "b", "label": True}, ("a", "b")),
    ],
)
def test_instructions_and_questions(
    tmp_path: Path, row: dict[str, Any], pair: tuple[str, str]
) -> None:
    assert pairs(tmp_path, [row, row]) == [pair] * 2


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, ASSISTANT]},
        {"messages": json.dumps([USER, ASSISTANT])},
        {"conversations": [USER, ASSISTANT]},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"conversations": ["hi", "hello"], "source": "x"},
        {"messages": [USER | {"content": [{"type": "text", "text": "hi"}]}, ASSISTANT]},
    ],
)
def test_chats(tmp_path: Path, row: dict[str, Any]) -> None:
    assert chats(tmp_path, [row]) == [[USER, ASSISTANT]]


def test_a_chat_in_a_csv_file_is_read_as_json(tmp_path: Path) -> None:
    cell = json.dumps([USER, ASSISTANT]).replace('"', '""')
    write_csv(tmp_path / "a.csv", [("1", f'"{cell}"')], "id,messages")
    frame = read(tmp_path, "generation", train="a.csv").splits["train"].frame
    assert frame["messages"].to_list() == [[USER, ASSISTANT]]


def test_only_the_completion_of_a_chat_in_two_columns_is_learned(tmp_path: Path) -> None:
    prompt = [USER, ASSISTANT, USER]
    [chat] = chats(tmp_path, [{"prompt": prompt, "completion": [ASSISTANT]}])
    assert [turn.get("weight") for turn in chat] == [0, 0, 0, None]
    [chat] = chats(tmp_path, [{"prompt": prompt, "completion": "hello"}], prompt="prompt")
    assert chat[-1] == ASSISTANT


def test_sharegpt_with_system_and_tools(tmp_path: Path) -> None:
    turns = [
        {"from": "human", "value": "1 + 1"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "two"},
    ]
    row = {"conversations": turns, "system": "Be brief.", "tools": json.dumps(TOOLS)}
    [chat] = chats(tmp_path, [row])
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant", "tool", "assistant"]
    [call] = json.loads(chat[2]["tool_calls"])
    assert call["function"] == {"name": "add", "arguments": {"a": 1}}
    dataset = read(tmp_path, "generation", train="a.jsonl")
    assert json.loads(dataset.splits["train"].frame["tools"][0]) == TOOLS
    assert dataset.columns_found().unread == []


def test_tool_calls_with_and_without_content(tmp_path: Path) -> None:
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    spoken = {"role": "assistant", "content": "I add", "tool_calls": [CALL]}
    bare = {"role": "assistant", "tool_calls": [CALL]}
    answer = {"role": "tool", "content": "2", "tool_call_id": "c1", "name": "add"}
    rows = [{"messages": [USER, turn, answer, ASSISTANT]} for turn in (asked, spoken, bare)]
    read_chats = chats(tmp_path, rows)
    assert [chat[1]["content"] for chat in read_chats] == ["", "I add", ""]
    assert all(json.loads(chat[1]["tool_calls"]) == [CALL] for chat in read_chats)
    assert read_chats[0][2] == answer


def test_rows_from_which_nothing_is_to_be_learned_are_left_out_and_counted(tmp_path: Path) -> None:
    weighed = [{"messages": [USER, ASSISTANT | {"weight": i % 2}]} for i in range(6)]
    write_jsonl(tmp_path / "a.jsonl", weighed)
    rated = [{"prompt": f"p{i}", "completion": "c", "label": bool(i % 3)} for i in range(6)]
    write_jsonl(tmp_path / "b.jsonl", rated)
    asked = [
        {"context": "c", "question": "q", "answers": {"text": ["a"] * (i % 2)}} for i in range(6)
    ]
    write_jsonl(tmp_path / "c.jsonl", asked)
    for name, left, why in (
        ("a.jsonl", 3, "has weight 0"),
        ("b.jsonl", 2, "label is false"),
        ("c.jsonl", 3, "no answer in its context"),
    ):
        dataset = read(tmp_path, "generation", train=name)
        assert dataset.splits["train"].frame.height == 6 - left
        assert not dataset.skipped
        [(reason, count)] = dataset.facts("train")["not_learned"].items()
        assert why in reason
        assert (count, dataset.facts("train")["skipped_rows"]) == (left, 0)
        assert name + ":1" in str(dataset.left_out["train"][0])
    write_jsonl(tmp_path / "a.jsonl", weighed[::2])
    assert "has no good row left" in faults(tmp_path, "generation", train="a.jsonl")[0]


def test_what_nothing_reads_is_named_by_form(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "hi", "mood": "good"}, {"from": "gpt", "value": "hello"}]
    write_jsonl(tmp_path / "a.jsonl", [{"conversations": turns, "id": "1", "source": "x"}])
    found = read(tmp_path, "generation", train="a.jsonl").columns_found()
    assert (found.unread, found.unread_keys) == (["id", "source"], ["mood"])
    assert found.words.startswith("chats (ShareGPT")


def test_a_part_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    turn = {"role": "user", "content": [{"type": "text", "text": "see"}, picture]}
    write_jsonl(tmp_path / "a.jsonl", [{"messages": [turn, ASSISTANT]}])
    [fault] = faults(tmp_path, "generation", train="a.jsonl")
    assert "message 1 has a part of type 'image_url'; text alone is read" in fault


def test_a_system_message_is_put_before_chats_that_have_none(tmp_path: Path) -> None:
    own = {"role": "system", "content": "Be kind."}
    rows = [{"messages": [USER, ASSISTANT]}, {"messages": [own, USER, ASSISTANT]}]
    found = chats(tmp_path, rows, system="Be brief.")
    assert [chat[0]["content"] for chat in found] == ["Be brief.", "Be kind."]
    write_jsonl(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}])
    [fault] = faults(tmp_path, "generation", train="a.jsonl", system="Be brief.")
    assert "data.system is for chats" in fault


def test_a_split_may_lack_what_is_optional(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"messages": [USER, ASSISTANT], "tools": TOOLS}])
    write_jsonl(tmp_path / "b.jsonl", [{"messages": [USER, ASSISTANT]}])
    splits = read(tmp_path, "generation", train="a.jsonl", test="b.jsonl").splits
    assert splits["test"].frame["tools"].to_list() == [None]


def test_each_answer_of_a_chat_is_a_row_where_that_is_asked(tmp_path: Path) -> None:
    """Its context is what the data say, unscored; the rows of a chat are a group."""
    late = [{"role": "user", "content": "again"}, {"role": "assistant", "content": "hello again"}]
    rows = [{"messages": [USER, ASSISTANT, *late]}, {"messages": [USER, ASSISTANT]}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    data = DataConfig(train="a.jsonl", validation="a.jsonl", test="a.jsonl")
    config = RunConfig(task="generation", model=ModelConfig(base="x"), data=data)
    config = replace(config, evaluate=EvaluateConfig(turns="all"), folder=str(tmp_path))
    splits = read_run_data(config).splits
    assert {name: split.frame.height for name, split in splits.items()} == {
        "train": 2,
        "validation": 3,
        "test": 3,
    }
    frame = splits["test"].frame
    assert frame["row_id"].to_list() == [0, 1, 2]
    assert frame["group"].to_list() == ["a.jsonl:1", "a.jsonl:1", "a.jsonl:2"]
    second = frame["messages"].to_list()[1]
    assert [turn["weight"] for turn in second] == [0, 0, 0, None]
    assert second[-1]["content"] == "hello again"
    apart = replace(config, evaluate=EvaluateConfig(), data=replace(data, turns="separate"))
    assert read_run_data(apart).splits["train"].frame.height == 3
    write_jsonl(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}] * 3)
    with pytest.raises(DataError, match="turns is for chats, and these rows are none"):
        read_run_data(config)


def test_a_column_that_the_config_names_excludes_the_forms_without_it(tmp_path: Path) -> None:
    row = {"talk": [USER, ASSISTANT], "prompt": "a", "completion": "b"}
    assert chats(tmp_path, [row, row], messages="talk") == [[USER, ASSISTANT]] * 2
