"""What the run screen asks of the worker, each after a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from ...core.control import AskCheckpoint, AskPause, AskResume, AskStop, Request
from ...core.history import History
from ..widgets.asking import RequestTold, ask_request

if TYPE_CHECKING:
    from .run import RunScreen

NOBODY = "No worker is alive: there is nothing to ask."
OVER = "The run is over: there is nothing to pause and nothing new to save."
QUESTIONS: dict[str, tuple[str, str, Request]] = {
    "stop": (
        "Stop this run?",
        "A state to resume from is saved, then the worker ends and frees the device.",
        AskStop(),
    ),
    "end": (
        "End its worker?",
        "The run is over, it only answers prompts. The device is freed; a prompt starts another.",
        AskStop(),
    ),
    "pause": ("Pause this run?", "Training waits; the device stays taken.", AskPause()),
    "resume": ("Go on with this run?", "Training goes on where it is.", AskResume()),
    "checkpoint": (
        "Save a checkpoint now?",
        "Between two steps; training waits for it.",
        AskCheckpoint(),
    ),
}


@dataclass(eq=False)
class Order:
    """What the worker was asked to do; the notice of it stands no longer than until it is done."""

    what: str
    checkpoints: int  # when it was asked

    def came_of_it(self, history: History, alive: bool) -> str:
        """A sentence once it is done; empty before."""
        if self.what == "end":
            return "" if alive else "its worker has ended"
        step = f"{history.step:,}"
        if history.finished is not None:
            return f"{history.finished.status} at step {step}"
        if self.what == "pause" and history.paused:
            return f"paused after step {step}"
        if self.what == "resume" and not history.paused:
            return f"going on after step {step}"
        if self.what == "checkpoint" and len(history.checkpoints) > self.checkpoints:
            return f"saved: {history.checkpoints[-1].path}"
        return ""


@dataclass
class OrderTold(Message):
    """What the worker said to an order: that it will be done, or why not."""

    order: Order
    told: RequestTold


def tell_answer(screen: RunScreen, message: OrderTold) -> None:
    """That an order will be done is no news once it is done."""
    if message.told.failed:
        screen.order = None
    elif screen.order is not message.order:
        return
    screen.show_outcome(message.told)


def tell_what_is_done(screen: RunScreen) -> None:
    if screen.order is None:
        return
    told = screen.order.came_of_it(screen.follower.history, screen.follower.alive)
    if told:
        screen.order = None
        screen.show_outcome(RequestTold(told))


def ask_first(screen: RunScreen, what: str) -> None:
    if not screen.followed.worker_alive():
        screen.key_line.show_notice(NOBODY, "warn")
        return
    if screen.follower.history.finished is not None:
        if what != "stop":
            screen.key_line.show_notice(OVER, "warn")
            return
        what = "end"
    from .question import Question

    question, consequence, request = QUESTIONS[what]

    def send(yes: bool | None) -> None:
        if yes:
            order = screen.order = Order(what, len(screen.follower.history.checkpoints))
            ask_request(
                screen.followed,
                request,
                lambda told: screen.post_message(OrderTold(order, told)),
            )

    screen.app.push_screen(Question(question, consequence), send)
