"""A prompt and its answers, folded from the worker's replies; labels with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.cells import cell_len

from ....core.run.control import (
    AnyReply,
    Completed,
    CrossScored,
    HangUp,
    Held,
    Labelled,
    ScoredToken,
    TokenMade,
)
from ....core.run.events import PromptAnswered
from ....core.wording.text import visible
from ...drawing.format import bar, fit, fit_right, format_seconds, format_share, format_signed, wrap
from ...drawing.lines import Line
from ...drawing.shading import split_at

MODELS = ("base", "tuned")
LABEL_WIDTH = 20  # cells at most
SHARE_WIDTH = 8
CHANGE_WIDTH = 6
NO_BASE = "no labels: no head, no probe", "no probe"  # why the base has no labels to give
WAITING, LOADING = "waiting for the worker …", "loading base and tuned model …"


@dataclass
class Answer:
    """What one model has answered so far."""

    name: str = ""  # what stands for the base: "base", "probe", "step 0"
    text: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)  # each label is one of its own
    tokens: int = 0
    seconds: float = 0.0
    done: bool = False
    ended_by_eos: bool = False
    scored: list[ScoredToken] = field(default_factory=list)  # of the answer, its end included
    prompt_scored: list[ScoredToken] = field(default_factory=list)  # of the prompt, where asked for
    cross: CrossScored | None = None  # this answer under the other model

    @property
    def token_text(self) -> str:
        """The text whose places the tokens have."""
        return "".join(t.text for t in self.scored) if self.scored else self.text

    def tokens_or(self, place: int) -> list[ScoredToken]:
        """Its tokens, else its text cut in two at a place."""
        return self.scored or split_at(self.text, place)


@dataclass
class Exchange:
    """A prompt and its answers."""

    prompt: str
    answers: dict[str, Answer] = field(default_factory=dict)
    message: str = ""  # "training is held at step 84"
    failed: bool = False
    step: int | None = None
    settings: str = ""  # how it was asked, in words
    seed: int = 0
    running: bool = False
    hang_up: HangUp = field(default_factory=HangUp)

    def answer(self, model: str) -> Answer:
        return self.answers.setdefault(model, Answer(name=model))


def exchange_of(event: PromptAnswered) -> Exchange:
    """A prompt that was answered before: one of the run's own at an evaluation, or a person's."""
    who = "the run" if event.probe else "a person"
    exchange = Exchange(event.prompt, message=f"asked by {who} at step {event.step:,}")
    for model in MODELS:
        answer = exchange.answer(model)
        answer.text = getattr(event, model)
        answer.probabilities = getattr(event, f"{model}_probabilities")
        answer.thresholds = event.thresholds.get(model, {})
        answer.done = True
    exchange.answer("base").name = event.base_name
    return exchange


def message_lines(exchange: Exchange, width: int) -> list[Line]:
    """What is going on with it, or how it was asked."""
    if exchange.message:
        role = "bad" if exchange.failed else "muted"
        lines = wrap(visible(exchange.message), width)
        return [[(text, role)] for text in (lines if exchange.failed else lines[:1])]
    return [[(fit(exchange.settings, width), "muted")]] if exchange.settings else []


def prompt_lines(prompt: str, width: int, most: int) -> list[Line]:
    """The prompt in at most so many lines."""
    wrapped = wrap(visible(prompt), width - 2)
    if len(wrapped) > most:
        wrapped[most - 1] = fit(wrapped[most - 1] + " …" * width, width - 2)
    first, *rest = wrapped[:most]
    return [[("› ", "accent"), (first, "strong")], *([("  " + text, "strong")] for text in rest)]


def answer_head(answer: Answer, model: str, width: int) -> Line:
    """Who speaks, and how long the answer is."""
    length = ""
    if answer.done and answer.tokens:
        end = "ended by itself" if answer.ended_by_eos else "truncated at the limit"
        length = f"{answer.tokens} tokens, {format_seconds(answer.seconds)}, {end}"
        if cell_len(visible(answer.name) + length) + 2 > width:
            length = f"{answer.tokens} tokens, {end}"
    elif not answer.done:
        length = "…"
    name = visible(answer.name)
    head = fit(length, max(0, width - cell_len(name) - 2))
    return [(name, f"strong {model}"), ("  " + head, "muted")]


def label_lines(exchange: Exchange, width: int, height: int) -> list[Line]:
    """A bar per label and model, most probable for the tuned model first, and what changed."""
    base, tuned = (exchange.answers.get(m, Answer(m)) for m in MODELS)
    leading = tuned.probabilities or base.probabilities
    labels = sorted(leading, key=lambda name: -leading[name])
    name_width = min(LABEL_WIDTH, max([cell_len(visible(name)) for name in labels] + [5]))
    bars = max(3, (width - name_width - CHANGE_WIDTH - 2 * SHARE_WIDTH - 6) // 2)
    lines = _verdict_lines(base, tuned)
    if tuned.thresholds:
        lines.append([(fit(OF_ITS_OWN, width), "muted")])
    head = [fit("", name_width)]
    head += [
        fit(visible(a.name or m), bars + SHARE_WIDTH) for a, m in ((base, "base"), (tuned, "tuned"))
    ]
    lines.append([(" ".join(head) + " " + fit_right("change", CHANGE_WIDTH), "muted")])
    first = len(lines)
    for label in labels[: max(1, height - first)]:
        lines.append(_label_line(label, base, tuned, name_width, bars))
    if tuned.probabilities and not base.probabilities:  # base answers first: it never will
        room = bars + SHARE_WIDTH
        why = next((text for text in NO_BASE if len(text) <= room), NO_BASE[-1])
        name, _, _, *rest = lines[first]
        lines[first] = [name, (fit(why, room) + " ", "muted"), *rest]
    return lines


def _label_line(label: str, base: Answer, tuned: Answer, name_width: int, bars: int) -> Line:
    line: Line = [(fit(visible(label), name_width) + " ", "")]
    for answer, role in ((base, "base"), (tuned, "tuned")):
        share = answer.probabilities.get(label)
        text = format_share(share) if share is not None else ""
        line.append((fit(bar(share or 0.0, bars), bars), role))
        is_given = label in given(answer)
        sign = GIVEN if is_given and answer.thresholds else " "
        line.append((fit_right(text, SHARE_WIDTH) + sign, "strong" if is_given else ""))
    if label in base.probabilities and label in tuned.probabilities:
        change = (tuned.probabilities[label] - base.probabilities[label]) * 100
        line.append((fit_right(format_signed(change, 1), CHANGE_WIDTH), "muted"))
    return line


def _verdict_lines(base: Answer, tuned: Answer) -> list[Line]:
    """positive → negative: what the tuning changed about this answer."""
    if not base.probabilities or not tuned.probabilities:
        return []
    before, after = (", ".join(given(a)) or NO_LABEL for a in (base, tuned))
    if before == after:
        return [[("both predict ", "muted"), (visible(after), "strong")]]
    return [
        [
            ("changed: ", "muted"),
            (visible(before), "base"),
            (" → ", "muted"),
            (visible(after), "strong tuned"),
        ]
    ]


def given(answer: Answer) -> list[str]:
    """The label of a classifier; of several those whose probability reaches their threshold."""
    shares, limits = answer.probabilities, answer.thresholds
    if limits:
        return [name for name in limits if shares.get(name, -1.0) >= limits[name]]
    return [max(shares, key=lambda name: shares[name])] if shares else []


GIVEN, NO_LABEL = "✓", "(no label)"
OF_ITS_OWN = "✓ at or above the label's own threshold; each label stands by itself"
STOPPED = "stopped: what was generated is kept"


def add_reply(exchange: Exchange, reply: AnyReply) -> None:
    """Fold one reply of the worker into the exchange."""
    if isinstance(reply, Held):
        exchange.message = f"training is held at step {reply.step:,} while the models answer"
        return
    if exchange.message in (WAITING, LOADING):
        exchange.message = ""
    if isinstance(reply, TokenMade):
        answer = exchange.answer(reply.model)
        answer.text += reply.text
        answer.scored.append(ScoredToken(reply.text, reply.log_likelihood, None))
    elif isinstance(reply, Labelled):
        answer = exchange.answer(reply.model)
        answer.name, answer.probabilities, answer.done = reply.name, reply.probabilities, True
        answer.thresholds = reply.thresholds
    elif isinstance(reply, Completed):
        answer = exchange.answer(reply.model)
        answer.text, answer.tokens, answer.seconds = reply.text, reply.tokens, reply.seconds
        answer.done, answer.ended_by_eos = True, reply.ended_by_eos
        if reply.likelihoods:
            before = len(reply.likelihoods) - reply.tokens - reply.ended_by_eos
            answer.prompt_scored = reply.likelihoods[:before]
            answer.scored = reply.likelihoods[before:]
    elif isinstance(reply, CrossScored):
        exchange.answer(reply.model).cross = reply


def stop(exchange: Exchange) -> None:
    """Hang up; what had come stays."""
    exchange.hang_up.now()
    exchange.running = False
    exchange.message = STOPPED
    for answer in exchange.answers.values():
        answer.done = True
