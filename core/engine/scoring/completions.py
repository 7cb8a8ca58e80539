"""Greedy answers to many prompts, batched: left-padded, sorted by length, token by token (G1).

In float32 on the CPU a row answers in a batch what it answers alone. Half precision does not
repeat itself over batch sizes; the report says which was used.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...metrics.answer_text import END_OF_REASONING
from ..models.devices import autocast
from ..models.few_rows import few_rows
from ..models.models import Loaded, at_precision, unwrapped
from ..training.batches import Batch, Rows, collate, evaluation_batches


@dataclass
class Answer:
    """Tokens made, the stop token left out; `ended` where a stop token came before the limit."""

    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    stop: int = -1  # the token that ended it


@torch.inference_mode()
def complete(
    loaded: Loaded,
    prompts: Sequence[list[int]],
    limit: int,
    stop: set[int],
    precision: str,
    budget: int,
) -> Iterator[int | list[Answer]]:
    """Yields after every step how many of at most prompts x limit tokens are made or spared.

    At last the answers in the order of the prompts. `budget`: tokens of a batch, answers and
    padding counted. A model that cannot be told positions gets prompts of one length at a time.
    """
    answers = [Answer() for _ in prompts]
    ids = [np.asarray(p, dtype=np.int32) for p in prompts]
    lengths = np.fromiter((len(p) + limit for p in prompts), dtype=np.int64, count=len(prompts))
    done = 0
    loaded = at_precision(loaded, precision)
    with loaded.active() as model, autocast(loaded.device, precision):
        taken = inspect.signature(unwrapped(model).forward).parameters
        parts = evaluation_batches(lengths, budget)
        if "position_ids" not in taken:
            parts = [one for part in parts for one in _of_one_length(part, lengths)]
        for part in parts:
            pad = loaded.tokenizer.pad_token_id
            batch = collate(ids, part, pad, loaded.device, pad_left=True)
            together = [answers[i] for i in part]
            told = {"position_ids", "logits_to_keep"} & set(taken)
            for made in _answer_together(model, batch, together, limit, stop, told):
                yield done + made
            done += len(part) * limit
    yield answers


def _of_one_length(part: Rows, lengths: Rows) -> list[Rows]:
    """The rows of a batch, sorted by length, cut where the length changes."""
    return np.split(part, np.flatnonzero(np.diff(lengths[part])) + 1)


def _answer_together(
    model: Any, batch: Batch, answers: list[Answer], limit: int, stop: set[int], told: set[str]
) -> Iterator[int]:
    """One token of every open answer a turn; yields tokens made, ended answers counted whole."""
    ids, mask, cache = batch.ids, batch.mask, None
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # padding on the left moves no token
    rows = list(answers)  # those still in the batch
    for step in range(1, limit + 1):
        extra = {"position_ids": positions, "logits_to_keep": 1}
        with few_rows(model, len(rows)):
            out = model(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
                **{name: value for name, value in extra.items() if name in told},
            )
        cache = out.past_key_values
        chosen = out.logits[:, -1].float().argmax(-1)
        _add_tokens(rows, chosen.tolist(), stop)
        kept = [i for i, answer in enumerate(rows) if not answer.ended]
        yield (len(answers) - len(kept)) * limit + len(kept) * step
        if not kept:
            return
        if len(kept) < len(rows):  # growing the cache copies it at every step as it is
            index = torch.tensor(kept, device=ids.device)
            cache.batch_select_indices(index)
            rows, chosen = [rows[i] for i in kept], chosen[index]
            mask, positions = mask[index], positions[index]
        ids, mask, positions = _next_inputs(chosen, mask, positions)


def _add_tokens(rows: list[Answer], chosen: list[int], stop: set[int]) -> None:
    for answer, token in zip(rows, chosen, strict=True):
        if answer.ended:
            continue
        if token in stop:
            answer.ended, answer.stop = True, token
        else:
            answer.tokens.append(token)


def _next_inputs(chosen: Tensor, mask: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grown = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return chosen[:, None], grown, positions[:, -1:] + 1


def answer_text(loaded: Loaded, answer: Answer) -> str:
    """The answer without special tokens, but with the end of its reasoning where that is one."""
    tokenizer, tokens = loaded.tokenizer, answer.tokens
    end = tokenizer.get_vocab().get(END_OF_REASONING)
    if end is None or end not in tokens or end not in tokenizer.all_special_ids:
        return _plain_text(tokenizer, tokens)
    cut = len(tokens) - tokens[::-1].index(end)
    parts = [_plain_text(tokenizer, part) for part in (tokens[: cut - 1], tokens[cut:])]
    return END_OF_REASONING.join(parts)


def _plain_text(tokenizer: Any, tokens: list[int]) -> str:
    text: str = tokenizer.decode(
        tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text
