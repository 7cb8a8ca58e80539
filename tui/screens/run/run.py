"""The run screen: six panes over one history."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget

from ....core.errors import FtevError
from ....core.run.history import History
from ....core.run.runs import Run
from ...app.background import in_thread, make_screen
from ...app.keys import (
    APP_KEYS,
    CHART_KEYS,
    METRICS_KEYS,
    PROMPT_KEYS,
    PROMPT_PANE_KEYS,
    RUN_KEYS,
    Key,
    hints,
    to_bindings,
)
from ...app.memory import Plain, seen_of, while_away
from ...drawing.lines import Line
from ...widgets.framed import FramedScreen, Notice
from ...widgets.pane import NumberedPane
from ..charts.chart import ChartPane, make_ahead
from ..prompt.asking import write_missing_report, write_report
from ..prompt.prompt import PromptPane
from .arrangement import Desk
from .follow import Follower, HistoryGrew, HistoryRead, LogGrew, RunJudged, WorkerSeen
from .metrics import Judgement, MetricsPane
from .moment import Moment, answered_at, nearest_moment
from .pipeline import LogPane, PipelinePane, TracePane, beside_estimate
from .status import StatusLine, title_left, title_right

if TYPE_CHECKING:
    from ....core.report.review.review import Review

ENDED = ("finished", "stopped", "failed", "died")
LIVE_HINTS = (*RUN_KEYS[:-4], *APP_KEYS, *RUN_KEYS[-4:])
FOR_THE_WORKER = ("stop", "pause", "checkpoint")
OVER_THE_RUN = {  # actions that open screens again
    "evaluation": "evaluation",
    "rows": "rows",
    "layers": "layers(True)",
    "compare": "compare_again",
}
REVIEWER = "reviewer"  # as the command has it where nobody says who judges
NOTHING_TO_REVIEW = "Base and tuned gave the same answers: nothing can be judged."
NOTHING_EVALUATED = "Nothing was evaluated in this run: there is no moment to go to."
MOST_DRAFT = 20_000  # characters of an unsent prompt that are remembered
SEEN_SECONDS = 5.0  # between two notes of what was seen, where nobody pressed anything
FIRST_PAINT_SECONDS = 0.2  # an empty frame is held back so long for the first reading


@dataclass
class ReviewFound(Message):
    """There are pairs to judge blind."""

    review: Review


class RunScreen(FramedScreen[None]):
    """A run, live or ended: its follower posts what is new, and six panes show it."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(RUN_KEYS)]
    REMEMBERED_AS: ClassVar[str] = "run"

    def __init__(self, run: Run, *, ascii_only: bool = False) -> None:
        super().__init__(LIVE_HINTS)
        self.followed = run
        self.follower = Follower(run, self.post_message, self._prepare_charts, self._make_ahead)
        self.status = "reading"
        self.primary = ""
        self.judgement: Judgement | None = None
        self.moment: Moment | None = None  # that was travelled to; else now
        self.pipeline, self.trace, self.metrics = PipelinePane(), TracePane(), MetricsPane()
        self.chart = ChartPane(run, ascii_only=ascii_only)
        self.prompt, self.log_pane = PromptPane(run), LogPane()
        self.desk = Desk(
            self.pipeline, self.trace, self.metrics, self.chart, self.prompt, self.log_pane
        )
        for pane in self.desk.panes.values():
            if isinstance(pane, NumberedPane):
                # A key may draw a pane at any moment, while the follower's thread is folding events
                # in.
                pane.guard = self.follower.lock
        self.status_line = StatusLine(run)
        self._first_paint = ExitStack()
        self._was_drawn = False
        self._draw_waits = False

    def panes(self) -> Iterable[Widget]:
        return self.desk, self.status_line

    def on_mount(self) -> None:
        self._first_paint.enter_context(self.app.batch_update())
        # A run that takes longer to read shows its empty frame, and how far it is.
        self.set_timer(FIRST_PAINT_SECONDS, self._first_paint.close)
        self.title_line.show_ends(
            title_left(self.followed, self.follower.history), title_right("reading")
        )
        self.follower.start()

    def on_unmount(self) -> None:
        self.follower.stop()

    def on_resize(self, event: events.Resize) -> None:
        self.lay_out_panes()

    def lay_out_panes(self) -> None:
        size = self.app.size
        self.desk.arrange_for(size.with_height(max(0, size.height - 3)))  # title, status, keys
        self.call_after_refresh(self.show_history)

    # What the follower posts

    def _prepare_charts(self, history: History) -> None:
        """In the thread of the follower, after its first reading."""
        self.chart.prepare(history)

    def _make_ahead(self) -> None:
        """In the thread of the follower, once the run is shown."""
        make_ahead(self.chart.newest_data, self.follower.lock, lambda: not self.follower.stopped)
        write_missing_report(self.followed, self.follower.history, self.post_message)

    @on(HistoryRead)
    def show_reading(self, message: HistoryRead) -> None:
        self.status_line.show_reading(message.share)

    @on(WorkerSeen)
    @on(HistoryGrew)
    def show_history(self) -> None:
        """Draw every pane from the history as it is now."""
        if not self.follower.caught_up or not self.is_attached:
            return
        if self.app.line_is_stalled:
            self._draw_later()
            return
        with self.follower.lock:
            self._draw_history()

    def _draw_later(self) -> None:
        if not self._draw_waits:
            self._draw_waits = True
            # One picture for all that came meanwhile: a slow line gets no queue of old ones.
            self.set_timer(1.0, self._draw_late)

    def _draw_late(self) -> None:
        self._draw_waits = False
        self.show_history()

    def _draw_history(self) -> None:
        history, alive = self.follower.history, self.follower.alive
        self.status = status = history.status(alive)
        if not self._was_drawn:
            self._was_drawn = True
            self._choose_first_pane()
            # Before anything is drawn: a first frame that jumps to where it was left would be sent
            # twice.
            self._recall()
        self.title_line.show_ends(title_left(self.followed, history), title_right(status))
        self.status_line.show_history(history, status, alive)
        self._show_keys()
        self.pipeline.show_history(history, status)
        self.trace.show_history(history)
        if self.moment is not None:
            self.metrics.show_moment(history, self.moment, self.primary)
        else:
            self.metrics.show_history(history, self.primary, self.judgement)
        self.chart.show_history(history)
        self.prompt.show_history(history, status)
        self.log_pane.show_history(history)
        self._first_paint.close()
        # A line may drop without a key: what was seen is known to some seconds.
        self.app.remember_soon(SEEN_SECONDS)

    def _show_keys(self) -> None:
        """The key that resumes an ended run stands first where there is a state to resume from."""
        without = FOR_THE_WORKER if self.status in ENDED else ()
        resume: list[Line] = [[("P", "accent"), (" resume", "muted")]]
        first = resume if self.status_line.resumable is not None else []
        self.key_line.show_hints([*first, *hints(LIVE_HINTS, without)])

    def _choose_first_pane(self) -> None:
        """Where panes share a place: the chart of a run in motion, what came of one that ended."""
        if self.status in ENDED and self.focused is None:
            # metrics, else the log: why it ended
            self.desk.shown = 3 if self.status in ("finished", "stopped") else 6
            self.lay_out_panes()

    @property
    def is_reading(self) -> bool:
        """Whether nothing of the run was drawn yet."""
        return not self._was_drawn

    @on(LogGrew)
    def show_log(self, message: LogGrew) -> None:
        with self.follower.lock:
            self.log_pane.show_tail(message.tail)

    @on(RunJudged)
    def show_judgement(self, message: RunJudged) -> None:
        from ....core.run.estimate import compare_with_estimate

        self.primary, self.judgement = message.primary, message.judgement
        took = compare_with_estimate(self.followed, self.follower.history)
        if took is not None:
            self.pipeline.asides[3] = beside_estimate(took)
        self.show_history()

    # What it remembers

    @property
    def remembered_of(self) -> Path:
        return self.followed.path

    def memory(self) -> Plain:
        if not self._was_drawn:
            return {}
        with self.follower.lock:
            seen = seen_of(self.follower.history, self.status)
        return {
            **self.desk.memory(),
            "focus": self.pane_in_view if self.focused is not None else 0,  # 0: nowhere
            "chart": self.chart.memory(),
            "metric": self.metrics.cursor,
            "draft": self.prompt.draft[:MOST_DRAFT],
            "seen": seen,
        }

    def _recall(self) -> None:
        """Before the first frame: as it was left, and what came since."""
        self.chart.take_up(self.follower.history)
        on_top = self.app.recall(self).on_top
        if on_top in OVER_THE_RUN:
            # Later: a screen cannot be pushed while this one is still mounted.
            self.call_later(self.run_action, OVER_THE_RUN[on_top])

    def recall(self, memory: Plain) -> None:
        """As it was left; a notice says what came since."""
        self.desk.recall(memory)
        if isinstance(chart := memory.get("chart"), dict):
            self.chart.recall(chart)
        # `type`, as True is an int too.
        if type(metric := memory.get("metric")) is int and metric >= 0:
            self.metrics.cursor = metric
        if isinstance(draft := memory.get("draft"), str):
            self.prompt.draft = draft
        self.lay_out_panes()
        focus = memory.get("focus")
        if type(focus) is int and focus in self.desk.panes and self.focused is None:
            self.set_focus(self.desk.panes[focus], scroll_visible=False)
        if isinstance(seen := memory.get("seen"), dict):
            news = while_away(seen, self.follower.history, self.status)
            if news:
                self.key_line.show_notice(news)

    # Panes

    @property
    def pane_in_view(self) -> int:
        """The number of the pane that has the focus, else of the one that shares its place."""
        for number, pane in self.desk.panes.items():
            if self.focused is not None and pane in self.focused.ancestors_with_self:
                return number
        return self.desk.shown

    def action_go_to_pane(self, number: int) -> None:
        self.desk.shown = number
        self.lay_out_panes()
        self.desk.panes[number].focus(scroll_visible=False)

    def action_next_pane(self, direction: int) -> None:
        if self.focused is None:
            self.action_go_to_pane(self.desk.shown if direction > 0 else 6)
            return
        self.action_go_to_pane((self.pane_in_view - 1 + direction) % 6 + 1)

    def action_open(self) -> None:
        """What is under the cursor of the pane, else the pane over the whole screen."""
        number = self.pane_in_view
        if number == 3 and self.metrics.open_metric():
            return
        if number == 4 and self.chart.cursor_step is not None:
            self._travel(self.chart.cursor_step)
            return
        if number == 5 and self.prompt.open_token():
            return
        self.desk.zoomed = not self.desk.zoomed
        self.action_go_to_pane(number)

    def _travel(self, step: int) -> None:
        """To the evaluation nearest to a step; the cursor shows which one that is."""
        history = self.follower.history
        moment = nearest_moment(self.followed, history, step)
        if moment is None:
            self.key_line.show_notice(NOTHING_EVALUATED, "accent")
            return
        self.moment = moment
        self.prompt.travel(moment, answered_at(history, moment.step))
        self.chart.put_cursor(moment.step)
        self.show_history()
        where = f"Metrics and prompt are as of step {moment.step:,}; esc returns to now."
        self.key_line.show_notice(where, "accent")

    def action_out(self) -> None:
        """Out of the innermost thing: another time, a cursor, a zoomed pane, this screen."""
        if self.moment is not None:
            self.moment = None
            self.prompt.return_to_now()
            self.show_history()
            return
        if (
            isinstance(self.focused, MetricsPane | ChartPane | PromptPane)
            and self.focused.drop_cursor()
        ):
            return
        if self.desk.zoomed:
            self.desk.zoomed = False
            self.lay_out_panes()
        else:
            self.app.go_home()

    def action_home(self) -> None:
        self.app.go_home()

    async def action_prompt(self) -> None:
        if self.prompt.can_answer(self.moment.refusal if self.moment is not None else ""):
            self.action_go_to_pane(5)
            await self.prompt.enter_box()

    @on(MetricsPane.MetricOpened)
    def open_receipt(self, message: MetricsPane.MetricOpened) -> None:
        from .receipt import Receipt

        config = self.followed.config_if_kept()
        history = self.metrics.history  # of the moment that the pane shows
        self.app.push_screen(Receipt(message.table, message.row, history, config))

    def explained_term(self) -> str | None:
        return self.metrics.metric_under_cursor if self.focused is self.metrics else None

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        pane: dict[int, list[tuple[str, tuple[Key, ...]]]] = {
            3: [("On metrics", METRICS_KEYS)],
            5: [("On the prompt", PROMPT_PANE_KEYS), ("In the prompt box", PROMPT_KEYS)],
        }
        return [
            *pane.get(self.pane_in_view, []),
            ("A run", RUN_KEYS),
            ("On the chart", CHART_KEYS),
            ("Everywhere", APP_KEYS),
        ]

    # Other screens

    def action_compare(self) -> None:
        from ..compare.compare import compare_with_another

        compare_with_another(self.app, self.followed, self.follower.history)

    def action_compare_again(self) -> None:
        from ..compare.compare import compare_again

        compare_again(self.app, self.followed.folder, self.followed.path)

    def _ended_history(self) -> History | None:
        """The history where nothing is added to it any more."""
        # A run in motion is read anew: two screens must not fold into one history.
        return self.follower.history if self.status in ENDED else None

    def action_evaluation(self) -> None:
        self.app.push_screen(make_screen("evaluation", self.followed, self._ended_history()))

    def action_rows(self) -> None:
        self.app.push_screen(make_screen("examples", self.followed, self._ended_history()))

    def action_quiz(self) -> None:
        self.app.push_screen(make_screen("quiz", self.followed))

    def action_new(self) -> None:
        self.app.new_run(self.followed)

    def action_layers(self, again: bool = False) -> None:
        """What happens to the last prompt inside both models; `again`: nobody asked for it yet."""
        if self.prompt.can_answer():
            newest = None if again else self.prompt.answers.newest
            started = self.follower.history.started
            text, name = newest.prompt if newest else "", started.name if started else ""
            self.app.push_screen(make_screen("trace", self.followed, text, name))

    def action_review(self) -> None:
        in_thread(self._find_review)

    def _find_review(self) -> None:
        """In a thread: are there answers to judge?"""
        from ....core.report.review.review import Review, check_writable

        try:
            review = Review(self.followed, REVIEWER)
            check_writable(self.followed)
            if review.count:
                # Held before the screen opens: a second reviewer is refused here, not after a
                # judgement.
                review.hold()
        except FtevError as error:
            self.post_message(Notice(str(error), "warn"))
            return
        found = ReviewFound(review) if review.count else Notice(NOTHING_TO_REVIEW, "warn")
        self.post_message(found)

    @on(ReviewFound)
    def open_review(self, message: ReviewFound) -> None:
        self.app.push_screen(make_screen("review", message.review))

    # Orders

    def action_stop(self) -> None:
        self.status_line.ask("stop")

    def action_pause(self) -> None:
        self.status_line.ask("resume" if self.status == "paused" else "pause")

    def action_checkpoint(self) -> None:
        self.status_line.ask("checkpoint")

    def action_export(self) -> None:
        self.key_line.show_notice("writing the report …", "muted")
        write_report(self.followed, self.post_message)
