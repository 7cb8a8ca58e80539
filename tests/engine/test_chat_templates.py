"""Chats through templates of the forms of usual model families: what of them is scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from chat_templates import FAMILIES, Family
from ftev.core.data.rows import separate_turns
from ftev.core.engine.models.models import Loaded, stop_ids
from ftev.core.engine.scoring.chats import keys_not_rendered, notes_on_history
from ftev.core.engine.scoring.completions import questions
from ftev.core.engine.scoring.rows import TokenRows, chat_rows, prompt_ids
from ftev.core.errors import DataError
from scoring import causal_model

SYSTEM = {"role": "system", "content": "be warm"}
CHAT = [
    {"role": "user", "content": "is the tea warm"},
    {"role": "assistant", "content": "it is"},
    {"role": "user", "content": "good"},
    {"role": "assistant", "content": "a good day"},
]
ARGUMENTS = {"cup": 1, "of": "tea"}
CALL = {"type": "function", "function": {"name": "pour", "arguments": json.dumps(ARGUMENTS)}}
CALLED = [
    CHAT[0],
    {"role": "assistant", "content": "", "tool_calls": json.dumps([CALL])},
    {"role": "tool", "content": "warm", "name": "pour"},
    {"role": "assistant", "content": "it is"},
]
TOOLS = json.dumps([{"type": "function", "function": {"name": "pour", "parameters": {}}}])


def with_family(folder: Path, family: Family) -> Loaded:
    loaded = causal_model(folder)
    tokens = [family.end, *family.tokens]
    loaded.tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    end = loaded.tokenizer.convert_tokens_to_ids(family.end)
    loaded.model.generation_config.eos_token_id = [loaded.tokenizer.eos_token_id, end]
    loaded.tokenizer.chat_template, loaded.max_length = family.template, 400
    return loaded


def made_row(loaded: Loaded, chat: list[dict[str, Any]], **more: Any) -> TokenRows:
    columns = {name: [value] for name, value in more.items()}
    frame = pl.DataFrame({"row_id": [0], "messages": [chat], **columns}, strict=False)
    *_, rows = chat_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def scored_text(loaded: Loaded, rows: TokenRows) -> str:
    assert rows.scored is not None
    text: str = loaded.tokenizer.decode(rows.ids[0][rows.scored[0]])
    return text


@pytest.mark.parametrize("name", FAMILIES)
def test_M2_answers_and_their_ends_are_scored(causal_folder: Path, name: str) -> None:
    family = FAMILIES[name]
    loaded = with_family(causal_folder, family)
    rows = made_row(loaded, [SYSTEM, *CHAT] if family.system else CHAT)
    first = "<think>\n\n</think>\n" if name == "SmolLM 3" else ""
    space = " " if name == "Mistral" else ""
    last = family.before or first
    end = family.end
    assert scored_text(loaded, rows) == f"{space}{first}it is{end}{space}{last}a good day{end}"
    assert rows.rows_without_eos == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_M3_a_prompt_is_how_the_row_begins(causal_folder: Path, name: str) -> None:
    loaded = with_family(causal_folder, FAMILIES[name])
    rows = made_row(loaded, CHAT[:2])
    assert rows.scored is not None
    before = rows.ids[0][~rows.scored[0]].tolist()
    prompt = prompt_ids(loaded, CHAT[0]["content"], "messages")
    assert before[: len(prompt)] == prompt
    [asked] = questions(pl.DataFrame({"row_id": [0], "messages": [CHAT]}), loaded, "messages")
    whole = made_row(loaded, CHAT).ids[0].tolist()
    if not FAMILIES[name].rewrites:
        assert whole[: len(asked.ids)] == asked.ids
    assert asked.reference == "a good day"


@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if family.tools])
def test_tools_and_their_calls_are_rendered(causal_folder: Path, name: str) -> None:
    """The call is what the model must write, whether the template wants an object or JSON."""
    loaded = with_family(causal_folder, FAMILIES[name])
    rows = made_row(loaded, CALLED, tools=TOOLS)
    said = scored_text(loaded, rows)
    assert "pour" in said
    assert json.dumps(ARGUMENTS) in said
    assert said.count(FAMILIES[name].end) == 2
    whole = loaded.tokenizer.decode(rows.ids[0])
    assert ('"parameters"' in whole) == (name != "DeepSeek")
    frame = pl.DataFrame({"messages": [CALLED], "tools": [TOOLS]}, strict=False)
    unread = ["tools", "name"] if name == "DeepSeek" else ["name"]
    assert keys_not_rendered(frame, loaded.tokenizer) == unread


@pytest.mark.parametrize("name", FAMILIES)
def test_E2_a_template_that_rewrites_answers_is_noted(causal_folder: Path, name: str) -> None:
    loaded = with_family(causal_folder, FAMILIES[name])
    frame = pl.DataFrame({"messages": [CHAT, CHAT[:2]]})
    notes = notes_on_history(frame, loaded.tokenizer, stop_ids(loaded))
    assert bool(notes) == FAMILIES[name].rewrites
    if notes:
        assert "1 of 1 chats looked at" in notes[0]
        assert 'turns = "separate" under [data]' in notes[0]


@pytest.mark.parametrize(
    ("name", "chat", "cure"),
    [
        ("Gemma 2", [SYSTEM, *CHAT], "has no system message: write its text into the first"),
        ("Gemma 2", CHAT[1:], "wants the user first: take out the answers before that"),
        ("Gemma 3", [CHAT[0], *CHAT], "wants user and assistant in turn: join messages"),
        ("Gemma 3", CALLED, "Use a template that renders it"),
    ],
)
def test_a_refused_chat_is_named_with_its_line_and_a_cure(
    causal_folder: Path, name: str, chat: list[dict[str, Any]], cure: str
) -> None:
    loaded = with_family(causal_folder, FAMILIES[name])
    with pytest.raises(DataError) as caught:
        made_row(loaded, chat, file="chats.jsonl", line=7)
    [fault] = caught.value.faults
    assert str(fault).startswith("chats.jsonl:7: the chat template refuses it: ")
    assert "must alternate" in str(fault) or "not supported" in str(fault)
    assert cure in str(fault)
    assert 'chat_template = "FILE" under [model]' in str(fault)


@pytest.mark.parametrize("name", ["Llama 3", "Qwen 2.5", "Phi 3", "Zephyr", "SmolLM 3"])
def test_an_assistant_who_speaks_first_is_scored(causal_folder: Path, name: str) -> None:
    family = FAMILIES[name]
    loaded = with_family(causal_folder, family)
    said = scored_text(loaded, made_row(loaded, CHAT[1:]))
    assert said.replace("<think>\n\n</think>\n", "") == f"it is{family.end}a good day{family.end}"


def test_K2_white_space_that_joins_the_answer_is_scored_with_it(causal_folder: Path) -> None:
    """The header ends in a line break that is one token with the answer's own."""
    loaded = with_family(causal_folder, FAMILIES["Zephyr"])
    loaded.tokenizer.add_tokens(["\n\n"])
    chat = [CHAT[0], {"role": "assistant", "content": "\nit is"}]
    assert scored_text(loaded, made_row(loaded, chat)) == "\n\nit is</s>"


FORGETFUL = (
    "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}"
    "<{{ m['role'] }}>{{ m['content'] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("template", [FAMILIES["Qwen 3"].template, FORGETFUL])
def test_E2_a_row_of_each_answer_is_read_as_it_was_asked_for(
    causal_folder: Path, template: str
) -> None:
    """Earlier reasoning is scored, and an answer is found that the whole chat leaves out."""
    loaded = with_family(causal_folder, replace(FAMILIES["Qwen 3"], template=template))
    thought = [CHAT[0], CHAT[1] | {"reasoning_content": "hm"}, CHAT[2], CHAT[3]]
    frame = pl.DataFrame(
        {"row_id": [0], "file": ["a"], "line": [1], "messages": [thought]}, strict=False
    )
    if template == FORGETFUL:
        with pytest.raises(DataError, match=r'a:1: .*; turns = "separate" under \[data\] makes'):
            list(chat_rows(frame, loaded))
    *_, rows = chat_rows(separate_turns(frame), loaded)
    assert isinstance(rows, TokenRows)
    assert rows.scored is not None
    said = [
        loaded.tokenizer.decode(ids[scored])
        for ids, scored in zip(rows.ids, rows.scored, strict=True)
    ]
    if template == FORGETFUL:
        assert said == ["it is</s>", "a good day</s>"]
    else:
        assert said[0] == "<think>\nhm\n</think>\n\nit is<|im_end|>"
        assert said[1] == "<think>\n\n</think>\n\na good day<|im_end|>"
