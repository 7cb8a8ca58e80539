"""The answers of base and tuned, drawn to size and scrolled; the filmstrip; a token's top five."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from ....core.run.control import ScoredToken
from ....core.run.events import PromptAnswered
from ....core.wording.text import BREAK, visible
from ...drawing.format import bar, fit, fit_right, format_share, format_signed, wrap
from ...drawing.lines import Line, describe_hidden, justify, width_of
from ...drawing.shading import describe_share, first_difference, legend, shade_tokens, split_at
from ...widgets.framed import Page
from ...widgets.pane import Pane
from .answers import MODELS, NO_LABEL, Exchange, exchange_of, given
from .talk import Block, View, block_of, joined, token_line

STEP_WIDTH = 13
MOST_LINES = 3  # of one answer
STRIP_BAR = 12
NONE = (
    "No probe prompt has been answered yet. List prompts under [evaluate] in run.toml: base and "
    "tuned answer them at each evaluation."
)


@dataclass
class Strip:
    """One prompt, the base's answer, and the tuned one's at each step."""

    prompt: str
    base: PromptAnswered
    frames: list[PromptAnswered] = field(default_factory=list)


def strips_of(prompts: Iterable[PromptAnswered]) -> list[Strip]:
    """A strip per prompt; of a step answered twice, as after a resume, the later one."""
    strips: dict[str, Strip] = {}
    for event in prompts:
        # What people asked by hand was asked once, at one step.
        if not event.probe:
            continue
        event = _with_sets(event)
        strip = strips.setdefault(event.prompt, Strip(event.prompt, event))
        strip.frames = [f for f in strip.frames if f.step != event.step]
        strip.frames.append(event)
    for strip in strips.values():
        strip.frames.sort(key=lambda f: f.step)
    return list(strips.values())


def _with_sets(event: PromptAnswered) -> PromptAnswered:
    """Where each label is a yes or no of its own, those given are the answer, as a text."""
    if not event.thresholds:
        return event
    answers = exchange_of(event).answers
    base, tuned = (", ".join(given(answers[m])) or NO_LABEL for m in MODELS)
    base = base if event.base_probabilities else ""
    none: dict[str, float] = {}
    return replace(event, base=base, tuned=tuned, base_probabilities=none, tuned_probabilities=none)


def strip_lines(prompts: Iterable[PromptAnswered], width: int) -> list[Line]:
    """A strip per probe prompt: the answers at each evaluation, and which of them changed."""
    strips = strips_of(prompts)
    if not strips:
        return [[(text, "muted")] for text in wrap(NONE, width)]
    lines: list[Line] = []
    for number, strip in enumerate(strips):
        lines += [[]] * (number > 0)
        lines.append([("› ", "accent"), (fit(visible(strip.prompt), width - 2), "strong")])
        lines.append([(_describe_changes(strip), "muted")])
        labelled = bool(strip.base.tuned_probabilities)
        lines += _label_frames(strip, width) if labelled else _text_frames(strip, width)
    return lines


def _answer_of(frame: PromptAnswered) -> str:
    """What the tuned model answered: a text, or its most probable label."""
    shares = frame.tuned_probabilities
    return max(shares, key=lambda name: shares[name]) if shares else frame.tuned


def _describe_changes(strip: Strip) -> str:
    pairs = list(zip(strip.frames, strip.frames[1:], strict=False))
    changed = [b.step for a, b in pairs if _answer_of(a) != _answer_of(b)]
    if not pairs:
        return "answered once so far"
    if not changed:
        return f"the same answer at all {len(strip.frames)} evaluations"
    settled = "" if changed[-1] == strip.frames[-1].step else ", the same since"
    last = f"last at step {changed[-1]:,}{settled}"
    return f"changed at {len(changed)} of {len(pairs)} evaluations, {last}"


def _text_frames(strip: Strip, width: int) -> list[Line]:
    room = max(10, width - STEP_WIDTH)
    lines: list[Line] = []
    before = strip.base.base or None
    if before is not None:
        lines += _framed("  base", "base", before, None, room)
    for frame in strip.frames:
        label = f"step {frame.step:,}"
        if before is None:
            lines += _framed(f"  {label}", "tuned", frame.tuned, None, room)
        elif frame.tuned == before:
            lines.append([(fit(f"= {label}", STEP_WIDTH), "muted"), ("the same", "muted")])
        else:
            place = first_difference(before, frame.tuned, done=True)
            lines += _framed(f"≠ {label}", "tuned", frame.tuned, place, room)
        before = frame.tuned
    return lines


def _framed(label: str, role: str, text: str, changed_from: int | None, room: int) -> list[Line]:
    """An answer in few lines; a sign stands where it diverges from the one before."""
    tokens = split_at(text or "(nothing)", changed_from)
    # A line per break would push the other steps out of sight.
    tokens = [replace(token, text=token.text.replace("\n", f"{BREAK} ")) for token in tokens]
    at = None if changed_from is None else len(tokens) - 1
    whole = shade_tokens(tokens, room - 2, shaded=False, mark_at=at).lines
    lines = whole[:MOST_LINES]
    if len(whole) > MOST_LINES:
        lines[-1] = [*lines[-1], (" …", "muted")]
    heads = [fit(label, STEP_WIDTH), *[" " * STEP_WIDTH] * (len(lines) - 1)]
    return [[(head, role), *line] for head, line in zip(heads, lines, strict=True)]


def _label_frames(strip: Strip, width: int) -> list[Line]:
    name = max(8, min(24, width - STEP_WIDTH - STRIP_BAR - 20))
    lines: list[Line] = []
    last = strip.base.base_probabilities
    before = max(last, key=lambda x: last[x]) if last else None
    if before is not None:
        lines.append(_label_line("  base", "base", before, last[before], None, name))
    for frame in strip.frames:
        shares = frame.tuned_probabilities
        if not shares:
            continue
        answer = _answer_of(frame)
        mark = " " if before is None else "=" if answer == before else "≠"
        change = (shares[answer] - last[answer]) * 100 if answer in last else None
        head = f"{mark} step {frame.step:,}"
        lines.append(_label_line(head, "tuned", answer, shares[answer], change, name))
        before, last = answer, shares
    return lines


def _label_line(
    head: str, role: str, label: str, share: float, change: float | None, name: int
) -> Line:
    return [
        (fit(head, STEP_WIDTH), role),
        (fit(visible(label), name) + " ", "strong" if head.startswith("≠") else ""),
        (fit_right(format_share(share), 8) + " ", ""),
        (fit(bar(share, STRIP_BAR), STRIP_BAR) + " ", role),
        ("" if change is None else fit_right(format_signed(change, 1), 6), "muted"),
    ]


BRIEF = 11  # lines of a pane below which answers stand without notes on them
MOST_SHOWN = 20  # exchanges that can be scrolled through


class AnswersPane(Pane):
    """The exchanges, newest last, or how to begin; or the filmstrip of the run's own prompts."""

    def __init__(self) -> None:
        super().__init__(id="answers")
        self.exchanges: list[Exchange] = []
        self.answered_by_run: Exchange | None = None  # shown while nobody has asked anything
        self.prompts: list[PromptAnswered] = []
        self.view = View()
        self.strips = False
        self.state = ""
        self.from_end = 0

    def show_exchanges(self, exchanges: list[Exchange]) -> None:
        """The last of these, as many as are shown: each holds the likelihoods of its tokens."""
        self.exchanges = exchanges[-MOST_SHOWN:]
        self.reset_view()
        self.show()

    def reset_view(self) -> None:
        """To the end of the newest exchange, without a cursor."""
        self.strips, self.view.cursor, self.from_end = False, None, 0

    @property
    def newest(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else self.answered_by_run

    def draw(self, width: int, height: int) -> list[Line]:
        if self.strips:
            return self._window(Block(strip_lines(self.prompts, width), 0), width, height, None)
        if self.newest is None:
            return [[(self.state or "Press p to ask base and tuned.", "muted")]]
        shown = self.exchanges or [self.newest]
        brief = height < BRIEF
        blocks = [
            block_of(exchange, width, self.view, brief=brief, most=height - 1) for exchange in shown
        ]
        return self._window(joined(blocks, width), width, height, self._foot(width))

    def _foot(self, width: int) -> Line | None:
        """What the shades mean, or the token under the cursor."""
        exchange = self.newest
        if exchange is None or not any(a.scored for a in exchange.answers.values()):
            return None
        if self.view.cursor is not None:
            line = token_line(exchange, self.view)
            # without what the other model makes of it
            return line if width_of(line) <= width else line[:-2]
        return legend() if self.view.likelihoods != "none" else None

    def _window(self, block: Block, width: int, height: int, foot: Line | None) -> list[Line]:
        room = height - (foot is not None)
        count = len(block.lines)
        if count <= room:
            self.from_end = 0
            return [*block.lines, *([foot] if foot else [])]
        room = height - 1  # the last line says what is hidden
        top = count - room
        self.from_end = max(0, min(self.from_end, top))
        top -= self.from_end
        wanted = block.line_of.get(self.view.cursor) if self.view.cursor else None
        if wanted is not None:
            # As little as brings the cursor into sight: the text around it stays where it was.
            top = max(min(top, wanted - block.head), wanted - room + 1, 0)
            self.from_end = count - room - top
        lines = block.lines[top : top + room]
        start = count - block.length
        if block.head and start < top < start + block.length - block.head:
            # The names of both models stay above their columns.
            lines[: block.head] = block.lines[start : start + block.head]
        hidden: Line = [(describe_hidden(top, count - top - room), "muted")]
        return [*lines, justify(foot, hidden, width) if foot else hidden]


NAME_WIDTH, SHARE_WIDTH, BAR_WIDTH = 13, 7, 8
COLUMN = NAME_WIDTH + SHARE_WIDTH + BAR_WIDTH + 4


class TopFive(Page):
    """The most probable tokens at a place, under base and tuned."""

    def __init__(self, title: str, chosen: str, seen: dict[str, ScoredToken]) -> None:
        super().__init__(title, top_lines(chosen, seen))


def top_lines(chosen: str, seen: dict[str, ScoredToken]) -> list[Line]:
    """`seen`: for each model its scores of the token at this place, and its own top five."""
    lines: list[Line] = [[("this token: ", "muted"), (f"“{visible(chosen)}”", "strong")], []]
    head: Line = [(fit(model, COLUMN), f"strong {model}") for model in MODELS]
    scores: Line = [
        (
            fit(describe_share(seen[m]) if m in seen else "not scored", COLUMN),
            "muted",
        )
        for m in MODELS
    ]
    lines += [head, scores, []]
    for k in range(max((len(t.top) for t in seen.values()), default=0)):
        line: Line = []
        for model in MODELS:
            top = seen[model].top if model in seen else []
            line += _choice(top[k], chosen, model) if k < len(top) else [(" " * COLUMN, "")]
        lines.append(line)
    return [*lines, [], [("▸ this token. Probabilities are before any sampling.", "muted")]]


def _choice(choice: tuple[str, float], chosen: str, model: str) -> Line:
    text, share = choice
    here = text == chosen
    return [
        ("▸ " if here else "  ", "accent"),
        (fit(f"“{visible(text)}”", NAME_WIDTH), "strong" if here else ""),
        (fit_right(format_share(share), SHARE_WIDTH) + " ", ""),
        (fit(bar(share, BAR_WIDTH), BAR_WIDTH) + " ", model),
    ]
