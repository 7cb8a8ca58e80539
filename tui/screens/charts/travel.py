"""Time travel: the run screen as of one evaluation, chosen by the cursor of the chart."""

from __future__ import annotations

from ....core.run.control import AskPrompt
from ....core.run.history import History
from ....core.run.runs import Run
from ..prompt.answers import Exchange, exchange_of
from ..prompt.prompt import PromptPane
from ..run.moment import Moment, nearest_moment


class Travel:
    """Where the screen stands in time: at a moment, or now."""

    def __init__(self, run: Run, prompt: PromptPane) -> None:
        self.run, self.prompt = run, prompt
        self.moment: Moment | None = None
        self._asked_before: list[Exchange] = []
        self._told: list[Exchange] = []  # what the run itself answered at this moment

    def go(self, history: History, step: int) -> str:
        """To the evaluation nearest to a step; the sentence that says where one is."""
        moment = nearest_moment(self.run, history, step)
        if moment is None:
            return "Nothing was evaluated in this run: there is no moment to go to."
        self._put_away()
        self.moment = moment
        answered = answered_at(history, moment.step)
        self._told = [answered] if answered is not None else []
        self.prompt.show_exchanges(self._told)
        return f"Metrics and prompt are as of step {moment.step:,}; esc returns to now."

    def back(self) -> bool:
        """To now; False where one is there already."""
        if self.moment is None:
            return False
        self._put_away()
        self.moment = None
        self.prompt.show_exchanges(self._asked_before)
        return True

    def _put_away(self) -> None:
        """Keep what was asked, also at another moment, for the return to now."""
        pane = self.prompt.answers
        if self.moment is None:
            self._asked_before = list(pane.exchanges)
        else:
            self._asked_before += [e for e in pane.exchanges if e not in self._told]

    def asked(self, request: AskPrompt) -> AskPrompt:
        """A prompt as it is asked from here: of the checkpoint, where one travelled to it."""
        from msgspec.structs import replace

        moment = self.moment
        return replace(request, checkpoint=moment.step) if moment and moment.kept else request

    def in_words(self, settings: str, weights: int | None = None) -> str:
        """How a prompt is answered from here: the step comes first, it changes the answer most.

        `weights`: the step whose checkpoint answers for now, where that is not the tuned model.
        """
        step = self.moment.step if self.moment else weights
        if step is None:
            return settings
        return f"as of step {step:,}" + (f", {settings}" if settings else "")

    def refusal(self) -> str:
        """Why nobody can answer as of this moment; empty where somebody can."""
        if self.moment is None or self.moment.kept:
            return ""
        return (
            f"The checkpoint of step {self.moment.step:,} was not kept, so nothing can answer "
            "as it did. Behind this box, esc returns to now."
        )


def answered_at(history: History, step: int) -> Exchange | None:
    """The last of the run's own prompts that it answered at a step."""
    found = [p for p in history.prompts if p.step == step and p.probe]
    if not found:
        return None
    exchange = exchange_of(found[-1])
    exchange.step = step
    return exchange
