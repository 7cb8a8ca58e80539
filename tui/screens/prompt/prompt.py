"""The prompt pane: a box to write in, and the answers of base and tuned above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content

from ....core.run.control import AskPrompt
from ....core.run.history import History
from ....core.run.runs import Run, step_of, weights_of
from ...app.keys import FARTHEST, PROMPT_PANE_KEYS, to_bindings
from ...drawing.lines import following
from ...widgets.framed import Notice
from ...widgets.pane import Numbered
from ...widgets.text_boxes import PromptBox
from ..run.moment import Moment
from ..run.status import way_on
from .answers import WAITING, Exchange, add_reply, exchange_of, stop
from .answers_pane import AnswersPane
from .asking import AnswerNews, GenerationSettings, ReplyCame, ask_prompt
from .talk import cross_over, move_cursor, token_seen

if TYPE_CHECKING:
    from ...app.app import FtevApp

DRAW_SECONDS = 0.1  # streamed tokens are drawn together
NOTHING_ANSWERS = "No worker is alive, and the weights of this run are not here."
SHADINGS = {  # in the order of the key
    "none": "Tokens are not shaded.",
    "generation": "The answer's tokens are shaded by their likelihood under their own model.",
    "all": "The prompt's tokens are shaded too.",
}


class PromptPane(Numbered, Vertical, can_focus=True):
    """Asks base and tuned, now or as of the moment that is shown, and shows their answers."""

    NUMBER, NAME = 5, "Prompt"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PROMPT_PANE_KEYS)]
    ALLOW_SELECT = False
    app: FtevApp

    def __init__(self, run: Run) -> None:
        super().__init__(id=f"pane-{self.NUMBER}")
        self.border_title = Content(f"{self.NUMBER} {self.NAME}")
        self.followed = run
        self.history, self.status = History(), "reading"
        self.moment: Moment | None = None  # else now
        self.answers = AnswersPane()
        self.box: PromptBox | None = None  # made when it is first wanted
        self._asked_now: list[Exchange] = []  # put away while a moment is shown
        self._answered_then: list[Exchange] = []  # the run's own answers at the moment
        self._waits_to_draw = False
        self._probes_seen = 0
        self._draft = ""  # from before the box was made

    def compose(self) -> ComposeResult:
        yield self.answers

    # The box

    @property
    def draft(self) -> str:
        """What is written and not sent."""
        return self.box.text if self.box is not None else self._draft

    @draft.setter
    def draft(self, text: str) -> None:
        self._draft = text

    async def enter_box(self) -> None:
        if self.box is None:
            self.box = PromptBox()
            await self.mount(self.box)
            self.box.load_text(self._draft)
            self.box.move_cursor(self.box.document.end)
        self.box.enter()

    @on(PromptBox.Left)
    def leave_box(self) -> None:
        if self.screen.focused is None:  # else a key behind has gone elsewhere
            self.focus(scroll_visible=False)

    # What is shown

    def show_history(self, history: History, status: str) -> None:
        """While nobody has asked anything, the newest prompt that the run answered by itself."""
        self.history, self.status = history, status
        pane = self.answers
        pane.state = _invitation(history, status)
        pane.prompts = history.prompts
        if len(history.prompts) > self._probes_seen:
            self._probes_seen = len(history.prompts)
            pane.answered_by_run = exchange_of(history.prompts[-1])
        pane.show()

    def travel(self, moment: Moment, answered: Exchange | None) -> None:
        """To a moment and what the run itself answered then; what was asked waits."""
        self._put_away()
        self.moment = moment
        self._answered_then = [answered] if answered is not None else []
        self.answers.show_exchanges(self._answered_then)

    def return_to_now(self) -> None:
        self._put_away()
        self.moment = None
        self.answers.show_exchanges(self._asked_now)

    def _put_away(self) -> None:
        """Keep what was asked, also at another moment, for the return to now."""
        shown = self.answers.exchanges
        if self.moment is None:
            self._asked_now = list(shown)
        else:
            self._asked_now += [e for e in shown if e not in self._answered_then]

    # Asking

    def can_answer(self, refused: str = "") -> bool:
        """Whether there is a model to ask; a box says why not. `refused`: a reason known before."""
        refused = refused or self._nothing_answers()
        if refused:
            from ...widgets.framed import Refusal

            self.app.push_screen(Refusal("Nothing can answer", refused))
        return not refused

    def _nothing_answers(self) -> str:
        run, history = self.followed, self.history
        if run.worker_alive() or run.model_path.exists():
            return ""
        if weights_of(run, history.best_step) is None:
            return NOTHING_ANSWERS
        return way_on(run, self.status) if history.finished is None else ""

    @on(PromptBox.Sent)
    def send(self, message: PromptBox.Sent) -> None:
        self.ask(message.text, self.app.generation.seed)

    def ask(self, text: str, seed: int) -> None:
        """Ask both models as of the moment shown, with the settings of the session."""
        settings, likelihoods = self.app.generation, self.answers.view.likelihoods
        moment = self.moment
        request = AskPrompt(
            text=text,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            seed=seed,
            likelihoods="none" if likelihoods == "none" else "all",
            details=likelihoods != "none",
            checkpoint=moment.step if moment is not None and moment.kept else None,
        )
        exchange = Exchange(
            text, message=WAITING, settings=self._settings_in_words(seed), seed=seed, running=True
        )
        exchange.step = moment.step if moment is not None else None
        self.answers.show_exchanges([*self.answers.exchanges, exchange])
        ask_prompt(self.followed, exchange, request, self.post_message)

    def _settings_in_words(self, seed: int) -> str:
        """The step comes first: it changes the answer most."""
        step = self.moment.step if self.moment is not None else self._step_of_weights()
        words = [f"as of step {step:,}"] if step is not None else []
        if self.history.task_type.writes:
            words.append(self.app.generation.in_words(seed))
        return ", ".join(words)

    def _step_of_weights(self) -> int | None:
        """The step whose checkpoint answers for a run that ended before its model was saved."""
        run, history = self.followed, self.history
        if history.finished is None or run.model_path.exists():
            return None
        weights = weights_of(run, history.best_step)
        return step_of(weights) if weights is not None else None

    @on(ReplyCame)
    def show_reply(self, message: ReplyCame) -> None:
        if message.exchange.running:
            add_reply(message.exchange, message.reply)
            self._show_soon()

    @on(AnswerNews)
    def show_news(self, message: AnswerNews) -> None:
        exchange = message.exchange
        if not exchange.running:  # stopped: whatever comes late says nothing
            return
        exchange.message, exchange.failed = message.text, message.failed
        exchange.running = not message.ended
        self._show_soon()

    def _show_soon(self) -> None:
        if not self._waits_to_draw:
            self._waits_to_draw = True
            self.set_timer(DRAW_SECONDS, self._draw_answers)

    def _draw_answers(self) -> None:
        self._waits_to_draw = False
        self.answers.show()

    # Keys

    def action_stop_answer(self) -> None:
        going = [e for e in self.answers.exchanges if e.running]
        if not going:
            self.post_message(Notice("No answer is being made.", "muted"))
            return
        stop(going[-1])
        self.answers.show()

    def action_retry(self) -> None:
        """The same text; where answers are drawn, another draw."""
        asked = self.answers.newest
        if asked is not None and not asked.running:
            self.ask(asked.prompt, asked.seed + (self.app.generation.temperature > 0))

    def action_settings(self) -> None:
        from .asking import SettingsForm

        self.app.push_screen(SettingsForm(self.app.generation), self._keep_settings)

    def _keep_settings(self, settings: GenerationSettings | None) -> None:
        if settings is not None:
            self.app.generation = settings
            self.post_message(Notice(f"Next answers: {settings.in_words(settings.seed)}."))

    def action_likelihoods(self) -> None:
        view = self.answers.view
        view.likelihoods = following(tuple(SHADINGS), view.likelihoods)
        view.cursor = None
        self.post_message(Notice(SHADINGS[view.likelihoods], "muted"))
        self.answers.show()

    def action_filmstrip(self) -> None:
        self.answers.strips = not self.answers.strips
        self.answers.from_end = FARTHEST if self.answers.strips else 0
        self.answers.show()

    def action_token(self, count: int) -> None:
        exchange, view = self.answers.newest, self.answers.view
        if exchange is None or not move_cursor(exchange, view, count):
            self.post_message(Notice("There are no tokens to walk through here.", "muted"))
        self.answers.show()

    def action_other_answer(self) -> None:
        if self.answers.newest is not None:
            cross_over(self.answers.newest, self.answers.view)
        self.answers.show()

    def action_scroll_lines(self, count: int) -> None:
        self.answers.view.cursor = None
        self.answers.from_end = max(0, self.answers.from_end - count)
        self.answers.show()

    def open_token(self) -> bool:
        """The top five of the token under the cursor; False where there is no cursor."""
        exchange = self.answers.newest
        found = token_seen(exchange, self.answers.view) if exchange is not None else None
        if found is None:
            return False
        from .answers_pane import TopFive

        self.app.push_screen(TopFive(*found))
        return True

    def drop_cursor(self) -> bool:
        """Whether there was a cursor, or the filmstrip, to step out of."""
        pane = self.answers
        if pane.view.cursor is None and not pane.strips:
            return False
        pane.reset_view()
        pane.show()
        return True


def _invitation(history: History, status: str) -> str:
    if history.origin != "ftev":
        return "Prompts need a worker of ftev: this training is another's."
    if history.task_type.has_head:
        found = "numbers" if history.task_type.numbers else "labels"
        return f"Press p and write a text: base and tuned give it {found}."
    if status == "running":
        return "Press p and write: training is held while base and tuned answer."
    return "Press p and write: base and tuned answer side by side."
