"""Tokens with what a model thought of them: likelihood, rank, and what it would have preferred.

Of answers, of a run's own rows, and of whole texts under several models: the result of
`score_models` has the form of `likelihood --json`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch
from msgspec.structs import replace
from torch import Tensor

from ...config.config import ModelConfig, RunConfig
from ...data.data import read_run_data
from ...errors import ConfigError, Fault, ModelError, RunError
from ...metrics.token_changes import gained_and_lost
from ...run.control import CrossScored, ScoredToken
from ...run.runs import Run
from ..models.devices import autocast, choose_device
from ..models.kernels import padding_known
from ..models.load import load
from ..models.logits import ScoredPositions
from ..models.models import Loaded, at_precision
from .evaluate import score_positions
from .rows import TokenRows, encode
from .scorer import find_scorer

UNFINISHED = "\ufffd"  # what decoding shows for bytes that are not yet a whole character
TAIL = 16  # tokens decoded anew with each one: enough for any character or joined word
TOP = 5
CHUNK = 64  # positions whose logits are made float32 at a time


def decode(loaded: Loaded, ids: Sequence[int]) -> str:
    """The text of tokens as they stand, spaces before punctuation kept."""
    text: str = loaded.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
    return text


def pieces(loaded: Loaded, ids: Sequence[int]) -> list[str]:
    """The text that each token adds to those before it: the pieces join to the whole text.

    Decoded alone, a token loses the space before a word or the rest of a character. A character
    of several tokens belongs to its last one.
    """
    texts = []
    for k in range(len(ids)):
        start = max(0, k - TAIL)
        before = len(decode(loaded, ids[start:k]).rstrip(UNFINISHED)) if k else 0
        whole = decode(loaded, ids[start : k + 1])
        waits = whole.endswith(UNFINISHED) and k + 1 < len(ids)
        texts.append((whole.rstrip(UNFINISHED) if waits else whole)[before:])
    return texts


def piece(loaded: Loaded, token: int) -> str:
    """The text of a token after another one; of half a character, the token's own name."""
    anchor = list(loaded.tokenizer("a", add_special_tokens=False).input_ids)
    text = decode(loaded, [*anchor, token])[len(decode(loaded, anchor)) :]
    if not text or UNFINISHED in text:
        return str(loaded.tokenizer.convert_ids_to_tokens(token))
    return text


def score(
    loaded: Loaded, logits: Tensor, ids: Sequence[int], top: int = 0
) -> Iterator[ScoredToken]:
    """Log-likelihood and rank of each id under its row of logits: [ids, vocabulary].

    In float32 and in chunks (L3, L4). `top`: how many of the most probable tokens are named. The
    texts are those of tokens alone: `named` gives them their place.
    """
    texts: dict[int, str] = {}
    for start in range(0, len(ids), CHUNK):
        chunk = list(ids[start : start + CHUNK])
        rows = logits[start : start + CHUNK].float()
        wanted = rows.gather(1, torch.tensor(chunk, device=rows.device)[:, None])
        whole = rows.logsumexp(-1, keepdim=True)
        ranks = (rows > wanted).sum(-1, keepdim=True) + 1  # the likeliest has rank 1
        best, index = rows.topk(min(top, rows.shape[1]), -1)
        found = [wanted - whole, ranks, (best - whole).exp(), index]
        # in one transfer: each by itself would wait for the device
        for likelihood, rank, *more in torch.cat([x.double() for x in found], 1).tolist():
            names = [int(token) for token in more[len(more) // 2 :]]
            for token in names:
                if token not in texts:
                    texts[token] = piece(loaded, token)
            preferred = [(texts[t], p) for t, p in zip(names, more, strict=False)]
            yield ScoredToken("", likelihood, int(rank), preferred)


def named(loaded: Loaded, ids: Sequence[int], scores: Sequence[ScoredToken]) -> list[ScoredToken]:
    """The scores of the last of `ids`, each with its text."""
    texts = pieces(loaded, ids)[len(ids) - len(scores) :]
    return [replace(s, text=text) for s, text in zip(scores, texts, strict=True)]


@torch.inference_mode()
def score_answer(
    loaded: Loaded, prompt: list[int], answer: list[int], top: int = TOP
) -> list[ScoredToken]:
    """Each token of an answer after a prompt, as this model finds it: one forward pass."""
    ids = [*prompt, *answer]
    inputs = torch.tensor([ids], device=loaded.device)
    with loaded.active() as model, padding_known(False):
        out = model(input_ids=inputs, attention_mask=torch.ones_like(inputs), use_cache=False)
    scores = list(score(loaded, out.logits[0, len(prompt) - 1 : -1], answer, top))
    return named(loaded, ids, scores)


def cross_score(
    writer: tuple[str, Loaded, list[int], list[int]],
    reader: tuple[str, Loaded, list[int]],
    own: Sequence[ScoredToken],
    *,
    aligned: bool,
) -> CrossScored | None:
    """The writer's answer under the reader. Writer: name, model, prompt, answer with its end.

    `own`: the writer's own scores of its answer. Where the two read other tokens, the answer's text
    is encoded anew and only bits per byte say something (K4). None where nothing was answered or
    the reader has no room for it.
    """
    name, author, _, answer = writer
    by, loaded, prompt = reader
    text = decode(author, answer)
    ids = answer if aligned else loaded.tokenizer(text, add_special_tokens=False).input_ids
    # a prompt that was truncated for the reader alone would be another question
    if not ids or not prompt or len(prompt) + len(ids) > loaded.max_length:
        return None
    theirs = score_answer(loaded, prompt, list(ids))
    size = len(text.encode())
    return CrossScored(
        model=name,
        by=by,
        tokens=theirs,
        average_log_likelihood=average(theirs),
        own_average=average(own),
        bits_per_byte=_bits_per_byte(theirs, size),
        own_bits_per_byte=_bits_per_byte(own, size),
        aligned=aligned,
    )


def average(scores: Sequence[ScoredToken]) -> float | None:
    """Nats per token; none where a token is ruled out altogether."""
    values = [s.log_likelihood for s in scores]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(finite) / len(finite) if finite and len(finite) == len(values) else None


def _bits_per_byte(scores: Sequence[ScoredToken], size: int) -> float | None:
    mean = average(scores)
    return None if mean is None or not size else -mean * len(scores) / (math.log(2) * size)


class StoredRow(msgspec.Struct, forbid_unknown_fields=True):
    """A scored row of a run; `sha256` of its split as the run read it, empty where not known."""

    run: str
    split: str
    row_id: int
    sha256: str = ""


def row_tokens(question: StoredRow, progress: Callable[[str], object] = str) -> dict[str, Any]:
    """What is scored of a row, by model: [text, log-likelihood in nats, rank] per token.

    The row is read, rendered and cut as the run did it, so its sums are those that the run stored.

    Raises ConfigError for a classifier's run, RunError where the row is not there any more,
    ModelError where the run keeps no model.
    """
    run = Run(Path(question.run))
    config = run.config()
    if not config.task_type.writes:
        raise ConfigError("a classifier's row has probabilities, not likelihoods of tokens")
    names = {"base": config.model.base, "tuned": _tuned(run, config)}
    progress("reading the data")
    form, frame = _read_rows(config, question)
    found: dict[str, Any] = {}
    for model, name in names.items():
        progress(f"scoring this row under {model}")
        scores = _score(config, name, form, frame, question)
        found[model] = [[t.text, t.log_likelihood, t.rank] for t in scores]
    return found


def _score(
    config: RunConfig, name: str, form: str, frame: pl.DataFrame, question: StoredRow
) -> list[ScoredToken]:
    """Under one model, which is gone before the next one is loaded."""
    loaded = load(config, name)
    loaded.model.to(choose_device(config))
    *_, rows = find_scorer(config.task_type.name).forms[form](frame, loaded)
    assert isinstance(rows, TokenRows)
    if question.row_id not in rows.row_ids:
        raise RunError(_gone(question))
    place = rows.row_ids.index(question.row_id)
    return score_row(loaded, rows, place, config.evaluate.precision)


def _tuned(run: Run, config: RunConfig) -> str:
    if run.model_path.is_dir():
        return str(run.model_path)
    if config.model.tuned:
        return config.model.tuned
    what = "there is no tuned model, so its rows cannot be scored again"
    raise ModelError(Fault(str(run.model_path), what))


def _read_rows(config: RunConfig, question: StoredRow) -> tuple[str, pl.DataFrame]:
    """The form of the rows and the one asked for; of texts all, as they are cut into windows."""
    dataset = read_run_data(config)
    split = dataset.splits.get(question.split)
    if split is None or question.sha256 not in ("", split.sha256):
        raise RunError(_gone(question))
    form = dataset.columns.form
    if form == "text":
        return form, split.frame
    return form, split.frame.filter(pl.col("row_id") == question.row_id)


def _gone(question: StoredRow) -> Fault:
    what = "is not in the data file as the run read it: the file has changed"
    return Fault(f"row {question.row_id} of {question.split}", what)


@torch.inference_mode()
def score_row(loaded: Loaded, rows: TokenRows, place: int, precision: str) -> list[ScoredToken]:
    """The scored tokens of one row, each with its text: a prompt is read, not scored."""
    assert rows.scored is not None
    ids, scored = rows.ids[place].tolist(), rows.scored[place]
    at = np.flatnonzero(scored)
    wanted = [ids[i] for i in at]
    loaded = at_precision(loaded, precision)
    head = ScoredPositions(loaded.model)
    found: list[ScoredToken] = []
    with loaded.active(), autocast(loaded.device, precision), padding_known(False):
        inputs = torch.tensor([ids], device=loaded.device)
        states = head.hidden(inputs, torch.ones_like(inputs))[0][torch.from_numpy(at - 1)]
        for start in range(0, len(wanted), head.chunk):
            logits = head.logits(states[start : start + head.chunk])
            found += score(loaded, logits, wanted[start : start + head.chunk])
    texts = pieces(loaded, ids)
    return [msgspec.structs.replace(t, text=texts[i]) for t, i in zip(found, at, strict=True)]


@dataclass(frozen=True)
class TextScore:
    """Log-likelihood of one text, token by token; the prefix is context and not scored."""

    tokens: list[str]
    log_likelihoods: list[float]
    ranks: list[int]
    bytes: int
    prefix: str
    window: int
    stride: int
    words: int = 0  # split on white space

    @property
    def total(self) -> float:
        return math.fsum(self.log_likelihoods)

    @property
    def per_token(self) -> list[tuple[str, float, int]]:
        """Each scored token, its log-likelihood in nats and its rank in the vocabulary."""
        return list(zip(self.tokens, self.log_likelihoods, self.ranks, strict=True))


def rolling_windows(n: int, window: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Windows over n tokens, each token scored once: (first input, first scored, end) (K3).

    Inputs are the tokens [first input, end - 1), position -1 being the prefix; targets are
    [first scored, end).
    """
    if n <= 0:
        return
    end = min(window, n)
    yield -1, 0, end
    step = window - context + 1
    while end < n:
        start, end = end, min(end + step, n)
        yield end - window - 1, start, end


@torch.inference_mode()
def score_text(
    loaded: Loaded, text: str, precision: str = "float32", context: int = 1
) -> Iterator[int | TextScore]:
    """Log-likelihood of a whole text in rolling windows; yields tokens done, at last the score."""
    ids = encode(loaded, [text])[0]
    window = loaded.max_length
    loaded = at_precision(loaded, precision)
    head = ScoredPositions(loaded.model)
    likelihoods: list[float] = []
    ranks: list[int] = []
    padded = [loaded.prefix_id, *ids]  # token i stands at i + 1
    with loaded.active(), autocast(loaded.device, precision), padding_known(False):
        for first, start, end in rolling_windows(len(ids), window, context):
            inputs = torch.tensor([padded[first + 1 : end]], device=loaded.device)
            # what stands before the first scored token is context, and is not projected
            states = head.hidden(inputs, torch.ones_like(inputs))[0, start - first - 1 :]
            targets = torch.tensor(ids[start:end], device=loaded.device)
            found, _, places = score_positions(head, states, targets, ranked=True)
            both = torch.stack([found, places.double()]).tolist()  # one transfer
            likelihoods += both[0]
            ranks += map(int, both[1])
            yield end
    yield TextScore(
        tokens=token_texts(loaded, ids),
        log_likelihoods=likelihoods,
        ranks=ranks,
        bytes=len(text.encode()),
        prefix=loaded.tokenizer.convert_ids_to_tokens(loaded.prefix_id),
        window=window,
        stride=window - context + 1,
        words=len(text.split()),
    )


def token_texts(loaded: Loaded, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text: decoded alone, some would lose their space."""
    anchor = encode(loaded, ["a"])[0]
    before = len(loaded.tokenizer.decode(anchor))
    texts: list[str] = loaded.tokenizer.batch_decode([[*anchor, i] for i in ids])
    return [text[before:] for text in texts]


class Texts(msgspec.Struct, forbid_unknown_fields=True):
    """The question: every text under every model."""

    models: list[str]
    texts: list[str]
    max_length: int | None = None


def score_models(request: Texts, progress: Callable[[str], object] = str) -> dict[str, Any]:
    """Every text under every model; each difference is against the first model."""
    if not request.models or not any(request.texts):
        raise ConfigError("likelihood needs at least one model and one text that is not empty")
    rows = [_score_model(name, request, progress) for name in request.models]
    return {
        "texts": len(request.texts),
        "models": rows,
        "differences": [_difference(rows[0], row) for row in rows[1:]],
    }


def _score_model(name: str, request: Texts, progress: Callable[[str], object]) -> dict[str, Any]:
    progress(f"loading {name}")
    config = RunConfig(
        task="generation", model=ModelConfig(base=name, max_length=request.max_length)
    )
    loaded = load(config, name)
    loaded.model.to(choose_device(config))
    scores: list[TextScore] = []
    for number, text in enumerate(request.texts, 1):
        progress(f"{name}: text {number} of {len(request.texts)}")
        *_, score = score_text(loaded, text)
        assert isinstance(score, TextScore)
        scores.append(score)
    return _summary(name, scores)


def _summary(name: str, scores: list[TextScore]) -> dict[str, Any]:
    tokens = sum(len(s.tokens) for s in scores)
    size = sum(s.bytes for s in scores)
    words = sum(s.words for s in scores)
    total = sum(s.total for s in scores)
    nan = float("nan")
    return {
        "model": name,
        "scored_tokens": tokens,
        "bytes": size,
        "total_log_likelihood": total,
        "average_log_likelihood": total / tokens if tokens else nan,
        "bits_per_byte": -total / (math.log(2) * size) if size else nan,
        "words": words,
        "log_likelihood_per_word": total / words if words else nan,
        "prefix": scores[0].prefix,
        "window": scores[0].window,
        "stride": scores[0].stride,
        "per_token": [list(token) for s in scores for token in s.per_token],
    }


def _difference(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Per token where both cut the text into the same tokens; in bits per byte always (K4).

    `gained` and `lost`: every token that became likelier or less likely, the greatest change first.
    """
    found: dict[str, Any] = {
        "from": base["model"],
        "to": other["model"],
        "bits_per_byte": other["bits_per_byte"] - base["bits_per_byte"],
    }
    if [t[0] for t in base["per_token"]] == [t[0] for t in other["per_token"]]:
        average = "average_log_likelihood"
        found[average] = other[average] - base[average]
        found |= gained_and_lost(base["per_token"], other["per_token"])
    return found
