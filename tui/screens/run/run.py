"""The run screen: six panes over one history."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.widget import Widget

from ....core.run.history import History
from ....core.run.runs import Run
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
from ...app.opening import make_screen
from ...drawing.spans import Line, width_of
from ...widgets.pane import NumberedPane
from ..charts.chart import ChartPane, make_ahead
from ..evaluation.evaluation_read import ReadingFailed
from ..prompt.asking import AnswerTold, ReplyCame, write_missing_report, write_report
from ..prompt.prompt import PromptBox, PromptPane
from ..prompt.run_prompt import ask_models, can_answer, open_layers, open_settings, open_token
from .arrangement import Desk
from .follow import Follower, HistoryGrew, HistoryRead, LogGrew, RunJudged, WorkerSeen
from .log import LogPane
from .metrics import Judgement, MetricsPane
from .moment import Travel
from .parts import Order, RunParts
from .pipeline import PipelinePane, told_beside_estimate
from .reviewing import ReviewFound
from .run_memory import OVER_THE_RUN, recall_run, run_memory
from .run_questions import OrderTold, ask_first, tell_answer, tell_what_is_done
from .status import TwoEnds, machine, pace, resumable_step, title_left, title_right
from .trace import TracePane

ENDED = ("finished", "stopped", "failed", "died")
LIVE_HINTS = (*RUN_KEYS[:-4], *APP_KEYS, *RUN_KEYS[-4:])
FOR_THE_WORKER = ("stop", "pause", "checkpoint")
AROUND = 3  # cells beside and between the two ends of the line of status
SEEN_SECONDS = 5.0  # between two notes of what was seen, where nobody pressed anything


FIRST_PAINT_SECONDS = 0.2  # an empty frame is held back so long for the first reading


class Chart(ChartPane):
    """The chart pane with its keys from the table."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(CHART_KEYS)]


class Prompt(PromptPane):
    """The prompt pane with its keys from the table."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PROMPT_PANE_KEYS)]


class RunScreen(RunParts):
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(RUN_KEYS)]
    REMEMBERED_AS: ClassVar[str] = "run"

    def __init__(self, run: Run, *, ascii_only: bool = False) -> None:
        super().__init__(LIVE_HINTS)
        self.followed = run
        self.follower = Follower(run, self.post_message, self._prepare_charts, self._make_ahead)
        self.status = "reading"
        self.primary = ""
        self.judgement: Judgement | None = None
        self.resumable: int | None = None  # the step that an ended run can go on from
        self.order: Order | None = None  # the last one, until it is done
        self.pipeline, self.trace, self.metrics = PipelinePane(), TracePane(), MetricsPane()
        self.chart, self.prompt, self.log_pane = (
            Chart(ascii_only=ascii_only),
            Prompt(),
            LogPane(),
        )
        self.travel = Travel(run, self.prompt)
        self.desk = Desk(
            self.pipeline, self.trace, self.metrics, self.chart, self.prompt, self.log_pane
        )
        for pane in self.desk.panes.values():
            if isinstance(pane, NumberedPane):
                pane.guard = self.follower.lock
        self.status_line = TwoEnds("status")
        self._first_paint = ExitStack()
        self._was_drawn = False
        self._draw_waits = False

    def panes(self) -> Iterable[Widget]:
        return self.desk, self.status_line

    def on_mount(self) -> None:
        self._first_paint.enter_context(self.app.batch_update())
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
        self.desk.arrange_for(size.with_height(max(0, size.height - 3)))
        self.call_after_refresh(self.show_history)

    # What the follower tells

    def _prepare_charts(self, history: History) -> None:
        """In the thread of the follower, after its first reading."""
        config = self.followed.config_if_kept()
        self.chart.prepare(history, config)

    def _make_ahead(self) -> None:
        """In the thread of the follower, once the run is shown."""
        make_ahead(self.chart.newest_data, self.follower.lock, lambda: not self.follower.stopped)
        write_missing_report(self.followed, self.follower.history, self.post_message)

    @on(HistoryRead)
    def show_reading(self, message: HistoryRead) -> None:
        self.status_line.show_ends([(f"reading the run  {message.share * 100:.0f} %", "muted")], [])

    @on(WorkerSeen)
    def show_worker(self, message: WorkerSeen) -> None:
        self.show_history()

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
            self.set_timer(1.0, self._draw_late)

    def _draw_late(self) -> None:
        self._draw_waits = False
        self.show_history()

    def _draw_history(self) -> None:
        history, run = self.follower.history, self.followed
        self.status = status = history.status(self.follower.alive)
        if not self._was_drawn:
            self._was_drawn = True
            self._choose_first_pane()
            self._recall()
        self.title_line.show_ends(title_left(run, history), title_right(status))
        self.resumable = resumable_step(run, status)
        right = machine(history, status)
        room = self.size.width - width_of(right) - AROUND
        left = pace(history, status, room, run.id, self.resumable)
        self.status_line.show_ends(left, right)
        without = FOR_THE_WORKER if status in ENDED else ()
        resumes: list[Line] = [[("P", "accent"), (" resume", "muted")]]
        told = resumes if self.resumable is not None else []
        self.key_line.show_hints([*told, *hints(LIVE_HINTS, without)])
        self.pipeline.show_history(history, status)
        self.trace.show_history(history)
        if self.travel.moment is not None:
            self.metrics.show_moment(history, self.travel.moment, self.primary)
        else:
            self.metrics.show_history(history, self.primary, self.judgement)
        self.chart.show_history(history)
        self.prompt.show_history(history, status)
        self.log_pane.show_history(history)
        tell_what_is_done(self)
        self._first_paint.close()
        self.app.remember_soon(SEEN_SECONDS)

    def _choose_first_pane(self) -> None:
        """Where panes share a place: the chart of a run in motion, what came of one that ended."""
        if self.status in ENDED and self.focused is None:
            self.desk.shown = 3 if self.status in ("finished", "stopped") else 6
            self.lay_out_panes()

    @property
    def is_reading(self) -> bool:
        """Whether nothing of the run was drawn yet."""
        return not self._was_drawn

    # What it remembers

    @property
    def remembered_of(self) -> Path:
        return self.followed.path

    def memory(self) -> dict[str, Any]:
        return run_memory(self) if self._was_drawn else {}

    def _recall(self) -> None:
        """Before the first frame: as it was left, and what came since."""
        self.chart.take_up(self.follower.history)
        on_top = self.app.recall(self).on_top
        if on_top in OVER_THE_RUN:
            self.call_later(self.run_action, OVER_THE_RUN[on_top])

    def recall(self, memory: dict[str, Any]) -> None:
        recall_run(self, memory)

    @on(LogGrew)
    def show_log(self, message: LogGrew) -> None:
        with self.follower.lock:
            self.log_pane.show_tail(message.tail)

    @on(RunJudged)
    def show_judgement(self, message: RunJudged) -> None:
        self.primary, self.judgement = message.primary, message.judgement
        self._tell_estimate()
        self.show_history()

    def _tell_estimate(self) -> None:
        from ....core.run.estimate import compare_with_estimate

        took = compare_with_estimate(self.followed, self.follower.history)
        if took is not None:
            self.pipeline.asides[3] = told_beside_estimate(took)

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
        """A metric's receipt where the cursor is on one, else the pane over the whole screen."""
        number = self.pane_in_view
        if number == 3 and self.metrics.open_metric():
            return
        if number == 4 and self.chart.cursor_step is not None:
            self._travel(self.chart.cursor_step)
            return
        if number == 5 and open_token(self):
            return
        self.desk.zoomed = not self.desk.zoomed
        self.action_go_to_pane(number)

    def _travel(self, step: int) -> None:
        """To the evaluation nearest to a step; the cursor shows which one that is."""
        told = self.travel.go(self.follower.history, step)
        if self.travel.moment is not None:
            self.chart.put_cursor(self.travel.moment.step)
        self.show_history()
        self.key_line.show_notice(told, "accent")

    def action_out(self) -> None:
        """Out of the innermost thing: another time, a cursor, a zoomed pane, this screen."""
        if self.travel.back():
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

    def action_compare(self) -> None:
        from ..compare.comparing import compare_with_another

        compare_with_another(self.app, self.followed, self.follower.history)

    def action_compare_again(self) -> None:
        from ..compare.comparing import compare_again

        compare_again(self.app, self.followed.path.parent, self.followed.path)

    # The screens about what came of it

    def _ended_history(self) -> History | None:
        """The history where nothing is added to it any more."""
        return self.follower.history if self.status in ENDED else None

    def action_evaluation(self) -> None:
        self.app.push_screen(make_screen("evaluation", self.followed, self._ended_history()))

    def action_rows(self) -> None:
        self.app.push_screen(make_screen("examples", self.followed, self._ended_history()))

    def action_quiz(self) -> None:
        self.app.push_screen(make_screen("quiz", self.followed))

    def action_review(self) -> None:
        from .reviewing import find_review

        find_review(self.followed, self.post_message)

    @on(ReviewFound)
    def open_review(self, message: ReviewFound) -> None:
        self.app.push_screen(make_screen("review", message.review))

    @on(ReadingFailed)
    def tell_failure(self, message: ReadingFailed) -> None:
        self.key_line.show_notice(message.text, "warn")

    def explained_term(self) -> str | None:
        return self.metrics.metric_under_cursor if self.focused is self.metrics else None

    def action_new(self) -> None:
        self.app.new_run(self.followed)

    @on(MetricsPane.MetricOpened)
    def open_receipt(self, message: MetricsPane.MetricOpened) -> None:
        from .receipt import Receipt

        config = self.followed.config_if_kept()
        history = self.metrics.history  # of the moment that the pane shows
        self.app.push_screen(Receipt(message.table, message.row, history, config))

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

    # The prompt

    async def action_prompt(self) -> None:
        if can_answer(self, self.travel.refusal()):
            self.action_go_to_pane(5)
            await self.prompt.enter_box()

    @on(PromptBox.Left)
    def leave_prompt(self) -> None:
        if self.focused is None:  # else a key behind has gone elsewhere
            self.prompt.focus(scroll_visible=False)

    @on(PromptBox.Sent)
    def send_prompt(self, message: PromptBox.Sent) -> None:
        ask_models(self, message.text, self.app.generation.seed)

    @on(PromptPane.Retried)
    def ask_again(self, message: PromptPane.Retried) -> None:
        """The same text; where answers are drawn, another draw."""
        drawn = self.app.generation.temperature > 0
        ask_models(self, message.exchange.prompt, message.exchange.seed + drawn)

    @on(PromptPane.SettingsWanted)
    def open_settings(self) -> None:
        open_settings(self)

    @on(PromptPane.Told)
    def tell_of_prompt(self, message: PromptPane.Told) -> None:
        self.key_line.show_notice(message.text, "muted")

    def action_layers(self, again: bool = False) -> None:
        open_layers(self, again=again)

    @on(ReplyCame)
    def show_reply(self, message: ReplyCame) -> None:
        self.prompt.show_reply(message.exchange, message.reply)

    @on(AnswerTold)
    def show_answer_state(self, message: AnswerTold) -> None:
        exchange = message.exchange
        if not exchange.running:  # stopped: whatever comes late says nothing
            return
        exchange.message, exchange.failed = message.text, message.failed
        exchange.running = not message.ended
        self.prompt.show_soon()

    # What is asked of the worker

    def action_stop(self) -> None:
        ask_first(self, "stop")

    def action_pause(self) -> None:
        ask_first(self, "resume" if self.status == "paused" else "pause")

    def action_checkpoint(self) -> None:
        ask_first(self, "checkpoint")

    @on(OrderTold)
    def show_answer_to_order(self, message: OrderTold) -> None:
        tell_answer(self, message)

    def action_export(self) -> None:
        self.key_line.show_notice("writing the report …", "muted")
        write_report(self.followed, self.post_message)

    @on(ChartPane.WriteAsked)
    def write_chart(self, message: ChartPane.WriteAsked) -> None:
        from ..charts.export import write_charts

        self.key_line.show_notice("writing the chart …", "muted")
        write_charts(self.followed, self.chart.data, message.view, message.names, self.post_message)
