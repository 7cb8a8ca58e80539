"""Chats as the files write them, made into messages of one kind, and what can be wrong with them.

A message has a role and a content, as text, and where some message has it: reasoning_content,
weight (0: context, not scored), tool_calls (a list of calls, as JSON), tool_call_id, and of a tool
its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from .faults import LONGEST, show_value

CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
MESSAGE: dict[str, type[pl.DataType]] = {"role": pl.String, "content": pl.String}
MORE_OF_A_MESSAGE: dict[str, type[pl.DataType]] = {  # kept where some message has it
    "reasoning_content": pl.String,  # rendered by templates that know it
    "weight": pl.Float64,  # 0: context, not scored
    "tool_calls": pl.String,  # JSON: the arguments of each call have keys of their own
    "tool_call_id": pl.String,
    "name": pl.String,  # of the tool that answers
}
NOT_LEARNED = "every message of the assistant has weight 0: there is nothing to learn"
SHAREGPT_ROLES = dict.fromkeys(("human", "user"), "user")
SHAREGPT_ROLES |= dict.fromkeys(("gpt", "assistant", "chatgpt", "bot", "model"), "assistant")
SHAREGPT_ROLES |= dict.fromkeys(("tool", "observation", "function_response"), "tool")
_NAMES = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}


def name_type(value: object) -> str:
    """What a value is, in words."""
    return "nothing" if value is None else _NAMES.get(type(value), "an object")


# How files write a chat: what is not understood stays as it is, and is a fault of the row


def from_messages(chat: object) -> object:
    """Messages with role and content, as OpenAI and Hugging Face have them."""
    chat = _parsed(chat)
    return [_message(turn) for turn in chat] if isinstance(chat, list) else chat


def from_sharegpt(chat: object) -> object:
    """Turns with `from` and `value`; a `function_call` is an assistant's tool call."""
    chat = _parsed(chat)
    return [_sharegpt_turn(turn) for turn in chat] if isinstance(chat, list) else chat


def in_turn(chat: object) -> object:
    """Texts of a user and an assistant in turn, the user first."""
    if not isinstance(chat, list):
        return chat
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(chat)]


def _parsed(value: object) -> object:
    """A list that a csv file holds as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _message(turn: object) -> object:
    if not isinstance(turn, dict) or "role" not in turn:
        return turn
    out = dict(turn)
    if call := out.get("function_call"):  # before tools could be several
        out["tool_calls"] = out.get("tool_calls") or [{"type": "function", "function": call}]
    if out["role"] == "function":
        out["role"] = "tool"
    out["content"] = _joined(out["content"]) if "content" in out else None
    calls = out.get("tool_calls")
    out["tool_calls"] = None
    if calls:
        out["tool_calls"] = json.dumps(calls, ensure_ascii=False)
        out["content"] = "" if out["content"] is None else out["content"]
    elif "content" not in turn:
        del out["content"]
    if out["role"] != "tool":
        out.pop("name", None)
    return out


def _joined(content: object) -> object:
    """Parts of text as one, a line each; other parts stay, and are refused by name."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    other = [p for p in content if isinstance(p, dict) and p.get("type", "text") != "text"]
    if other or not all(isinstance(text, str) for text in texts):
        return other or content
    return "\n".join(str(text) for text in texts)


def _sharegpt_turn(turn: object) -> object:
    if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
        return turn
    if turn["from"] == "function_call":
        return _called(turn["value"])
    role = SHAREGPT_ROLES.get(str(turn["from"]).lower(), turn["from"])
    return {"role": role, "content": turn["value"], "weight": turn.get("weight")}


def _called(value: object) -> dict[str, Any]:
    try:
        calls = json.loads(str(value))
    except (ValueError, RecursionError):
        return {"role": "assistant", "content": value}
    listed = calls if isinstance(calls, list) else [calls]
    functions = [{"type": "function", "function": call} for call in listed]
    return {"role": "assistant", "content": "", "tool_calls": json.dumps(functions)}


def unread_keys(chats: Iterable[object], read: frozenset[str]) -> tuple[str, ...]:
    """Keys of raw messages that nothing reads, in the order in which they are met.

    A name is read of a tool alone: no template shows who of several users speaks.
    """
    turns = (turn for chat in map(_parsed, chats) if isinstance(chat, list) for turn in chat)
    found: dict[str, None] = {}
    for turn in turns:
        if isinstance(turn, dict):
            tool = turn.get("role") in ("tool", "function")
            keys = [key for key in turn if turn[key] and (key != "name" or not tool)]
            found |= dict.fromkeys(keys)
    return tuple(key for key in found if key not in read or key == "name")


# What can be wrong


def find_chat_fault(chat: object) -> str:
    """What is wrong with a chat; empty if nothing is."""
    if not isinstance(chat, list):
        return f"holds {name_type(chat)}, not a list of messages"
    if not chat:
        return "the chat is empty"
    for number, turn in enumerate(chat, 1):
        if fault := _find_turn_fault(turn, number):
            return fault
    if not any(turn["role"] == "assistant" for turn in chat):
        return "no message is of the assistant: there is nothing to learn"
    return ""


def _find_turn_fault(turn: object, number: int) -> str:
    if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
        return f"message {number} has no role and content"
    role, content = turn["role"], turn["content"]
    if role not in CHAT_ROLES:
        return f"message {number} has the unknown role {show_value(role)}"
    if isinstance(content, list) and content and isinstance(content[0], dict):
        kind = show_value(content[0].get("type", "object"))
        return f"the content of message {number} has a part of type {kind}; text alone is read"
    if not isinstance(content, str):
        return f"the content of message {number} is {name_type(content)}, not text"
    if len(content) > LONGEST:
        return f"message {number} is longer than {LONGEST:,} characters"
    if role == "assistant" and not content.strip() and not turn.get("tool_calls"):
        return f"message {number}, of the assistant, is empty"
    return _find_extra_fault(turn, number)


def _find_extra_fault(turn: dict[str, Any], number: int) -> str:
    """What is wrong with the keys that a message may have beside role and content."""
    weight = turn.get("weight")
    if weight not in (None, 0, 1):
        return f"message {number} has weight {show_value(weight)}, which is neither 0 nor 1"
    for key in ("reasoning_content", "tool_call_id", "name"):
        if not isinstance(value := turn.get(key), str | None):
            return f"the {key} of message {number} is {name_type(value)}, not text"
    return ""


def has_nothing_to_learn(chat: list[dict[str, Any]]) -> bool:
    """Whether each message of the assistant has weight 0."""
    return all(turn.get("weight") == 0 for turn in chat if turn["role"] == "assistant")


# Chats as they are stored


def as_series(chats: list[list[dict[str, Any]] | None]) -> pl.Series:
    """Chats as a column `messages`: lists of structs with the keys that some message has."""
    turns = [turn for chat in chats for turn in chat or ()]
    more = {k: t for k, t in MORE_OF_A_MESSAGE.items() if any(u.get(k) is not None for u in turns)}
    known = MESSAGE | more
    kept = [chat and [{key: turn.get(key) for key in known} for turn in chat] for chat in chats]
    return pl.Series("messages", kept, dtype=pl.List(pl.Struct(known)), strict=False)


def turn_text(turn: dict[str, Any]) -> str:
    """What a message says, its tool calls too."""
    calls = turn.get("tool_calls")
    return f"{turn['content']}\n{calls}".strip() if calls else str(turn["content"])


def chat_input(chat: list[dict[str, Any]]) -> str:
    """The turns before the last answer that counts; all of them where nothing comes before it."""
    last = max(answers_of(chat), default=0)
    return "\n".join(f"{turn['role']}: {turn_text(turn)}" for turn in chat[: last or len(chat)])


def answers_of(chat: list[dict[str, Any]]) -> Iterator[int]:
    """Where the messages of the assistant stand that count."""
    return (i for i, t in enumerate(chat) if t["role"] == "assistant" and t.get("weight") != 0)
