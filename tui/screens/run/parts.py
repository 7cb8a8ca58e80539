"""The parts of the run screen that its questions, its prompt and its memory work with."""

from __future__ import annotations

from dataclasses import dataclass

from ....core.run.events import CheckpointSaved, RunStarted
from ....core.run.history import History
from ....core.run.runs import Run
from ...widgets.framed import FramedScreen
from ..charts.chart import ChartPane
from ..prompt.prompt import PromptPane
from .arrangement import Desk
from .follow import Follower
from .metrics import MetricsPane
from .moment import Travel


@dataclass(eq=False)
class Order:
    """What the worker was asked to do; the notice of it stands no longer than until it is done."""

    what: str
    saved: list[CheckpointSaved]  # the last one when it was asked; saved anew, its time is another
    started: RunStarted | None

    def came_of_it(self, history: History, alive: bool) -> str:
        """A sentence once it is done; empty before."""
        if self.what == "end":
            return "" if alive else "its worker has ended"
        step = f"{history.step:,}"
        if self.what == "go on":
            begun = history.started if history.started is not self.started else None
            return f"going on from step {begun.resumed_from_step:,}" if begun else ""
        if history.finished is not None:
            return f"{history.finished.status} at step {step}"
        if self.what == "pause" and history.paused:
            return f"paused after step {step}"
        if self.what == "resume" and not history.paused:
            return f"going on after step {step}"
        if self.what == "checkpoint" and history.checkpoints[-1:] != self.saved:
            return f"saved: {history.checkpoints[-1].path}"
        return ""


class RunParts(FramedScreen[None]):
    """Made by `RunScreen`."""

    followed: Run
    follower: Follower
    status: str
    resumable: int | None  # the step that a resumed run goes on from
    order: Order | None  # what the worker was asked to do
    desk: Desk
    chart: ChartPane
    metrics: MetricsPane
    prompt: PromptPane
    travel: Travel

    @property
    def pane_in_view(self) -> int:
        """The number of the pane that has the focus, else of the one that shares its place."""
        raise NotImplementedError

    def lay_out_panes(self) -> None:
        raise NotImplementedError
