"""The thread that looks at a draft: its settings at once, its data soon, its model at leisure."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from ....core.config.draft import CheckedDraft, Draft
    from ....core.data.look import Look
    from ....core.errors import Fault
    from ....core.judgement.preflight import CheckResult
    from ....core.run.estimate import Estimate

DATA_SECONDS = 0.3  # without a change before the data are read
MODEL_SECONDS = 1.2  # and before the engine is started


class Seen(Message):
    """Something about a draft; `number` says which one it was."""

    number: int


@dataclass
class DraftChecked(Seen):
    number: int
    checked: CheckedDraft


@dataclass
class DataSeen(Seen):
    number: int
    look: Look


@dataclass
class DataChecked(Seen):
    """What a run would find in the data, or why it could not use them."""

    number: int
    check: CheckResult | None
    faults: tuple[Fault, ...]


@dataclass
class Working(Seen):
    """What is being done now; nothing once all is done."""

    number: int
    text: str


@dataclass
class ModelSeen(Seen):
    """What the engine found: lengths, masks and size; or why the model cannot be used."""

    number: int
    check: CheckResult | None
    estimate: Estimate | None
    faults: tuple[Fault, ...]
    not_checked: str = ""


class Previewer(threading.Thread):
    """Only the newest draft counts: a change ends the engine that looks at an older one."""

    def __init__(self, runs_dir: Path, post: Callable[[Message], object]) -> None:
        super().__init__(name="preview", daemon=True)
        self._runs_dir = runs_dir
        self._post = post
        self._changed = threading.Condition()
        self._draft: Draft | None = None
        self._number = 0
        self._stopped = False
        self._engine: Popen[bytes] | None = None
        self._look: Look | None = None
        self._check: tuple[tuple[object, ...], DataChecked] | None = None
        self._model: tuple[tuple[object, ...], ModelSeen] | None = None

    def ask(self, draft: Draft) -> int:
        """Look at this draft from now on; the number that its messages carry."""
        with self._changed:
            self._draft, self._number = draft, self._number + 1
            self._end_engine()
            self._changed.notify()
            return self._number

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._end_engine()
            self._changed.notify()

    def _end_engine(self) -> None:
        if self._engine is not None and self._engine.poll() is None:
            self._engine.kill()

    def run(self) -> None:
        done = 0
        with contextlib.suppress(RuntimeError):  # the screen closed its loop between two posts
            while True:
                with self._changed:
                    while not self._stopped and self._number == done:
                        self._changed.wait()
                    if self._stopped:
                        return
                    draft, done = self._draft, self._number
                assert draft is not None
                self._look_at(draft, done)
                if not self._is_old(done):
                    self._post(Working(done, ""))

    def _is_old(self, number: int) -> bool:
        return self._stopped or number != self._number

    def _stays(self, number: int, seconds: float) -> bool:
        """Whether nothing changes for so long."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._is_old(number) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
        return not self._is_old(number)

    def _look_at(self, draft: Draft, number: int) -> None:
        from ....core.config.draft import check_draft

        self._post(DraftChecked(number, check_draft(draft)))
        if not self._stays(number, DATA_SECONDS):
            return
        from ....core.data.look import look_at

        self._look = look = look_at(draft, self._look)
        self._post(DataSeen(number, look))
        if look.config is None or self._is_old(number):
            return
        checked = self._check_data(look, number)
        if checked.check is None or look.checked.config is None or self._is_old(number):
            return
        self._ask_model(look, checked.check, number)

    def _check_data(self, look: Look, number: int) -> DataChecked:
        from ....core.errors import FtevError
        from ....core.judgement.preflight import check_run

        assert look.config is not None
        if self._check is None or self._check[0] != look.stamp:
            self._post(Working(number, "reading the rows, looking for duplicates and leakage …"))
            try:
                found = DataChecked(number, check_run(look.config), ())
            except FtevError as error:
                found = DataChecked(number, None, error.faults)
            self._check = look.stamp, found
        checked = DataChecked(number, self._check[1].check, self._check[1].faults)
        self._post(checked)
        return checked

    def _ask_model(self, look: Look, check: CheckResult, number: int) -> None:
        from ....core.errors import Fault, FtevError

        config = look.checked.config
        assert config is not None
        model = config.model
        key = (look.stamp, model.base, model.revision, model.max_length, model.adapter)
        if self._model is None or self._model[0] != key:
            if not self._stays(number, MODEL_SECONDS):
                return
            self._post(Working(number, "starting the engine, for lengths, masks and memory …"))
            try:
                seen = self._see_model(look, check, number)
            except FtevError as error:
                if self._is_old(number):
                    return
                what = str(error).partition("\n")[0].removeprefix(f"{model.base}: ")
                fault = Fault("", what, setting="model.base")
                seen = ModelSeen(number, None, None, (fault,))
            if self._is_old(number):  # it was ended: what it says is about that
                return
            self._model = key, seen
        seen = self._model[1]
        estimate = self._estimate(look, seen.check)
        self._post(ModelSeen(number, seen.check, estimate, seen.faults, seen.not_checked))

    def _see_model(self, look: Look, check: CheckResult, number: int) -> ModelSeen:
        from ....core.judgement.preflight import check_model

        assert look.checked.config is not None
        try:
            checked = check_model(
                look.checked.config,
                check,
                lambda text: self._show_progress(number, text),
                lambda engine: self._take_engine(engine, number),
            )
        finally:
            with self._changed:
                self._engine = None
        not_checked = "not checked: " + checked.not_checked[0] if checked.not_checked else ""
        return ModelSeen(number, checked, None, (), not_checked)

    def _show_progress(self, number: int, text: str) -> None:
        self._post(Working(number, f"{text} …"))

    def _take_engine(self, engine: Popen[bytes], number: int) -> None:
        with self._changed:
            self._engine = engine
            if self._is_old(number):  # the change came while it started
                engine.kill()

    def _estimate(self, look: Look, check: CheckResult | None) -> Estimate | None:
        from ....core.run.estimate import estimate_run, find_pace

        config = look.checked.config
        if config is None or check is None or check.model is None:
            return None
        return estimate_run(config, check.model, find_pace(config, self._runs_dir))
