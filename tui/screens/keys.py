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
    Key(
        "question_mark",
        "?",
        "app.explain",
        "what the thing under the cursor means; else help",
        "help",
    ),
    Key("f1", "f1", "app.show_help", "help for this screen"),
    Key("q", "q  ctrl+q", "app.leave", "leave: runs go on", "leave"),
    Key("t", "t", "app.next_theme", "colours: dark, light, contrast, colour-blind, terminal"),
    Key("ctrl+p", "ctrl+p", "app.command_palette", "palette: every command by name", priority=True),
    Key("ctrl+l", "ctrl+l", "app.draw_anew", "draw the screen anew", priority=True),
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
    Key("v", "v", "evaluation", "the evaluation: every number, with its evidence", "evaluation"),
    Key("r", "r", "rows", "every scored row", "rows"),
    Key("B", "B", "review", "judge answers blind"),
    Key("Q", "Q", "quiz", "a quiz about this run's own numbers"),
    Key("l", "l", "layers", "follow the last prompt layer by layer", "layers"),
    Key("e", "e", "export", "write the report", "report"),
    Key("n", "n", "new", "a new run, empty or like this one"),
    Key("h", "h", "home", "all runs", "runs"),
    Key("c", "c", "compare", "compare with another run", "compare"),
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
    Key("left_square_bracket", "[  ]", "turn(-1)", "previous, next chart: loss, metrics, speed …"),
    Key("right_square_bracket", "", "turn(1)", ""),
    Key("w", "w", "write", "write what is shown as CSV and SVG"),
    Key("enter", "enter", "screen.open", "with the cursor set: metrics and prompt as of that step"),
)

METRICS_KEYS = (Key("up", "↑  ↓", "move(-1)", "choose a metric"),)

PROMPT_KEYS = (
    Key("enter", "enter", "send", "send the prompt"),
    Key("ctrl+j", "ctrl+j  alt+enter", "break_line", "a new line"),
    Key("up", "↑", "recall(-1)", "the prompt before"),
    Key("escape", "esc", "leave", "leave the box"),
)

PROMPT_PANE_KEYS = (
    Key("x", "x", "stop_answer", "stop the answer; the worker stops too"),
    Key("R", "R", "retry", "ask the same again (with the next seed where answers are drawn)"),
    Key("g", "g", "settings", "generation settings: tokens, temperature, top-k, top-p, seed"),
    Key("k", "k", "likelihoods", "shade tokens by likelihood: none, the answer, prompt too"),
    Key("f", "f", "filmstrip", "how the answers to the probe prompts changed, or back"),
    Key("left", "←  →", "token(-1)", "a token; enter tells what both models would say there"),
    Key("right", "", "token(1)", ""),
    Key("shift+left", "shift+← →", "other_answer", "the same place in the other answer"),
    Key("shift+right", "", "other_answer", ""),
    Key("up", "↑  ↓", "scroll_lines(-1)", "earlier exchanges; pgup pgdn home end too"),
    Key("down", "", "scroll_lines(1)", ""),
    Key("pageup", "", "scroll_lines(-10)", ""),
    Key("pagedown", "", "scroll_lines(10)", ""),
    Key("home", "", "scroll_lines(-1000000)", ""),
    Key("end", "", "scroll_lines(1000000)", ""),
)

TRACE_KEYS = (
    Key("up", "↑  ↓", "move(-1)", "choose a layer", "layer"),
    Key("down", "", "move(1)", ""),
    Key("pageup", "pgup  pgdn", "move(-10)", "ten layers at a time"),
    Key("pagedown", "", "move(10)", ""),
    Key("home", "home  end", "move(-1000000)", "the embedding, the last layer"),
    Key("end", "", "move(1000000)", ""),
    Key("d", "d", "parting", "the layer where base and tuned part", "where they part"),
    Key("enter", "enter", "output", "logits, softmax and notes, or layers again", "output"),
    Key("p,i", "p  i", "prompt", "follow another text", "another text"),
    Key("escape", "esc", "out", "back to the run", "back"),
)

HOME_KEYS = (
    Key("enter", "enter", "open", "open the run", "open"),
    Key("up", "↑  ↓", "move(-1)", "choose a run"),
    Key("down", "", "move(1)", ""),
    Key("pageup", "", "move(-10)", ""),
    Key("pagedown", "", "move(10)", ""),
    Key("home", "home  end", "move(-1000000)", "first and last run"),
    Key("end", "", "move(1000000)", ""),
    Key("slash", "/", "write('filter')", "filter: words, task=…, train.epochs>=3", "filter"),
    Key("space", "space", "mark", "mark runs", "mark"),
    Key("c", "c", "compare", "compare the marked runs, the baseline with this one", "compare"),
    Key("b", "b", "baseline", "pin a baseline: the others show their difference", "baseline"),
    Key("o", "o", "sort", "order: newest, name, status, metric, duration", "order"),
    Key("g", "g", "group", "groups: none, task, base model, training file, tag", "group"),
    Key("r", "r", "write('name')", "rename; the directory keeps its name", "rename"),
    Key("a", "a", "write('tags')", "tags", "tag"),
    Key("N", "N", "write('note')", "a note", "note"),
    Key("D", "D", "delete", "to the trash (asks first)"),
    Key("n", "n", "new", "a new run, empty or like the chosen one", "new run"),
    Key("v", "v", "evaluation", "the evaluation of this run", "evaluation"),
    Key("e", "e", "export", "write the report of this run", "report"),
    Key("escape", "esc", "out", "one layer out: marks, filter, back to the run that was open"),
)

PICK_KEYS = (
    Key("enter", "enter", "pick", "take this run", "take"),
    Key("up", "↑  ↓", "move(-1)", "choose a run", "choose"),
    Key("down", "", "move(1)", ""),
    Key("pageup", "pgup  pgdn", "move(-10)", "ten runs at a time"),
    Key("pagedown", "", "move(10)", ""),
    Key("home", "home  end", "move(-1000000)", "first and last run"),
    Key("end", "", "move(1000000)", ""),
    Key("escape", "esc", "out", "back, without a run", "back"),
)

COMPARE_KEYS = (
    Key("tab", "tab  shift+tab", "next_pane(1)", "next pane, previous pane", "panes"),
    Key("shift+tab", "", "next_pane(-1)", ""),
    *(
        Key(str(n), "1–3" if n == 1 else "", f"go_to_pane({n})", "go to a pane" if n == 1 else "")
        for n in range(1, 4)
    ),
    Key("enter", "enter", "open", "zoom a pane", "zoom"),
    Key("e", "e", "export", "write the comparison as Markdown", "write"),
    Key("escape", "esc", "out", "one layer out: cursor, zoomed pane, this screen", "back"),
)

OF_ONE_RUN = ("table", "turn(-1)", "turn(1)", "write", "screen.open")
OVERLAY_KEYS = (
    *(key for key in CHART_KEYS if key.action not in OF_ONE_RUN),
    Key("l", "l", "lines", "training and validation, validation alone, training alone"),
)

NEW_RUN_KEYS = (
    Key("enter", "enter", "write", "write a value; there tab completes, esc leaves", "edit"),
    Key("space,right", "space  ← →", "choose(1)", "the next choice, the one before", "choose"),
    Key("left", "", "choose(-1)", ""),
    Key("up", "↑  ↓", "move(-1)", "choose a field; on the preview: scroll"),
    Key("down", "", "move(1)", ""),
    Key("pageup", "pgup  pgdn", "move(-10)", "the same, ten lines at a time"),
    Key("pagedown", "", "move(10)", ""),
    Key("home", "home  end", "move(-1000000)", "first and last field"),
    Key("end", "", "move(1000000)", ""),
    Key("tab", "tab  shift+tab", "section(1)", "next section, section before"),
    Key("shift+tab", "", "section(-1)", ""),
    Key("backspace,delete", "backspace", "clear", "back to the default"),
    Key("a", "a", "whole", "all settings, or the few that matter first", "all"),
    Key("f", "f", "next_fault", "the next field with a fault"),
    Key("v", "v", "preview", "to the preview and back", "preview"),
    Key("S,f5", "S  f5", "start", "start the run", "start"),
    Key("W", "W", "keep", "write a run.toml to keep", "write"),
    Key("L", "L", "load", "load a run.toml into the form", "load"),
    Key("escape", "esc", "out", "back; the form is kept"),
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
    Key("escape", "esc", "out", "leave the review: what is judged stays"),
)

EVALUATION_KEYS = (
    Key("escape", "esc", "out", "back to the screen before"),
    Key("tab", "tab  shift+tab", "next_section(1)", "next section, section before", "sections"),
    Key("shift+tab", "", "next_section(-1)", ""),
    *(
        Key(str(n), "1–7" if n == 1 else "", f"go_to({n})", "go to a section" if n == 1 else "")
        for n in range(1, 8)
    ),
    Key("enter", "enter", "open", "what is behind a line: a receipt, or its rows", "open"),
    Key("up", "↑  ↓", "move(0,-1)", "choose a line, or scroll"),
    Key("down", "", "move(0,1)", ""),
    Key("left", "←  →", "move(-1,0)", "along the matrix; move the threshold"),
    Key("right", "", "move(1,0)", ""),
    Key("shift+left", "shift+← →", "move(-10,0)", "the same, ten at a time"),
    Key("shift+right", "", "move(10,0)", ""),
    Key("pageup", "pgup  pgdn", "move(0,-10)", "ten lines at a time"),
    Key("pagedown", "", "move(0,10)", ""),
    Key("home", "home  end", "move(0,-1000000)", "first and last line"),
    Key("end", "", "move(0,1000000)", ""),
    Key("s", "s", "next_split", "the next split", "split"),
    Key("m", "m", "next_reference", "the next model to compare with", "against"),
    Key("o", "o", "next_view", "labels: matrix, worst cells, labels", ""),
    Key("f", "f", "flips(0)", "rows that were fixed (or whose loss fell)"),
    Key("b", "b", "flips(1)", "rows that broke (or whose loss rose)"),
    Key("w", "w", "flips(2)", "rows still wrong (or the same)"),
    Key("g", "g", "flips(3)", "rows still right"),
    Key("0", "0", "reset", "the chosen threshold again"),
    Key("r", "r", "rows", "every row of this split", "rows"),
    Key("e", "e", "export", "write the report", "report"),
)

EXAMPLES_KEYS = (
    Key("enter", "enter", "open", "the row whole", "open"),
    Key("slash", "/", "filter", "words, label= predicted= kind= conf> loss>", "filter"),
    Key("o", "o", "next_order", "order: file, confidence, loss, label, flip", "order"),
    Key("f", "f", "next_kind", "fixed, broken, still wrong, still right, all", "flips"),
    Key("s", "s", "next_split", "the next split", "split"),
    Key("up", "↑  ↓", "move(-1)", "choose a row"),
    Key("down", "", "move(1)", ""),
    Key("pageup", "pgup  pgdn", "move(-20)", "twenty rows at a time"),
    Key("pagedown", "", "move(20)", ""),
    Key("home", "home  end", "move(-1000000000)", "first and last row"),
    Key("end", "", "move(1000000000)", ""),
    Key("escape", "esc", "out", "take the filter away, then back", "back"),
)

ROW_KEYS = (
    Key("left", "←  →", "next_row(-1)", "the row before, the next row", "rows"),
    Key("right", "", "next_row(1)", ""),
    Key("up", "↑  ↓", "scroll(-1)", "scroll a long row", "scroll"),
    Key("down", "", "scroll(1)", ""),
    Key("pageup", "pgup  pgdn", "scroll(-10)", "ten lines at a time"),
    Key("pagedown", "", "scroll(10)", ""),
    Key("p", "p", "prompt", "ask base and tuned about this text", "prompt"),
    Key("escape,enter", "esc", "out", "back to the list", "back"),
)

QUIZ_KEYS = (
    *(
        Key(letter, "a–h" if letter == "a" else "", f"answer('{letter}')", words, hint)
        for letter, words, hint in [
            ("a", "answer with the letter of a choice", "answer"),
            *((other, "", "") for other in "bcdefgh"),
        ]
    ),
    Key("enter,space,right", "enter", "next", "the next question", "next"),
    Key("up", "↑  ↓", "scroll(-1)", "scroll a long explanation"),
    Key("down", "", "scroll(1)", ""),
    Key("N", "N", "again", "other questions"),
    Key("escape", "esc", "out", "leave the quiz", "back"),
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
