"""The pipeline pane: five stages and what was found; and the log pane with the run's notes."""

from __future__ import annotations

from collections.abc import Mapping

from ....core.run.events import Note
from ....core.run.history import History, Stage
from ....core.wording.text import visible
from ...drawing.format import (
    fit,
    fit_right,
    format_bytes,
    format_count,
    format_seconds,
    format_shape,
    format_time,
    progress_bar,
    wrap,
)
from ...drawing.lines import STATUS_MARKS, Line, width_of
from ...widgets.pane import NumberedPane

NAME_WIDTH = 24
TIME_WIDTH = 7
SHAPE_WIDTH = 25
BAR_WIDTH = 16
NOTE_INDENT = 4
LEAST_NOTE = 24  # cells: less of a note says nothing
_MARKS = STATUS_MARKS | {"waiting": ("·", "muted"), "done": ("✓", "good")}


class PipelinePane(NumberedPane):
    """The five stages, each with its time, shapes and findings."""

    NUMBER, NAME = 1, "Pipeline"

    def __init__(self) -> None:
        super().__init__()
        self.history, self.status = History(), "starting"
        self.asides: dict[int, str] = {}  # stage -> what stands before its note

    def show_history(self, history: History, status: str) -> None:
        self.history, self.status = history, status
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        return pipeline_lines(self.history, self.status, width, height, self.asides)


def pipeline_lines(
    history: History, status: str, width: int, height: int, asides: Mapping[int, str] | None = None
) -> list[Line]:
    """A line per stage; with room to spare the notes are shown in full beneath."""
    lines: list[Line] = []
    for stage in history.stages:
        line = stage_line(history, stage, status, width)
        if stage.done and (aside := (asides or {}).get(stage.number)):
            if not line[-2][0].strip():  # where it has no shape
                del line[-2]
                aside = fit(aside, max(SHAPE_WIDTH, len(aside)))
            else:
                aside = "  " + aside
            line.insert(-1, (aside, "muted"))
        if height <= 3 * len(history.stages):
            tight = stage.done is not None and width - width_of(line[:-1]) < LEAST_NOTE
            lines.append(line[:-1] if tight else line)
            continue
        if stage.done and stage.done.note:
            note = wrap(visible(stage.done.note), width - NOTE_INDENT)
            lines += [line[:-1], *([(" " * NOTE_INDENT + text, "muted")] for text in note)]
        else:
            lines += [line, []]
        lines.append([])
    return lines


def stage_line(history: History, stage: Stage, status: str, width: int = 1_000) -> Line:
    """✓ training data prepared    1.20 s   1,000 × 10 → 900 × 3   note"""
    state = state_of(stage, status)
    mark, role = _MARKS[state]
    name_role = "strong" if state == "running" else "muted" if state == "waiting" else ""
    line: Line = [
        (f"{mark} ", role),
        (f"{stage.number} ", "muted"),
        (fit(_name_of(history, stage), NAME_WIDTH), name_role),
        (fit_right(_time_of(history, stage), TIME_WIDTH) + "  ", "muted"),
    ]
    if stage.done:
        shape = shapes(stage)
        line.append((fit(shape, max(SHAPE_WIDTH, len(shape))), ""))
        line.append(("  " + visible(stage.done.note), "muted"))
    elif stage.state == "running":
        line += _progress(history, stage, state, width - width_of(line))
    return line


def _name_of(history: History, stage: Stage) -> str:
    """Where nothing is trained the third stage loads the tuned model that was given."""
    return stage.name if stage.number != 3 or history.trains else "tuned model loaded"


def state_of(stage: Stage, status: str) -> str:
    """What became of a stage that was running when its run ended."""
    if stage.state == "running" and status in ("failed", "died", "stopped", "paused"):
        return status
    return stage.state


def _time_of(history: History, stage: Stage) -> str:
    if stage.done:
        return format_seconds(stage.done.seconds)
    if stage.state == "running":
        return format_seconds(max(0.0, history.last_time - stage.started))
    return ""


def shapes(stage: Stage) -> str:
    """1,000 × 10 → 900 × 3"""
    if not stage.done:
        return ""
    before = format_shape(stage.done.rows_in, stage.done.columns_in)
    after = format_shape(stage.done.rows_out, stage.done.columns_out)
    return f"{before} → {after}" if before and after else before or after


def _progress(history: History, stage: Stage, state: str, room: int) -> Line:
    """Bar, share and counts; the bar gives way to the counts."""
    what, done, total = _how_far(history, stage)
    if total <= 0:
        return [(state if state != "running" else "", "muted")]
    counts: Line = [
        (f"  {done / total * 100:3.0f} %", ""),
        (f"  {what} {format_count(done)} of {format_count(total)}", "muted"),
    ]
    bar = max(0, min(BAR_WIDTH, room - width_of(counts)))
    return [(progress_bar(done / total, bar), "accent" if state == "running" else "warn"), *counts]


def beside_estimate(took: Mapping[str, float]) -> str:
    """13.9 s of 19.0 s, 956 MiB of 631 MiB estimated; `took` is of `compare_with_estimate`."""
    parts = [
        f"{as_words(took[name])} of {as_words(took[f'estimated_{name}'])}"
        for name, as_words in (("seconds", format_seconds), ("memory", format_bytes))
        if name in took
    ]
    return f"{', '.join(parts)} estimated;"


def _how_far(history: History, stage: Stage) -> tuple[str, int, int]:
    progress = history.progress
    if progress and (stage.number != 3 or progress.done < progress.total):
        return visible(progress.what), progress.done, progress.total
    if stage.number == 3:
        return "step", history.step, history.max_steps
    return "", 0, 0


_NOTE_ROLES = {"warning": "warn", "error": "bad"}
_NOTE_MARKS = {"warning": "!", "error": "✗"}


class LogPane(NumberedPane):
    """The run's notes and its error, then the end of worker.log."""

    NUMBER, NAME = 6, "Log"

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.tail: list[str] = []

    @property
    def follows_end(self) -> bool:
        return True

    def show_history(self, history: History) -> None:
        self.history = history
        self.show()

    def show_tail(self, tail: list[str]) -> None:
        self.tail = tail
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        return log_lines(self.history, self.tail, width)


def log_lines(history: History, tail: list[str], width: int) -> list[Line]:
    """`tail`: the last lines of worker.log."""
    lines: list[Line] = []
    if tail:
        lines.append([("worker.log", "strong")])
        lines += [[(visible(text), "muted")] for text in tail]
    if history.unreadable_lines:
        lines.append([(f"! {history.unreadable_lines} damaged lines in events.jsonl", "warn")])
    for note in history.notes:
        lines += note_lines(note, width)
    if history.finished and history.finished.error:
        for text in history.finished.error.splitlines():
            lines += [[(part, "bad")] for part in wrap(visible(text), width)]
    return lines or [[("No notes yet.", "muted")]]


def note_lines(note: Note, width: int) -> list[Line]:
    """14:05:09 ! the text, indented where it wraps"""
    role = _NOTE_ROLES.get(note.level, "")
    mark = _NOTE_MARKS.get(note.level, " ")
    first, *rest = wrap(visible(note.text), max(10, width - 11))
    return [
        [(format_time(note.time) + " ", "muted"), (mark + " ", role), (first, role)],
        *([(" " * 11 + text, role)] for text in rest),
    ]
