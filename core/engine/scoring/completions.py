"""Both models answer the test prompts, and each answer is read by both.

The prompts are rendered as in training (M3): the ids of a prompt begin the row that was scored.
Answers are greedy and batched: left-padded, sorted by length, token by token (G1). In float32 on
the CPU a row answers in a batch what it answers alone; half precision does not repeat itself over
batch sizes, and the report says which was used.

What is added to the stored predictions, on the rows that were drawn and null on the others:
prompt, reference, reference_tokens, completion, completion_tokens (its stop token left out),
completion_limit, ended_by_eos, prompt_cut, and of the answer under either model answer_nll_base,
answer_nll_tuned (nats) with answer_tokens, its scored tokens (the stop token counted).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ...analysis import Frames
from ...data.conversations import turn_text
from ...metrics.answer_text import END_OF_REASONING
from ..models.devices import autocast
from ..models.kernels import few_rows, give_back_memory, make_room, padding_known
from ..models.models import Loaded, at_precision, cached, reads_padding, stop_ids, unwrapped
from ..models.tokenizers import same_tokens
from ..training.batches import Batch, Rows, collate, evaluation_batches
from ..worker.session import Session
from .chats import counts, render_chat, render_prompt, runs
from .choices import choose, closed_set
from .evaluate import score_tokens
from .rows import TokenRows, chats_of, encode, fit_prompt, prompt_text
from .templates import Message

ADDED = {
    "prompt": pl.String,
    "reference": pl.String,
    "reference_tokens": pl.Int64,
    "completion": pl.String,
    "completion_tokens": pl.Int64,
    "completion_limit": pl.Int64,
    "ended_by_eos": pl.Boolean,
    "prompt_cut": pl.Boolean,
}
LEAST_LIMIT = 16  # tokens: where references are a word or two, an answer still shows itself
FORMS = ("prompt_completion", "messages")  # how rows with references are made


@dataclass(frozen=True)
class Answered:
    """A model's answers to its questions, in their order."""

    loaded: Loaded
    asked: list[Question]
    prompts: list[list[int]]  # as they were read: truncated where too long
    limit: int
    answers: list[Answer]


def with_answers(s: Session, split: str, frames: Frames) -> Frames:
    """The predictions of base and tuned with their answers to the rows drawn from a split."""
    most = s.config.evaluate.completions
    if s.form not in FORMS or not most:
        return frames
    source = draw_questions(s.dataset.splits[split].frame, most, s.config.train.seed)
    # both end at the same tokens, or the longer answer would be that of the stricter model (G1)
    same = same_tokens(s.base, s.tuned)
    stop = stop_ids(s.base) | stop_ids(s.tuned) if same else set()
    found: dict[str, Answered] = {}
    for model, loaded in (("base", s.base), ("tuned", s.tuned)):
        asked = list(questions(source, loaded, s.form))
        if not asked:
            return frames
        found[model] = _answer(s, model, loaded, asked, stop or stop_ids(loaded))
    added = {model: _frame_of(answered) for model, answered in found.items()}
    for model, answered in found.items():
        if same:
            added[model] = added[model].hstack(_read_by_both(s, model, answered))
        if (chosen := _chosen(s, model, answered.loaded, source)) is not None:
            added[model] = added[model].join(chosen, on="row_id", how="left", maintain_order="left")
    return frames | {
        model: frames[model].join(new, on="row_id", how="left", maintain_order="left")
        for model, new in added.items()
    }


def _answer(
    s: Session, model: str, loaded: Loaded, asked: list[Question], stop: set[int]
) -> Answered:
    settings = s.config.evaluate
    limit = answer_limit(asked, settings.completion_tokens, loaded.max_length)
    prompts = [fit_prompt(q.ids, loaded.max_length - limit) for q in asked]
    work = complete(loaded, prompts, limit, stop, settings.precision, settings.batch_tokens)
    answers = s.drive(work, f"answers of {model}, tokens", len(asked) * limit)
    give_back_memory()  # that of the cache
    return Answered(loaded, asked, prompts, limit, answers)


def _frame_of(a: Answered) -> pl.DataFrame:
    pairs = list(zip(a.asked, a.answers, strict=True))
    return pl.DataFrame(
        {
            "row_id": [q.row_id for q in a.asked],
            "prompt": [q.prompt for q in a.asked],
            "reference": [q.reference for q in a.asked],
            "reference_tokens": [q.reference_tokens for q in a.asked],
            "completion": [answer_text(a.loaded, answer) for _, answer in pairs],
            "completion_tokens": [len(answer.tokens) for _, answer in pairs],
            "completion_limit": [a.limit] * len(pairs),
            "ended_by_eos": [answer.ended for _, answer in pairs],
            "prompt_cut": [len(p) < len(q.ids) for p, q in zip(a.prompts, a.asked, strict=True)],
        },
        schema={"row_id": pl.Int64, **ADDED},
    )


def _read_by_both(s: Session, model: str, a: Answered) -> pl.DataFrame:
    """Log-likelihood of a model's answers, given their prompts, under base and tuned (K5).

    Its own is that of the logits which made them.
    """
    rows = answer_rows([q.row_id for q in a.asked], a.prompts, a.answers)
    settings = s.config.evaluate
    columns: dict[str, Any] = {"answer_tokens": rows.targets}
    for reader, loaded in (("base", s.base), ("tuned", s.tuned)):
        if reader == model:
            columns[f"answer_nll_{reader}"] = [answer.nll for answer in a.answers]
            continue
        work = score_tokens(loaded, rows, settings.precision, settings.batch_tokens)
        scored = s.drive(work, f"answers of {model} read by {reader}", len(rows))
        columns[f"answer_nll_{reader}"] = scored["nll"]
    return pl.DataFrame(columns)


def _chosen(s: Session, model: str, loaded: Loaded, source: pl.DataFrame) -> pl.DataFrame | None:
    """The likeliest of train's completions on each row, where they are a closed set."""
    train = s.dataset.splits.get("train")
    if train is None or s.form != "prompt_completion":
        return None
    candidates = closed_set(train.frame["completion"].to_list())
    if not candidates:
        return None
    settings = s.config.evaluate
    work = choose(loaded, source, candidates, settings.precision, settings.batch_tokens)
    return s.drive(work, f"choices of {model}", source.height)


def answer_rows(
    row_ids: Sequence[int], prompts: Sequence[list[int]], answers: Sequence[Answer]
) -> TokenRows:
    """Prompt and answer as they were made, the stop token too: the answer is scored."""
    rows = TokenRows(scored=[], row_ids=list(row_ids))
    assert rows.scored is not None
    for prompt, answer in zip(prompts, answers, strict=True):
        said = [*answer.tokens, answer.stop] if answer.ended else answer.tokens
        rows.ids.append(np.asarray([*prompt, *said], dtype=np.int32))
        rows.scored.append(np.arange(len(prompt) + len(said)) >= len(prompt))
        rows.bytes.append(0)
    return rows


@dataclass(frozen=True)
class Question:
    """One prompt: its text, its reference, and the reference's length in tokens, its end out."""

    row_id: int
    prompt: str
    reference: str
    reference_tokens: int
    ids: list[int]


def draw_questions(frame: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many rows, drawn by seed, in their order: the first ones may be sorted."""
    if frame.height <= most:
        return frame
    drawn = np.random.default_rng(seed).permutation(frame.height)[:most]
    return frame[np.sort(drawn)]


def questions(frame: pl.DataFrame, loaded: Loaded, form: str) -> Iterator[Question]:
    """A question for each row that has a prompt and a reference."""
    if form == "prompt_completion":
        yield from _of_pairs(frame, loaded)
    elif form == "messages":
        yield from _of_chats(frame, loaded)


def _of_pairs(frame: pl.DataFrame, loaded: Loaded) -> Iterator[Question]:
    for number, prompt, reference in frame.select("row_id", "prompt", "completion").iter_rows():
        head, wanted = encode(loaded, [prompt_text(prompt, reference), reference])
        yield Question(number, prompt, reference, len(wanted), [loaded.prefix_id, *head])


def _of_chats(frame: pl.DataFrame, loaded: Loaded) -> Iterator[Question]:
    """The last assistant turn that is scored is the reference; all before it is the prompt."""
    for number, (chat, tools) in zip(frame["row_id"], chats_of(frame), strict=True):
        last = max((k for k, message in enumerate(chat) if counts(message)), default=0)
        if not last:
            continue
        ids = render_prompt(chat[:last], loaded.tokenizer, tools)
        reference, length = _reference(chat[: last + 1], loaded, tools)
        yield Question(number, _as_text(chat[:last]), reference, length, ids)


def _reference(chat: list[Message], loaded: Loaded, tools: str | None) -> tuple[str, int]:
    """What the last turn says, reasoning and calls as the template renders them, and its tokens.

    Every token that the model must write counts, or an answer with reasoning would not fit.
    """
    stop, message = stop_ids(loaded), chat[-1]
    ids, scored = render_chat(chat, loaded.tokenizer, stop, tools)
    start, end = list(runs(scored))[-1]
    written = ids[start : end - 1] if ids[end - 1] in stop else ids[start:end]
    if not message.get("reasoning_content") and not message.get("tool_calls"):
        return message["content"], len(written)
    text: str = loaded.tokenizer.decode(written, clean_up_tokenization_spaces=False)
    return text, len(written)


def _as_text(chat: Sequence[Message]) -> str:
    return "\n".join(f"{m['role']}: {turn_text(m)}" for m in chat)


def answer_limit(asked: Sequence[Question], most: int, max_length: int) -> int:
    """Tokens that an answer may have: one and a half of the longest reference, within bounds.

    Never more than half of what the model can read, so that the prompt keeps the other half.
    """
    longest = max(q.reference_tokens for q in asked)
    wanted = max(LEAST_LIMIT, longest + -(-longest // 2))
    return max(1, min(wanted, most, max_length // 2))


@dataclass
class Answer:
    """Tokens made, the stop token left out; `ended` where a stop token came before the limit."""

    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    stop: int = -1  # the token that ended it
    nll: float = field(default=0.0, compare=False)  # nats, as it was made; the stop token's too


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
    padding counted. A model that takes no positions gets prompts of one length at a time.
    """
    answers = [Answer() for _ in prompts]
    ids = [np.asarray(p, dtype=np.int32) for p in prompts]
    lengths = np.fromiter((len(p) + limit for p in prompts), dtype=np.int64, count=len(prompts))
    done = 0
    loaded = at_precision(loaded, precision)
    with loaded.active() as model, autocast(loaded.device, precision):
        taken = inspect.signature(unwrapped(model).forward).parameters
        parts = evaluation_batches(lengths, budget)
        if reads_padding(model):
            parts = [one for part in parts for one in _of_one_length(part, lengths)]
        for part in parts:
            pad = loaded.tokenizer.pad_token_id
            batch = collate(ids, part, pad, loaded.device, pad_left=True)
            together = [answers[i] for i in part]
            known = {"position_ids", "logits_to_keep"} & set(taken)
            for made in _answer_together(model, batch, together, limit, stop, known):
                yield done + made
            done += len(part) * limit
    yield answers


def _of_one_length(part: Rows, lengths: Rows) -> list[Rows]:
    """The rows of a batch, sorted by length, cut where the length changes."""
    return np.split(part, np.flatnonzero(np.diff(lengths[part])) + 1)


def _answer_together(
    model: Any, batch: Batch, answers: list[Answer], limit: int, stop: set[int], known: set[str]
) -> Iterator[int]:
    """One token of every open answer a turn; yields tokens made, ended answers counted whole."""
    ids, mask, cache = batch.ids, batch.mask, None
    positions = batch.positions  # padding on the left moves no token
    rows = list(answers)  # those still in the batch
    for step in range(1, limit + 1):
        extra = {"position_ids": positions, "logits_to_keep": 1}
        with few_rows(model, len(rows)), padding_known(batch.padded, left=True):
            out = model(
                input_ids=ids,
                attention_mask=mask,
                **cached(model, cache),
                **{name: value for name, value in extra.items() if name in known},
            )
        cache = getattr(out, "past_key_values", None)
        if step == 1:
            make_room(cache, ids.shape[1] + limit)
        logits = out.logits[:, -1].float()
        chosen = logits.argmax(-1)
        made = torch.stack([chosen.double(), (logits.logsumexp(-1) - logits.amax(-1)).double()])
        _add_tokens(rows, made.tolist(), stop)  # the one wait of a step, for all rows
        kept = [i for i, answer in enumerate(rows) if not answer.ended]
        yield (len(answers) - len(kept)) * limit + len(kept) * step
        if not kept:
            return
        if len(kept) < len(rows):  # an ended row would be read at every step; this copies once
            index = torch.tensor(kept, device=ids.device)
            if cache is not None:
                cache.batch_select_indices(index)
            rows, ids, chosen = [rows[i] for i in kept], ids[index], chosen[index]
            mask, positions = mask[index], positions[index]
        read = ids if cache is None else None
        ids, mask, positions = _next_inputs(chosen, mask, positions, read)


def _add_tokens(rows: list[Answer], made: list[list[float]], stop: set[int]) -> None:
    """`made`: the token of each row, and what it costs in nats."""
    for answer, token, cost in zip(rows, map(int, made[0]), made[1], strict=True):
        if answer.ended:
            continue
        answer.nll += cost
        if token in stop:
            answer.ended, answer.stop = True, token
        else:
            answer.tokens.append(token)


def _next_inputs(
    chosen: Tensor, mask: Tensor, positions: Tensor, read: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The chosen tokens, behind those `read` where the model keeps no cache of them."""
    grown = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    ids, after = chosen[:, None], positions[:, -1:] + 1
    if read is None:
        return ids, grown, after
    return torch.cat([read, ids], dim=1), grown, torch.cat([positions, after], dim=1)


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
