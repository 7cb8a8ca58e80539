"""After the run: prompts answered, by its worker or one started for that, until nobody asks."""

from __future__ import annotations

import time

from ...errors import RunError
from ...run.control import SERVING, Failed
from ...run.history import History, read_history
from ...run.runs import step_of, weights_of
from ..answering.answer import answer_waiting
from ..training.probe import load_probe
from .listen import Listener
from .session import PROBE_FILE, Session

REST = 0.02  # seconds between looks at the queue


def serve(s: Session, minutes: float) -> None:
    """Answer prompts until nobody has asked for so many minutes, then free the device."""
    s.listener.state = SERVING
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline and not s.listener.stop.is_set():
        if not s.listener.questions.empty():
            answer_waiting(s, holding=False)
            deadline = time.monotonic() + minutes * 60
        time.sleep(REST)


def load_finished(s: Session) -> None:
    """The models of a run that has ended, as it left them."""
    history = read_history(s.run)
    weights = weights_of(s.run, history.best_step)
    if weights is None:
        raise RunError(f"{s.run.id}: its weights are not here, so it cannot answer prompts")
    s.labels, s.positive = tuple(history.labels), history.positive
    is_model = weights == s.run.model_path
    s.step = history.best_step or history.step if is_model else step_of(weights)
    s.form = history.columns.form if history.columns else "text"
    s.spaced = bool(history.columns and history.columns.spaced)
    s.data_labels = _data_labels(s, history)
    s.tuned = s.load(str(weights))
    s.base_has_head = bool(history.model and not history.model.new_head)
    path = s.run.path / PROBE_FILE
    if path.exists():
        s.probe = load_probe(path, s.labels)


def _data_labels(s: Session, history: History) -> tuple[str, ...]:
    """A given model's head may know more labels than the rows that it was scored on."""
    if s.config.trains:
        return s.labels
    known = {label for split in history.splits.values() for label in split.labels}
    return tuple(label for label in s.labels if label in known)


def refuse(listener: Listener, text: str) -> None:
    """Tell whoever asks within the first seconds why there will be no answer."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        while not listener.questions.empty():
            listener.questions.get_nowait().answers.put(Failed(text=text))
            deadline = time.monotonic() + 0.5
        time.sleep(REST)
