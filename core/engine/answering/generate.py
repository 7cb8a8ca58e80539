"""Completions made token by token, streamed side by side.

Two models take turns. A base and its adapter share their weights: after the first token of each,
which is never held up for the other, they are the two rows of one batch.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor

from ...run.control import AskPrompt, Completed, ScoredToken, TokenMade
from ..models.models import Loaded, stop_ids, takes
from ..scoring.token_scores import TAIL, TOP, UNFINISHED, named, score
from .side_by_side import can_pair, join_caches, reading_together

Together = Callable[[list[int]], Tensor]  # one token of each in, logits of both out


@dataclass
class Voice:
    """One model about to answer."""

    name: str
    loaded: Loaded
    cache: Any = None
    made: list[int] = field(default_factory=list)
    scores: list[ScoredToken] = field(default_factory=list)
    shown: str = ""
    started: float = 0.0
    ended: bool = False
    finished: bool = False
    prompt: list[int] | None = None  # its own, where it reads other tokens than its neighbour
    stop: int = -1  # the token that ended it
    stops: set[int] = field(default_factory=set)  # what ends an answer; its model's own where empty

    @property
    def answered(self) -> list[int]:
        """Every token it chose, the one that ended the answer included."""
        return [*self.made, self.stop] if self.ended else self.made


@torch.inference_mode()
def generate(
    voices: Sequence[Voice], prompt: list[int], asked: AskPrompt
) -> Iterator[TokenMade | Completed]:
    """Stream the answers of all voices, a token each in turn; greedy at temperature 0.

    The prompt is cut on its left where it and the answer would not fit into the model's length,
    and so is the answer where it would not fit by itself.
    """
    most = max(1, min(voice.loaded.max_length for voice in voices) - 1) if voices else 0
    asked = replace(asked, max_new_tokens=min(asked.max_new_tokens, most))
    for voice in voices:
        voice.started = time.perf_counter()
    randoms = [torch.Generator().manual_seed(asked.seed) for _ in voices]
    for voice in voices:
        voice.prompt = _fit(voice.prompt or prompt, voice.loaded, asked.max_new_tokens)
    inputs = [list(v.prompt or ()) for v in voices]
    with contextlib.ExitStack() as paired:
        cache: Any = None
        read: Together | None = None
        for turn in itertools.count():
            for voice in voices:
                if not voice.finished and len(voice.made) >= asked.max_new_tokens:
                    yield _completed(voice)
            still = [i for i, voice in enumerate(voices) if not voice.finished]
            if not still:
                return
            if turn == 1 and len(still) == 2 and (cache := _one_cache(voices)) is not None:
                pair = [voice.loaded for voice in voices]
                read = paired.enter_context(reading_together(pair, cache))
            every = asked.likelihoods == "all" and turn == 0
            for i, logits in _turns(voices, inputs, still, read, every):
                inputs[i] = yield from _next_token(voices[i], inputs[i], logits, asked, randoms[i])
            left = [i for i in still if not voices[i].finished]
            if read is not None and len(left) < 2:
                paired.close()
                read = None
                for i in left:
                    cache.batch_select_indices(torch.tensor([i], device=voices[i].loaded.device))
                    voices[i].cache = cache


def _one_cache(voices: Sequence[Voice]) -> Any:
    """One cache for both voices where they are a base and its adapter; else None."""
    if not can_pair(*(voice.loaded for voice in voices)):
        return None
    return join_caches([voice.cache for voice in voices])


def _turns(
    voices: Sequence[Voice],
    inputs: list[list[int]],
    still: list[int],
    read: Together | None,
    every: bool,
) -> Iterator[tuple[int, Tensor]]:
    """Each open voice with its logits of the last token, or of every one: [tokens, vocabulary]."""
    if read is not None:
        logits = read([ids[0] for ids in inputs])
        yield from ((i, logits[i : i + 1]) for i in still)
        return
    for i in still:
        yield i, _read(voices[i], inputs[i], every)


def _read(voice: Voice, ids: list[int], every: bool) -> Tensor:
    last = {} if every or not takes(voice.loaded.model, "logits_to_keep") else {"logits_to_keep": 1}
    with voice.loaded.active() as model:
        out = model(
            input_ids=torch.tensor([ids], device=voice.loaded.device),
            past_key_values=voice.cache,
            use_cache=True,
            **last,
        )
    voice.cache = out.past_key_values
    logits: Tensor = out.logits[0]
    return logits


def _fit(prompt: list[int], loaded: Loaded, new_tokens: int) -> list[int]:
    room = max(1, loaded.max_length - new_tokens)
    return prompt if len(prompt) <= room else [prompt[0], *prompt[len(prompt) - room + 1 :]]


def _next_token(
    voice: Voice, ids: list[int], rows: Tensor, asked: AskPrompt, random: torch.Generator
) -> Generator[TokenMade | Completed, None, list[int]]:
    """One more token of a voice that read `ids`; returns what it reads next."""
    loaded = voice.loaded
    top = TOP if asked.details else 0
    if asked.likelihoods == "all" and not voice.made:
        voice.scores += score(loaded, rows[:-1], ids[1:], top)
    logits = rows[-1].float().cpu()
    token = choose(logits, asked, random)
    likelihood = float(logits[token] - logits.logsumexp(-1))
    if asked.likelihoods != "none":
        voice.scores += score(loaded, logits[None], [token], top)
    if token in (voice.stops or stop_ids(loaded)):
        voice.ended, voice.stop = True, token
        yield _completed(voice)
        return [token]
    voice.made.append(token)
    yield TokenMade(model=voice.name, text=_new_text(voice), log_likelihood=likelihood)
    return [token]


def choose(logits: Tensor, asked: AskPrompt, random: torch.Generator) -> int:
    """Greedy at temperature 0, else sampled after top-k and top-p cuts. `logits`: [vocabulary]."""
    if asked.temperature <= 0:
        return int(logits.argmax())
    return int(torch.multinomial(sampled_from(logits, asked), 1, generator=random))


def sampled_from(logits: Tensor, asked: AskPrompt) -> Tensor:
    """Probabilities that a token is drawn by: temperature, top-k, then top-p of what is left.

    As transformers' warpers do it: tokens equal to the k-th stay, and the likeliest always does.
    """
    scores = logits / asked.temperature
    if asked.top_k > 0:
        least = scores.topk(min(asked.top_k, len(scores))).values[-1]
        scores = scores.masked_fill(scores < least, -math.inf)
    if asked.top_p < 1:
        ascending, index = scores.sort()
        unlikely = ascending.softmax(-1).cumsum(-1) <= 1 - asked.top_p
        unlikely[-1] = False
        scores = scores.masked_fill(unlikely.scatter(0, index, unlikely), -math.inf)
    return scores.softmax(-1)


def _new_text(voice: Voice) -> str:
    """The text that the last token added; nothing while a character is incomplete."""
    tokenizer = voice.loaded.tokenizer
    whole = tokenizer.decode(voice.made, skip_special_tokens=True)
    if whole.endswith(UNFINISHED) and len(voice.made) % TAIL:
        return ""
    new = whole[len(voice.shown) :]
    voice.shown = whole
    return new


def _completed(voice: Voice) -> Completed:
    voice.finished = True
    if voice.scores:
        voice.scores = named(voice.loaded, [*(voice.prompt or ()), *voice.answered], voice.scores)
    return Completed(
        model=voice.name,
        text=voice.loaded.tokenizer.decode(voice.made, skip_special_tokens=True),
        tokens=len(voice.made),
        seconds=time.perf_counter() - voice.started,
        ended_by_eos=voice.ended,
        likelihoods=voice.scores,
    )
