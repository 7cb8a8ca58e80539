"""Training loops of others, reported to ftev: they appear live, obey its keys, and can be judged.

Nothing here imports torch or transformers: a loop brings its own. A fault in reporting never ends a
training: it is printed once, and the rest of the run goes unreported.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from . import __version__
from .core.config.config import DataConfig, ModelConfig, RunConfig
from .core.run.control import Failed
from .core.run.events import (
    CheckpointSaved,
    Event,
    EventWriter,
    Note,
    Paused,
    Resumed,
    RunFinished,
    RunStarted,
    ScalarsLogged,
    TrainingEnded,
    TrainingPlanned,
)
from .core.run.listen import Listener, Question
from .core.run.logged import canonical_name
from .core.run.runs import Run, create_run, runs_folder

PAUSE_SECONDS = 0.05  # between two looks at whether a pause is over
NO_PROMPTS = "this run is trained by another loop, which answers no prompts"
ELSEWHERE = "trained elsewhere"


class Loop:
    """One training as ftev sees it: a run directory, an event per log, and the wishes of a screen.

    with ftev.start("name", task="generation", max_steps=1000) as run:
        for step in range(1, 1001):
            ...
            run.log(step, {"train/loss": loss})
            if run.should_stop:
                break
    """

    def __init__(
        self,
        name: str = "run",
        task: str = "generation",
        config: Mapping[str, Any] | None = None,
        max_steps: int = 0,
        *,
        base: str = "",
        runs_dir: str | Path | None = None,
        origin: str = "loop",
    ) -> None:
        """`config`: what is written beside the run, to be read by people. `base`: the base model.

        Raises FtevError where the run cannot be written.
        """
        settings = RunConfig(
            task=task,
            name=name,
            model=ModelConfig(base=base or ELSEWHERE),
            data=DataConfig(train=ELSEWHERE),
        )
        folder = runs_folder(None if runs_dir is None else str(runs_dir))
        self.run: Run = create_run(settings, folder)
        self.step = 0
        self._listener = Listener(self.run)
        self._listener.__enter__()
        self._events = EventWriter(self.run.events_path)
        self._started, self._ended = time.monotonic(), False
        self._write(
            RunStarted(
                run=self.run.id,
                name=name,
                task=task,
                pid=os.getpid(),
                host=socket.gethostname(),
                ftev_version=__version__,
                origin=origin,
            )
        )
        if max_steps > 0:
            self._write(
                TrainingPlanned(
                    max_steps=max_steps,
                    steps_per_epoch=max_steps,
                    epochs=1.0,
                    warmup_steps=0,
                    rows_per_step=math.nan,
                    padding=math.nan,
                )
            )
        if config:
            listed = ", ".join(f"{key} = {value}" for key, value in list(config.items())[:200])
            self._write(Note(level="info", text=listed[:10_000]))
        self._listener.state = "training"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.finish("stopped" if self.should_stop else "finished")
        else:
            interrupted = isinstance(error, KeyboardInterrupt)
            text = f"{type(error).__name__}: {error}"
            self.finish("stopped" if interrupted else "failed", "" if interrupted else text)

    @property
    def should_stop(self) -> bool:
        """Whether somebody asked on a screen that training ends."""
        return self._listener.stop.is_set()

    @property
    def should_checkpoint(self) -> bool:
        """Whether somebody asked for a checkpoint now; `saved` answers that."""
        return self._listener.checkpoint.is_set()

    def log(self, step: int, values: Mapping[str, Any], epoch: float = -1.0) -> None:
        """Figures of a step by name: "train/loss", "eval/loss", "reward", what a loop has.

        What is no number is left out. Returns when a pause that somebody asked for is over.
        """
        numbers = {canonical_name(k): float(v) for k, v in values.items() if _is_number(v)}
        self.at(step)
        if numbers:
            self._write(ScalarsLogged(step=step, values=numbers, epoch=epoch))

    def at(self, step: int) -> None:
        """Where training stands; waits while it is paused, and refuses prompts."""
        self.step = self._listener.step = step
        while not self._listener.questions.empty():
            question: Question = self._listener.questions.get_nowait()
            question.answers.put(Failed(text=NO_PROMPTS))
        if self._listener.pause.is_set() and not self.should_stop:
            self._write(Paused(step=step))
            self._listener.state = "paused"
            while self._listener.pause.is_set() and not self.should_stop:
                time.sleep(PAUSE_SECONDS)
            self._listener.state = "training"
            self._write(Resumed(step=step))

    def saved(self, step: int, path: str | Path) -> None:
        """A checkpoint stands at a path."""
        self._listener.checkpoint.clear()
        self._write(CheckpointSaved(step=step, path=str(path), seconds=0.0, best=False))

    def finish(self, status: str = "finished", error: str = "") -> None:
        """Write the end down, once. `status`: "finished", "stopped" or "failed"."""
        if self._ended:
            return
        self._ended = True
        if status == "finished":
            self._write(TrainingEnded(reason="completed", step=self.step, best_step=self.step))
        code = {"finished": 0, "stopped": 130}.get(status, 1)
        self._write(RunFinished(status=status, error=error, exit_code=code))
        self._events.close()
        self._listener.__exit__()
        self.run.worker_path.unlink(missing_ok=True)  # this process may go on with something else

    def _write(self, *events: Event) -> None:
        self._events.write(*events)


def _is_number(value: Any) -> bool:
    """Tensors of one number are, and truth is not."""
    if isinstance(value, bool | str) or value is None:
        return False
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def start(
    name: str = "run",
    task: str = "generation",
    config: Mapping[str, Any] | None = None,
    max_steps: int = 0,
    *,
    base: str = "",
    runs_dir: str | Path | None = None,
) -> Loop:
    """Report a training loop of your own: see `Loop`."""
    return Loop(name, task, config, max_steps, base=base, runs_dir=runs_dir)


class FtevCallback:
    """For `Trainer(callbacks=[ftev.FtevCallback()])` of transformers, and all of TRL's trainers.

    The run appears live; stop, pause and checkpoint on the screen reach the trainer. It has the
    methods of transformers' TrainerCallback without being one, as that would import torch.
    """

    def __init__(
        self,
        name: str = "",
        task: str = "generation",
        *,
        runs_dir: str | Path | None = None,
    ) -> None:
        """`name`: of the run; default: the trainer's output folder."""
        self._name, self._task, self._runs = name, task, runs_dir
        self._loop: Loop | None = None
        self._broken = False

    @property
    def run(self) -> Run | None:
        """The run's directory, once training has begun."""
        return self._loop.run if self._loop else None

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Moments of a training that need nothing."""
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(name)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._guarded(self._begin, args, state, more.get("model"))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self._loop is not None and logs:
            epoch = -1.0 if state.epoch is None else float(state.epoch)
            self._guarded(self._loop.log, state.global_step, logs, epoch)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._loop is not None:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._guarded(self._loop.saved, state.global_step, path)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        wishes = [False, False]
        if self._loop is not None and not self._broken:
            self._guarded(self._loop.at, state.global_step)
            wishes = [self._loop.should_stop, self._loop.should_checkpoint]
        stop, save = _of_first_rank(wishes, args)
        control.should_training_stop = control.should_training_stop or stop
        control.should_save = control.should_save or save
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._loop is not None:
            stopped = self._loop.should_stop
            self._guarded(self._loop.finish, "stopped" if stopped else "finished")

    def _begin(self, args: Any, state: Any, model: Any) -> None:
        if not state.is_world_process_zero:
            return
        settings = getattr(getattr(model, "config", None), "_name_or_path", "") or ""
        config = {
            key: getattr(args, key)
            for key in ("learning_rate", "num_train_epochs", "seed", "per_device_train_batch_size")
            if hasattr(args, key)
        }
        self._loop = Loop(
            self._name or Path(str(args.output_dir)).name,
            self._task,
            config,
            int(state.max_steps or 0),
            base=str(settings),
            runs_dir=self._runs,
            origin="transformers",
        )

    def _guarded(self, work: Callable[..., object], *given: Any) -> None:
        """A fault of reporting is printed once, and training goes on without it."""
        if self._broken:
            return
        try:
            work(*given)
        except Exception:
            self._broken = True
            last = traceback.format_exc().strip().rpartition("\n")[2]
            print(f"ftev: this run is not reported any further: {last}", file=sys.stderr)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _of_first_rank(wishes: list[bool], args: Any) -> list[bool]:
    """What the first of several processes was asked: all of them must do the same."""
    if int(getattr(args, "world_size", 1) or 1) == 1:
        return wishes
    torch = sys.modules["torch"]
    asked = torch.tensor([int(w) for w in wishes], device=args.device)
    torch.distributed.broadcast(asked, 0)
    return [bool(v) for v in asked.tolist()]
