"""Chats through a model's own template: what the assistant must write of them, and where it ends.

Of each assistant turn that counts, what follows its header is scored up to the end token: not the
header, which stands in the prompt, and not the white space that a template puts after the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import polars as pl
from jinja2.exceptions import TemplateError

from ...data.faults import Faults, Place
from ...errors import Fault
from ...metrics.answer_text import answer_part
from .templates import ANOTHER, Message, apply_template, find_cure

GENERATION_MARKER = re.compile(r"\{%-?\s*generation\b")
REASONING = "<think"  # how the tags begin with which templates open reasoning
PROBES = ("the", "one")  # two answers without a first token in common
RENDERED = ("tools", "tool_calls", "reasoning_content", "name", "tool_call_id")
LOOKED_AT = 50  # chats: a template does the same with all of them
Span = tuple[int, int]  # token positions: first, one past the last


def render_chat(
    chat: list[Message],
    tokenizer: Any,
    stop: AbstractSet[int] | None = None,
    tools: str | None = None,
) -> tuple[list[int], list[bool]]:
    """Ids of a chat and which of them an assistant must write, end of turn included.

    By the template's generation markers where it has them, else by prefix difference, verified:
    raises ValueError where what an assistant wrote cannot be located. Turns of weight 0 are
    context. `stop`: the tokens that end a turn, by default the tokenizer's EOS. `tools`: what the
    chat may call, as JSON.
    """
    ends = {tokenizer.eos_token_id} if stop is None else stop
    marked = GENERATION_MARKER.search(tokenizer.get_chat_template())
    r = Renderer(tokenizer, tools)
    ids, spans = _marked(chat, r) if marked else _by_prefix(chat, r, ends)
    scored = [False] * len(ids)
    for start, end in spans:
        end = _end_of_turn(ids, (start, end), tokenizer, ends)
        scored[start:end] = [True] * (end - start)
    return ids, [False, *scored[1:]]  # nothing stands before the first token (L2)


def counts(message: Message) -> bool:
    """Whether a message is scored: an assistant's, unless its weight is 0."""
    return message["role"] == "assistant" and message.get("weight") != 0


@dataclass(frozen=True)
class Renderer:
    """A tokenizer's template, and the tools that a chat may call."""

    tokenizer: Any
    tools: str | None = None

    def ids(self, chat: list[Message], *, add_generation_prompt: bool = False) -> list[int]:
        coded = apply_template(
            self.tokenizer,
            chat,
            self.tools,
            return_dict=True,
            add_generation_prompt=add_generation_prompt,
        )
        return list(coded["input_ids"])

    def text(self, chat: list[Message], *, add_generation_prompt: bool = False) -> str:
        text: str = apply_template(
            self.tokenizer,
            chat,
            self.tools,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        return text

    def has_header(self, chat: list[Message]) -> bool:
        """Whether the template writes the header of an answer to a chat when asked for it."""
        return bool(chat) and "add_generation_prompt" in self.tokenizer.get_chat_template()

    def prompt(self, chat: list[Message]) -> list[int]:
        """What a model reads before it answers: the turns so far and the header of an answer.

        A template that writes no header when asked for one, or has no turn to write it after,
        shows it before two answers that have nothing in common.
        """
        if self.has_header(chat):
            return self.ids(chat, add_generation_prompt=True)
        probes = ([*chat, {"role": "assistant", "content": text}] for text in PROBES)
        one, other = (self.ids(probe) for probe in probes)
        return one[: _in_common(one, other)]


def render_messages(chat: list[Message], tokenizer: Any) -> list[int]:
    """Token ids of a chat through the tokenizer's template."""
    return Renderer(tokenizer).ids(chat)


def render_prompt(chat: list[Message], tokenizer: Any, tools: str | None = None) -> list[int]:
    """What a model reads before it answers: `Renderer.prompt`."""
    return Renderer(tokenizer, tools).prompt(chat)


def scored_text(
    chat: list[Message],
    tokenizer: Any,
    ids: Sequence[int],
    scored: Sequence[bool],
    tools: str | None = None,
) -> str:
    """The text of the scored tokens of a rendered chat, which may be truncated; special ones at the
    ends of a turn left out.
    """
    text = Renderer(tokenizer, tools).text(chat)
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    special, places = set(tokenizer.all_special_ids), coded["offset_mapping"]
    said = []
    for start, end in runs(scored):
        written = [i for i in range(start, end) if ids[i] not in special]
        if written:
            said.append(text[places[written[0]][0] : places[written[-1]][1]])
    return "".join(said)


def runs(scored: Sequence[bool]) -> Iterator[Span]:
    """The spans of neighbouring scored tokens."""
    start = None
    for i, one in enumerate([*scored, False]):
        if one and start is None:
            start = i
        elif not one and start is not None:
            yield start, i
            start = None


def _marked(chat: list[Message], r: Renderer) -> tuple[list[int], list[Span]]:
    """Spans by the template's own generation markers."""
    wanted = {"return_dict": True, "return_assistant_tokens_mask": True}
    coded = apply_template(r.tokenizer, chat, r.tools, **wanted)
    spans = list(runs([bool(m) for m in coded["assistant_masks"]]))
    turns = [message for message in chat if message["role"] == "assistant"]
    if all(map(counts, turns)):
        return list(coded["input_ids"]), spans
    if len(spans) != len(turns):
        raise ValueError(
            f"the template marks {len(spans)} answers of {len(turns)}, "
            "so the turns of weight 0 cannot be located"
        )
    kept = [span for span, turn in zip(spans, turns, strict=True) if counts(turn)]
    return list(coded["input_ids"]), kept


def _by_prefix(
    chat: list[Message], r: Renderer, ends: AbstractSet[int]
) -> tuple[list[int], list[Span]]:
    ids = r.ids(chat)
    wanted = [k for k, message in enumerate(chat) if counts(message)]
    return ids, [_turn(chat, k, ids, r, ends) for k in wanted]


def _turn(chat: list[Message], k: int, ids: list[int], r: Renderer, ends: AbstractSet[int]) -> Span:
    """Where turn k stands in the rendered chat, its header left out."""
    start = _after_header(chat, k, ids, r)
    after = r.ids(chat[: k + 1])
    if ids[: len(after)] == after and len(after) > start:
        return start, len(after)
    # a template that drops earlier reasoning renders this turn otherwise once others follow
    end = next((i + 1 for i in range(start, len(ids)) if ids[i] in ends), start)
    said = r.tokenizer.decode(ids[start:end], clean_up_tokenization_spaces=False)
    if _letters(answer_part(chat[k]["content"])) not in _letters(said):
        raise _changed()
    return start, end


def _after_header(chat: list[Message], k: int, ids: list[int], r: Renderer) -> int:
    before = r.prompt(chat[:k])
    common = _in_common(before, ids)
    if common == len(before):
        return common
    earlier = any(message["role"] == "assistant" for message in chat[k + 1 :])
    bare = r.ids(chat[:k]) if k else []
    opened = r.tokenizer.decode(before[common:]).strip().startswith(REASONING)
    if opened and common > len(bare) and earlier:
        return common  # the prompt opens reasoning, which the template drops from earlier turns
    if opened and common > len(bare):
        raise ValueError(
            "the template's prompt opens reasoning, and this answer has none: "
            "give it reasoning_content, or the tokenizer a template that does not open it"
        )
    if (cut := _before_space(chat, k, ids, r)) is not None:
        return cut
    raise _changed()


def _before_space(chat: list[Message], k: int, ids: list[int], r: Renderer) -> int | None:
    """Where the header ends without its last white space, which one token holds together with the
    beginning of the answer (K2); None where the answer cannot be cut off there either."""
    if not r.has_header(chat[:k]):
        return None
    header = r.text(chat[:k], add_generation_prompt=True)
    if not r.text(chat).startswith(header):
        return None
    before = r.tokenizer(header.rstrip(), add_special_tokens=False)["input_ids"]
    return len(before) if ids[: len(before)] == before else None


def _changed() -> ValueError:
    return ValueError(
        "the template changes earlier turns when later ones are added, so what the assistant said "
        'cannot be located; turns = "separate" under [data] makes a row of each answer'
    )


def _end_of_turn(ids: list[int], span: Span, tokenizer: Any, ends: AbstractSet[int]) -> int:
    """One past the end token, where nothing but white space and more ends follow it, as where a
    template ends a chat too; else the span's end."""
    start, end = span
    found, last = end, end - 1
    while last > start and (ids[last] in ends or not tokenizer.decode([ids[last]]).strip()):
        found = last + 1 if ids[last] in ends else found
        last -= 1
    return found


def _in_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens with which both begin."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def _letters(text: str) -> str:
    return "".join(text.split())


# What a template makes of the chats of a split


def refused(frame: pl.DataFrame, rows: dict[int, Exception], tokenizer: Any) -> list[Fault]:
    """A fault for each kind of refusal: by file and line where these are known, with a cure.

    `rows`: places in the frame, each with what its chat raised.
    """
    faults = Faults("data.messages")
    for row, error in rows.items():
        one = frame.row(row, named=True)
        at = Place(one["file"], one["line"]) if "file" in one else f"row {one['row_id']}"
        cure = f"Mend it, or {ANOTHER}"
        what = str(error)
        if isinstance(error, TemplateError):
            what = f"the chat template refuses it: {error}"
            cure = find_cure(one["messages"], tokenizer, one.get("tools"))
        faults.add(what, at, what, cure)
    return faults.listing()


def notes_on_history(frame: pl.DataFrame, tokenizer: Any, stop: AbstractSet[int]) -> list[str]:
    """Whether the template rewrites what was said before, and what to do about it."""
    chats = [row for row in frame.iter_rows(named=True) if _answers(row["messages"]) > 1]
    rewritten = sum(_rewrites(row, tokenizer, stop) for row in chats[:LOOKED_AT])
    if not rewritten:
        return []
    return [
        f"the chat template rewrites earlier answers once later ones follow ({rewritten:,} of "
        f"{len(chats[:LOOKED_AT]):,} chats looked at): they are learned as they stand there. "
        'turns = "separate" under [data] makes a row of each answer, as it was asked for'
    ]


def keys_not_rendered(frame: pl.DataFrame, tokenizer: Any) -> list[str]:
    """Keys of messages, and tools, that make no difference to what the template writes."""
    found = []
    for key in RENDERED:
        having = [row for row in frame.iter_rows(named=True) if _has(row, key)][:LOOKED_AT]
        if having and not any(_differs(row, key, tokenizer) for row in having):
            found.append(key)
    return found


def _has(row: dict[str, Any], key: str) -> bool:
    return bool(row.get(key)) or any(message.get(key) for message in row["messages"])


def _differs(row: dict[str, Any], key: str, tokenizer: Any) -> bool:
    chat, tools = row["messages"], row.get("tools")
    bare = [{k: v for k, v in message.items() if k != key} for message in chat]
    whole = Renderer(tokenizer, tools).text(chat)
    return whole != Renderer(tokenizer, None if key == "tools" else tools).text(bare)


def _answers(chat: list[Message]) -> int:
    return sum(map(counts, chat))


def _rewrites(row: dict[str, Any], tokenizer: Any, stop: AbstractSet[int]) -> bool:
    """Whether some answer is written otherwise in the whole chat than where it stood last."""
    chat, tools = row["messages"], row.get("tools")

    def written(upto: int, k: int) -> list[int]:
        one = [message | {"weight": float(i == k)} for i, message in enumerate(chat[:upto])]
        ids, scored = render_chat(one, tokenizer, stop, tools)
        return [i for i, said in zip(ids, scored, strict=True) if said]

    answers = [k for k, message in enumerate(chat) if counts(message)]
    return any(written(len(chat), k) != written(k + 1, k) for k in answers[:-1])
