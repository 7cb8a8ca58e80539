"""Completions made token by token, streamed side by side.

Each model reads the prompt by itself, so that its first token is never held up for the other. After
that a base and its LoRA adapter, which share their weights, are the two rows of one batch: the
weights are read once for both. Any other two models take turns.

In the shared batch the adapter adds what its B matrices give; for the base's row that is set to 0,
so that every other part of peft (scaling, casts, several active adapters) does as it always does.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from ...run.control import AskPrompt, Completed, ScoredToken, TokenMade
from ..models.kernels import few_rows
from ..models.models import Loaded, cached, stop_ids, takes, unwrapped
from ..scoring.token_scores import TAIL, TOP, UNFINISHED, named, score

Replies = Iterator[TokenMade | Completed]
_apart: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # what `_keeps_rows` found


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
    prompt: list[int] = field(default_factory=list)  # its own, where it reads other tokens
    reads: list[int] = field(default_factory=list)  # what goes into the next forward pass
    random: torch.Generator = field(default_factory=torch.Generator)
    stop: int = -1  # the token that ended it
    stops: set[int] = field(default_factory=set)  # what ends an answer; its model's own where empty

    @property
    def answered(self) -> list[int]:
        """Every token it chose, the one that ended the answer included."""
        return [*self.made, self.stop] if self.ended else self.made


@torch.inference_mode()
def generate(voices: Sequence[Voice], prompt: list[int], asked: AskPrompt) -> Replies:
    """Stream the answers of all voices, a token each in turn; greedy at temperature 0.

    The prompt is truncated on its left where it and the answer would not fit into the model's
    length; so is the answer where it would not fit by itself.
    """
    # one place at least is the prompt's: a model that reads nothing writes nothing
    most = max(1, min(voice.loaded.max_length for voice in voices) - 1) if voices else 0
    asked = replace(asked, max_new_tokens=min(asked.max_new_tokens, most))
    for voice in voices:
        voice.started = time.perf_counter()
        voice.random.manual_seed(asked.seed)
        voice.prompt = _fit(voice.prompt or prompt, voice.loaded, asked.max_new_tokens)
        voice.reads = list(voice.prompt)
    yield from _first_tokens(voices, asked)
    if len(_open(voices)) == 2 and (cache := _one_cache(voices)) is not None:
        yield from _in_one_batch(voices, asked, cache)
    yield from _in_turns(voices, asked)


def _open(voices: Sequence[Voice]) -> list[Voice]:
    return [voice for voice in voices if not voice.finished]


def _first_tokens(voices: Sequence[Voice], asked: AskPrompt) -> Replies:
    """Each voice reads its prompt and makes a token; here the prompt's own tokens are scored."""
    yield from _at_their_limit(voices, asked)
    for voice in _open(voices):
        logits = _read(voice, every=asked.likelihoods == "all")
        yield from _next_token(voice, logits, asked)
    yield from _at_their_limit(voices, asked)


def _in_one_batch(voices: Sequence[Voice], asked: AskPrompt, cache: Any) -> Replies:
    """Both as rows of one batch, until one has ended; the other keeps its row of the cache."""
    with reading_together([voice.loaded for voice in voices], cache) as read:
        while len(_open(voices)) == 2:
            logits = read([voice.reads[0] for voice in voices])
            for row, voice in enumerate(voices):
                yield from _next_token(voice, logits[row : row + 1], asked)
            yield from _at_their_limit(voices, asked)
    for row, voice in enumerate(voices):
        if not voice.finished:
            cache.batch_select_indices(torch.tensor([row], device=voice.loaded.device))
            voice.cache = cache


def _in_turns(voices: Sequence[Voice], asked: AskPrompt) -> Replies:
    """Each by itself with its own cache, a token in turn, until the last one has ended."""
    while still := _open(voices):
        for voice in still:
            yield from _next_token(voice, _read(voice), asked)
        yield from _at_their_limit(voices, asked)


def _at_their_limit(voices: Sequence[Voice], asked: AskPrompt) -> Replies:
    for voice in _open(voices):
        if len(voice.made) >= asked.max_new_tokens:
            yield _completed(voice)


def _one_cache(voices: Sequence[Voice]) -> Any:
    """One cache for both voices where they are a base and its adapter; else None."""
    if not can_pair(*(voice.loaded for voice in voices)):
        return None
    return join_caches([voice.cache for voice in voices])


def _read(voice: Voice, every: bool = False) -> Tensor:
    """Logits of the last token that a voice reads, or of every one: [tokens, vocabulary]."""
    last = {} if every or not takes(voice.loaded.model, "logits_to_keep") else {"logits_to_keep": 1}
    # a model that left no cache (Mamba, RWKV) reads its text anew for each token
    ids = voice.reads if voice.cache is not None else [*voice.prompt, *voice.made]
    with voice.loaded.active() as model:
        out = model(
            input_ids=torch.tensor([ids], device=voice.loaded.device),
            **cached(model, voice.cache),
            **last,
        )
    voice.cache = getattr(out, "past_key_values", None)
    logits: Tensor = out.logits[0]
    return logits


def _fit(prompt: list[int], loaded: Loaded, new_tokens: int) -> list[int]:
    room = max(1, loaded.max_length - new_tokens)
    return prompt if len(prompt) <= room else [prompt[0], *prompt[len(prompt) - room + 1 :]]


def _next_token(voice: Voice, rows: Tensor, asked: AskPrompt) -> Replies:
    """One more token of a voice, by the last row of logits."""
    loaded = voice.loaded
    top = TOP if asked.details else 0
    if asked.likelihoods == "all" and not voice.made:
        voice.scores += score(loaded, rows[:-1], voice.reads[1:], top)
    # in float32 (L3), and on the CPU, whose generator draws the same from a seed on every device
    logits = rows[-1].float().cpu()
    token = choose(logits, asked, voice.random)
    likelihood = float(logits[token] - logits.logsumexp(-1))
    if asked.likelihoods != "none":
        voice.scores += score(loaded, logits[None], [token], top)
    voice.reads = [token]
    if token in (voice.stops or stop_ids(loaded)):
        voice.ended, voice.stop = True, token
        yield _completed(voice)
        return
    voice.made.append(token)
    yield TokenMade(model=voice.name, text=_new_text(voice), log_likelihood=likelihood)


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
    # decoded whole each time: a token by itself loses the space before a word
    whole = tokenizer.decode(voice.made, skip_special_tokens=True)
    if whole.endswith(UNFINISHED) and len(voice.made) % TAIL:
        return ""
    new = whole[len(voice.shown) :]
    voice.shown = whole
    return new


def _completed(voice: Voice) -> Completed:
    voice.finished = True
    if voice.scores:
        voice.scores = named(voice.loaded, [*voice.prompt, *voice.answered], voice.scores)
    return Completed(
        model=voice.name,
        text=voice.loaded.tokenizer.decode(voice.made, skip_special_tokens=True),
        tokens=len(voice.made),
        seconds=time.perf_counter() - voice.started,
        ended_by_eos=voice.ended,
        likelihoods=voice.scores,
    )


def can_pair(a: Loaded, b: Loaded) -> bool:
    """Whether the two are one model, with its adapter and without, that may share a batch."""
    if a.model is not b.model or a.adapter_off == b.adapter_off or not a.has_adapter:
        return False
    if a.model not in _apart:
        with (b if a.adapter_off else a).active():
            _apart[a.model] = _is_plain(a.model) and _keeps_rows(a.model)
    return _apart[a.model]


def _is_plain(model: Any) -> bool:
    """Nothing is trained but LoRA matrices beside linear layers, none of them merged or DoRA."""
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    modules = list(model.modules())
    layers = [m for m in modules if isinstance(m, BaseTunerLayer)]
    if not layers or any(isinstance(m, AuxiliaryTrainingWrapper) for m in modules):
        return False
    return all(type(m) is Linear and not m.lora_variant and not m.merged for m in layers)


@torch.inference_mode()
def _keeps_rows(model: Any) -> bool:
    """Whether each adapted layer is given whole rows: experts are given tokens of any row."""
    shapes: list[tuple[int, ...]] = []

    def look(_: nn.Module, __: Any, out: Tensor) -> None:
        shapes.append(tuple(out.shape[:-1]))

    ids = torch.arange(6, device=next(model.parameters()).device).reshape(2, 3)
    with _hooked(model, look):
        unwrapped(model)(input_ids=ids, use_cache=False)
    return bool(shapes) and all(shape == (2, 3) for shape in shapes)


@contextlib.contextmanager
def without_adapter(model: Any, row: int) -> Iterator[None]:
    """The adapter acts on every row but this one."""

    def silence(_: nn.Module, __: Any, out: Tensor) -> Tensor:
        out[row] = 0.0
        return out

    with _hooked(model, silence):
        yield


@contextlib.contextmanager
def _hooked(model: Any, hook: Any) -> Iterator[None]:
    found = [b for m in model.modules() if hasattr(m, "lora_B") for b in m.lora_B.values()]
    handles = [module.register_forward_hook(hook) for module in found]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def join_caches(caches: list[Any]) -> Any:
    """The caches of single rows as one of a batch; None where they are not plain ones of a length.

    The first is changed and returned.
    """
    from transformers.cache_utils import DynamicLayer

    layers = [getattr(cache, "layers", ()) for cache in caches]
    flat = [layer for part in layers for layer in part]
    if not flat or len({len(part) for part in layers}) > 1:
        return None
    if any(type(layer) is not DynamicLayer or not layer.is_initialized for layer in flat):
        return None
    if len({layer.get_seq_length() for layer in flat}) > 1:
        return None
    for first, *others in zip(*layers, strict=True):
        first.keys = torch.cat([first.keys, *(layer.keys for layer in others)])
        first.values = torch.cat([first.values, *(layer.values for layer in others)])
    return caches[0]


@contextlib.contextmanager
def reading_together(pair: list[Loaded], cache: Any) -> Iterator[Callable[[list[int]], Tensor]]:
    """Gives what reads one more token of each into the cache: logits of [2, vocabulary].

    The model stays as it is made here between two tokens: to walk its modules at every token would
    cost a sixth of the time.
    """
    off = next(row for row, loaded in enumerate(pair) if loaded.adapter_off)
    tuned = pair[1 - off]
    device = tuned.device
    with tuned.active() as model, without_adapter(model, off), few_rows(model, len(pair)):

        def read(tokens: list[int]) -> Tensor:
            ids = torch.tensor(tokens, device=device)[:, None]
            out = model(input_ids=ids, past_key_values=cache, use_cache=True)
            logits: Tensor = out.logits[:, -1]
            return logits.float().cpu()  # both in one transfer

        yield read
