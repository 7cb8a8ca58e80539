"""What happens to one input inside a model: embedding, each layer, logits, answer.

A layer's state is made an answer by the model itself ("logit lens"): the forward pass is run once
more with the last layer giving out that state in place of its own, so that whatever the
architecture does after its layers (final norm, pooler, head, scaling) is done to it. For the last
layer that is the model's own output, which is checked each time. `trace_text` does so in base and
tuned and compares the two.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from ...errors import Fault, ModelError
from ...run.control import AskTrace, ModelTrace, Share, Traced, TracedLayer
from ..models.kernels import padding_known
from ..models.models import Loaded, takes, unwrapped, without_cache
from ..models.tokenizers import same_tokens
from ..scoring.rows import asked_row, prompt_ids
from ..scoring.splits import find_probe
from ..scoring.token_scores import piece, pieces
from ..worker.session import Session

TOP = 5
LENS_TOLERANCE = 1e-3  # in logits: beyond it the lens is not the model's own way to an answer

Answer = Callable[[Any], Tensor]  # the model's (or its backbone's) output -> scores of one row
BASE_BY_PROBE = "base (linear probe)"


@dataclass(frozen=True)
class Task:
    """How a model is asked: what to run, what to read from it, and how that is called."""

    module: Any  # what is run: the whole model, or its backbone where a probe answers
    answer: Answer
    name_of: Callable[[int], str]
    place: int | None  # the token whose state is followed; none: the mean of all
    lens: str
    arguments: dict[str, Any]
    apart: bool = False  # each output is a yes or no of its own

    def shares(self, scores: Tensor) -> Tensor:
        """Scores as probabilities."""
        return scores.sigmoid() if self.apart else scores.softmax(-1)


@dataclass
class Passed:
    """One forward pass: what entered the first layer, what left each, and the scores at the end."""

    embedding: Tensor  # [tokens, hidden]
    states: list[Tensor]  # each [tokens, hidden]
    outputs: list[Any]  # the same as the layers gave them out
    scores: Tensor  # [labels or vocabulary], float32


@dataclass
class Found:
    """What `trace` saw. `error`: how far the last lens is off the scores; NaN without layers."""

    layers: list[TracedLayer]
    followed: list[Tensor]  # the state at the place after each layer, [hidden]
    scores: Tensor
    error: float


@torch.inference_mode()
def trace(loaded: Loaded, ids: list[int], task: Task) -> Found:
    """Follow a text through a model; no layers where they cannot be made out."""
    with loaded.active():
        layers = find_layers(loaded)
        passed = run_through(loaded, ids, task, layers)
        if passed is None:
            return Found([], [], _scores(loaded, ids, task), math.nan)
        lenses = list(lens_of_layers(loaded, ids, task, layers, passed))
        error = float((lenses[-1] - passed.scores).abs().max())
        if not error <= LENS_TOLERANCE:
            lenses = []
    followed = [follow(state, task.place) for state in (passed.embedding, *passed.states)]
    return Found(list(_layers(followed, lenses, task)), followed, passed.scores, error)


def find_layers(loaded: Loaded) -> list[nn.Module]:
    """The blocks that a state goes through in turn; empty where they cannot be made out."""
    count = int(getattr(loaded.model.config, "num_hidden_layers", 0) or 0)
    for module in unwrapped(loaded.model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == count > 0:
            return list(module)
    return []


def run_through(
    loaded: Loaded, ids: list[int], task: Task, layers: list[nn.Module]
) -> Passed | None:
    """The pass as it is, listened to. None where the layers do not hand one state on in turn."""
    entered: list[Tensor] = []
    outputs: list[Any] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(args[0] if args else kwargs["hidden_states"])

    def leave(_: nn.Module, __: Any, output: Any) -> None:
        outputs.append(output)

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(leave).remove)
        try:
            scores = _scores(loaded, ids, task)
        except KeyError:
            return None
    if not layers or len(outputs) != len(layers) or len(entered) != len(layers):
        return None
    states = [_state(output) for output in outputs]
    # what is done to a state between two layers would be missing from the lens of the first
    handed_on = zip(states, entered[1:], strict=False)
    if any(a.shape != b.shape or not torch.equal(a, b) for a, b in handed_on):
        return None
    if any(state.ndim != 3 or state.shape[:2] != (1, len(ids)) for state in states):
        return None
    return Passed(entered[0][0].float(), [s[0].float() for s in states], outputs, scores)


def lens_of_layers(
    loaded: Loaded, ids: list[int], task: Task, layers: list[nn.Module], passed: Passed
) -> Iterator[Tensor]:
    """The scores if the model stopped at the embedding, and after each layer."""
    first = _like(passed.outputs[-1], passed.embedding[None].to(_state(passed.outputs[-1]).dtype))
    for output in (first, *passed.outputs):
        last = _like(passed.outputs[-1], _state(output))
        with _answering(layers, [*passed.outputs[:-1], last]):
            yield _scores(loaded, ids, task)


@contextlib.contextmanager
def _answering(layers: list[nn.Module], outputs: list[Any]) -> Iterator[None]:
    """Layers that compute nothing and give out what they are given."""
    try:
        for layer, output in zip(layers, outputs, strict=True):
            layer.forward = lambda *_, given=output, **__: given
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _scores(loaded: Loaded, ids: list[int], task: Task) -> Tensor:
    inputs = {"input_ids": torch.tensor([ids], device=loaded.device), **task.arguments}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with padding_known(False):
        return task.answer(task.module(**inputs)).float().cpu()


def _state(output: Any) -> Tensor:
    state = output[0] if isinstance(output, tuple) else output
    assert isinstance(state, Tensor)
    return state


def _like(output: Any, state: Tensor) -> Any:
    """A state in the form in which this layer gives it out."""
    return (state, *output[1:]) if isinstance(output, tuple) else state


def follow(states: Tensor, place: int | None) -> Tensor:
    """The state at a place, or the mean over all: [tokens, hidden] -> [hidden], on the CPU."""
    return (states.mean(0) if place is None else states[place]).float().cpu()


def _layers(followed: list[Tensor], lenses: list[Tensor], task: Task) -> Iterator[TracedLayer]:
    for index, state in enumerate(followed):
        before = followed[index - 1] if index else None
        yield TracedLayer(
            index=index,
            norm=finite(state.norm()),
            change=relative_change(before, state),
            cosine=cosine(before, state),
            top=top_shares(task.shares(lenses[index]), task.name_of) if lenses else [],
        )


def relative_change(before: Tensor | None, state: Tensor) -> float | None:
    """‖state - before‖ / ‖before‖; none where there is no state before."""
    if before is None or before.shape != state.shape:
        return None
    return finite((state - before).norm() / before.norm())


def cosine(before: Tensor | None, state: Tensor) -> float | None:
    """Cosine of the angle between two states, in float64; none where there is no state before."""
    if before is None or before.shape != state.shape:
        return None
    return finite(before.double() @ state.double() / (before.double().norm() * state.norm()))


def top_shares(scores: Tensor, name_of: Callable[[int], str], most: int = TOP) -> list[Share]:
    """The highest of some scores with their names; what is no number is left out."""
    best, index = scores.float().topk(min(most, scores.shape[-1]))
    pairs = zip(index.tolist(), best.tolist(), strict=True)
    return [(name_of(i), value) for i, value in pairs if math.isfinite(value)]


def finite(value: Tensor) -> float | None:
    """The number of a tensor, as JSON can hold it: none for NaN and infinities."""
    number = float(value)
    return number if math.isfinite(number) else None


def entropy(scores: Tensor) -> float | None:
    """Of the softmax of some scores, nats."""
    logs = scores.double().log_softmax(-1)
    return finite(-(logs.exp() * logs).nan_to_num().sum())


def causal_task(loaded: Loaded, ids: list[int], name_of: Callable[[int], str]) -> Task:
    """The next token after a text."""
    arguments: dict[str, Any] = dict(without_cache(loaded.model))
    if takes(loaded.model, "logits_to_keep"):
        arguments["logits_to_keep"] = 1
    return Task(
        loaded.model,
        lambda out: out.logits[0, -1],
        name_of,
        len(ids) - 1,
        "the model's own final norm and output projection, put on each layer's state",
        arguments,
    )


def label_task(loaded: Loaded, ids: list[int], *, apart: bool = False) -> Task:
    """The label of a text by the model's own head."""
    return Task(
        loaded.model,
        lambda out: out.logits[0],
        lambda i: (loaded.outputs or loaded.labels)[i],
        read_place(loaded, ids),
        "the model's own classifier (with the pooler before it), put on each layer's state",
        dict(without_cache(loaded.model)),
        apart,
    )


def probe_task(
    loaded: Loaded,
    probabilities: Callable[[Any], Any],
    labels: tuple[str, ...],
    place: int | None,
    *,
    apart: bool = False,
) -> Task:
    """The label of a text by the linear probe on the mean of the last hidden states."""
    model = unwrapped(loaded.model)
    backbone = getattr(model, model.base_model_prefix)

    def answer(out: Any) -> Tensor:
        mean = out[0][0].float().mean(0, keepdim=True).cpu().numpy()
        found = torch.as_tensor(probabilities(mean)[0])
        return found.logit(1e-300) if apart else found.clamp_min(1e-300).log()

    return Task(
        backbone,
        answer,
        lambda i: labels[i],
        place,
        "the linear probe on the mean of all states; it was fitted on the last layer, so what it "
        "says of earlier ones is a hint only",
        dict(without_cache(backbone)),
        apart,
    )


def read_place(loaded: Loaded, ids: list[int]) -> int | None:
    """The token whose state a classifier's head reads; none where it takes the mean."""
    if getattr(loaded.model.config, "classifier_pooling", "") == "mean":
        return None
    return len(ids) - 1 if takes(loaded.model, "past_key_values") else 0


def trace_text(s: Session, asked: AskTrace) -> Traced:
    """What becomes of a text in each model, and the layer in which they diverge."""
    if s.task.numbers:
        what = "follows a choice among labels or tokens; this model answers with numbers"
        raise ModelError(Fault("trace", what, "`ftev-tui prompt` shows the numbers"))
    aligned = s.config.trains or same_tokens(s.base, s.tuned)
    traces, found, notes = [], [], []
    for model, loaded in (("base", s.base), ("tuned", s.tuned)):
        ids, cut, more = _ids(s, loaded if not aligned else s.tuned, asked.text)
        name, task = _task(s, model, loaded, ids)
        if task is None:
            notes.append("The base has neither a head nor a probe: it has no answer to follow.")
            continue
        task = dataclasses.replace(task, arguments=task.arguments | more)
        seen = trace(loaded, ids, task)
        found.append(seen)
        traces.append(_model_trace(loaded, model, name, ids, cut, task, seen))
    if len(traces) == 2 and aligned:
        traces[1] = replace(traces[1], layers=_with_distances(found[0], found[1]))
    elif len(traces) == 2:
        notes.append("The two models read different tokens: their states are not compared.")
    return Traced(
        text=asked.text,
        task=s.config.task,
        models=traces,
        parts_at=parts_at(traces),
        notes=notes,
    )


def _ids(s: Session, loaded: Loaded, text: str) -> tuple[list[int], int, dict[str, Tensor]]:
    """The tokens as this model reads them, how many were left out, and what it takes beside."""
    if not s.task.has_head:
        ids = prompt_ids(loaded, text, s.form, spaced=s.spaced, system=s.config.data.system)
        kept = ids[: loaded.max_length]
        return kept, len(ids) - len(kept), {}
    rows = asked_row(loaded, text, paired=s.paired)
    more = {}
    if rows.segments is not None:
        segments = rows.segments[0].astype("int64")[None]
        more = {"token_type_ids": torch.from_numpy(segments).to(loaded.device)}
    return [int(i) for i in rows.ids[0]], rows.truncated_tokens, more


def _task(s: Session, model: str, loaded: Loaded, ids: list[int]) -> tuple[str, Task | None]:
    if not s.task.has_head:
        return model, causal_task(loaded, ids, lambda i: piece(loaded, i))
    if model == "tuned" or s.base_has_head:
        return model, label_task(loaded, ids, apart=s.task.gives_sets)
    probe = find_probe(s)
    if probe is None:
        return model, None
    place = read_place(s.tuned, ids)
    task = probe_task(loaded, probe.probabilities, s.labels, place, apart=probe.of == "sets")
    return BASE_BY_PROBE, task


def _model_trace(
    loaded: Loaded, model: str, name: str, ids: list[int], cut: int, task: Task, seen: Found
) -> ModelTrace:
    probabilities = top_shares(task.shares(seen.scores), task.name_of)
    architecture = type(unwrapped(loaded.model)).__name__
    texts = pieces(loaded, ids)
    return ModelTrace(
        model=model,
        name=name,
        architecture=architecture,
        tokens=list(zip(texts, ids, strict=True)),
        place=place_in_words(task.place, len(ids)),
        place_index=task.place,
        layers=seen.layers,
        lens=task.lens,
        logits=top_shares(seen.scores, task.name_of),
        probabilities=probabilities,
        final=probabilities[0][0] if probabilities else "",
        entropy=None if task.apart else entropy(seen.scores),
        apart=task.apart,
        lens_error=seen.error if math.isfinite(seen.error) else None,
        cut_tokens=cut,
        notes=_notes(architecture, seen),
    )


def place_in_words(place: int | None, count: int) -> str:
    """Which token's state is followed, among `count` tokens."""
    if place is None:
        return "the mean over all tokens"
    return "the first token" if place == 0 and count > 1 else "the last token"


def _notes(architecture: str, seen: Found) -> list[str]:
    if not seen.layers:
        return [
            f"{architecture} does not hand one state from layer to layer in the way that can be "
            "followed here: only what goes in and what comes out is shown."
        ]
    if not seen.error <= LENS_TOLERANCE:
        return [
            f"{architecture} makes its answer of more than its last layer's state (off by "
            f"{seen.error:.2g} logits): answers of earlier layers are not shown."
        ]
    return []


def _with_distances(base: Found, tuned: Found) -> list[TracedLayer]:
    """The tuned model's layers with their distance to those of the base."""
    if len(base.followed) != len(tuned.followed):
        return tuned.layers
    return [
        replace(layer, distance=relative_change(a, b), distance_cosine=cosine(a, b))
        for layer, a, b in zip(tuned.layers, base.followed, tuned.followed, strict=True)
    ]


def parts_at(models: Sequence[ModelTrace]) -> int | None:
    """The first layer where the two would answer differently, if they stopped there."""
    if len(models) < 2:
        return None
    for a, b in zip(models[0].layers, models[1].layers, strict=False):
        if a.top and b.top and a.top[0][0] != b.top[0][0]:
            return a.index
    return None
