"""The keys of the screens. One table drives what they do, the help and the line of hints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding

from ..widgets.spans import Line


@dataclass(frozen=True)
class Key:
    """Keys as Textual names them, as people read them, what they do, and that in words."""

    keys: str
    shown: str
    action: str
    words: str
    hint: str = ""  # a word for the line of hints; none: not shown there
    priority: bool = False


APP_KEYS = (
    Key("question_mark,f1", "?  f1", "app.show_help", "help for this screen", "help"),
    Key("q", "q  ctrl+q", "app.leave", "leave: runs go on", "leave"),
    Key("t", "t", "app.next_theme", "colours: dark, light, contrast, colour-blind, terminal"),
    Key("ctrl+p", "ctrl+p", "app.command_palette", "palette: every command by name", priority=True),
    Key("ctrl+q", "", "app.leave", "", priority=True),
    Key("ctrl+c", "ctrl+c", "app.tell_how_to_leave", "never stops a run", priority=True),
)

RUN_KEYS = (
    Key("escape", "esc", "out", "one layer out: cursor, zoomed pane, this screen"),
    Key("tab", "tab  shift+tab", "next_pane(1)", "next pane, previous pane", "panes"),
    Key("shift+tab", "", "next_pane(-1)", ""),
    *(
        Key(str(n), "1–6" if n == 1 else "", f"go_to_pane({n})", "go to a pane" if n == 1 else "")
        for n in range(1, 7)
    ),
    Key("enter", "enter", "open", "zoom a pane; on a metric, open its receipt", "zoom"),
    Key("p,i", "p  i", "prompt", "write a prompt for base and tuned", "prompt"),
    Key("e", "e", "export", "write the report", "report"),
    Key("h", "h", "home", "all runs", "runs"),
    Key("S", "S", "stop", "stop the run: it can be resumed (asks first)", "stop"),
    Key("P", "P", "pause", "pause the run, or go on (asks first)", "pause"),
    Key("C", "C", "checkpoint", "save a checkpoint now (asks first)", "checkpoint"),
)

CHART_KEYS = (
    Key("left", "←  →", "cursor(-1)", "cursor with exact values"),
    Key("right", "", "cursor(1)", ""),
    Key("shift+left", "shift+← →", "cursor(-10)", "the same, ten columns at a time"),
    Key("shift+right", "", "cursor(10)", ""),
    Key("plus,equals_sign", "+  -", "zoom(1)", "zoom in, zoom out"),
    Key("minus", "", "zoom(-1)", ""),
    Key("s", "s", "smooth", "smooth: off, lightly, strongly"),
    Key("y", "y", "log", "logarithmic or linear y-axis"),
    Key("x", "x", "axis", "x-axis: step, epoch, time, tokens"),
    Key("o", "o", "outliers", "leave outliers out of the range"),
    Key("b", "b", "marker", "markers: braille, blocks, ASCII"),
    Key("m", "m", "table", "chart or table"),
    Key("0", "0", "reset", "the whole chart again"),
)

METRICS_KEYS = (Key("up", "↑  ↓", "move(-1)", "choose a metric"),)

PROMPT_KEYS = (
    Key("enter", "enter", "send", "send the prompt"),
    Key("ctrl+j", "ctrl+j  alt+enter", "break_line", "a new line"),
    Key("up", "↑", "recall(-1)", "the prompt before"),
    Key("escape", "esc", "leave", "leave the box"),
)

HOME_KEYS = (
    Key("enter", "enter", "open", "open the run", "open"),
    Key("up", "↑  ↓", "move(-1)", "choose a run"),
    Key("down", "", "move(1)", ""),
    Key("pageup", "", "move(-10)", ""),
    Key("pagedown", "", "move(10)", ""),
    Key("home", "home  end", "move(-1000000)", "first and last run"),
    Key("end", "", "move(1000000)", ""),
    Key("n", "n", "new", "how to start a new run", "new run"),
    Key("e", "e", "export", "write the report of this run", "report"),
    Key("escape", "esc", "out", "back to the run that was open"),
)


REVIEW_KEYS = (
    Key("left,l", "←  l", "judge('left')", "the left answer is better", "left"),
    Key("right,r", "→  r", "judge('right')", "the right answer is better", "right"),
    Key("t", "t", "judge('tie')", "both are as good", "tie"),
    Key("s", "s", "judge('skip')", "leave this pair out", "skip"),
    Key("u", "u", "undo", "take the last judgement back", "undo"),
    Key("tab", "tab  shift+tab", "next_rating(1)", "next rating, rating before", "ratings"),
    Key("shift+tab", "", "next_rating(-1)", ""),
    *(
        Key(str(n), "1–5" if n == 1 else "", f"rate({n})", "rate from 1 to 5" if n == 1 else "")
        for n in range(1, 6)
    ),
    Key("0,backspace,delete", "0  backspace", "rate(0)", "take a rating away"),
    Key("up", "↑  ↓", "scroll_answers(-1)", "scroll long answers"),
    Key("down", "", "scroll_answers(1)", ""),
    Key("pageup", "pgup  pgdn", "scroll_answers(-10)", "the same, ten lines at a time"),
    Key("pagedown", "", "scroll_answers(10)", ""),
    Key("shift+up", "shift+↑ ↓", "scroll_prompt(-1)", "scroll a long prompt"),
    Key("shift+down", "", "scroll_prompt(1)", ""),
)


def to_bindings(keys: Iterable[Key]) -> list[Binding]:
    return [Binding(k.keys, k.action, k.words, show=False, priority=k.priority) for k in keys]


def hints(keys: Iterable[Key], without: Iterable[str] = ()) -> list[Line]:
    """The hints: a key and a word each."""
    return [
        [(key.shown.split()[0], "accent"), (f" {key.hint}", "muted")]
        for key in keys
        if key.hint and key.hint not in without
    ]
