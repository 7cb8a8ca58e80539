"""What the run screen asks of the worker, each after a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from ....core.run.control import AskCheckpoint, AskPause, AskResume, AskStop, Request
from ..prompt.asking import RequestTold, ask_request, resume_run
from .parts import Order, RunParts

if TYPE_CHECKING:
    from ...app.threads import Post

NOBODY = "No worker is alive: there is nothing to stop."
OVER = "The run is over: there is nothing to pause and nothing new to save."
LOST = "No worker is alive, and no checkpoint is here to go on from."
ENDED_SO = {"stopped": "The run is stopped.", "failed": "The run failed.", "died": "It died."}
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


@dataclass
class OrderTold(Message):
    """What the worker said to an order: that it will be done, or why not."""

    order: Order
    told: RequestTold


def tell_answer(screen: RunParts, message: OrderTold) -> None:
    """That an order will be done is no news once it is done."""
    if message.told.failed:
        screen.order = None
    elif screen.order is not message.order:
        return
    screen.show_outcome(message.told)


def tell_what_is_done(screen: RunParts) -> None:
    if screen.order is None:
        return
    told = screen.order.came_of_it(screen.follower.history, screen.follower.alive)
    if told:
        screen.order = None
        screen.show_outcome(RequestTold(told))


def way_on(screen: RunParts) -> str:
    """How a run that ended early goes on; that it cannot, where no checkpoint is here."""
    step = screen.resumable
    if step is None:
        return LOST
    how = f"P or `ftev-tui resume {screen.followed.id}` goes on from step {step:,}."
    return f"{ENDED_SO.get(screen.status, '')} {how}".lstrip()


def ask_first(screen: RunParts, what: str) -> None:
    alive, history = screen.followed.worker_alive(), screen.follower.history
    if history.finished is not None and alive and what == "stop":
        what = "end"
    elif history.finished is not None and history.finished.status == "finished":
        screen.key_line.show_notice(NOBODY if what == "stop" else OVER, "warn")
        return
    elif history.finished is not None or not alive:
        if what != "pause" or screen.resumable is None:
            screen.key_line.show_notice(way_on(screen), "warn")
        else:
            _ask_to_go_on(screen, screen.resumable)
        return
    from ...widgets.question import Question

    question, consequence, request = QUESTIONS[what]

    def send(yes: bool | None) -> None:
        if yes:
            ask_request(screen.followed, request, _begin_order(screen, what))

    screen.app.push_screen(Question(question, consequence), send)


def _ask_to_go_on(screen: RunParts, step: int) -> None:
    from ...widgets.question import Question

    def go_on(yes: bool | None) -> None:
        if yes:
            resume_run(screen.followed, _begin_order(screen, "go on"))

    told = f"A worker starts and takes the device; training goes on from step {step:,}."
    screen.app.push_screen(Question("Go on with this run?", told), go_on)


def _begin_order(screen: RunParts, what: str) -> Post:
    """What hears of the worker's answer to an order."""
    history = screen.follower.history
    order = screen.order = Order(what, history.checkpoints[-1:], history.started)

    def post(told: Message) -> None:
        if isinstance(told, RequestTold):
            screen.post_message(OrderTold(order, told))

    return post
