"""Examples as token ids, with what is scored: one rendering for training, evaluation and use.

Every row of a language model begins with the same prefix token (K1) and ends, where nothing was
truncated, with a scored EOS. Prompt and completion are joined as token ids (M3).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from jinja2 import TemplateError
from numpy.typing import NDArray

from ...data.rows import input_of
from ...errors import DataError, Fault, ModelError
from ...run.events import SplitPrepared
from ..models.models import Loaded, stop_ids, takes
from .chats import refused, render_chat, render_prompt, scored_text
from .templates import Message

CHATS = ("messages", "preference_chats")  # forms that a chat template renders
PROMPTED = ("prompt_completion", "preference")  # forms of a prompt and what follows it
CHUNK = 2_000  # rows tokenised at a time
EXAMPLES = 50  # rows named of those that lost something


@dataclass
class TokenRows:
    """The rows of a split, ready to be batched. Lists and arrays have one entry per row."""

    ids: list[NDArray[np.int32]] = field(default_factory=list)
    row_ids: list[int] = field(default_factory=list)
    scored: list[NDArray[np.bool_]] | None = None  # generation
    labels: NDArray[np.int64] | None = None  # where each row has one
    wanted: NDArray[np.floating[Any]] | None = None  # [rows, outputs]: numbers for a head
    unit: NDArray[np.float64] | None = None  # [outputs] of the loss, where it is none of nats
    rejected: TokenRows | None = None  # of pairs: the other text of each
    segments: list[NDArray[np.int32]] | None = None  # 1 in the second text, where a model asks
    documents: list[int] = field(default_factory=list)  # of each window, where some took several
    bytes: list[int] = field(default_factory=list)  # UTF-8 bytes of the scored text
    ends: list[int] = field(default_factory=list)  # place of the scored end token, -1 without one
    truncated_rows: int = 0
    truncated_tokens: int = 0
    rows_without_eos: int = 0
    truncated_completions: int = 0  # rows that lost the end of what is scored
    examples: dict[str, list[int]] = field(default_factory=dict)  # of a count, its first row ids

    def count(self, name: str, row_id: int) -> None:
        """One more row of those counts that name their first rows."""
        setattr(self, name, getattr(self, name) + 1)
        listed = self.examples.setdefault(name, [])
        if len(listed) < EXAMPLES:
            listed.append(row_id)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.fromiter((len(i) for i in self.ids), dtype=np.int64, count=len(self.ids))

    @property
    def targets(self) -> NDArray[np.int64]:
        """Scored tokens per row (generation), else one per row."""
        if self.scored is None:
            return np.ones(len(self.ids), dtype=np.int64)
        return np.fromiter((s.sum() for s in self.scored), dtype=np.int64, count=len(self.ids))

    def take(self, index: NDArray[np.int64]) -> TokenRows:
        """Some of the rows, in the order given."""

        def chosen(values: list[Any] | None) -> Any:
            return None if values is None else [values[i] for i in index]

        return replace(
            self,
            ids=chosen(self.ids),
            row_ids=chosen(self.row_ids),
            scored=chosen(self.scored),
            segments=chosen(self.segments),
            labels=None if self.labels is None else self.labels[index],
            wanted=None if self.wanted is None else self.wanted[index],
            rejected=None if self.rejected is None else self.rejected.take(index),
            bytes=chosen(self.bytes) if self.bytes else [],
            ends=chosen(self.ends) if self.ends else [],
        )

    def describe(self, split: str, columns: int) -> SplitPrepared:
        tokens, targets = int(self.lengths.sum()), self.targets
        generation = self.scored is not None
        unscored = [self.row_ids[i] for i in np.flatnonzero(targets == 0)[:EXAMPLES]]
        return SplitPrepared(
            split=split,
            rows=len(self),
            columns=columns,
            tokens=tokens,
            scored_tokens=int(targets.sum()) if generation else 0,
            masked_tokens=tokens - int(targets.sum()) if generation else 0,
            truncated_rows=self.truncated_rows,
            truncated_tokens=self.truncated_tokens,
            unscored_rows=int((targets == 0).sum()),
            rows_without_eos=self.rows_without_eos,
            truncated_completions=self.truncated_completions,
            examples=self.examples | ({"unscored_rows": unscored} if unscored else {}),
        )


def classification_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """Texts, or pairs of them, and label indices; yields rows done after each chunk, at last the
    rows.
    """
    rows = yield from read_texts(frame, loaded)
    index = {label: i for i, label in enumerate(loaded.labels)}
    rows.labels = np.asarray([index[label] for label in frame["label"].to_list()], dtype=np.int64)
    yield rows


def read_texts(frame: pl.DataFrame, loaded: Loaded) -> Generator[int, None, TokenRows]:
    """Texts, or pairs of them, as a head reads them; yields rows done, returns the rows."""
    rows = TokenRows(row_ids=frame["row_id"].to_list())
    if "text_pair" in frame.columns and _takes_pairs(loaded):
        yield from _add_pairs(rows, loaded, frame["text"].to_list(), frame["text_pair"].to_list())
    else:
        texts = input_of(frame).to_list()
        for start in range(0, len(texts), CHUNK):
            chunk = loaded.tokenizer(texts[start : start + CHUNK], return_attention_mask=False)
            for ids in chunk.input_ids:
                whole = np.asarray(ids, dtype=np.int32)
                rows.ids.append(_cut_inside(whole, loaded, rows, rows.row_ids[len(rows.ids)]))
            yield min(start + CHUNK, len(texts))
    return rows


def _takes_pairs(loaded: Loaded) -> bool:
    """Whether the tokenizer puts something between two texts; else they are one, of two lines."""
    added = loaded.tokenizer.num_special_tokens_to_add
    return bool(added(pair=True) > added(pair=False))


def _add_pairs(
    rows: TokenRows, loaded: Loaded, first: list[str], second: list[str]
) -> Iterator[int]:
    """Both texts in their segments; of a pair that is too long, the longer text loses its end."""
    segmented = takes(loaded.model, "token_type_ids")
    for start in range(0, len(first), CHUNK):
        part = slice(start, start + CHUNK)
        chunk = loaded.tokenizer(first[part], second[part], return_attention_mask=False)
        kinds = chunk.get("token_type_ids") if segmented else None
        for i, ids in enumerate(chunk.input_ids):
            if (excess := len(ids) - loaded.max_length) > 0:
                rows.count("truncated_rows", rows.row_ids[start + i])
                rows.truncated_tokens += excess
                cut = loaded.tokenizer(
                    *(first[start + i], second[start + i]),
                    truncation="longest_first",
                    max_length=loaded.max_length,
                )
                ids = cut.input_ids
                if kinds is not None:
                    kinds[i] = cut.token_type_ids
            rows.ids.append(np.asarray(ids, dtype=np.int32))
        if kinds is not None:
            rows.segments = rows.segments or []
            rows.segments += [np.asarray(kind, dtype=np.int32) for kind in kinds]
        yield start + len(chunk.input_ids)


def asked_row(loaded: Loaded, text: str, *, paired: bool) -> TokenRows:
    """A person's text as a classifier's row; of a pair, a line break parts the two.

    Raises ModelError for a text without its second where the model reads pairs.
    """
    values: dict[str, list[object]] = {"row_id": [0], "text": [text]}
    if paired:
        first, parted, second = text.partition("\n")
        if not parted:
            what = "this model reads two texts, and there is one"
            raise ModelError(Fault("prompt", what, "Put a line break between them, or --text-pair"))
        values |= {"text": [first], "text_pair": [second]}
    reading = read_texts(pl.DataFrame(values), loaded)
    while True:
        try:
            next(reading)
        except StopIteration as done:
            rows: TokenRows = done.value
            return rows


def _cut_inside(
    ids: NDArray[np.int32], loaded: Loaded, rows: TokenRows, row_id: int
) -> NDArray[np.int32]:
    """Cut the end of a long text but keep the tokenizer's closing token."""
    excess = len(ids) - loaded.max_length
    if excess <= 0:
        return ids
    rows.count("truncated_rows", row_id)
    rows.truncated_tokens += excess
    closing = ids[-1:] if int(ids[-1]) in loaded.tokenizer.all_special_ids else ids[:0]
    return np.concatenate([ids[: loaded.max_length - len(closing)], closing])


def text_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """Documents in windows of the model's length, each token scored once, each after the prefix."""
    rows = TokenRows(scored=[])
    assert rows.scored is not None
    size = loaded.max_length - 1
    texts, numbers = frame["text"].to_list(), frame["row_id"].to_list()
    for i, (text, number) in enumerate(zip(texts, numbers, strict=True)):
        coded = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = np.asarray([*coded.input_ids, loaded.tokenizer.eos_token_id], dtype=np.int32)
        starts = [start for start, _ in coded.offset_mapping] + [len(text)]
        for k, start in enumerate(range(0, len(ids), size)):
            piece = ids[start : start + size]
            rows.ids.append(np.concatenate([[np.int32(loaded.prefix_id)], piece]).astype(np.int32))
            rows.scored.append(np.arange(len(piece) + 1) > 0)
            end = starts[start + size] if start + size < len(starts) else len(text)
            rows.bytes.append(len(text[starts[start] if k else 0 : end].encode()))
            rows.row_ids.append(number)
            rows.ends.append(len(piece) if start + size >= len(ids) else -1)
        if i % CHUNK == CHUNK - 1:
            yield i + 1
    if len(set(rows.row_ids)) != len(rows.row_ids):  # some documents took several windows
        rows.documents, rows.row_ids = rows.row_ids, list(range(len(rows.ids)))
    yield rows


def completion_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """Prompt and completion: only the completion and its EOS are scored (M1)."""
    rows = TokenRows(scored=[], row_ids=frame["row_id"].to_list())
    pairs = list(zip(frame["prompt"].to_list(), frame["completion"].to_list(), strict=True))
    for start in range(0, len(pairs), CHUNK):
        chunk = pairs[start : start + CHUNK]
        prompts = encode(loaded, [prompt_text(p, c) for p, c in chunk])
        completions = encode(loaded, [c for _, c in chunk])
        for prompt, completion, (_, text) in zip(prompts, completions, chunk, strict=True):
            kept = _add_pair(rows, loaded, prompt, completion)
            rows.bytes.append(len(_beginning(text, kept, completion, loaded).encode()))
        yield start + len(chunk)
    yield rows


def prompt_text(prompt: str, completion: str = "") -> str:
    """The prompt before a completion: with a line break where neither brings white space."""
    joined = not prompt or prompt[-1].isspace() or completion[:1].isspace()
    return prompt if joined else prompt + "\n"


def encode(loaded: Loaded, texts: Sequence[str]) -> list[list[int]]:
    """Token ids without special tokens."""
    if not texts:
        return []
    ids: list[list[int]] = loaded.tokenizer(list(texts), add_special_tokens=False).input_ids
    return ids


def _beginning(text: str, kept: int, ids: list[int], loaded: Loaded) -> str:
    """The part of a text that its first `kept` tokens stand for."""
    if kept >= len(ids):
        return text
    coded = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return text[: coded["offset_mapping"][kept - 1][1]] if kept else ""


def _add_pair(rows: TokenRows, loaded: Loaded, prompt: list[int], completion: list[int]) -> int:
    """Join; what is too long loses the prompt's beginning first, then the completion's end.

    Returns how many tokens of the completion and its EOS are left.
    """
    assert rows.scored is not None
    full = [*completion, loaded.tokenizer.eos_token_id]
    room = loaded.max_length - 1
    kept = full[:room]
    head = prompt[max(0, len(prompt) - (room - len(kept))) :] if room > len(kept) else []
    lost = len(prompt) + len(full) - len(head) - len(kept)
    row_id = rows.row_ids[len(rows.ids)]
    if lost:
        rows.count("truncated_rows", row_id)
    if len(kept) < len(full):
        rows.count("truncated_completions", row_id)
    rows.truncated_tokens += lost
    rows.ids.append(np.asarray([loaded.prefix_id, *head, *kept], dtype=np.int32))
    scored = np.zeros(1 + len(head) + len(kept), dtype=bool)
    scored[1 + len(head) :] = True
    rows.scored.append(scored)
    rows.ends.append(len(scored) - 1 if len(kept) == len(full) else -1)
    return len(kept)


def chat_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """Chats through the model's own template: every assistant turn is scored (M2)."""
    if not loaded.tokenizer.chat_template:
        raise DataError(
            Fault(
                "data.messages",
                "this model's tokenizer has no chat template",
                'Write chat_template = "FILE" under [model], or use a base model with a template',
                "data.messages",
            )
        )
    rows = TokenRows(scored=[], row_ids=frame["row_id"].to_list())
    assert rows.scored is not None
    faults: dict[int, Exception] = {}
    stop = stop_ids(loaded)
    for i, (chat, tools) in enumerate(chats_of(frame)):
        try:
            ids, scored = render_chat(chat, loaded.tokenizer, stop, tools)
        except (ValueError, TemplateError) as error:
            faults[i] = error
            continue
        _add_chat(rows, loaded, rows.row_ids[i], (ids, scored), stop)
        kept = rows.ids[-1].tolist(), rows.scored[-1].tolist()
        said = scored_text(chat, loaded.tokenizer, *kept, tools)
        rows.bytes.append(len(said.encode()))
        if i % CHUNK == CHUNK - 1:
            yield i + 1
    if faults:
        raise DataError(*refused(frame, faults, loaded.tokenizer))
    yield rows


def chats_of(frame: pl.DataFrame) -> Iterator[tuple[list[Message], str | None]]:
    """Chats, each with the tools that it may call."""
    tools = frame["tools"] if "tools" in frame.columns else [None] * frame.height
    return zip(frame["messages"].to_list(), tools, strict=True)


def _add_chat(
    rows: TokenRows,
    loaded: Loaded,
    row_id: int,
    rendered: tuple[list[int], list[bool]],
    stop: set[int],
) -> None:
    """A rendered chat without what is too long; its end is the last token that is scored (M1)."""
    assert rows.scored is not None
    (ids, scored), room = rendered, loaded.max_length
    if len(ids) > room:
        rows.count("truncated_rows", row_id)
    if any(scored[room:]):
        rows.count("truncated_completions", row_id)
    rows.truncated_tokens += max(0, len(ids) - room)
    rows.ids.append(np.asarray(ids[:room], dtype=np.int32))
    rows.scored.append(np.asarray(scored[:room], dtype=bool))
    last = max((i for i, one in enumerate(scored) if one), default=-1)
    ended = last >= 0 and ids[last] in stop
    rows.ends.append(last if ended and last < room else -1)
    if not ended and len(ids) <= room:
        rows.count("rows_without_eos", row_id)


def begin_with_space(completions: pl.Series) -> bool:
    """Whether most completions bring their own white space, so that prompts end without any."""
    return 2 * int(completions.str.contains(r"^\s").sum()) > len(completions)


def prompt_ids(
    loaded: Loaded, text: str, form: str, *, spaced: bool = False, system: str | None = None
) -> list[int]:
    """A person's prompt as the model saw prompts in training (M3).

    `spaced`: the completions there began with white space, which then is for the model to write.
    `system`: what chats without a system message begin with.
    """
    if form in CHATS and loaded.tokenizer.chat_template:
        chat = [{"role": "user", "content": text}]
        before = [{"role": "system", "content": system}] if system else []
        return render_prompt([*before, *chat], loaded.tokenizer)
    shown = prompt_text(text, " " * spaced) if form in PROMPTED else text
    room = loaded.max_length - 1
    return [loaded.prefix_id, *encode(loaded, [shown])[0][-room:]]


def fit_prompt(ids: list[int], room: int) -> list[int]:
    """What is too long loses its beginning, but not the prefix token that everything follows."""
    return ids if len(ids) <= room else [ids[0], *ids[len(ids) - room + 1 :]]


def window_texts(rows: TokenRows, loaded: Loaded, characters: int) -> list[str]:
    """How each window of a document begins, the prefix left out."""
    starts = [ids[1 : 1 + characters].tolist() for ids in rows.ids]
    texts = loaded.tokenizer.batch_decode(
        starts, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [text[:characters] for text in texts]
