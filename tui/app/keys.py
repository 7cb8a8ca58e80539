"""The keys of the screens. One table drives what they do, the help and the line of hints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding

from ..drawing.lines import Line


@dataclass(frozen=True)
class Key:
    """Keys as Textual names them, as people read them, what they do, and that in words."""

    keys: str
    shown: str
    action: str
    words: str
    hint: str = ""  # a word for the line of hints; none: not shown there
    priority: bool = False  # heard before the widget in focus: a box to write in would keep it


FARTHEST = 1_000_000_000  # more than there is of anything: to the first, to the last

# Two keys that do opposite things, and the two as people read them.
UP_DOWN = "up", "down", "↑  ↓"
FAR_UP_DOWN = "shift+up", "shift+down", "shift+↑ ↓"
LEFT_RIGHT = "left", "right", "←  →"
FAR_LEFT_RIGHT = "shift+left", "shift+right", "shift+← →"
PAGES = "pageup", "pagedown", "pgup  pgdn"
ENDS = "home", "end", "home  end"
TABS = "tab", "shift+tab", "tab  shift+tab"


def both_ways(
    pair: tuple[str, str, str], action: str, by: int, words: str = "", hint: str = ""
) -> tuple[Key, Key]:
    """The first of two keys goes `by`, the other as far back; the first has the words for both."""
    first, second, shown = pair
    return (
        Key(first, shown if words else "", action.format(by), words, hint),
        Key(second, "", action.format(-by), ""),
    )


def numbers(most: int, action: str, words: str) -> list[Key]:
    """The keys 1 to `most`, described as one."""
    first = Key("1", f"1–{most}", f"{action}(1)", words)
    return [first, *(Key(str(n), "", f"{action}({n})", "") for n in range(2, most + 1))]


# Where a screen has the same key it goes first: `t` is a tie in a review, else the next theme.
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
    Key("ctrl+l", "ctrl+l", "app.redraw", "redraw the screen", priority=True),
    # q is a letter where a box is written in, so leaving needs a key that no text contains.
    Key("ctrl+q", "", "app.leave", "", priority=True),
    # Out of habit it is pressed to stop a program; a run of hours must not end by it.
    Key("ctrl+c", "ctrl+c", "app.how_to_leave", "never stops a run", priority=True),
)

RUN_KEYS = (
    Key("escape", "esc", "out", "one layer out: cursor, zoomed pane, this screen"),
    *both_ways(TABS, "next_pane({})", 1, "next pane, previous pane", "panes"),
    *numbers(6, "go_to_pane", "go to a pane"),
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
    # Orders to the worker have capital letters: a slip of the finger gives none.
    Key("S", "S", "stop", "stop the run: it can be resumed (asks first)", "stop"),
    Key("P", "P", "pause", "pause the run, or go on (asks first)", "pause"),
    Key("C", "C", "checkpoint", "save a checkpoint now (asks first)", "checkpoint"),
)

CHART_KEYS = (
    *both_ways(LEFT_RIGHT, "cursor({})", -1, "cursor with exact values"),
    *both_ways(FAR_LEFT_RIGHT, "cursor({})", -10, "the same, ten columns at a time"),
    Key("plus,equals_sign", "+  -", "zoom(1)", "zoom in, zoom out"),
    Key("minus", "", "zoom(-1)", ""),
    Key("s", "s", "smooth", "smooth: off, lightly, strongly"),
    Key("y", "y", "log", "logarithmic or linear y-axis"),
    Key("x", "x", "axis", "x-axis: step, epoch, time, tokens"),
    Key("o", "o", "outliers", "exclude outliers from the range"),
    Key("b", "b", "marker", "markers: braille, blocks, ASCII"),
    Key("m", "m", "table", "chart or table"),
    Key("0", "0", "reset", "the whole chart again"),
    Key("left_square_bracket", "[  ]", "turn(-1)", "previous, next chart: loss, metrics, speed …"),
    Key("right_square_bracket", "", "turn(1)", ""),
    Key("w", "w", "write", "write what is shown as CSV and SVG"),
    Key("enter", "enter", "screen.open", "with the cursor set: metrics and prompt as of that step"),
)

# Only described here: the pane itself moves its cursor.
METRICS_KEYS = (Key("up", "↑  ↓", "move(-1)", "choose a metric"),)

PROMPT_KEYS = (
    Key("enter", "enter", "send", "send the prompt"),
    # Terminals send shift+enter as enter; these two they distinguish.
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
    *both_ways(
        LEFT_RIGHT,
        "token({})",
        -1,
        "a token; enter shows the five likeliest there under each model",
    ),
    *both_ways(FAR_LEFT_RIGHT, "other_answer", 1, "the same place in the other answer"),
    *both_ways(UP_DOWN, "scroll_lines({})", -1, "earlier exchanges; pgup pgdn home end too"),
    *both_ways(PAGES, "scroll_lines({})", -10),
    *both_ways(ENDS, "scroll_lines({})", -FARTHEST),
)

TRACE_KEYS = (
    *both_ways(UP_DOWN, "move({})", -1, "choose a layer", "layer"),
    *both_ways(PAGES, "move({})", -10, "ten layers at a time"),
    *both_ways(ENDS, "move({})", -FARTHEST, "the embedding, the last layer"),
    Key("d", "d", "divergence", "the layer where base and tuned diverge", "divergence"),
    Key("enter", "enter", "output", "logits, softmax and notes, or layers again", "output"),
    Key("p,i", "p  i", "prompt", "follow another text", "another text"),
    Key("escape", "esc", "out", "back to the run", "back"),
)

HOME_KEYS = (
    Key("enter", "enter", "open", "open the run", "open"),
    *both_ways(UP_DOWN, "move({})", -1, "choose a run"),
    *both_ways(PAGES, "move({})", -10),
    *both_ways(ENDS, "move({})", -FARTHEST, "first and last run"),
    Key("slash", "/", "write('filter')", "filter: words, task=…, train.epochs>=3", "filter"),
    Key("space", "space", "mark", "mark runs", "mark"),
    Key("c", "c", "compare", "compare the marked runs, the baseline with this one", "compare"),
    Key("b", "b", "baseline", "pin a baseline: the others show their difference", "baseline"),
    Key("o", "o", "sort", "order: newest, name, status, metric, duration", "order"),
    Key("g", "g", "group", "groups: none, task, base model, training file, tag", "group"),
    Key("r", "r", "write('name')", "rename; the directory keeps its name", "rename"),
    Key("a", "a", "write('tags')", "tags", "tag"),
    Key("N", "N", "write('note')", "a note", "note"),
    Key("S", "S", "free", "end a worker that only answers prompts: its memory is free", "free"),
    Key("D", "D", "delete", "to the trash (asks first)"),
    Key("n", "n", "new", "a new run, empty or like the chosen one", "new run"),
    Key("v", "v", "evaluation", "the evaluation of this run", "evaluation"),
    Key("e", "e", "export", "write the report of this run", "report"),
    Key("escape", "esc", "out", "one layer out: marks, filter, back to the run that was open"),
)

PICK_KEYS = (
    Key("enter", "enter", "pick", "select this run", "select"),
    *both_ways(UP_DOWN, "move({})", -1, "choose a run", "choose"),
    *both_ways(PAGES, "move({})", -10, "ten runs at a time"),
    *both_ways(ENDS, "move({})", -FARTHEST, "first and last run"),
    Key("escape", "esc", "out", "back, without a run", "back"),
)

COMPARE_KEYS = (
    *both_ways(TABS, "next_pane({})", 1, "next pane, previous pane", "panes"),
    *numbers(3, "go_to_pane", "go to a pane"),
    Key("enter", "enter", "open", "zoom a pane", "zoom"),
    Key("e", "e", "export", "write the comparison as Markdown", "write"),
    Key("escape", "esc", "out", "one layer out: cursor, zoomed pane, this screen", "back"),
)

# What a chart of several runs cannot do: a point of it belongs to no single run.
OF_ONE_RUN = ("table", "turn(-1)", "turn(1)", "write", "screen.open")
OVERLAY_KEYS = (
    *(key for key in CHART_KEYS if key.action not in OF_ONE_RUN),
    Key("l", "l", "lines", "training and validation, validation alone, training alone"),
)

NEW_RUN_KEYS = (
    Key("enter", "enter", "write", "write a value; there tab completes, esc leaves", "edit"),
    Key("space,right", "space  ← →", "choose(1)", "the next choice, the one before", "choose"),
    Key("left", "", "choose(-1)", ""),
    *both_ways(UP_DOWN, "move({})", -1, "choose a field; on the preview: scroll"),
    *both_ways(PAGES, "move({})", -10, "the same, ten lines at a time"),
    *both_ways(ENDS, "move({})", -FARTHEST, "first and last field"),
    *both_ways(TABS, "section({})", 1, "next section, section before"),
    Key("backspace,delete", "backspace", "clear", "back to the default"),
    Key("a", "a", "whole", "all settings, or the few that matter first", "all"),
    Key("f", "f", "next_fault", "the next field with a fault"),
    Key("v", "v", "preview", "to the preview and back", "preview"),
    Key("S,f5", "S  f5", "start", "start the run", "start"),
    Key("W", "W", "keep", "write a run.toml to keep", "write"),
    Key("L", "L", "load", "load a run.toml into the form", "load"),
    Key("escape", "esc", "out", "back; the form is kept"),
)


# Letters beside the arrows: hundreds of pairs are judged without moving the hand.
REVIEW_KEYS = (
    Key("left,l", "←  l", "judge('left')", "the left answer is better", "left"),
    Key("right,r", "→  r", "judge('right')", "the right answer is better", "right"),
    Key("t", "t", "judge('tie')", "both are as good", "tie"),
    Key("s", "s", "judge('skip')", "skip this pair", "skip"),
    Key("u", "u", "undo", "undo the last judgement", "undo"),
    *both_ways(TABS, "next_rating({})", 1, "next rating, rating before", "ratings"),
    *numbers(5, "rate", "rate from 1 to 5"),
    Key("0,backspace,delete", "0  backspace", "rate(0)", "clear a rating"),
    *both_ways(UP_DOWN, "scroll_answers({})", -1, "scroll long answers"),
    *both_ways(PAGES, "scroll_answers({})", -10, "the same, ten lines at a time"),
    *both_ways(FAR_UP_DOWN, "scroll_prompt({})", -1, "scroll a long prompt"),
    Key("escape", "esc", "out", "leave the review: what is judged stays"),
)

EVALUATION_KEYS = (
    Key("escape", "esc", "out", "back to the screen before"),
    *both_ways(TABS, "next_section({})", 1, "next section, section before", "sections"),
    *numbers(7, "go_to", "go to a section"),
    Key("enter", "enter", "open", "what is behind a line: a receipt, or its rows", "open"),
    *both_ways(UP_DOWN, "move(0,{})", -1, "choose a line, or scroll"),
    *both_ways(LEFT_RIGHT, "move({},0)", -1, "along the matrix; move the threshold"),
    *both_ways(FAR_LEFT_RIGHT, "move({},0)", -10, "the same, ten at a time"),
    *both_ways(PAGES, "move(0,{})", -10, "ten lines at a time"),
    *both_ways(ENDS, "move(0,{})", -FARTHEST, "first and last line"),
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
    Key("enter", "enter", "open", "the full row", "open"),
    Key("slash", "/", "filter", "words, label= predicted= kind= conf> loss>", "filter"),
    Key("o", "o", "next_order", "order: file, confidence, loss, label, flip", "order"),
    Key("f", "f", "next_kind", "fixed, broken, still wrong, still right, all", "flips"),
    Key("s", "s", "next_split", "the next split", "split"),
    *both_ways(UP_DOWN, "move({})", -1, "choose a row"),
    *both_ways(PAGES, "move({})", -20, "twenty rows at a time"),
    *both_ways(ENDS, "move({})", -FARTHEST, "first and last row"),
    Key("escape", "esc", "out", "remove the filter, then back", "back"),
)

ROW_KEYS = (
    *both_ways(LEFT_RIGHT, "next_row({})", -1, "the row before, the next row", "rows"),
    *both_ways(UP_DOWN, "scroll({})", -1, "scroll a long row", "scroll"),
    *both_ways(PAGES, "scroll({})", -10, "ten lines at a time"),
    Key("k", "k", "likelihoods", "the row's tokens, shaded by likelihood, or none", "tokens"),
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
    *both_ways(UP_DOWN, "scroll({})", -1, "scroll a long explanation"),
    Key("N", "N", "again", "other questions"),
    Key("escape", "esc", "out", "leave the quiz", "back"),
)


def to_bindings(keys: Iterable[Key]) -> list[Binding]:
    """Keys as Textual takes them."""
    return [Binding(k.keys, k.action, k.words, show=False, priority=k.priority) for k in keys]


def hints(keys: Iterable[Key], without: Iterable[str] = ()) -> list[Line]:
    """The hints: a key and a word each."""
    return [
        [(key.shown.split()[0], "accent"), (f" {key.hint}", "muted")]
        for key in keys
        if key.hint and key.hint not in without
    ]
