"""What the run screen asks of the worker, each after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.control import AskCheckpoint, AskPause, AskResume, AskStop, Request
from ..widgets.asking import ask_request

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
            ask_request(screen.followed, request, screen.post_message)

    screen.app.push_screen(Question(question, consequence), send)
