"""Completions made token by token, the models in turn, so that they stream side by side."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..control import AskPrompt, Completed, ScoredToken, TokenMade
from .models import Loaded

UNFINISHED = "\ufffd"  # what decoding shows for bytes that are not yet a whole character
TAIL = 16  # tokens decoded anew with each one: enough for any character or joined word


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


@torch.inference_mode()
def generate(
    voices: Sequence[Voice], prompt: list[int], asked: AskPrompt
) -> Iterator[TokenMade | Completed]:
    """Stream the answers of all voices, a token each in turn; greedy at temperature 0.

    The prompt is cut on its left where it and the answer would not fit into the model's length.
    """
    for voice in voices:
        voice.started = time.perf_counter()
    randoms = [torch.Generator().manual_seed(asked.seed) for _ in voices]
    inputs = [_fit(prompt, v.loaded, asked.max_new_tokens) for v in voices]
    while any(not v.finished for v in voices):
        for i, voice in enumerate(voices):
            if not voice.finished:
                inputs[i] = yield from _next_token(voice, inputs[i], asked, randoms[i])


def _fit(prompt: list[int], loaded: Loaded, new_tokens: int) -> list[int]:
    room = max(1, loaded.max_length - new_tokens)
    return prompt if len(prompt) <= room else [prompt[0], *prompt[len(prompt) - room + 1 :]]


def _next_token(
    voice: Voice, ids: list[int], asked: AskPrompt, random: torch.Generator
) -> Generator[TokenMade | Completed, None, list[int]]:
    """One more token of a voice; returns what it reads next."""
    loaded = voice.loaded
    if len(voice.made) >= asked.max_new_tokens:
        yield _completed(voice)
        return ids
    with loaded.active() as model:
        out = model(
            input_ids=torch.tensor([ids], device=loaded.device),
            past_key_values=voice.cache,
            use_cache=True,
        )
    voice.cache = out.past_key_values
    logits = out.logits[0].float().cpu()
    if asked.likelihoods == "all" and not voice.made:
        voice.scores += _score(logits[:-1], ids[1:], loaded)
    token = choose(logits[-1], asked, random)
    likelihood = float(logits[-1, token] - logits[-1].logsumexp(-1))
    if asked.likelihoods != "none":
        voice.scores += _score(logits[-1:], [token], loaded)
    if token in stop_ids(loaded):
        voice.ended = True
        yield _completed(voice)
        return [token]
    voice.made.append(token)
    yield TokenMade(model=voice.name, text=_new_text(voice), log_likelihood=likelihood)
    return [token]


def choose(logits: Tensor, asked: AskPrompt, random: torch.Generator) -> int:
    """Greedy at temperature 0, else sampled after top-k and top-p cuts. `logits`: [vocabulary]."""
    if asked.temperature <= 0:
        return int(logits.argmax())
    ordered, index = (logits / asked.temperature).sort(descending=True)
    probabilities = ordered.softmax(-1)
    keep = torch.ones_like(probabilities, dtype=torch.bool)
    if asked.top_k > 0:
        keep[asked.top_k :] = False
    before = probabilities.cumsum(-1) - probabilities
    keep &= before < asked.top_p
    keep[0] = True
    return int(index[torch.multinomial(probabilities * keep, 1, generator=random)])


def stop_ids(loaded: Loaded) -> set[int]:
    """EOS of the tokenizer and of the model's generation settings, the same for both (G1)."""
    told = getattr(loaded.model.generation_config, "eos_token_id", None)
    ids = told if isinstance(told, list) else [told]
    return {int(i) for i in [*ids, loaded.tokenizer.eos_token_id] if i is not None}


def _new_text(voice: Voice) -> str:
    """The text that the last token added; nothing while a character is incomplete."""
    tokenizer = voice.loaded.tokenizer
    whole = tokenizer.decode(voice.made, skip_special_tokens=True)
    if whole.endswith(UNFINISHED) and len(voice.made) % TAIL:
        return ""
    new = whole[len(voice.shown) :]
    voice.shown = whole
    return new


def _score(logits: Tensor, ids: Sequence[int], loaded: Loaded) -> list[ScoredToken]:
    """Log-likelihood and rank of each id under its row of logits: [ids, vocabulary]."""
    index = torch.tensor(list(ids))[:, None]
    wanted = logits.gather(1, index)
    likelihood = (wanted[:, 0] - logits.logsumexp(-1)).tolist()
    ranks = ((logits > wanted).sum(-1) + 1).tolist()
    texts = loaded.tokenizer.batch_decode([[i] for i in ids])
    return [ScoredToken(*s) for s in zip(texts, likelihood, ranks, strict=True)]


def _completed(voice: Voice) -> Completed:
    voice.finished = True
    return Completed(
        model=voice.name,
        text=voice.loaded.tokenizer.decode(voice.made, skip_special_tokens=True),
        tokens=len(voice.made),
        seconds=time.perf_counter() - voice.started,
        ended_by_eos=voice.ended,
        likelihoods=voice.scores,
    )
